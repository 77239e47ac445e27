"""Streams of chat: what upstreams really send, and what callers get."""

from __future__ import annotations

from typing import Any

import pytest

from aigateway.canonical.accumulator import fold
from aigateway.canonical.events import (
    Delta,
    Failed,
    Finished,
    ItemEnded,
    ItemStarted,
    PartEnded,
    PartStarted,
    Started,
    StreamEvent,
    UsageReported,
)
from aigateway.canonical.types import (
    Audio,
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
from tests.formats.chat_streams import DONE, HEAD, calls, chunk, decode_chunks, encode, events_of

Chunks = list[dict[str, Any] | str]


def function(name: str | None = None, arguments: Any = None, **fields: Any) -> dict[str, Any]:
    """One entry of delta.tool_calls."""
    body = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {**fields, "function": body}


TWO = [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')]
TOOL_STREAMS: dict[str, tuple[Chunks, list[tuple[str, str, str]]]] = {
    "as OpenAI sends them": (
        [
            calls(function("f", "", index=0, id="a", type="function")),
            calls(function(None, '{"x"', index=0)),
            calls(function(None, ":1}", index=0)),
            calls(function("g", "", index=1, id="b", type="function")),
            calls(function(None, '{"y":2}', index=1)),
        ],
        TWO,
    ),
    "whole calls in one chunk": (
        [calls(function("f", '{"x":1}', index=0, id="a"), function("g", '{"y":2}', index=1, id="b"))],
        TWO,
    ),
    "no index, ids": (
        [
            calls(function("f", '{"x"', id="a")),
            calls(function(None, ":1}", id="a")),
            calls(function("g", '{"y":2}', id="b")),
        ],
        TWO,
    ),
    "no index, id only first": (
        [
            calls(function("f", '{"x"', id="a")),
            calls(function(None, ":1}")),
            calls(function("g", "", id="b")),
            calls(function(None, '{"y":2}')),
        ],
        TWO,
    ),
    "neither index nor id": (
        [calls(function("f", '{"x":1}')), calls(function("g", '{"y":2}'))],
        [("call_chatcmpl1_0", "f", '{"x":1}'), ("call_chatcmpl1_1", "g", '{"y":2}')],
    ),
    "all indexes zero": (
        [
            calls(function("f", '{"x"', index=0, id="a")),
            calls(function(None, ":1}", index=0)),
            calls(function("g", '{"y"', index=0, id="b")),
            calls(function(None, ":2}", index=0)),
        ],
        TWO,
    ),
    "all indexes zero, interleaved by id": (
        [
            calls(function("f", '{"x"', index=0, id="a")),
            calls(function("g", '{"y"', index=0, id="b")),
            calls(function(None, ":1}", index=0, id="a")),
            calls(function(None, ":2}", index=0, id="b")),
        ],
        TWO,
    ),
    "interleaved by index": (
        [
            calls(function("f", "", index=0, id="a"), function("g", "", index=1, id="b")),
            calls(function(None, '{"x"', index=0), function(None, '{"y"', index=1)),
            calls(function(None, ":1}", index=0), function(None, ":2}", index=1)),
        ],
        TWO,
    ),
    "id and name in every chunk": (
        [
            calls(function("f", '{"x"', index=0, id="a")),
            calls(function("f", ":1}", index=0, id="a")),
            calls(function("g", '{"y"', index=1, id="b")),
            calls(function("g", ":2}", index=1, id="b")),
        ],
        TWO,
    ),
    "a new id in every chunk": (
        [calls(function("f", '{"x"', index=0, id="a")), calls(function(None, ":1}", index=0, id="other"))],
        TWO[:1],
    ),
    "a new id before the arguments": (
        [calls(function("f", "", index=0, id="a")), calls(function(None, '{"x":1}', index=0, id="other"))],
        TWO[:1],
    ),
    "one id for all": (
        [calls(function("f", '{"x":1}', index=0, id="a")), calls(function("g", '{"y":2}', index=1, id="a"))],
        [TWO[0], ("a", "g", '{"y":2}')],
    ),
    "one id for all and index zero": (
        [calls(function("f", '{"x":1}', index=0, id="a")), calls(function("g", '{"y":2}', index=0, id="a"))],
        [TWO[0], ("a", "g", '{"y":2}')],
    ),
    "id only in the last chunk": (
        [
            calls(function("f", '{"x"', index=0)),
            calls(function(None, ":1}", index=0)),
            calls(function(None, "", index=0, id="a")),
        ],
        TWO[:1],
    ),
    "empty id in later chunks": (
        [calls(function("f", '{"x"', index=0, id="a")), calls(function("", ":1}", index=0, id=""))],
        TWO[:1],
    ),
    "never an id": (
        [calls(function("f", '{"x":1}', index=0)), calls(function("g", '{"y":2}', index=1))],
        [("call_chatcmpl1_0", "f", '{"x":1}'), ("call_chatcmpl1_1", "g", '{"y":2}')],
    ),
    "name in pieces": (
        [
            calls(function("get_", "", index=0, id="a")),
            calls(function("weather", index=0)),
            calls(function(None, "{}", index=0)),
        ],
        [("a", "get_weather", "{}")],
    ),
    "name growing": (
        [calls(function("get_", "", index=0, id="a")), calls(function("get_weather", "{}", index=0))],
        [("a", "get_weather", "{}")],
    ),
    "name repeated without arguments": (
        [
            calls(function("f", "", index=0, id="a")),
            calls(function("f", "", index=0)),
            calls(function("f", "{}", index=0)),
        ],
        [("a", "f", "{}")],
    ),
    "the whole call once more": (
        [
            calls(function("f", '{"x"', index=0, id="a")),
            calls(function(None, ":1}", index=0)),
            calls(function("f", '{"x":1}', index=0, id="a")),
        ],
        TWO[:1],
    ),
    "arguments as an object": ([calls(function("f", {"x": 1}, index=0, id="a"))], TWO[:1]),
    "no arguments": ([calls(function("f", index=0, id="a"))], [("a", "f", "")]),
    "a call of nothing": (
        [calls(function("", "", index=0)), calls(function("f", '{"x":1}', index=1, id="a"))],
        TWO[:1],
    ),
    "an index of another type": ([calls(function("f", '{"x":1}', index=[0], id="a"))], TWO[:1]),
    "function_call of old": (
        [
            chunk({"function_call": {"name": "f", "arguments": ""}}),
            chunk({"function_call": {"arguments": '{"x":1}'}}),
        ],
        [("call_chatcmpl1_0", "f", '{"x":1}')],
    ),
}


@pytest.mark.parametrize(("chunks", "expected"), TOOL_STREAMS.values(), ids=TOOL_STREAMS)
def test_tool_calls_keep_identity_and_order_whatever_the_upstream_does(
    chunks: Chunks, expected: list[tuple[str, str, str]]
) -> None:
    reply = fold(decode_chunks([*chunks, chunk({}, "tool_calls"), DONE]))
    found = [(item.call_id, item.name, item.arguments) for item in reply.items if isinstance(item, ToolCall)]
    assert found == expected
    assert reply.finish_reason == "tool_calls"


@pytest.mark.parametrize("chunks", [chunks for chunks, _ in TOOL_STREAMS.values()], ids=TOOL_STREAMS)
def test_what_is_announced_of_a_tool_call_is_what_it_ends_as(chunks: Chunks) -> None:
    events = decode_chunks([*chunks, chunk({}, "tool_calls"), DONE])
    started = {event.index: event.item for event in events if isinstance(event, ItemStarted)}
    ended = {event.index: event.item for event in events if isinstance(event, ItemEnded)}
    deltas = {index: "".join(e.text for e in events if isinstance(e, Delta) and e.index == index) for index in started}
    for index, item in ended.items():
        first = started[index]
        assert isinstance(item, ToolCall)
        assert isinstance(first, ToolCall)
        assert (first.call_id, first.name, first.arguments + deltas[index]) == (item.call_id, item.name, item.arguments)


def test_arguments_stream_as_they_come() -> None:
    events = decode_chunks(
        [calls(function("f", "", index=0, id="a")), *(calls(function(None, piece, index=0)) for piece in '{"x":1}')]
    )
    assert [event.text for event in events if isinstance(event, Delta)] == list('{"x":1}')


def test_a_call_with_cut_arguments_is_marked_incomplete() -> None:
    reply = fold(decode_chunks([calls(function("f", '{"x":', index=0, id="a")), chunk({}, "length"), DONE]))
    assert reply.items == (ToolCall(call_id="a", name="f", arguments='{"x":', status="incomplete"),)
    assert reply.finish_reason == "length"


def test_a_custom_call_keeps_its_free_text() -> None:
    entries = [
        {"index": 0, "id": "a", "type": "custom", "custom": {"name": "patch", "input": "*** "}},
        {"index": 0, "custom": {"input": "Begin"}},
    ]
    reply = fold(decode_chunks([*(calls(entry) for entry in entries), chunk({}, "tool_calls"), DONE]))
    assert reply.items == (ToolCall(call_id="a", name="patch", arguments="*** Begin", kind="custom"),)


def shape(events: list[StreamEvent]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_a_stream_has_the_lawful_order() -> None:
    events = decode_chunks(
        [
            chunk({"role": "assistant", "content": ""}),
            chunk({"reasoning_content": "hm"}),
            chunk({"content": "Hi"}),
            calls(function("f", "{}", index=0, id="a")),
            chunk({"content": "more"}),
            chunk({}, "stop"),
            {**HEAD, "choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}},
            DONE,
        ]
    )
    message = ["ItemStarted", "PartStarted", "Delta", "PartEnded", "ItemEnded"]
    call = ["ItemStarted", "Delta", "ItemEnded"]
    assert shape(events) == ["Started", *message, *message, *call, *message, "UsageReported", "Finished"]
    assert events[-1] == Finished("tool_calls")
    assert [type(item).__name__ for item in fold(events).items] == ["Reasoning", "Message", "ToolCall", "Message"]


@pytest.mark.parametrize(
    ("chunks", "items"),
    [
        pytest.param(
            [chunk({"reasoning": "a"}), chunk({"reasoning": "b", "content": ""}), chunk({"content": "c"})],
            (Reasoning(content=("ab",)), Message(role="assistant", content=(Text(text="c"),))),
            id="reasoning of OpenRouter and Groq",
        ),
        pytest.param(
            [
                chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "a"}]}]}),
                chunk({"content": [{"type": "text", "text": "b"}]}),
                chunk({"content": "c"}),
            ],
            (Reasoning(content=("a",)), Message(role="assistant", content=(Text(text="bc"),))),
            id="content lists of Mistral",
        ),
        pytest.param(
            [chunk({"refusal": "I "}), chunk({"refusal": "won't"})],
            (Message(role="assistant", content=(Refusal(text="I won't"),)),),
            id="refusal",
        ),
        pytest.param(
            [chunk({"content": "So: "}), chunk({"refusal": "no"})],
            (Message(role="assistant", content=(Text(text="So: "), Refusal(text="no"))),),
            id="refusal after text is one message",
        ),
        pytest.param(
            [chunk({"role": "assistant", "content": ""})],
            (Message(role="assistant", content=(Text(text=""),)),),
            id="nothing said is an empty message",
        ),
        pytest.param(
            [
                chunk({"content": "a"}),
                chunk({"annotations": [{"type": "url_citation", "url_citation": {"url": "u", "title": "t"}}]}),
                chunk({"annotations": [{"type": "odd"}]}),
            ],
            (
                Message(
                    role="assistant",
                    content=(
                        Text(
                            text="a",
                            annotations=(UrlCitation(url="u", title="t"), Opaque(format="chat", raw={"type": "odd"})),
                        ),
                    ),
                ),
            ),
            id="annotations",
        ),
        pytest.param(
            [
                chunk({"audio": {"id": "audio_1", "transcript": "Hel"}}),
                chunk({"audio": {"data": "AAA", "transcript": "lo"}}),
                chunk({"audio": {"data": "BBB", "expires_at": 9}}),
            ],
            (
                Message(
                    role="assistant",
                    content=(Audio(id="audio_1", data="AAABBB", transcript="Hello", expires_at=9),),
                ),
            ),
            id="audio",
        ),
        pytest.param(
            [{**HEAD, "choices": [{"index": 1, "delta": {"content": "other"}}]}, chunk({"content": "first"})],
            (Message(role="assistant", content=(Text(text="first"),)),),
            id="only the first choice counts",
        ),
        pytest.param(
            [{"id": "", "choices": [], "prompt_filter_results": []}, "", chunk({"content": "a"})],
            (Message(role="assistant", content=(Text(text="a"),)),),
            id="Azure's empty first chunk",
        ),
        pytest.param(
            [
                {
                    **HEAD,
                    "choices": [
                        {"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [{"token": "a"}]}},
                    ],
                }
            ],
            (Message(role="assistant", content=(Text(text="a", logprobs=({"token": "a"},)),)),),
            id="logprobs",
        ),
    ],
)
def test_deltas_of_many_hosts_become_items(chunks: Chunks, items: tuple[Any, ...]) -> None:
    events = decode_chunks([*chunks, chunk({}, "stop"), DONE])
    assert fold(events).items == items
    assert fold(events).id == "chatcmpl-1"


def test_reasoning_details_alone_are_the_reasoning() -> None:
    details = [{"type": "reasoning.summary", "summary": "a", "index": 0}, 1]
    events = decode_chunks([chunk({"reasoning_details": details}), chunk({"content": "c"}, "stop"), DONE])
    reasoning = fold(events).items[0]
    assert isinstance(reasoning, Reasoning)
    assert reasoning.content == ("a",)


def test_reasoning_details_are_put_together_and_kept_raw() -> None:
    chunks: Chunks = [
        chunk({"reasoning": "a", "reasoning_details": [{"type": "reasoning.text", "text": "a", "index": 0}]}),
        chunk({"reasoning": "b", "reasoning_details": [{"type": "reasoning.text", "text": "b", "index": 0}]}),
        chunk({"reasoning_details": [{"type": "reasoning.encrypted", "data": "xyz", "id": "rs_1", "index": 1}]}),
        chunk({"content": "c"}),
    ]
    reasoning = fold(decode_chunks([*chunks, chunk({}, "stop"), DONE])).items[0]
    assert isinstance(reasoning, Reasoning)
    assert (reasoning.content, reasoning.encrypted, reasoning.id) == (("ab",), "xyz", "rs_1")
    assert reasoning.extra
    assert [entry.get("text") for entry in reasoning.extra.fields["reasoning_details"]] == ["ab", None]


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([{**HEAD, "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}], id="last chunk"),
        pytest.param([chunk({}, usage={"prompt_tokens": 1, "completion_tokens": 2})], id="beside a choice"),
        pytest.param([chunk({}, x_groq={"usage": {"prompt_tokens": 1, "completion_tokens": 2}})], id="x_groq"),
        pytest.param(
            [
                {
                    **HEAD,
                    "choices": [{"index": 0, "delta": {}, "usage": {"prompt_tokens": 1, "completion_tokens": 2}}],
                }
            ],
            id="inside the choice",
        ),
        pytest.param(
            [
                chunk({}, usage={"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}),
                chunk({}, usage=None),
                chunk({}, usage={"prompt_tokens": 1, "completion_tokens": 2}),
                chunk({}, usage={}),
            ],
            id="in every chunk",
        ),
    ],
)
def test_usage_is_told_once_and_before_the_end(chunks: Chunks) -> None:
    events = decode_chunks([chunk({"content": "a"}), chunk({}, "stop"), *chunks, DONE])
    assert shape(events)[-2:] == ["UsageReported", "Finished"]
    assert [event.usage for event in events if isinstance(event, UsageReported)] == [
        Usage(input_tokens=1, output_tokens=2, total_tokens=3)
    ]


@pytest.mark.parametrize(
    ("finishes", "reason"),
    [
        (["stop"], "stop"),
        (["length"], "length"),
        (["content_filter"], "content_filter"),
        (["function_call"], "tool_calls"),
        (["stop", "length"], "length"),
        (["length", "stop"], "length"),
        (["", "stop", "stop"], "stop"),
        (["end_turn"], "stop"),
        (["eos"], "stop"),
        (["max_tokens"], "length"),
    ],
)
def test_finish_reasons_become_ours(finishes: list[str], reason: str) -> None:
    events = decode_chunks([chunk({"content": "a"}), *(chunk({}, finish) for finish in finishes), DONE])
    assert events[-1] == Finished(reason)
    assert shape(events).count("Finished") == 1


def test_a_stream_without_done_is_finished_by_its_finish_reason() -> None:
    assert decode_chunks([chunk({"content": "a"}, "stop")])[-1] == Finished("stop")


@pytest.mark.parametrize(
    ("chunks", "kind", "status", "message"),
    [
        pytest.param([chunk({"content": "a"})], UpstreamProtocolError, 502, "ended its stream", id="cut"),
        pytest.param(
            [chunk({"content": "a"}), DONE], UpstreamProtocolError, 502, "ended its stream", id="cut with DONE"
        ),
        pytest.param([], UpstreamProtocolError, 502, "ended its stream", id="empty"),
        pytest.param([DONE], UpstreamProtocolError, 502, "ended its stream", id="nothing but DONE"),
        pytest.param([chunk({"content": "a"}), "<html>"], UpstreamProtocolError, 502, "no JSON", id="garbage"),
        pytest.param([chunk({"content": "a"}), "[1]"], UpstreamProtocolError, 502, "no JSON", id="not an object"),
        pytest.param(
            [chunk({"content": "a"}), {"error": {"message": "Too many", "code": 429}}],
            UpstreamError,
            429,
            "Too many",
            id="error with a status",
        ),
        pytest.param([{"error": {"message": "Boom"}}], UpstreamError, 502, "", id="error first"),
        pytest.param([{"error": "Boom"}], UpstreamError, 502, "", id="error as a string"),
        pytest.param(
            [{**HEAD, "choices": [{"index": 0, "delta": {}, "error": {"message": "Boom"}}]}],
            UpstreamError,
            502,
            "",
            id="error in the choice",
        ),
        pytest.param(
            [chunk({"content": "a"}, "error"), DONE], UpstreamError, 502, "broke off", id="finish_reason error"
        ),
        pytest.param(
            [chunk({"content": "a"}, "length"), chunk({}, error={"message": "Boom"})],
            UpstreamError,
            502,
            "",
            id="error after the finish",
        ),
    ],
)
def test_a_stream_that_broke_never_ends_in_success(
    chunks: Chunks, kind: type[UpstreamError], status: int, message: str
) -> None:
    events = decode_chunks(chunks)
    failed = [event for event in events if isinstance(event, Failed)]
    assert events[-1] is failed[0]
    assert len(failed) == 1
    assert type(failed[0].error) is kind
    assert failed[0].error.status == status
    assert message in failed[0].error.message
    assert "Finished" not in shape(events)


def test_nothing_follows_a_failure() -> None:
    events = decode_chunks([{"error": {"message": "Boom"}}, chunk({"content": "late"}, "stop"), DONE])
    assert shape(events) == ["Failed"]


def test_usage_of_a_broken_stream_is_told_too() -> None:
    events = decode_chunks([chunk({"content": "a"}, usage={"prompt_tokens": 1, "completion_tokens": 1})])
    assert shape(events)[-2:] == ["UsageReported", "Failed"]


REPLY = Reply(
    id="chatcmpl-9",
    model="m",
    created_at=1700000000,
    items=(
        Reasoning(content=("why",)),
        Message(role="assistant", content=(Text(text="because"),)),
        ToolCall(call_id="a", name="f", arguments='{"x":1}'),
        ToolCall(call_id="b", name="patch", arguments="*** Begin", kind="custom"),
    ),
    finish_reason="tool_calls",
    usage=Usage(input_tokens=5, output_tokens=7, total_tokens=12),
    service_tier="default",
    system_fingerprint="fp_1",
)


def test_a_caller_gets_the_chunks_that_openai_sends() -> None:
    chunks = encode(events_of(REPLY, 4))
    assert all(
        (out["id"], out["object"], out["created"], out["model"], out["service_tier"], out["system_fingerprint"])
        == ("chatcmpl-9", "chat.completion.chunk", 1700000000, "m", "default", "fp_1")
        for out in chunks
    )
    assert all("usage" not in out for out in chunks)
    deltas = [out["choices"][0]["delta"] for out in chunks]
    assert deltas == [
        {"role": "assistant", "content": None, "refusal": None},
        {"reasoning_content": "why"},
        {"content": "beca"},
        {"content": "use"},
        {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 1, "id": "b", "type": "custom", "custom": {"name": "patch", "input": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"x"'}}]},
        {"tool_calls": [{"index": 1, "custom": {"input": "*** "}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]},
        {"tool_calls": [{"index": 1, "custom": {"input": "Begi"}}]},
        {"tool_calls": [{"index": 1, "custom": {"input": "n"}}]},
        {},
    ]
    assert [out["choices"][0]["finish_reason"] for out in chunks] == [None] * 11 + ["tool_calls"]


def test_the_usage_chunk_comes_only_to_those_who_asked() -> None:
    chunks = encode(events_of(REPLY), include_usage=True)
    assert all(out["usage"] is None and len(out["choices"]) == 1 for out in chunks[:-1])
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 12


def test_summaries_stand_for_reasoning_that_is_not_shown() -> None:
    items = (
        Reasoning(summary=("one", "two"), encrypted="xyz", id="rs_1"),
        Reasoning(summary=("three",)),
        Message(role="assistant", content=(Text(text="a"),)),
    )
    chunks = encode(events_of(Reply(id="resp_1", model="m", created_at=0, items=items), 10))
    deltas = [out["choices"][0]["delta"] for out in chunks]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "one\n\ntwo\n\nthree"
    details = [delta["reasoning_details"] for delta in deltas if "reasoning_details" in delta]
    assert details == [
        [
            {
                "type": "reasoning.encrypted",
                "data": "xyz",
                "format": "openai-responses-v1",
                "index": 0,
                "id": "rs_1",
            }
        ]
    ]
    assert chunks[0]["id"] == "chatcmpl-new"
    assert chunks[0]["created"] == 1700000001


def test_of_summary_and_reasoning_only_one_is_sent() -> None:
    item = Reasoning(summary=("short",), content=("long",))
    chunks = encode(events_of(Reply(id="resp_1", model="m", created_at=0, items=(item,)), 10))
    deltas = [out["choices"][0]["delta"] for out in chunks]
    assert [delta["reasoning_content"] for delta in deltas if "reasoning_content" in delta] == ["short"]


def test_annotations_of_a_second_text_point_into_the_whole_content() -> None:
    cited = Text(text="def", annotations=(UrlCitation(url="u", start_index=0, end_index=3),))
    items = (Message(role="assistant", content=(Text(text="abc"), cited)),)
    chunks = encode(events_of(Reply(id="chatcmpl-1", model="m", created_at=1, items=items)))
    found = [a for out in chunks for a in out["choices"][0]["delta"].get("annotations", ())]
    assert [(a["url_citation"]["start_index"], a["url_citation"]["end_index"]) for a in found] == [(3, 6)]


def test_foreign_items_and_annotations_are_passed_over() -> None:
    opaque = Opaque(format="responses", raw={"type": "web_search_call"})
    events: list[StreamEvent] = [
        Started("chatcmpl-1", "m", 1),
        ItemStarted(0, opaque),
        PartStarted(0, 0, Text(text="")),
        PartEnded(0, 0, Text(text="")),
        ItemEnded(0, opaque),
        Delta(7, 0, "of nothing"),
        Finished("stop", "flex"),
    ]
    chunks = encode(events)
    assert len(chunks) == 2
    assert chunks[-1]["service_tier"] == "flex"


def test_a_failure_is_one_error_object() -> None:
    error = UpstreamError("Boom", status=429, code="rate_limit_exceeded", type="rate_limit_error")
    expected = {"error": {"message": "Boom", "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}}
    assert encode([Started("chatcmpl-1", "m", 1), Failed(error)])[-1] == expected


def test_audio_reaches_the_caller_whole() -> None:
    audio = Audio(id="audio_1", data="AAA", transcript="Hi", expires_at=9)
    message = Message(role="assistant", content=(audio,))
    chunks = encode([Started("chatcmpl-1", "m", 1), ItemStarted(0, Message(role="assistant")), ItemEnded(0, message)])
    assert chunks[-1]["choices"][0]["delta"] == {
        "audio": {"id": "audio_1", "data": "AAA", "transcript": "Hi", "expires_at": 9}
    }
