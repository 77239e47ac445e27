"""Requests of another format, made to fit the Responses API."""

from __future__ import annotations

from typing import Any

import pytest

from aigateway.canonical.quirks import Quirks
from aigateway.canonical.types import (
    Audio,
    Change,
    CustomTool,
    File,
    FunctionTool,
    Image,
    Item,
    Message,
    Opaque,
    Reasoning,
    Refusal,
    Request,
    Text,
    ToolCall,
    ToolResult,
)
from aigateway.errors import UnsupportedError
from tests.formats.responses_streams import CODEC


def encoded(request: Request) -> tuple[dict[str, Any], list[Change]]:
    changes: list[Change] = []
    return CODEC.encode_request(request, model="up", quirks=Quirks(), changes=changes), changes


def body_of(*items: Item, **knobs: Any) -> dict[str, Any]:
    return encoded(Request(model="m", items=items or (Message(role="user", content=(Text(text="hi"),)),), **knobs))[0]


def test_a_conversation_of_another_format() -> None:
    body = body_of(
        Message(role="system", content=(Text(text="be kind"),)),
        Message(role="user", content=(Text(text="look"), Image(url="https://a", detail="low"), File(file_id="f"))),
        Message(role="assistant"),
        ToolCall(call_id="c", name="f", arguments="{}"),
        ToolResult(call_id="c", output="42"),
        ToolCall(call_id="d", name="p", arguments="free", kind="custom"),
        ToolResult(call_id="d", output=(Text(text="ok"),), kind="custom"),
        Message(role="assistant", content=(Text(text="hi"), Refusal(text="no"))),
    )
    assert body == {
        "model": "up",
        "input": [
            {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "be kind"}]},
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "look"},
                    {"type": "input_image", "image_url": "https://a", "detail": "low"},
                    {"type": "input_file", "file_id": "f"},
                ],
            },
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "42"},
            {"type": "custom_tool_call", "call_id": "d", "name": "p", "input": "free"},
            {"type": "custom_tool_call_output", "call_id": "d", "output": [{"type": "input_text", "text": "ok"}]},
            {
                "type": "message",
                "role": "assistant",
                "content": [
                    {"type": "output_text", "text": "hi", "annotations": []},
                    {"type": "refusal", "refusal": "no"},
                ],
            },
        ],
        "store": False,
    }


def test_what_every_function_must_tell_is_written_out() -> None:
    tools = (FunctionTool(name="f"), FunctionTool(name="g", strict=True), CustomTool(name="p", description="d"))
    assert body_of(tools=tools)["tools"] == [
        {"type": "function", "name": "f", "parameters": None, "strict": False},
        {"type": "function", "name": "g", "parameters": None, "strict": True},
        {"type": "custom", "name": "p", "description": "d"},
    ]


def test_logprobs_are_asked_for_by_include() -> None:
    body = body_of(logprobs=True, top_logprobs=2)
    assert (body["include"], body["top_logprobs"]) == (["message.output_text.logprobs"], 2)
    assert "include" not in body_of(logprobs=False)


@pytest.mark.parametrize(
    ("knobs", "field"),
    [
        ({"stop": "x"}, "stop"),
        ({"seed": 1}, "seed"),
        ({"logit_bias": {"1": 2.0}}, "logit_bias"),
        ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_this_api_lacks_is_dropped_and_listed(knobs: dict[str, Any], field: str) -> None:
    hi = Message(role="user", content=(Text(text="hi"),))
    body, changes = encoded(Request(model="m", items=(hi,), **knobs))
    assert body == body_of(hi)
    assert [(change.field, change.action) for change in changes] == [(field, "dropped")]


def test_a_small_limit_is_raised_and_listed() -> None:
    hi = Message(role="user", content=(Text(text="hi"),))
    body, changes = encoded(Request(model="m", items=(hi,), max_output_tokens=5))
    assert body["max_output_tokens"] == 16
    assert [(change.field, change.action) for change in changes] == [("max_output_tokens", "changed")]
    assert encoded(Request(model="m", items=(hi,), max_output_tokens=16))[1] == []


def test_foreign_reasoning_and_names_are_dropped_and_listed_once() -> None:
    thought = Reasoning(content=("hm",))
    own = Reasoning(encrypted="sealed")
    named = Message(role="user", content=(Text(text="hi"),), name="ann")
    body, changes = encoded(Request(model="m", items=(named, thought, thought, own)))
    assert [item["type"] for item in body["input"]] == ["message", "reasoning"]
    assert body["input"][1] == {"type": "reasoning", "summary": [], "encrypted_content": "sealed"}
    assert [change.field for change in changes] == ["name", "reasoning"]


FOREIGN = Opaque(format="chat", raw={"type": "odd"})


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (Request(model="m", items=(), n=2), "n"),
        (Request(model="m", items=(), modalities=("text", "audio")), "modalities"),
        (Request(model="m", items=(Message(role="user", content=(Audio(data="A", format="wav"),)),)), "messages"),
        (Request(model="m", items=(ToolResult(call_id="c", output=(Audio(data="A"),)),)), "messages"),
        (Request(model="m", items=(FOREIGN,)), "messages"),
        (Request(model="m", items=(Message(role="user", content=(FOREIGN,)),)), "messages"),
        (Request(model="m", items=(), tool_choice=FOREIGN), "tool_choice"),
        (Request(model="m", items=(), output_format=FOREIGN), "response_format"),
    ],
    ids=["n", "modalities", "audio", "audio of a tool", "item", "part", "tool_choice", "response_format"],
)
def test_what_this_api_cannot_hold_is_refused(request_: Request, param: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        encoded(request_)
    assert caught.value.param == param


def test_one_choice_in_text_is_no_demand() -> None:
    assert body_of(n=1, modalities=("text",)) == body_of()


def test_tools_that_only_another_maker_runs_are_set_aside_unless_one_is_demanded() -> None:
    own = FunctionTool(name="t")
    body, changes = encoded(Request(model="m", items=(), tools=(FOREIGN, own), tool_choice="required"))
    assert ([tool["name"] for tool in body["tools"]], body["tool_choice"]) == (["t"], "required")
    assert "dropped:tools" in [change.code for change in changes]
    body, _ = encoded(Request(model="m", items=(), tools=(FOREIGN,), tool_choice="auto", parallel_tool_calls=True))
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & body.keys()
    with pytest.raises(UnsupportedError, match="demands a tool"):
        encoded(Request(model="m", items=(), tools=(FOREIGN,), tool_choice="required"))
