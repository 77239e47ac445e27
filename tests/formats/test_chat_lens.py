"""What hooks read and edit of chat."""

from __future__ import annotations

from typing import Any

import pytest

from aigateway import _json
from aigateway.canonical.types import Usage
from aigateway.formats.chat.lens import ChatEvent, ChatReply, ChatRequest


def asked(*messages: dict[str, Any], **fields: Any) -> ChatRequest:
    return ChatRequest(_json.encode({"model": "m", "messages": list(messages), **fields}))


S, D, U = ({"role": role, "content": text} for role, text in (("system", "S"), ("developer", "D"), ("user", "U")))


def test_instructions_are_the_leading_system_and_developer_messages() -> None:
    assert asked(S, D, U, S).instructions == "S\n\nD"
    assert asked(U).instructions == ""
    assert asked({"role": "system", "content": [{"type": "text", "text": "P"}]}, U).instructions == "P"


@pytest.mark.parametrize(
    ("before", "value", "roles"),
    [
        ([S, D, U], "X", ["system", "user"]),
        ([D, U], "X", ["developer", "user"]),
        ([U], "X", ["system", "user"]),
        ([S, U], "", ["user"]),
    ],
    ids=["replaced", "role kept", "inserted", "removed"],
)
def test_instructions_read_as_they_were_set(before: list[dict[str, Any]], value: str, roles: list[str]) -> None:
    lens = asked(*before)
    lens.instructions = value
    assert lens.instructions == value
    assert [message["role"] for message in lens.body["messages"]] == roles
    assert _json.decode(lens.raw)["messages"][-1] == U


def test_every_text_of_a_request_can_be_read_and_edited() -> None:
    lens = asked(
        S,
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "u"}}]},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "tool_call_id": "x", "content": "r"},
    )
    assert lens.texts() == ["S", "a", "r"]
    lens.map_texts(str.upper)
    assert lens.texts() == ["S", "A", "R"]
    assert lens.body["messages"][1]["content"][1] == {"type": "image_url", "image_url": {"url": "u"}}


def test_a_request_that_was_only_read_stays_byte_for_byte() -> None:
    raw = b'{ "messages": [ {"role":"user","content":"\\u00e9"} ], "odd": 1.0 }'
    lens = ChatRequest(raw)
    assert lens.texts() == ["é"]
    assert (lens.instructions, lens.max_output_tokens) == ("", None)
    assert lens.raw == raw


@pytest.mark.parametrize(
    ("fields", "limit", "after"),
    [
        ({"max_tokens": 5}, 5, {"max_tokens": 9}),
        ({"max_completion_tokens": 5}, 5, {"max_completion_tokens": 9}),
        ({"max_completion_tokens": 6, "max_tokens": 5}, 6, {"max_completion_tokens": 9, "max_tokens": 9}),
        ({}, None, {"max_completion_tokens": 9}),
    ],
    ids=["max_tokens", "max_completion_tokens", "both", "neither"],
)
def test_the_limit_is_set_where_it_stands(fields: dict[str, Any], limit: int | None, after: dict[str, Any]) -> None:
    lens = asked(U, **fields)
    assert lens.max_output_tokens == limit
    lens.max_output_tokens = 9
    assert {key: lens.body[key] for key in after} == after
    assert len(lens.body) == 2 + len(after)


@pytest.mark.parametrize("messages", [None, "x", [1], [{"role": "system"}]], ids=str)
def test_odd_messages_do_no_harm(messages: Any) -> None:
    lens = ChatRequest({"messages": messages})
    assert lens.instructions == ""
    assert lens.texts() == []
    lens.instructions = "X"
    assert lens.instructions == "X"


def test_a_reply_shows_the_texts_of_all_choices() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    choices = [
        {"message": {"content": "a", "tool_calls": [{}]}, "finish_reason": "stop"},
        {"message": {"content": None}},
        {"message": {"content": [{"type": "text", "text": "b"}]}},
        {"message": None},
    ]
    lens = ChatReply({"model": "m", "choices": choices, "usage": usage})
    assert lens.texts() == ["a", "b"]
    lens.map_texts(str.upper)
    assert lens.texts() == ["A", "B"]
    assert lens.usage == Usage(input_tokens=1, output_tokens=2, total_tokens=3)
    assert lens.finish_reason == "tool_calls"
    assert ChatReply({"error": {}}).finish_reason is None
    assert ChatReply({}).usage is None


def test_a_chunk_shows_and_takes_text() -> None:
    raw = b'{"choices": [{"index": 0, "delta": {"content": "a"}}]}'
    lens = ChatEvent(raw)
    assert (lens.type, lens.text, lens.usage, lens.raw) == ("chat.completion.chunk", "a", None, raw)
    lens.text = "b"
    assert _json.decode(lens.raw)["choices"][0]["delta"] == {"content": "b"}


@pytest.mark.parametrize(
    "usage",
    [{"usage": {"prompt_tokens": 1}}, {"x_groq": {"usage": {"prompt_tokens": 1}}}],
    ids=["usage", "x_groq"],
)
def test_a_chunk_without_choices_tells_its_usage(usage: dict[str, Any]) -> None:
    lens = ChatEvent({"choices": [], **usage})
    assert lens.text == ""
    assert lens.usage == Usage(input_tokens=1, total_tokens=1)
    with pytest.raises(AttributeError):
        lens.text = "x"


def test_an_error_in_the_stream_is_an_event_of_type_error() -> None:
    lens = ChatEvent({"error": {"message": "Boom"}})
    assert (lens.type, lens.text, lens.usage) == ("error", "", None)
