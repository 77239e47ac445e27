"""Chat hosts whose dialect breaks strict clients: what the quirks name is put right, all else goes on byte for byte."""

from __future__ import annotations

import itertools
from typing import Any

import aiohttp
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigateway import Gateway, Provider, Quirks
from aigateway.assembly import build
from aigateway.canonical.quirks import REPAIRS
from aigateway.config import Config, ConfigError, Source, parse
from aigateway.formats.chat.repair import RepairingRelay
from aigateway.providers.catalog import CATALOG
from aigateway.testing import Script, ScriptedUpstream
from aigateway.upstream import quirks_of
from tests.answers import data_of
from tests.asking import Seen
from tests.serving import served

Object = dict[str, Any]
BODY: Object = {"model": "gpt", "messages": [{"role": "user", "content": "hi"}]}
DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


def chunk(delta: Object | None, finish: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt", "choices": choices} | more
    return b"data: " + msgspec.json.encode(body) + b"\n\n"


HELLO, END = chunk({"role": "assistant", "content": "Hello"}), chunk({}, "stop")
ID = {"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}
MORE = {"index": 0, "function": {"arguments": "{}"}}
FILTER: Object = {"prompt_filter_results": [{"prompt_index": 0}]}

STREAMS: dict[str, tuple[str, bytes, bytes]] = {
    "tool calls without type": (
        "tool_call_type",
        chunk({"tool_calls": [ID]}) + chunk({"tool_calls": [MORE]}) + END + DONE,
        chunk({"tool_calls": [ID | {"type": "function"}]}) + chunk({"tool_calls": [MORE]}) + END + DONE,
    ),
    "custom calls without type": (
        "tool_call_type",
        chunk({"tool_calls": [{"index": 0, "id": "a", "custom": {"name": "p", "input": ""}}]}) + END + DONE,
        chunk({"tool_calls": [{"index": 0, "id": "a", "custom": {"name": "p", "input": ""}, "type": "custom"}]})
        + END
        + DONE,
    ),
    "an empty first chunk": (
        "empty_choices",
        chunk(None, **FILTER) + HELLO + END + DONE,
        b"data: "
        + msgspec.json.encode(FILTER | msgspec.json.decode(HELLO.removeprefix(b"data: ")))
        + b"\n\n"
        + END
        + DONE,
    ),
    "no [DONE]": ("done", HELLO + END, HELLO + END + DONE),
    "no [DONE] and no blank line": ("done", HELLO + END.rstrip(), HELLO + END + DONE),
    "reasoning": (
        "reasoning_content",
        chunk({"reasoning": "hm"}) + HELLO + END + DONE,
        chunk({"reasoning": "hm", "reasoning_content": "hm"}) + HELLO + END + DONE,
    ),
    "usage that nobody asked for": ("usage", HELLO + END + chunk(None, usage=USAGE) + DONE, HELLO + END + DONE),
    "CRLF": ("lines", (HELLO + END + DONE).replace(b"\n", b"\r\n"), HELLO + END + DONE),
    "comments": ("lines", b": HOST PROCESSING\n\n" + HELLO + b": x\n" + END + DONE, HELLO + END + DONE),
}
CLEAN = HELLO + chunk({"tool_calls": [ID | {"type": "function"}]}) + END + DONE

REPLY: Object = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": None, "reasoning": "hm", "tool_calls": [ID]},
            "finish_reason": "tool_calls",
        }
    ],
    "usage": USAGE,
}


async def ask(script: Script, *repairs: str, stream: bool, **more: Any) -> Seen:
    async with ScriptedUpstream() as upstream:
        upstream.script(script)
        quirks = Quirks(repairs=frozenset(repairs))
        provider = Provider("up", upstream.base_url, "none", apis={"chat"}, quirks=quirks)
        async with served(Gateway(models={"*": provider})) as url:
            asked = BODY | {"stream": stream} | more
            async with aiohttp.request("POST", f"{url}/v1/chat/completions", json=asked) as answer:
                body = await answer.read()
                return Seen(answer.status, [] if b"\r" in body else data_of(body), body)


def streamed(*pieces: bytes) -> Script:
    return Script(headers={"content-type": "text/event-stream"}, pieces=pieces)


def test_every_repair_has_a_stream() -> None:
    assert {repair for repair, _, _ in STREAMS.values()} == REPAIRS


@pytest.mark.parametrize(("repair", "sent", "shown"), STREAMS.values(), ids=STREAMS)
async def test_a_stream_is_repaired_where_the_quirks_say_so(repair: str, sent: bytes, shown: bytes) -> None:
    assert (await ask(streamed(sent), repair, stream=True)).body == shown
    assert (await ask(streamed(sent), *REPAIRS, stream=True)).body == shown


@pytest.mark.parametrize(("repair", "sent", "shown"), STREAMS.values(), ids=STREAMS)
async def test_a_stream_of_a_host_without_that_quirk_goes_on_byte_for_byte(
    repair: str, sent: bytes, shown: bytes
) -> None:
    others = sorted(REPAIRS - {repair})
    untouched = sent if sent.endswith((b"\n\n", b"\r\n\r\n")) else sent + b"\n\n"
    assert (await ask(streamed(sent), stream=True)).body == untouched
    assert (await ask(streamed(sent), *others, stream=True)).body == untouched


@pytest.mark.parametrize("repairs", [(), sorted(REPAIRS)], ids=["none", "all"])
async def test_a_clean_stream_stays_as_it_is(repairs: tuple[str, ...]) -> None:
    assert (await ask(streamed(CLEAN), *repairs, stream=True)).body == CLEAN


@given(cuts=st.lists(st.integers(0, 2000)), name=st.sampled_from(sorted(STREAMS)))
def test_a_stream_is_repaired_the_same_wherever_it_is_cut(cuts: list[int], name: str) -> None:
    repair, sent, shown = STREAMS[name]
    relay = RepairingRelay("gpt", repairs=frozenset({repair}), hide_usage=repair == "usage")
    places = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    out = b"".join(relay.feed(sent[start:end]) for start, end in itertools.pairwise(places))
    assert out + relay.flush() == shown


async def test_usage_that_was_asked_for_is_shown() -> None:
    sent = HELLO + END + chunk(None, usage=USAGE) + DONE
    seen = await ask(streamed(sent), *REPAIRS, stream=True, stream_options={"include_usage": True})
    assert seen.body == sent


async def test_a_stream_that_was_cut_gets_no_done() -> None:
    seen = await ask(streamed(HELLO), "done", stream=True)
    assert b"[DONE]" not in seen.body
    assert seen.events[-1]["error"]["code"] == "upstream_protocol_error"


async def test_a_stream_that_fails_gets_no_done() -> None:
    broken = HELLO + b'data: {"error":{"message":"no","code":"context_length_exceeded"}}\n\n'
    seen = await ask(streamed(broken), *REPAIRS, stream=True)
    assert b"[DONE]" not in seen.body
    assert seen.events[-1]["error"]["code"] == "context_length_exceeded"


async def test_a_whole_reply_is_repaired_where_the_quirks_say_so() -> None:
    message = REPLY["choices"][0]["message"]
    both = await ask(Script.of_json(REPLY), *REPAIRS, stream=False)
    shown = message | {"reasoning_content": "hm", "tool_calls": [ID | {"type": "function"}]}
    assert both.json()["choices"][0]["message"] == shown
    one = await ask(Script.of_json(REPLY), "tool_call_type", stream=False)
    assert one.json()["choices"][0]["message"] == message | {"tool_calls": [ID | {"type": "function"}]}


async def test_a_whole_reply_of_a_host_without_quirks_goes_on_byte_for_byte() -> None:
    assert (await ask(Script.of_json(REPLY), stream=False)).body == msgspec.json.encode(REPLY)


async def test_a_clean_whole_reply_goes_on_byte_for_byte() -> None:
    message = {"role": "assistant", "content": "x", "tool_calls": [ID | {"type": "function"}]}
    body = b" " + msgspec.json.encode(REPLY | {"choices": [{"index": 0, "message": message}]})
    script = Script(body=body)
    assert (await ask(script, *REPAIRS, stream=False)).body == body


def test_catalog_rows_name_the_repairs_that_their_hosts_need() -> None:
    renamed = {row.name for row in CATALOG.values() if "reasoning_content" in row.quirks.repairs}
    assert renamed == {row.name for row in CATALOG.values() if row.quirks.reasoning_field == "reasoning"}
    assert CATALOG["mistral"].quirks.repairs == {"tool_call_type"}
    assert "lines" in CATALOG["openrouter"].quirks.repairs
    assert CATALOG["openai"].quirks.repairs == frozenset()
    assert all(row.quirks.repairs <= REPAIRS for row in CATALOG.values())


def configured(repairs: str) -> Config:
    return parse(
        Source("gateway.yaml", f"providers: {{p: {{base_url: http://a, quirks: {{repairs: {repairs}}}}}}}"), {}
    )


def test_the_configuration_names_repairs() -> None:
    [provider] = build(configured("[done, empty_choices]"), {}).providers()
    assert quirks_of(provider).repairs == {"done", "empty_choices"}


@pytest.mark.parametrize(
    ("repairs", "told"),
    [
        ("[dome]", "unknown repair 'dome'; there are done, empty_choices, lines, "),
        ("done", "expected a list, got a string"),
    ],
)
def test_the_configuration_refuses_what_is_no_list_of_repairs(repairs: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(repairs)
    assert caught.value.errors[0].startswith(f"gateway.yaml:1: providers.p.quirks.repairs: {told}")
