"""The messages format: documents come back as they were, streams fold to whole replies, at any chunking."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigateway._sse import SSEDecoder, encode
from aigateway.canonical.accumulator import fold, unfold
from aigateway.canonical.claude import version_of
from aigateway.canonical.events import StreamEvent
from aigateway.canonical.laws import StreamLaws
from aigateway.canonical.lens import Document
from aigateway.canonical.quirks import Quirks
from aigateway.canonical.seal import Sealed, seal
from aigateway.canonical.types import (
    Change,
    Image,
    Message,
    Reasoning,
    Refusal,
    Reply,
    Request,
    Text,
    ToolCall,
    ToolResult,
    UrlCitation,
    Usage,
)
from aigateway.errors import InvalidRequestError, UpstreamError, UpstreamProtocolError
from aigateway.formats.messages.codec import MessagesCodec
from aigateway.formats.messages.count import estimated_tokens
from aigateway.formats.messages.laws import MessageLaws
from aigateway.formats.messages.models import thinks, thinks_adaptively
from aigateway.formats.messages.relay import MessagesRelay
from aigateway.formats.messages.wire import messages_usage, safe_id
from aigateway.formats.protocol import ReplyContext

Object = dict[str, Any]

CODEC = MessagesCodec()
MODEL = "claude-opus-4-8"


def encoded(request: Request, model: str = MODEL) -> tuple[Object, list[str]]:
    changes: list[Change] = []
    body = CODEC.encode_request(request, model=model, quirks=Quirks(), changes=changes)
    return body, [change.code for change in changes]


def asked(**more: Any) -> Request:
    return Request(model="m", items=(Message(role="user", content=(Text(text="hi"),)),), **more)


def context() -> ReplyContext:
    ids = iter(range(1000))
    return ReplyContext(
        model="asked",
        document=Document({}),
        request=Request(model="", items=()),
        new_id=lambda p: f"{p}_{next(ids)}",
        now=lambda: 7,
    )


# --- documents come back as they were ---

words = st.text(min_size=1, max_size=8)
cached = st.sampled_from(
    [{}, {"cache_control": {"type": "ephemeral"}}, {"cache_control": {"type": "ephemeral", "ttl": "1h"}}]
)
json_object = st.dictionaries(words, st.none() | st.booleans() | st.integers(-9, 9) | words, max_size=3)


def block(**fields: Any) -> st.SearchStrategy[Object]:
    return st.builds(lambda facts, extra: {**facts, **extra}, st.fixed_dictionaries(fields), cached)


text = block(type=st.just("text"), text=words)
image = block(
    type=st.just("image"),
    source=st.sampled_from(
        [
            {"type": "base64", "media_type": "image/png", "data": "AAAA"},
            {"type": "url", "url": "https://example.com/a.png"},
            {"type": "file", "file_id": "file_1"},
        ]
    ),
)
document = block(
    type=st.just("document"),
    title=words,
    source=st.sampled_from(
        [
            {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
            {"type": "url", "url": "https://example.com/a.pdf"},
            {"type": "file", "file_id": "file_1"},
            {"type": "text", "media_type": "text/plain", "data": "words"},
            {"type": "content", "content": [{"type": "text", "text": "words"}]},
            {"type": "content", "content": [{"type": "image", "source": {"type": "url", "url": "https://x.y"}}]},
        ]
    ),
)
odd = st.sampled_from(
    [
        {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "x"}]},
        {"type": "z_new", "z": [1.5, None]},
    ]
)
user_part = text | image | document | odd
result = st.builds(
    lambda facts, more: {**facts, **more},
    st.fixed_dictionaries(
        {
            "type": st.just("tool_result"),
            "tool_use_id": st.just("toolu_1"),
            "content": words | st.lists(user_part, max_size=2),
        }
    ),
    st.sampled_from([{}, {"is_error": False}, {"cache_control": {"type": "ephemeral"}}]),
)
thought = st.fixed_dictionaries({"type": st.just("thinking"), "thinking": words, "signature": words})
redacted = st.fixed_dictionaries({"type": st.just("redacted_thinking"), "data": words})
call = block(type=st.just("tool_use"), id=st.just("toolu_1"), name=words, input=json_object)
server = st.sampled_from(
    [
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
        {
            "type": "web_search_tool_result",
            "tool_use_id": "srvtoolu_1",
            "content": [{"type": "web_search_result", "url": "u"}],
        },
        {"type": "compaction", "content": "what was said"},
    ]
)
user_message = st.builds(
    lambda results, parts: {"role": "user", "content": [*results, *parts]},
    st.lists(result, max_size=2),
    st.lists(user_part, min_size=1, max_size=3),
)
assistant_message = st.builds(
    lambda content: {"role": "assistant", "content": content},
    st.lists(text | thought | redacted | call | server, min_size=1, max_size=4),
)
system_message = st.builds(lambda content: {"role": "system", "content": [content]}, text)
conversation = st.lists(
    st.builds(lambda *turn: list(turn), user_message, assistant_message)
    | st.builds(lambda *turn: list(turn), user_message, system_message, assistant_message),
    min_size=1,
    max_size=3,
).map(lambda turns: [message for turn in turns for message in turn])
tool = st.builds(
    lambda facts, more: {**facts, **more},
    st.fixed_dictionaries(
        {
            "name": words,
            "description": words,
            "input_schema": json_object.map(lambda properties: {"type": "object", "properties": properties}),
        }
    ),
    st.sampled_from([{}, {"strict": True}, {"eager_input_streaming": True}, {"cache_control": {"type": "ephemeral"}}]),
) | st.sampled_from([{"type": "web_search_20250305", "name": "web_search"}, {"type": "bash_20250124", "name": "bash"}])
knobs = st.fixed_dictionaries(
    {},
    optional={
        "system": words | st.lists(text, min_size=1, max_size=2),
        "stream": st.just(True),
        "temperature": st.sampled_from([0, 0.5, 1]),
        "top_p": st.just(0.9),
        "top_k": st.just(5),
        "stop_sequences": st.lists(st.sampled_from(["a", "END"]), min_size=1, max_size=2),
        "tools": st.lists(tool, min_size=1, max_size=3),
        "thinking": st.sampled_from(
            [
                {"type": "enabled", "budget_tokens": 2000},
                {"type": "adaptive"},
                {"type": "adaptive", "display": "omitted"},
                {"type": "disabled"},
                {"type": "between_tools"},
            ]
        ),
        "output_config": st.sampled_from(
            [
                {"effort": "max"},
                {"format": {"type": "json_schema", "schema": {"type": "object"}}},
                {"task_budget": {"x": 1}},
            ]
        ),
        "metadata": st.sampled_from([{"user_id": "u"}, {"user_id": "u" * 99}, {"z": 1}]),
        "service_tier": st.sampled_from(["auto", "standard_only", "z_new"]),
        "cache_control": st.just({"type": "ephemeral"}),
        "context_management": st.just({"edits": [{"type": "clear_thinking_20251015"}]}),
        "mcp_servers": st.just([{"type": "url", "url": "https://x.y"}]),
    },
)


@given(conversation, knobs)
def test_a_request_of_this_api_comes_back_as_it_was(messages: list[Object], more: Object) -> None:
    body: Object = {"model": MODEL, "max_tokens": 8000, "messages": messages, **more}
    if body.get("tools"):
        body["tool_choice"] = {"type": "any", "disable_parallel_tool_use": True}
    again, changes = encoded(CODEC.decode_request(body))
    assert again == body
    assert changes == []


def test_a_text_in_place_of_blocks_is_one_block() -> None:
    body = {"model": MODEL, "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    again, _ = encoded(CODEC.decode_request(body))
    assert again["messages"] == [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "developer", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "messages[0].content[0].tool_use_id"),
        ({"messages": [{"role": "user", "content": "x"}], "tools": [{"name": "t"}]}, "tools[0].input_schema"),
        ({"messages": [{"role": "user", "content": "x"}], "tool_choice": {"type": "z"}}, "tool_choice.type"),
        ({"messages": [{"role": "user", "content": "x"}], "thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_named(body: Object, param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        CODEC.decode_request({"model": "m", **body})
    assert caught.value.param == param


# --- what other APIs ask ---


def test_a_limit_is_supplied_and_listed() -> None:
    body, changes = encoded(asked())
    assert body["max_tokens"] == 32_000
    assert changes == ["changed:max_output_tokens"]


@pytest.mark.parametrize(
    ("model", "effort", "limit", "thinking", "config"),
    [
        ("claude-opus-4-8", "high", 9000, {"type": "adaptive"}, {"effort": "high"}),
        ("claude-sonnet-4-5-20250929", "low", 9000, {"type": "enabled", "budget_tokens": 2048}, None),
        ("claude-sonnet-4-5-20250929", "high", 9000, {"type": "enabled", "budget_tokens": 4500}, None),
        ("claude-sonnet-4-5-20250929", "high", 1500, None, None),
        ("claude-3-5-haiku-latest", "high", 9000, None, None),
        ("claude-opus-4-8", "none", 9000, {"type": "disabled"}, None),
    ],
)
def test_an_effort_is_told_as_the_model_knows_it(
    model: str, effort: str, limit: int, thinking: Object | None, config: Object | None
) -> None:
    body, changes = encoded(asked(reasoning_effort=effort, max_output_tokens=limit), model)
    assert (body.get("thinking"), body.get("output_config")) == (thinking, config)
    assert changes == ([] if thinking else ["dropped:reasoning_effort"])


def test_a_model_that_thinks_gets_no_temperature_and_none_above_one() -> None:
    body, changes = encoded(asked(temperature=1.7, max_output_tokens=9), "claude-sonnet-4-5")
    assert (body["temperature"], changes) == (1.0, ["changed:temperature"])
    body, changes = encoded(asked(temperature=0.2, reasoning_effort="low", max_output_tokens=9000))
    assert "temperature" not in body
    assert changes == ["dropped:temperature"]


@pytest.mark.parametrize(
    ("model", "kept"),
    [
        ("claude-sonnet-4-20250514", ["temperature", "top_k", "top_p"]),
        ("claude-opus-4-1", ["temperature", "top_k"]),
        ("claude-haiku-4-5-20251001", ["temperature", "top_k"]),
        ("claude-opus-4-7", []),
        ("claude-fable-5", []),
        ("minimax-m2", ["temperature", "top_k", "top_p"]),
    ],
)
def test_newer_models_take_one_knob_of_sampling_or_none(model: str, kept: list[str]) -> None:
    knobs = {"temperature": 0.5, "top_p": 0.9, "top_k": 5}
    body, changes = encoded(asked(**knobs, max_output_tokens=9), model)
    assert sorted(knobs.keys() & body.keys()) == kept
    assert changes == [f"dropped:{name}" for name in knobs if name not in kept]
    body, changes = encoded(asked(top_p=0.9, max_output_tokens=9), model)
    assert ("top_p" in body, changes) == ((True, []) if kept else (False, ["dropped:top_p"]))


def test_calls_without_the_thoughts_before_them_switch_a_budget_off() -> None:
    items = (
        Message(role="user", content=(Text(text="q"),)),
        ToolCall(call_id="call_1", name="t", arguments="{}"),
        ToolResult(call_id="call_1", output="r"),
    )
    request = Request(model="m", items=items, reasoning_effort="high", max_output_tokens=9000)
    body, changes = encoded(request, "claude-sonnet-4-5")
    assert "thinking" not in body
    assert changes == ["dropped:reasoning_effort"]
    assert encoded(request, "claude-opus-4-6")[0]["thinking"] == {"type": "adaptive"}


def test_roles_take_turns_and_system_messages_keep_their_place_where_the_model_takes_them() -> None:
    items = (
        Message(role="system", content=(Text(text="first"),)),
        Message(role="user", content=(Text(text="q"), Image(url="data:image/webp;base64,AA"))),
        Message(role="developer", content=(Text(text="later"),)),
        Reasoning(content=("hm",)),
        ToolCall(call_id="functions.t:0", name="t", arguments='{"a": 1}'),
        ToolCall(call_id="call_2", name="t", arguments="[1"),
        ToolResult(call_id="functions.t:0", output="r"),
        ToolResult(call_id="call_2", output=(), is_error=True),
        Message(role="user", content=(Text(text="and?"),)),
    )
    request = Request(model="m", items=items, max_output_tokens=9, instructions="zero")
    body, changes = encoded(request)
    assert [block["text"] for block in body["system"]] == ["zero", "first"]
    assert [message["role"] for message in body["messages"]] == ["user", "system", "assistant", "user"]
    calls = body["messages"][2]["content"]
    assert [entry["input"] for entry in calls] == [{"a": 1}, {"INVALID_JSON": "[1"}]
    results = body["messages"][3]["content"]
    assert [entry.get("tool_use_id") for entry in results] == [calls[0]["id"], "call_2", None]
    assert results[1] == {"type": "tool_result", "tool_use_id": "call_2", "content": "(no output)", "is_error": True}
    assert body["messages"][0]["content"][1]["source"] == {"type": "base64", "media_type": "image/webp", "data": "AA"}
    assert changes == ["dropped:reasoning"]
    older, changes = encoded(request, "claude-sonnet-4-5")
    assert [message["role"] for message in older["messages"]] == ["user", "user", "assistant", "user"]
    assert changes == ["changed:messages", "dropped:reasoning"]


def test_only_anthropics_own_thoughts_go_back() -> None:
    own = Reasoning(content=("a", "b"), signature="sig", origin="anthropic")
    others = [Reasoning(encrypted="gAAA", origin="openai"), Reasoning(content=("c",), signature="s", origin="google")]
    request = asked(max_output_tokens=9)
    items = (*request.items, own, *others, Reasoning(encrypted="red", origin="anthropic"))
    body, changes = encoded(Request(model="m", items=items, max_output_tokens=9))
    assert body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "ab", "signature": "sig"},
        {"type": "redacted_thinking", "data": "red"},
    ]
    assert changes == ["dropped:reasoning.encrypted_content"]


@given(st.text(max_size=20))
def test_ids_of_calls_are_safe_and_stay_apart(call_id: str) -> None:
    made = safe_id(call_id)
    assert made == safe_id(call_id)
    assert made
    assert set(made) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("claude-sonnet-4-5-20250929", (4, 5)),
        ("claude-opus-4-20250514", (4, 0)),
        ("claude-3-7-sonnet-latest", (3, 7)),
        ("anthropic.claude-opus-4-8-v1:0", (4, 8)),
        ("anthropic/claude-sonnet-5", (5, 0)),
        ("qwen3-coder", None),
    ],
)
def test_versions_are_read_from_names(name: str, version: tuple[int, int] | None) -> None:
    assert version_of(name) == version
    assert thinks(name)
    assert thinks_adaptively(name) is (version is not None and version >= (4, 6))


# --- replies and streams ---

citation = st.just(UrlCitation(url="https://x.y", title="t", start_index=0, end_index=0))
message_item = st.lists(st.builds(Text, text=words) | st.builds(Refusal, text=words), min_size=1, max_size=3).map(
    lambda parts: Message(role="assistant", content=tuple(parts))
)
reasoning_item = st.builds(
    lambda content, sealed: Reasoning(content=(content,), **sealed),
    words,
    st.sampled_from(
        [{}, {"signature": "sig", "origin": "anthropic"}, {"encrypted": "e", "origin": "openai"}, {"encrypted": "e"}]
    ),
) | st.just(Reasoning(encrypted="red", origin="anthropic"))
call_item = st.builds(
    lambda name, arguments: ToolCall(
        call_id="call_1", name=name, arguments=json.dumps(arguments, separators=(",", ":"), ensure_ascii=False)
    ),
    words,
    json_object,
)
replies = st.builds(
    lambda items, reason: Reply(
        id="x",
        model="m",
        created_at=0,
        items=tuple(items),
        finish_reason="tool_calls" if any(isinstance(item, ToolCall) for item in items) else reason,
        usage=Usage(input_tokens=9, output_tokens=5, total_tokens=14, cached_tokens=2, cache_write_tokens=3),
    ),
    st.lists(message_item | reasoning_item | call_item, max_size=4),
    st.sampled_from(["stop", "length", "content_filter"]),
)


def wire_of(events: Iterable[StreamEvent]) -> list[Object]:
    encoder, laws, found = CODEC.stream_encoder(context()), MessageLaws(), []
    for event in events:
        for wire in encoder.feed(event):
            assert wire.name == wire.data["type"]
            laws.feed(wire.data)
            found.append(wire.data)
    return found


def read(events: list[Object], cuts: Iterable[int] = ()) -> list[StreamEvent]:
    raw = b"".join(encode(json.dumps(event).encode(), event["type"]) for event in events)
    places = [0, *sorted({place % len(raw) for place in cuts}), len(raw)]
    frames, decoder, laws, found = SSEDecoder(), CODEC.stream_decoder(), StreamLaws(), []
    for start, end in itertools.pairwise(places):
        for frame in frames.feed(raw[start:end]):
            found += decoder.feed(frame)
    found += decoder.flush()
    for event in found:
        laws.feed(event)
    return found


@given(replies, st.lists(st.integers(0, 10_000), max_size=6))
def test_a_stream_says_what_the_whole_reply_says_at_any_chunking(reply: Reply, cuts: list[int]) -> None:
    events = wire_of(unfold(reply))
    assert events[0]["type"] == "message_start"
    assert events[-1]["type"] == "message_stop"
    whole = CODEC.encode_reply(reply, context())
    folded, decoded = fold(read(events, cuts)), CODEC.decode_reply(whole)
    assert folded.items == decoded.items
    assert (folded.finish_reason, folded.usage) == (decoded.finish_reason, decoded.usage)
    assert decoded.usage == reply.usage, "what is cached is counted once"
    assert all(block["text"] for block in whole["content"] if block["type"] == "text")
    assert all(block["signature"] for block in whole["content"] if block["type"] == "thinking")


@given(st.lists(words, min_size=1, max_size=3))
def test_reasoning_comes_back_with_the_seal_of_its_maker(texts: list[str]) -> None:
    item = Reasoning(content=("".join(texts),), encrypted="secret", origin="openai")
    reply = Reply(id="x", model="m", created_at=0, items=(item,))
    block = CODEC.encode_reply(reply, context())["content"][0]
    assert block["signature"] == seal(Sealed(origin="openai", encrypted="secret"))
    body = {"model": "m", "messages": [{"role": "assistant", "content": [block]}]}
    assert CODEC.decode_request(body).items == (item,)


START: Object = {"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": {"input_tokens": 3}}}
END: list[Object] = [
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]


def test_imitations_that_leave_out_starts_and_stops_are_understood() -> None:
    deltas: list[Object] = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "hi"}},
    ]
    reply = fold(read([START, *deltas, END[0]]))
    assert reply.items == (Reasoning(content=("hm",)), Message(role="assistant", content=(Text(text="hi"),)))
    assert reply.usage == Usage(input_tokens=3, output_tokens=2, total_tokens=5)


def test_a_call_whose_input_came_whole_has_its_arguments() -> None:
    block = {"type": "tool_use", "id": "t", "name": "n", "input": {"a": 1}}
    events: list[Object] = [
        START,
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_stop", "index": 0},
        *END,
    ]
    call = fold(read(events)).items[0]
    assert isinstance(call, ToolCall)
    assert json.loads(call.arguments) == {"a": 1}


def test_a_stream_that_just_ends_failed_and_so_did_one_that_says_so() -> None:
    with pytest.raises(UpstreamProtocolError):
        fold(read([START]))
    error: Object = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    with pytest.raises(UpstreamError):
        fold(read([START, error]))


@pytest.mark.parametrize("body", [{"type": "error", "error": {"message": "x"}}, {"error": {"message": "x"}}, {}])
def test_what_is_no_message_is_the_upstreams_fault(body: Object) -> None:
    with pytest.raises(UpstreamError):
        CODEC.decode_reply(body)


def test_caches_of_both_lives_are_counted_once() -> None:
    raw = {
        "input_tokens": 5,
        "cache_read_input_tokens": 10,
        "cache_creation_input_tokens": 30,
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
        "output_tokens": 4,
        "output_tokens_details": {"thinking_tokens": 3},
    }
    usage = messages_usage(raw)
    assert usage is not None
    assert (usage.input_tokens, usage.cached_tokens, usage.cache_write_tokens) == (45, 10, 30)
    assert (usage.output_tokens, usage.reasoning_tokens, usage.total_tokens) == (4, 3, 49)
    del raw["cache_creation_input_tokens"]
    assert messages_usage(raw) == usage


def test_a_relay_adds_up_the_usage_of_first_and_last() -> None:
    relay = MessagesRelay("asked")
    out = b"".join(relay.feed(encode(json.dumps(event).encode(), event["type"])) for event in [START, *END])
    relay.flush()
    assert relay.finished
    assert relay.usage == Usage(input_tokens=3, output_tokens=2, total_tokens=5)
    assert b'"asked"' in out


@given(
    st.recursive(
        st.none() | st.integers() | words,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    )
)
def test_any_body_can_be_counted(content: Any) -> None:
    assert (
        estimated_tokens({"messages": [{"role": "user", "content": content}], "tools": content, "system": content}) >= 1
    )
