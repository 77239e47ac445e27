"""What hooks see of Responses bodies and events."""

from __future__ import annotations

from typing import Any

import pytest

from aigateway import _json
from aigateway.formats.responses.lens import ResponsesEvent, ResponsesReply, ResponsesRequest

INPUT: list[dict[str, Any]] = [
    {"role": "user", "content": "one"},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "two"}, {"type": "input_image"}]},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "three"}]},
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "not for editing"}]},
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c", "output": "four"},
    {"type": "custom_tool_call_output", "call_id": "d", "output": [{"type": "input_text", "text": "five"}]},
]


def test_the_texts_of_a_request_are_all_that_its_input_gives_to_read() -> None:
    lens = ResponsesRequest({"model": "m", "instructions": "be kind", "input": INPUT})
    assert lens.texts() == ["one", "two", "three", "four", "five"]
    assert lens.instructions == "be kind"


@pytest.mark.parametrize("given", ["hi", INPUT], ids=["string", "items"])
def test_texts_are_edited_in_place(given: Any) -> None:
    lens = ResponsesRequest(_json.encode({"model": "m", "input": given, "x": [1]}))
    before = lens.texts()
    lens.map_texts(str.upper)
    again = ResponsesRequest(lens.raw)
    assert again.texts() == [text.upper() for text in before]
    assert again.body["x"] == [1]


def test_looking_changes_no_byte() -> None:
    raw = b'{ "model":"m",  "input":"hi" }'
    lens = ResponsesRequest(raw)
    assert (lens.texts(), lens.instructions, lens.max_output_tokens, lens.tools) == (["hi"], "", None, [])
    assert lens.raw is raw


def test_instructions_and_the_limit_can_be_set() -> None:
    lens = ResponsesRequest({"model": "m", "input": "hi"})
    lens.instructions = "be brief"
    lens.max_output_tokens = 20
    assert lens.body == {"model": "m", "input": "hi", "instructions": "be brief", "max_output_tokens": 20}
    assert lens.max_output_tokens == 20


REPLY: dict[str, Any] = {
    "status": "completed",
    "output": [
        {"type": "reasoning", "summary": []},
        {
            "type": "message",
            "content": [{"type": "output_text", "text": "hello"}, {"type": "refusal", "refusal": "no"}],
        },
    ],
    "usage": {"input_tokens": 2, "output_tokens": 1},
}


def test_a_reply_tells_its_texts_usage_and_finish() -> None:
    lens = ResponsesReply(REPLY)
    assert lens.texts() == ["hello"]
    assert lens.usage is not None
    assert lens.usage.total_tokens == 3
    assert lens.finish_reason == "stop"


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        pytest.param({"output": [{"type": "function_call"}]}, "tool_calls", id="function"),
        pytest.param({"output": [{"type": "custom_tool_call"}]}, "tool_calls", id="custom"),
        pytest.param({"status": "incomplete", "incomplete_details": None}, "length", id="length"),
        pytest.param(
            {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter", id="filter"
        ),
        pytest.param({"status": "failed"}, None, id="failed"),
    ],
)
def test_the_finish_reason_of_a_reply(facts: dict[str, Any], reason: str | None) -> None:
    assert ResponsesReply(REPLY | facts).finish_reason == reason


def test_the_text_of_an_event_can_be_edited_where_there_is_one() -> None:
    event = ResponsesEvent(b'{"type":"response.output_text.delta","delta":"hi"}')
    event.text = event.text.upper()
    assert event.data == {"type": "response.output_text.delta", "delta": "HI"}
    other = ResponsesEvent({"type": "response.function_call_arguments.delta", "delta": "{"})
    assert other.text == ""
    with pytest.raises(AttributeError):
        other.text = "x"


def test_usage_stands_on_the_event_that_carries_the_response() -> None:
    usage = ResponsesEvent({"type": "response.completed", "response": REPLY}).usage
    assert usage is not None
    assert usage.input_tokens == 2
    assert ResponsesEvent({"type": "response.output_text.delta"}).usage is None
