"""What Cohere's chat and its callers cannot tell each other is listed; the table of `aigateway.fidelity` has the fields."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

import pytest

from aigateway import _sse
from aigateway.canonical.accumulator import fold
from aigateway.canonical.types import Change, ToolCall
from aigateway.errors import UpstreamError
from aigateway.formats import CODECS
from aigateway.formats.cohere_chat.codec import CohereChatCodec
from aigateway.providers.protocol import Answer
from tests.fidelity.cohere import CITED, REPLIES
from tests.fidelity.crossing import ASKED, Side, without_clocks
from tests.formats.test_cohere_chat import ASK, CALLING, SPOKEN, WEATHER, check_stream, decoded, encoded, end, event
from tests.playback import Object

CALLERS = ("chat", "responses", "messages", "generate_content")
every_caller = pytest.mark.parametrize("caller", CALLERS)


def crossed(caller: str, reply: Object) -> tuple[Any, list[str]]:
    side = Side(caller, "cohere_chat", ASKED[caller], "openai")
    there = side.crossed(without_clocks(json.loads(side.translation.reply(json.dumps(reply).encode()))))
    return there.document, there.codes


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


@every_caller
def test_calls_without_ids_that_begin_with_arguments_are_whole(caller: str) -> None:
    def begun(index: int, text: str) -> Object:
        return event("tool-call-start", index, {"tool_calls": {"function": {"name": "f", "arguments": text}}})

    rest = event("tool-call-delta", 0, {"tool_calls": {"function": {"arguments": "1}"}}})
    events = [CALLING[0], begun(0, '{"a":'), rest, event("tool-call-end", 0), begun(1, '{"b":2}'), CALLING[-1]]
    reply = fold(check_stream(decoded(events)))
    made = [(item.call_id, item.arguments) for item in reply.items if isinstance(item, ToolCall)]
    assert made == [("call_0", '{"a":1}'), ("call_1", '{"b":2}')]
    assert streamed(caller, events) == []


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
