"""Nothing of an answer of Cohere's chat is lost in silence: a caller of each API sees it, or it is listed, or documented."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from aigateway import _sse
from aigateway.canonical.types import Change
from aigateway.errors import UpstreamError
from aigateway.formats import CODECS
from aigateway.formats.cohere_chat.codec import CohereChatCodec
from aigateway.providers.protocol import Answer
from tests.fidelity.crossing import ASKED, Side, without_clocks
from tests.formats.test_cohere_chat import ASK, CALLING, SPOKEN, WEATHER, encoded, end, event
from tests.playback import Object

CALLERS = ("chat", "responses", "messages", "generate_content")
every_caller = pytest.mark.parametrize("caller", CALLERS)

USAGE: Object = {
    "billed_units": {"input_tokens": 41, "output_tokens": 25, "search_units": 1, "classifications": 2},
    "tokens": {"input_tokens": 1441, "output_tokens": 54},
    "cached_tokens": 144,
}
SOURCES: list[Object] = [
    {"type": "tool", "id": "x:0", "tool_output": {"a": 1}},
    {"type": "document", "id": "doc:0", "document": {"title": "A", "snippet": "b"}},
]
CITED: Object = {"start": 0, "end": 2, "text": "It", "content_index": 1, "type": "TEXT_CONTENT", "sources": SOURCES}
REPLIES: list[Object] = [
    {
        "id": "c1",
        "finish_reason": "MAX_TOKENS",
        "message": {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "It is sunny."}],
            "citations": [CITED],
        },
        "usage": USAGE,
        "logprobs": [{"text": "It", "token_ids": [7], "logprobs": [-0.5]}],
    },
    {
        "id": "c2",
        "finish_reason": "MAX_TOKENS",
        "message": {
            "role": "assistant",
            "tool_plan": "I will look.",
            "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
            "citations": [CITED | {"type": "PLAN", "content_index": 0}],
        },
        "usage": USAGE,
    },
]
"""Together they have every field of Cohere's published types (its SDK, 7.3)."""

DOCUMENTED = {
    "id": "ids are the gateway's own",
    "message.role": "it is always the assistant's",
    "message.content.type": "the block says it too",
    "message.tool_calls.type": "there are functions only",
    "message.citations.*": "citations are listed as a whole",
    "usage.billed_units.*": "tokens are those that the model read and wrote, not those that are billed",
    "logprobs.*": "they are not asked for: `logprobs` of a request is listed",
}
"""What docs/providers.md says of Cohere."""


def crossed(caller: str, reply: Object) -> tuple[Any, list[str]]:
    side = Side(caller, "cohere_chat", ASKED[caller], "openai")
    there = side.crossed(without_clocks(json.loads(side.translation.reply(json.dumps(reply).encode()))))
    return there.document, there.codes


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every field of a document, as the keys and indices on the way there."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in entries:
        if isinstance(key, str):
            yield (*path, key)
        yield from places(below, (*path, key))


def without(document: Object, path: tuple[Any, ...]) -> Object:
    shortened = copy.deepcopy(document)
    holder: Any = shortened
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]
    return shortened


def is_documented(path: tuple[Any, ...]) -> bool:
    name = ".".join(key for key in path if isinstance(key, str))
    return any(name == one or (one.endswith(".*") and f"{name}.".startswith(one[:-1])) for one in DOCUMENTED)


@every_caller
@pytest.mark.parametrize("reply", REPLIES, ids=["said", "called"])
def test_no_field_of_an_answer_is_lost_in_silence(caller: str, reply: Object) -> None:
    there = crossed(caller, reply)
    silent = []
    for path in places(reply):
        try:
            rest: Any = crossed(caller, without(reply, path))
        except UpstreamError:
            continue
        if rest == there and not is_documented(path):
            silent.append(path)
    assert silent == []


@every_caller
@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (REPLIES[0], "dropped:annotations"),
        (REPLIES[1], "dropped:output"),
        (
            REPLIES[0] | {"message": {"content": [{"type": "chart", "chart": {}}, {"type": "text", "text": "So."}]}},
            "dropped:output",
        ),
        (
            REPLIES[0]
            | {
                "message": {"content": [{"type": "text", "text": "It"}], "citations": [CITED | {"content_index": None}]}
            },
            "dropped:annotations",
        ),
    ],
    ids=["of a text", "of a plan", "an unknown block", "of no place"],
)
def test_citations_and_blocks_that_no_caller_knows_are_listed(caller: str, reply: Object, code: str) -> None:
    assert crossed(caller, reply)[1] == [code]


def streamed(caller: str, events: list[Object]) -> list[str]:
    side = Side(caller, "cohere_chat", ASKED[caller], "openai")

    async def heard() -> None:
        async def pieces() -> Any:
            for one in events:
                yield _sse.encode(json.dumps(one).encode(), one["type"])

        async for _ in side.translation.stream(Answer(pieces()), whole=False):
            pass

    asyncio.run(heard())
    return side.crossed(None).codes


@every_caller
def test_a_stream_lists_what_the_whole_answer_would_have_listed(caller: str) -> None:
    plan = event("citation-start", 0, {"citations": CITED | {"type": "PLAN"}})
    chart = event("content-start", 2, {"content": {"type": "chart", "chart": {}}})
    assert streamed(caller, SPOKEN) == ["dropped:annotations"]
    assert streamed(caller, CALLING) == []
    assert streamed(caller, [*CALLING[:3], plan, *CALLING[3:]]) == ["dropped:output"]
    assert streamed(caller, [*SPOKEN[:-1], chart, SPOKEN[-1]]) == ["dropped:annotations", "dropped:output"]


@every_caller
def test_why_an_answer_was_broken_off_is_told(caller: str) -> None:
    broken = end("ERROR")
    broken["delta"]["error"] = "the model fell over"
    with pytest.raises(UpstreamError, match="the model fell over"):
        streamed(caller, [*SPOKEN[:-1], broken])


# requests


def test_what_stands_beside_the_content_of_messages_is_listed() -> None:
    mark = {"prompt_cache_breakpoint": {"mode": "explicit"}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "original"}}
    messages = [{"role": "user", "name": "ann", "content": [{"type": "text", "text": "?", **mark}, image]}]
    body, codes = encoded({"messages": messages})
    assert body["messages"][0]["content"][1] == {"type": "image_url", "image_url": {"url": image["image_url"]["url"]}}  # type: ignore[index]
    assert codes == ["dropped:name", "dropped:prompt_cache_breakpoint", "dropped:detail"]


def test_a_failed_result_and_a_signed_call_are_listed() -> None:
    call = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "No such city.", "is_error": True}
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": [call]}]
    _, codes = encoded({"messages": [*turns, {"role": "user", "content": [result]}], "max_tokens": 9}, "messages")
    assert codes == ["dropped:is_error"]
    parts = [{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "c2ln"}]
    contents = [{"role": "user", "parts": [{"text": "?"}]}, {"role": "model", "parts": parts}]
    assert encoded({"contents": contents}, "generate_content")[1] == ["dropped:tool_calls.signature"]


def test_strict_tools_are_all_or_none() -> None:
    strict = copy.deepcopy(WEATHER)
    strict["function"]["strict"] = True
    other = {"type": "function", "function": {"name": "other"}}
    body, codes = encoded({"messages": ASK, "tools": [strict, other]})
    assert ("strict_tools" in body, codes) == (False, ["changed:tools.strict"])
    body, codes = encoded({"messages": ASK, "tools": [strict]})
    assert (body["strict_tools"], codes) == (True, [])
    body, codes = encoded({"messages": ASK, "tools": [WEATHER], "strict_tools": True})
    assert (body["strict_tools"], codes) == (True, [])


def test_knobs_outside_of_cohere_s_ranges_are_brought_within_and_listed() -> None:
    body, codes = encoded({"messages": ASK, "top_p": 1, "presence_penalty": -1, "frequency_penalty": 2})
    assert (body["p"], body["presence_penalty"], body["frequency_penalty"]) == (0.99, 0, 1)
    assert codes == ["changed:top_p", "changed:frequency_penalty", "changed:presence_penalty"]


def test_the_description_of_a_schema_is_carried() -> None:
    schema = {"name": "n", "description": "the answer", "schema": {"type": "object"}}
    body, _ = encoded({"messages": ASK, "response_format": {"type": "json_schema", "json_schema": schema}})
    assert body["response_format"]["json_schema"] == {"description": "the answer", "type": "object"}


def test_thoughts_go_back_beside_the_calls_that_followed_them() -> None:
    thought = {"type": "thinking", "thinking": "Hm."}
    call = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"content": [thought], "tool_plan": "I will look.", "tool_calls": [call]}
    reply = CohereChatCodec().decode_reply({"id": "c", "finish_reason": "TOOL_CALL", "message": message})
    request = CODECS["chat"].decode_request({"model": "m", "messages": ASK})
    changes: list[Change] = []
    request = type(request)(model="m", items=(*request.items, *reply.items))
    body = CohereChatCodec().encode_request(request, model="m", quirks=None, changes=changes)  # type: ignore[arg-type]
    assert body["messages"][1] == {"role": "assistant", **message}
    assert changes == []
