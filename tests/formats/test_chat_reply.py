"""Whole replies of chat, read and written."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from aigateway.canonical.types import (
    Audio,
    Item,
    Message,
    Opaque,
    Reasoning,
    Refusal,
    Reply,
    Text,
    ToolCall,
    UrlCitation,
    Usage,
)
from aigateway.errors import UpstreamError, UpstreamProtocolError
from aigateway.formats.chat.codec import ChatCodec
from tests.formats.chat_streams import context

CODEC = ChatCodec()


def completion(message: dict[str, Any], finish: Any = "stop", **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], **fields}


def answered(*parts: Text | Refusal | Audio) -> Message:
    return Message(role="assistant", content=parts)


CITED = {"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 0, "end_index": 1}}


@pytest.mark.parametrize(
    ("message", "items"),
    [
        pytest.param({"content": "A"}, (answered(Text(text="A")),), id="text"),
        pytest.param({"content": None}, (answered(Text(text="")),), id="nothing said"),
        pytest.param({}, (answered(Text(text="")),), id="no content at all"),
        pytest.param({"content": None, "refusal": "no"}, (answered(Refusal(text="no")),), id="refusal"),
        pytest.param(
            {"content": "A", "reasoning_content": "R"},
            (Reasoning(content=("R",)), answered(Text(text="A"))),
            id="reasoning_content",
        ),
        pytest.param(
            {"content": "A", "reasoning": "R"},
            (Reasoning(content=("R",)), answered(Text(text="A"))),
            id="reasoning",
        ),
        pytest.param(
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "R"}, {"type": "text", "text": "S"}]},
                    {"type": "thinking", "thinking": "T"},
                    {"type": "thinking", "thinking": None},
                    {"type": "text", "text": "A"},
                    {"type": "reference", "reference_ids": [1]},
                    {"type": "text", "text": "B"},
                ]
            },
            (Reasoning(content=("RST",)), answered(Text(text="AB"))),
            id="content list of Mistral",
        ),
        pytest.param(
            {"content": "A", "annotations": [CITED]},
            (answered(Text(text="A", annotations=(UrlCitation(url="u", title="t", end_index=1),))),),
            id="annotations",
        ),
        pytest.param(
            {"content": None, "audio": {"id": "a", "data": "AA", "transcript": "T", "expires_at": 5}},
            (answered(Audio(id="a", data="AA", transcript="T", expires_at=5)),),
            id="audio",
        ),
        pytest.param(
            {
                "content": None,
                "tool_calls": [
                    {"function": {"name": "f", "arguments": {"x": 1}}},
                    {"id": "", "type": "function", "function": {"name": "g"}},
                    {"id": "c", "type": "custom", "custom": {"name": "p", "input": "***"}},
                    {"id": "d", "type": "function", "function": {"name": "h", "arguments": '{"x'}},
                ],
            },
            (
                ToolCall(call_id="call_chatcmpl1_0", name="f", arguments='{"x":1}'),
                ToolCall(call_id="call_chatcmpl1_1", name="g", arguments=""),
                ToolCall(call_id="c", name="p", arguments="***", kind="custom"),
                ToolCall(call_id="d", name="h", arguments='{"x', status="incomplete"),
            ),
            id="tool calls of careless hosts",
        ),
        pytest.param(
            {"content": None, "function_call": {"name": "f", "arguments": "{}"}},
            (ToolCall(call_id="call_chatcmpl1_0", name="f", arguments="{}"),),
            id="function_call of old",
        ),
    ],
)
def test_messages_of_many_hosts_become_items(message: dict[str, Any], items: tuple[Item, ...]) -> None:
    assert CODEC.decode_reply(completion(message)).items == items


def test_reasoning_details_are_kept_raw_and_understood() -> None:
    details = [
        {"type": "reasoning.text", "text": "R", "signature": "sig"},
        {"type": "reasoning.encrypted", "data": "xyz", "id": "rs_1"},
    ]
    reply = CODEC.decode_reply(completion({"content": "A", "reasoning_details": details}))
    reasoning = reply.items[0]
    assert isinstance(reasoning, Reasoning)
    assert (reasoning.content, reasoning.signature, reasoning.encrypted, reasoning.id) == (
        ("R",),
        "sig",
        "xyz",
        "rs_1",
    )
    assert CODEC.encode_reply(reply, context())["choices"][0]["message"]["reasoning_details"] == details


@pytest.mark.parametrize(
    ("finish", "message", "expected"),
    [
        ("stop", {"content": "A"}, "stop"),
        ("length", {"content": "A"}, "length"),
        ("content_filter", {"content": None}, "content_filter"),
        ("function_call", {"function_call": {"name": "f"}}, "tool_calls"),
        ("stop", {"tool_calls": [{"id": "a", "function": {"name": "f"}}]}, "tool_calls"),
        (None, {"tool_calls": [{"id": "a", "function": {"name": "f"}}]}, "tool_calls"),
        ("length", {"tool_calls": [{"id": "a", "function": {"name": "f"}}]}, "length"),
        (None, {"content": "A"}, "stop"),
        ("eos", {"content": "A"}, "stop"),
        ("model_length", {"content": "A"}, "length"),
    ],
)
def test_finish_reasons_become_ours(finish: Any, message: dict[str, Any], expected: str) -> None:
    assert CODEC.decode_reply(completion(message, finish)).finish_reason == expected


@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 1},
                "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 2},
            },
            Usage(
                input_tokens=10,
                output_tokens=5,
                total_tokens=15,
                cached_tokens=4,
                reasoning_tokens=3,
                input_audio_tokens=1,
                output_audio_tokens=2,
            ),
        ),
        (
            {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4, "prompt_cache_hit_tokens": 9},
            Usage(input_tokens=3, output_tokens=1, total_tokens=4, cached_tokens=3),
        ),
        (
            {"prompt_tokens": 66, "completion_tokens": 6, "total_tokens": 100},
            Usage(input_tokens=66, output_tokens=34, total_tokens=100),
        ),
        (
            {
                "prompt_tokens": 7,
                "completion_tokens": 2,
                "total_tokens": 12,
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            Usage(input_tokens=7, output_tokens=5, total_tokens=12, reasoning_tokens=3),
        ),
        (
            {"prompt_tokens": 7, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 3}},
            Usage(input_tokens=7, output_tokens=5, total_tokens=12, reasoning_tokens=3),
        ),
        (
            {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 3},
            Usage(input_tokens=7, output_tokens=2, total_tokens=9),
        ),
        (None, UNSET),
        ({}, UNSET),
    ],
    ids=["details", "DeepSeek's counters", "Gemini's sum", "xAI's sum", "no sum", "a sum too small", "null", "empty"],
)
def test_usage_is_read(raw: Any, usage: Any) -> None:
    assert CODEC.decode_reply(completion({"content": "A"}, usage=raw)).usage == usage


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": []},
        {"choices": None},
        {"choices": ["x"]},
        {"choices": [{"text": "x"}]},
        {"choices": [{"message": "x"}]},
        {"choices": [{"message": {"content": 1}}]},
    ],
    ids=str,
)
def test_what_is_no_chat_completion_is_an_upstream_fault(body: dict[str, Any]) -> None:
    with pytest.raises(UpstreamProtocolError):
        CODEC.decode_reply(body)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"error": {"message": "Boom", "code": 429}}, 429, "Boom"),
        ({"error": {"message": "Boom", "code": "odd"}}, 502, "."),
        ({"error": "Boom"}, 502, "."),
        ({"choices": [{"message": {}, "error": {"message": "Boom", "code": 400}}]}, 400, "Boom"),
        (completion({"content": "half"}, "error"), 502, "broke off"),
        (completion({"content": "half"}, "insufficient_system_resource"), 502, "broke off"),
    ],
    ids=["status", "word", "string", "in the choice", "finish_reason error", "finish_reason of DeepSeek"],
)
def test_a_reply_that_tells_of_an_error_is_one(body: dict[str, Any], status: int, message: str) -> None:
    with pytest.raises(UpstreamError, match=message) as caught:
        CODEC.decode_reply(body)
    assert caught.value.status == status


def test_a_reply_is_written_as_openai_writes_it() -> None:
    reply = Reply(
        id="resp_1",
        model="other",
        created_at=0,
        items=(
            Reasoning(summary=("s1", "s2"), id="rs_1", encrypted="xyz"),
            Opaque(format="responses", raw={"type": "web_search_call"}),
            answered(Text(text="abc", logprobs=({"token": "abc"},))),
            answered(
                Text(
                    text="def",
                    annotations=(UrlCitation(url="u", title="t", end_index=1), Opaque(format="responses", raw={})),
                )
            ),
            ToolCall(call_id="a", name="f", arguments="{}"),
            ToolCall(call_id="b", name="p", arguments="***", kind="custom"),
        ),
        finish_reason="tool_calls",
        usage=Usage(input_tokens=4, output_tokens=3, total_tokens=7, cached_tokens=2, cache_write_tokens=1),
        service_tier="flex",
        system_fingerprint="fp",
    )
    details = {"type": "reasoning.encrypted", "data": "xyz", "format": "openai-responses-v1", "index": 0, "id": "rs_1"}
    moved = {"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 3, "end_index": 4}}
    assert CODEC.encode_reply(reply, context()) == {
        "id": "chatcmpl-new",
        "object": "chat.completion",
        "created": 1700000001,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "abcdef",
                    "refusal": None,
                    "annotations": [moved],
                    "reasoning_content": "s1\n\ns2",
                    "reasoning_details": [details],
                    "tool_calls": [
                        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                        {"id": "b", "type": "custom", "custom": {"name": "p", "input": "***"}},
                    ],
                },
                "logprobs": {"content": [{"token": "abc"}], "refusal": None},
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {
            "prompt_tokens": 4,
            "completion_tokens": 3,
            "total_tokens": 7,
            "prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": 0, "cache_write_tokens": 1},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        "service_tier": "flex",
        "system_fingerprint": "fp",
    }


def test_a_reply_without_text_has_null_content() -> None:
    call = ToolCall(call_id="a", name="f", arguments="{}")
    body = CODEC.encode_reply(Reply(id="chatcmpl-7", model="m", created_at=1, items=(call,)), context())
    assert body["id"] == "chatcmpl-7"
    assert body["created"] == 1
    assert body["choices"][0]["message"]["content"] is None
    assert body["choices"][0]["logprobs"] is None
    assert "usage" not in body


def test_a_refusal_and_audio_are_written() -> None:
    items = (answered(Refusal(text="no")), answered(Audio(id="a", data="AA")))
    message = CODEC.encode_reply(Reply(id="x", model="m", created_at=1, items=items), context())["choices"][0][
        "message"
    ]
    assert message["refusal"] == "no"
    assert message["audio"] == {"id": "a", "data": "AA", "transcript": "", "expires_at": 0}


def test_the_codec_gives_a_state_machine_for_each_stream() -> None:
    assert CODEC.stream_decoder() is not CODEC.stream_decoder()
    assert CODEC.stream_encoder(context()) is not CODEC.stream_encoder(context())
