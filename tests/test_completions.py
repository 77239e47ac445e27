"""POST /v1/completions over real HTTP: relayed, translated onto chat and onto responses, refused, and by the SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import openai
import pytest

from aigateway import Call, EventStream, Gateway, Hook, Provider, ReplyLens
from aigateway.errors import InvalidRequestError, UnsupportedError
from aigateway.testing import Script, ScriptedUpstream
from tests.answers import COMPLETIONS_CHUNKS, COMPLETIONS_REPLY, TEXT, data_of, stream, whole
from tests.asking import Row, Seen, through
from tests.schemas import text_completion_faults
from tests.sdk_rig import MODEL, Rig, read_until_error, rigged
from tests.turns import Turn

Object = dict[str, Any]

RELAYED = Row("completions", "completions")
TRANSLATED = [Row("completions", "chat"), Row("completions", "responses")]
each_translated = pytest.mark.parametrize("row", TRANSLATED, ids=lambda row: row.id)


def asking(row: Row, **fields: Any) -> Row:
    """The row with a body of these fields."""
    body = {"model": "gpt", "prompt": "Once", **fields}
    return msgspec.structs.replace(row, raw=msgspec.json.encode(body), stream=fields.get("stream", False))


def text_of(seen: Seen) -> str:
    return "".join(choice["text"] for event in seen.events for choice in event["choices"])


class Watcher(Hook):
    """Keeps the calls that are over."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def on_complete(self, call: Call) -> None:
        self.calls.append(call)


# relayed


async def test_what_only_completions_can_do_reaches_a_host_that_speaks_them() -> None:
    asked = asking(RELAYED, prompt=[[1, 2], [3]], suffix="z", n=2, best_of=3, echo=True, logprobs=5, max_tokens=0)
    seen, request = await through(asked, whole("completions"), model="up-model")
    assert (request.path, request.json()) == ("/v1/completions", msgspec.json.decode(asked.raw) | {"model": "up-model"})
    assert seen.json() == COMPLETIONS_REPLY | {"model": "gpt"}


async def test_an_empty_prompt_is_one() -> None:
    seen, request = await through(asking(RELAYED, prompt=""), whole("completions"))
    assert (seen.status, request.json()["prompt"]) == (200, "")


async def test_usage_is_asked_for_on_the_gateways_account_and_hidden() -> None:
    watcher = Watcher()
    seen, request = await through(asking(RELAYED, stream=True), stream("completions"), watcher)
    assert request.json()["stream_options"] == {"include_usage": True}
    assert seen.events == [chunk | {"model": "gpt"} for chunk in COMPLETIONS_CHUNKS[:-1]]
    assert data_of(seen.body)[-1] == "[DONE]"
    assert watcher.calls[0].usage is not None
    assert watcher.calls[0].usage.total_tokens == 18


async def test_usage_that_the_caller_asked_for_is_shown() -> None:
    asked = asking(RELAYED, stream=True, stream_options={"include_usage": True})
    seen, _ = await through(asked, stream("completions"), Watcher())
    assert seen.events == [chunk | {"model": "gpt"} for chunk in COMPLETIONS_CHUNKS]


async def test_a_whole_answer_to_a_streaming_caller_becomes_a_stream_with_its_echo_once() -> None:
    reply = COMPLETIONS_REPLY | {"choices": [{**COMPLETIONS_REPLY["choices"][0], "text": "Once upon"}]}
    asked = asking(RELAYED, stream=True, echo=True, stream_options={"include_usage": True})
    seen, _ = await through(asked, Script.of_json(reply))
    assert text_of(seen) == "Once upon"
    assert seen.events[-1]["usage"]["total_tokens"] == 18
    assert data_of(seen.body)[-1] == "[DONE]"


# translated


@each_translated
async def test_an_answer_is_a_completion(row: Row) -> None:
    seen, request = await through(asking(row), whole(row.upstream))
    assert request.path == {"chat": "/v1/chat/completions", "responses": "/v1/responses"}[row.upstream]
    assert text_completion_faults(seen.json()) == []
    reply = seen.json()
    assert reply["choices"] == [{"text": TEXT, "index": 0, "logprobs": None, "finish_reason": "stop"}]
    assert (reply["object"], reply["model"], reply["usage"]["total_tokens"]) == ("text_completion", "gpt", 18)
    assert reply["id"].startswith("cmpl-")
    assert "x-aigateway-changes" not in seen.headers


@pytest.mark.parametrize("usage", [True, False], ids=["with usage", "without"])
@each_translated
async def test_a_stream_is_one_of_completions(row: Row, usage: bool) -> None:
    options: Object = {"stream_options": {"include_usage": True}} if usage else {}
    seen, _ = await through(asking(row, stream=True, echo=True, **options), stream(row.upstream))
    assert [fault for event in seen.events for fault in text_completion_faults(event)] == []
    assert text_of(seen) == f"Once{TEXT}"
    assert {(event["id"], event["model"], event["created"]) for event in seen.events} == {
        (seen.events[0]["id"], "gpt", 1)
    }
    reasons = [choice["finish_reason"] for event in seen.events for choice in event["choices"]]
    assert reasons == [None] * (len(reasons) - 1) + ["stop"]
    told = [event["usage"]["total_tokens"] for event in seen.events if event.get("usage")]
    assert told == ([18] if usage else [])
    assert data_of(seen.body)[-1] == "[DONE]"


@each_translated
async def test_what_was_dropped_is_told_in_the_header(row: Row) -> None:
    seen, _ = await through(asking(row, best_of=4), whole(row.upstream))
    assert seen.headers["x-aigateway-changes"] == "dropped:best_of"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_reasoning_is_no_text(streamed: bool) -> None:
    thinking = Turn(thoughts=("hm", "hm"), text=("Hi", "!"), cut=True)
    async with rigged("chat") as rig:
        rig.says(thinking)
        if streamed:
            chunks = [
                chunk async for chunk in await rig.client.completions.create(model=MODEL, prompt="q", stream=True)
            ]
            text = "".join(choice.text for chunk in chunks for choice in chunk.choices)
            reason = chunks[-1].choices[0].finish_reason
        else:
            reply = await rig.client.completions.create(model=MODEL, prompt="q")
            text, reason = reply.choices[0].text, reply.choices[0].finish_reason
    assert (text, reason) == ("Hi!", "length")


# refused


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"model": "gpt"}, "prompt", "missing_required_parameter"),
        ({"model": "gpt", "prompt": None}, "prompt", "missing_required_parameter"),
        ({"model": "gpt", "prompt": 5}, "prompt", "invalid_type"),
        ({"prompt": "Once"}, "model", "missing_required_parameter"),
        ({"model": "gpt", "prompt": ["a", "b"]}, "prompt", "unsupported_content"),
        ({"model": "gpt", "prompt": "Once", "suffix": "end"}, "suffix", "unsupported_parameter"),
        ({"model": "gpt", "prompt": "Once", "n": 2, "stream": True}, "n", "unsupported_parameter"),
    ],
    ids=str,
)
async def test_what_cannot_be_asked_is_a_400_that_names_it(body: Object, param: str, code: str) -> None:
    async with Gateway(models={"gpt": Provider("up", "http://127.0.0.1:9", "none", apis={"chat"})}) as gateway:
        with pytest.raises(InvalidRequestError) as refused:
            await gateway.completions(body)
    assert (refused.value.status, refused.value.param, refused.value.code) == (400, param, code)


@pytest.mark.parametrize("row", [Row("chat", "completions"), Row("responses", "completions")], ids=lambda row: row.id)
async def test_nothing_is_translated_into_completions(row: Row) -> None:
    async with ScriptedUpstream() as upstream:
        provider = Provider("base", upstream.base_url, "none", apis={"completions"})
        async with Gateway(models={"gpt": provider}) as gateway:
            with pytest.raises(UnsupportedError, match="Provider 'base' does not offer") as refused:
                await getattr(gateway, row.api)(msgspec.json.decode(row.body))
        assert upstream.requests == []
    assert (refused.value.code, refused.value.param) == ("unsupported_api", "model")


# in process


async def test_a_completion_in_process() -> None:
    async with ScriptedUpstream() as upstream:
        upstream.script(whole("chat"), stream("chat"))
        async with Gateway(models={"gpt": Provider("up", upstream.base_url, "none", apis={"chat"})}) as gateway:
            reply = await gateway.completions(model="gpt", prompt="Once")
            assert isinstance(reply, ReplyLens)
            assert reply.texts() == [TEXT]
            events = await gateway.completions(model="gpt", prompt="Once", stream=True)
            assert isinstance(events, EventStream)
            assert "".join([event.text async for event in events]) == TEXT


# by the official SDK


@pytest.fixture(params=[("completions",), ("chat",), ("responses",)], ids=lambda apis: f"on {apis[0]}")
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with rigged(*request.param) as made:
        yield made


def answer(rig: Rig, *, streamed: bool) -> None:
    api = rig.apis[0]
    rig.upstream.script(stream(api) if streamed else whole(api))


async def test_the_sdk_reads_a_completion(rig: Rig) -> None:
    answer(rig, streamed=False)
    reply = await rig.client.completions.create(model=MODEL, prompt="Once", max_tokens=20)
    assert (reply.object, reply.model, reply.choices[0].text) == ("text_completion", MODEL, TEXT)
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 7


async def test_the_sdk_reads_a_stream(rig: Rig) -> None:
    answer(rig, streamed=True)
    events = await rig.client.completions.create(
        model=MODEL, prompt="Once", stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in events]
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == TEXT
    assert {chunk.model for chunk in chunks} == {MODEL}
    assert chunks[-1].usage is not None
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], 18)


async def test_the_sdk_raises_where_a_stream_is_cut(rig: Rig) -> None:
    script = stream(rig.apis[0])
    script.pieces, script.fault = (script.pieces or [])[:5], "cut"
    if rig.apis[0] != "responses":
        script.pieces = script.pieces[:2]
    rig.upstream.script(script)
    seen, error = await read_until_error(await rig.client.completions.create(model=MODEL, prompt="q", stream=True))
    assert seen > 0
    assert error.code == "upstream_connection_error"


async def test_the_sdk_raises_what_the_upstream_refused(rig: Rig) -> None:
    rig.upstream.script(Script.of_json({"error": {"message": "no", "type": "t", "param": "prompt", "code": "c"}}, 400))
    with pytest.raises(openai.BadRequestError) as refused:
        await rig.client.completions.create(model=MODEL, prompt="Once")
    assert (refused.value.code, refused.value.param) == ("c", "prompt")


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_the_sdk_reads_probabilities(api: str) -> None:
    async with rigged(api) as rig:
        rig.says(Turn(text=("Hel", "lo"), logprobs=True))
        reply = await rig.client.completions.create(model=MODEL, prompt="Once", logprobs=1)
    logprobs = reply.choices[0].logprobs
    assert logprobs is not None
    assert (logprobs.tokens, logprobs.text_offset) == (["Hel", "lo"], [0, 3])
    assert logprobs.token_logprobs is not None
    assert logprobs.top_logprobs is not None
    assert [told[name] for told, name in zip(logprobs.top_logprobs, ["Hel", "lo"], strict=True)] == (
        logprobs.token_logprobs
    )
