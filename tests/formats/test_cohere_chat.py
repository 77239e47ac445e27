"""Cohere's v2 chat behind callers of other APIs: requests, replies and streams, as recorded and as documented."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import aiohttp
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigateway import Gateway, Provider, Target, _sse
from aigateway.canonical.accumulator import fold
from aigateway.canonical.events import Failed, StreamEvent
from aigateway.canonical.laws import StreamLaws
from aigateway.canonical.types import Change, Message, Opaque, Reasoning, Text, ToolCall
from aigateway.errors import GatewayError, UnsupportedError, UpstreamError, UpstreamProtocolError
from aigateway.formats import CODECS, UPSTREAM_CODECS
from aigateway.formats.cohere_chat.codec import CohereChatCodec
from aigateway.formats.cohere_chat.stream import CohereChatStreamDecoder
from aigateway.testing import Script, ScriptedUpstream
from tests.recordings import SHARED
from tests.serving import served

Object = dict[str, Any]

CODEC = CohereChatCodec()
WEATHER: Object = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather for a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
PLAN = "I will use the 'get_weather' tool to find the weather in Paris."
CALLED: Object = {
    "id": "5481bf9b",
    "finish_reason": "TOOL_CALL",
    "message": {
        "role": "assistant",
        "tool_plan": PLAN,
        "tool_calls": [
            {
                "id": "get_weather_9gpb",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'},
            }
        ],
    },
    "usage": {
        "billed_units": {"input_tokens": 41, "output_tokens": 25},
        "cached_tokens": 144,
        "tokens": {"input_tokens": 1441, "output_tokens": 54},
    },
}
CITATION: Object = {"start": 34, "end": 39, "text": "sunny", "sources": [{"type": "tool", "id": "x:0"}]}
SAID: Object = {
    "id": "72974c62",
    "finish_reason": "COMPLETE",
    "message": {
        "role": "assistant",
        "content": [{"type": "text", "text": "The weather in Paris is currently sunny."}],
        "citations": [CITATION],
    },
    "usage": {
        "billed_units": {"input_tokens": 51, "output_tokens": 13},
        "tokens": {"input_tokens": 1533, "output_tokens": 36},
    },
}


def event(type: str, index: int | None = None, message: Any = None, **more: Any) -> Object:
    told: Object = {"type": type} | more
    if index is not None:
        told["index"] = index
    return told | ({"delta": {"message": message}} if message is not None else {})


START = event("message-start", None, {"role": "assistant", "content": [], "tool_calls": []}, id="s1")
USED = {"tokens": {"input_tokens": 10, "output_tokens": 5}, "cached_tokens": 4}


def end(reason: str, usage: Any = USED) -> Object:
    return {"type": "message-end", "delta": {"finish_reason": reason, "usage": usage}}


SPOKEN = [
    START,
    event("content-start", 0, {"content": {"type": "thinking", "thinking": ""}}),
    event("content-delta", 0, {"content": {"thinking": "Hm, "}}),
    event("content-delta", 0, {"content": {"thinking": "sun."}}),
    event("content-end", 0),
    event("content-start", 1, {"content": {"type": "text", "text": ""}}),
    event("content-delta", 1, {"content": {"text": "It is "}}),
    event("content-delta", 1, {"content": {"text": "sunny."}}),
    event("citation-start", 0, {"citations": CITATION}),
    event("citation-end", 0),
    event("content-end", 1),
    end("COMPLETE"),
]
CALLING = [
    START,
    event("tool-plan-delta", None, {"tool_plan": "I will "}),
    event("tool-plan-delta", None, {"tool_plan": "look."}),
    event(
        "tool-call-start",
        0,
        {"tool_calls": {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": ""}}},
    ),
    event("tool-call-delta", 0, {"tool_calls": {"function": {"arguments": '{"city":'}}}),
    event("tool-call-delta", 0, {"tool_calls": {"function": {"arguments": '"Paris"}'}}}),
    event("tool-call-end", 0),
    event(
        "tool-call-start",
        1,
        {"tool_calls": {"id": "c2", "type": "function", "function": {"name": "now", "arguments": ""}}},
    ),
    event("tool-call-end", 1),
    end("TOOL_CALL"),
]


def check_stream(events: list[StreamEvent]) -> list[StreamEvent]:
    laws = StreamLaws()
    for one in events:
        laws.feed(one)
    return events


def decoded(events: list[Object], cuts: list[int] | None = None) -> list[StreamEvent]:
    raw = b"".join(_sse.encode(msgspec.json.encode(one), one["type"]) for one in events) + _sse.DONE_FRAME
    places = sorted({0, len(raw), *(cut % len(raw) for cut in cuts or [])})
    frames, decoder = _sse.SSEDecoder(), CohereChatStreamDecoder()
    told: list[StreamEvent] = []
    for start, stop in pairwise(places):
        for one in frames.feed(raw[start:stop]):
            told += decoder.feed(one)
    for one in frames.flush():
        told += decoder.feed(one)
    return told + decoder.flush()


@given(st.lists(st.integers(0, 5000), max_size=8))
def test_a_stream_says_the_same_wherever_its_bytes_are_split(cuts: list[int]) -> None:
    reply = fold(check_stream(decoded(SPOKEN, cuts)))
    thought, said = reply.items
    assert thought == Reasoning(content=("Hm, sun.",), origin="cohere")
    assert said == Message(
        role="assistant",
        content=(Text(text="It is sunny.", annotations=(Opaque(format="cohere_chat", raw=CITATION),)),),
    )
    assert (reply.id, reply.finish_reason) == ("s1", "stop")
    assert msgspec.structs.astuple(reply.usage)[:4] == (10, 5, 15, 4)  # type: ignore[arg-type]


def test_a_stream_of_calls_begins_with_their_plan() -> None:
    reply = fold(check_stream(decoded(CALLING)))
    assert reply.items == (
        Reasoning(summary=("I will look.",), origin="cohere"),
        ToolCall(call_id="c1", name="get_weather", arguments='{"city":"Paris"}'),
        ToolCall(call_id="c2", name="now", arguments="{}"),
    )
    assert reply.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("reason", "ours"),
    [("COMPLETE", "stop"), ("STOP_SEQUENCE", "stop"), ("MAX_TOKENS", "length"), ("NEW_ONE", "stop"), (None, "stop")],
    ids=str,
)
def test_finish_reasons_are_told_in_our_words(reason: Any, ours: str) -> None:
    assert fold(decoded([START, end(reason)])).finish_reason == ours
    assert CODEC.decode_reply(SAID | {"finish_reason": reason}).finish_reason == ours


BROKEN: dict[str, list[Object]] = {
    "cut": SPOKEN[:-1],
    "an error at the end": [START, end("ERROR")],
    "a time out": [START, end("TIMEOUT")],
    "nothing": [],
}


@pytest.mark.parametrize("events", BROKEN.values(), ids=BROKEN.keys())
def test_a_stream_that_broke_fails(events: list[Object]) -> None:
    last = decoded(events)[-1]
    assert isinstance(last, Failed)
    assert isinstance(last.error, UpstreamError)


def test_an_error_in_the_stream_is_told() -> None:
    decoder = CohereChatStreamDecoder()
    told = decoder.feed(_sse.SSEEvent(b'{"message": "too many tokens", "code": 400}'))
    assert isinstance(told[0], Failed)
    assert decoder.feed(_sse.SSEEvent(b"{}")) == decoder.flush() == []
    assert isinstance(CohereChatStreamDecoder().feed(_sse.SSEEvent(b"[1"))[0], Failed)


wire_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "message",
                    "content",
                    "text",
                    "thinking",
                    "tool_calls",
                    "function",
                    "arguments",
                    "name",
                    "id",
                    "finish_reason",
                    "usage",
                    "tokens",
                    "citations",
                    "tool_plan",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
TYPES = [
    "message-start",
    "content-start",
    "content-delta",
    "content-end",
    "tool-plan-delta",
    "tool-call-start",
    "tool-call-delta",
    "tool-call-end",
    "citation-start",
    "message-end",
    "debug",
]


@given(
    st.lists(
        st.sampled_from(SPOKEN + CALLING)
        | st.builds(
            lambda kind, delta, index: {"type": kind, "delta": delta, "index": index},
            st.sampled_from(TYPES),
            wire_values,
            st.integers(0, 2),
        )
    )
)
def test_any_stream_is_lawful(events: list[Object]) -> None:
    told = check_stream(decoded(events))
    if isinstance(told[-1], Failed):
        return
    fold(told)


@given(st.dictionaries(st.sampled_from(["message", "id", "finish_reason", "usage"]), wire_values))
def test_any_reply_is_decoded_or_refused(body: Object) -> None:
    try:
        reply = CODEC.decode_reply(body)
    except UpstreamError:
        return
    assert reply.items


def test_a_reply_without_a_message_is_none() -> None:
    with pytest.raises(UpstreamProtocolError):
        CODEC.decode_reply({"id": "x"})
    with pytest.raises(UpstreamError):
        CODEC.decode_reply(SAID | {"finish_reason": "ERROR"})


# requests


def encoded(body: Object, api: str = "chat", model: str = "command") -> tuple[Object, list[str]]:
    changes: list[Change] = []
    request = CODECS[api].decode_request({"model": "ours"} | body)
    told = UPSTREAM_CODECS["cohere_chat"].encode_request(request, model=model, quirks=QUIRKS, changes=changes)
    return told, [change.code for change in changes]


QUIRKS = Provider("cohere", api_key="k").quirks
ASK = [{"role": "user", "content": "What's the weather in Paris?"}]


def test_the_knobs_have_cohere_s_names() -> None:
    body, changes = encoded(
        {
            "messages": [{"role": "developer", "content": "Be kind."}, *ASK],
            "max_completion_tokens": 9,
            "temperature": 0.5,
            "top_p": 0.9,
            "seed": 1,
            "stop": "x",
            "frequency_penalty": 0.1,
            "presence_penalty": 0.2,
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
            "safety_mode": "STRICT",
        }
    )
    assert body == {
        "model": "command",
        "messages": [{"role": "system", "content": "Be kind."}, *ASK],
        "stream": False,
        "max_tokens": 9,
        "temperature": 0.5,
        "p": 0.9,
        "seed": 1,
        "stop_sequences": ["x"],
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
        "response_format": {"type": "json_object", "json_schema": {"type": "object"}},
        "safety_mode": "STRICT",
    }
    assert changes == []


LOST: dict[str, tuple[Object, Object, str]] = {
    "temperature": ({"temperature": 1.7}, {"temperature": 1.0}, "changed:temperature"),
    "effort": ({"reasoning_effort": "high"}, {}, "dropped:reasoning_effort"),
    "no effort": ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}, ""),
    "user": ({"user": "u"}, {}, "dropped:user"),
    "logprobs": ({"logprobs": True}, {}, "dropped:logprobs"),
    "one call at a time": ({"parallel_tool_calls": False}, {}, "dropped:parallel_tool_calls"),
    "an unknown field": ({"frobnicate": 1}, {}, "dropped:frobnicate"),
}


@pytest.mark.parametrize(("given_", "sent", "code"), LOST.values(), ids=LOST.keys())
def test_what_cohere_has_not_is_listed(given_: Object, sent: Object, code: str) -> None:
    body, changes = encoded({"messages": ASK} | given_)
    assert body == {"model": "command", "messages": ASK, "stream": False} | sent
    assert changes == ([code] if code else [])


CHOICES: dict[str, tuple[Any, Object]] = {
    "auto": ("auto", {}),
    "required": ("required", {"tool_choice": "REQUIRED"}),
    "none": ("none", {"tool_choice": "NONE"}),
    "named": ({"type": "function", "function": {"name": "get_weather"}}, {"tool_choice": "REQUIRED"}),
}


@pytest.mark.parametrize(("choice", "sent"), CHOICES.values(), ids=CHOICES.keys())
def test_a_choice_of_tools_is_one_of_two_words(choice: Any, sent: Object) -> None:
    other = {"type": "function", "function": {"name": "other"}}
    body, _ = encoded({"messages": ASK, "tools": [WEATHER, other], "tool_choice": choice})
    assert {key: value for key, value in body.items() if key == "tool_choice"} == sent
    empty = {"type": "object", "properties": {}}
    told = {"type": "function", "function": {"name": "other", "parameters": empty}}
    assert body["tools"] == ([WEATHER] if isinstance(choice, dict) else [WEATHER, told])


def test_a_tool_that_is_demanded_and_not_offered_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="tool_choice"):
        encoded({"messages": ASK, "tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "x"}}})


def test_a_turn_of_calls_is_one_message_and_its_results_are_tools() -> None:
    call = CALLED["message"]["tool_calls"][0]
    messages = [*ASK, {"role": "assistant", "content": "Let me see.", "tool_calls": [call]}]
    result = {"role": "tool", "tool_call_id": call["id"], "content": "Sunny, 22C in Paris"}
    body, changes = encoded({"messages": [*messages, result], "tools": [WEATHER]})
    assert body["messages"] == [
        *ASK,
        {"role": "assistant", "tool_calls": [call], "tool_plan": "Let me see."},
        result,
    ]
    assert changes == ["changed:messages"]


def test_images_go_and_what_is_none_of_cohere_s_is_refused() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}}
    text = {"type": "text", "text": "What is it?"}
    body, _ = encoded({"messages": [{"role": "user", "content": [text, image]}]})
    assert body["messages"][0]["content"] == [text, image]
    audio = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
    for wrong in ({"role": "user", "content": [audio]}, {"role": "system", "content": [image]}):
        with pytest.raises(GatewayError):
            encoded({"messages": [wrong]})
    for refused in ({"n": 2}, {"modalities": ["text", "audio"], "audio": {"voice": "v", "format": "wav"}}):
        with pytest.raises(UnsupportedError):
            encoded({"messages": ASK} | refused)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the recordings of ../shared are not at hand")
def test_every_recorded_request_and_reply_is_cohere_s_own() -> None:
    lines = (SHARED / "cohere.jsonl").read_text(encoding="utf-8").splitlines()
    for line in map(json.loads, lines):
        asked = line["request"]
        choice = asked.get("tool_choice")
        body, _ = encoded(asked | ({"tool_choice": choice.lower()} if choice else {}), model=asked["model"])
        assert body == asked
        reply = CODEC.decode_reply(line["json"])
        counts = line["json"]["usage"]["tokens"]
        assert reply.usage.input_tokens == counts["input_tokens"]  # type: ignore[union-attr]
        assert reply.usage.output_tokens == counts["output_tokens"]  # type: ignore[union-attr]


# through the gateway


async def through(script: Script, path: str, body: Object) -> tuple[int, bytes, Any]:
    async with ScriptedUpstream() as upstream, aiohttp.ClientSession() as session:
        upstream.script(script)
        provider = Provider("up", upstream.base_url.removesuffix("/v1") + "/v2", "key", type="cohere")
        async with (
            served(Gateway(models={"ours": Target(provider, "command")})) as url,
            session.post(url + path, json={"model": "ours"} | body) as response,
        ):
            got = response.status, await response.read()
        assert upstream.requests[-1].path == "/v2/chat"
        return *got, upstream.requests[-1]


async def test_a_chat_caller_gets_calls_and_usage() -> None:
    status, raw, sent = await through(
        Script.of_json(CALLED), "/v1/chat/completions", {"messages": ASK, "tools": [WEATHER]}
    )
    reply = json.loads(raw)
    choice = reply["choices"][0]
    assert (status, choice["finish_reason"], reply["model"]) == (200, "tool_calls", "ours")
    assert choice["message"]["tool_calls"] == CALLED["message"]["tool_calls"]
    assert reply["usage"]["prompt_tokens"] == 1441
    assert reply["usage"]["prompt_tokens_details"]["cached_tokens"] == 144
    assert sent.json()["tools"] == [WEATHER]
    assert sent.headers["authorization"] == "Bearer key"


async def test_a_responses_caller_gets_the_text() -> None:
    status, raw, sent = await through(Script.of_json(SAID), "/v1/responses", {"input": "What's up?"})
    reply = json.loads(raw)
    assert status == 200
    assert reply["output"][-1]["content"][0]["text"] == "The weather in Paris is currently sunny."
    assert sent.json() == {
        "model": "command",
        "messages": [{"role": "user", "content": "What's up?"}],
        "stream": False,
    }


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
async def test_a_stream_reaches_callers_of_both_apis(path: str) -> None:
    asked: Object = {"messages": ASK} if "chat" in path else {"input": "a"}
    status, raw, sent = await through(Script.of_events(SPOKEN, named=True), path, asked | {"stream": True})
    assert status == 200
    assert sent.json()["stream"] is True
    assert b"sunny." in raw
    assert b"Hm, " in raw
    assert raw.rstrip().endswith(b"data: [DONE]")


async def test_a_refusal_is_told_in_the_caller_s_own_shape() -> None:
    refusal = Script.of_json({"id": "1", "message": "invalid request: model not found"}, 404)
    status, raw, _ = await through(refusal, "/v1/chat/completions", {"messages": ASK})
    assert (status, json.loads(raw)["error"]["message"]) == (404, "invalid request: model not found")
