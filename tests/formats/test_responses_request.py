"""Responses request bodies <-> canonical requests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aigateway.canonical.quirks import Quirks
from aigateway.canonical.types import (
    AdditionalTools,
    AllowedTools,
    Change,
    CustomTool,
    FunctionTool,
    JSONSchemaFormat,
    Message,
    NamedTool,
    Opaque,
    Reasoning,
    Refusal,
    Request,
    Text,
    ToolCall,
    ToolResult,
    UrlCitation,
)
from aigateway.errors import InvalidRequestError, UnsupportedError
from tests.formats.responses_streams import CODEC

TOKEN = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
CITATION = {"type": "url_citation", "url": "https://a", "title": "A", "start_index": 0, "end_index": 1}
ITEMS: dict[str, dict[str, Any]] = {
    "a user message": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
    "a developer message": {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "hi"}]},
    "images": {
        "type": "message",
        "role": "user",
        "content": [
            {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "high"},
            {"type": "input_image", "file_id": "file_1", "detail": "auto"},
        ],
    },
    "files": {
        "type": "message",
        "role": "user",
        "content": [
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="},
            {"type": "input_file", "file_url": "https://a/b.pdf"},
            {"type": "input_file", "file_id": "file_1"},
        ],
    },
    "audio": {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}],
    },
    "unknown keys of a part": {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "hi", "prompt_cache_breakpoint": {"mode": "explicit"}}],
    },
    "an unknown part": {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_video", "video_url": "https://v"}],
    },
    "an output message": {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "phase": "final_answer",
        "content": [
            {
                "type": "output_text",
                "text": "hi",
                "annotations": [CITATION, {"type": "file_citation", "file_id": "f", "index": 0}],
                "logprobs": [TOKEN],
            },
            {"type": "output_text", "text": "ho", "annotations": [CITATION | {"content": "more"}], "logprobs": []},
            {"type": "refusal", "refusal": "no"},
        ],
    },
    "a text of another name": {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "input_text", "text": "hi", "annotations": []}],
    },
    "explicit nulls": {
        "type": "message",
        "id": None,
        "status": None,
        "role": "user",
        "content": [{"type": "input_image", "image_url": "https://a", "file_id": None, "detail": "auto"}],
    },
    "a function call": {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "c",
        "name": "f",
        "namespace": "n",
        "arguments": "{}",
        "status": "completed",
    },
    "a function output": {"type": "function_call_output", "call_id": "c", "output": "42"},
    "a function output of parts": {
        "type": "function_call_output",
        "id": "fco_1",
        "call_id": "c",
        "status": "completed",
        "output": [
            {"type": "input_text", "text": "see"},
            {"type": "input_image", "image_url": "https://a", "detail": "low"},
            {"type": "input_file", "file_id": "file_1"},
        ],
    },
    "a custom tool call": {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c", "name": "p", "input": "free"},
    "a custom tool output": {"type": "custom_tool_call_output", "call_id": "c", "output": "done"},
    "reasoning": {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "short"}],
        "content": [{"type": "reasoning_text", "text": "long"}],
        "encrypted_content": "sealed",
        "status": "completed",
    },
    "reasoning of plain text only": {
        "type": "reasoning",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "long"}],
    },
    "reasoning with empty fields": {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [],
        "content": [],
        "encrypted_content": None,
    },
    "reasoning in odd parts": {"type": "reasoning", "summary": [{"type": "text", "text": "short", "more": 1}]},
    "a reference": {"type": "item_reference", "id": "msg_1"},
    "a reference without type": {"id": "msg_1"},
    "a hosted call": {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}},
    "additional tools": {
        "type": "additional_tools",
        "role": "developer",
        "tools": [{"type": "namespace", "name": "n"}],
    },
    "a compaction": {"type": "compaction", "id": "cmp_1", "encrypted_content": "sealed"},
}


def decoded(**body: Any) -> Request:
    return CODEC.decode_request({"model": "m", "input": "hi"} | body)


def encoded(request: Request) -> tuple[dict[str, Any], list[Change]]:
    changes: list[Change] = []
    return CODEC.encode_request(request, model="up", quirks=Quirks(), changes=changes), changes


@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS.keys())
def test_every_item_is_kept_by_the_round_trip(item: dict[str, Any]) -> None:
    body, changes = encoded(decoded(input=[item]))
    assert body["input"] == [item]
    assert changes == []


FULL: dict[str, Any] = {
    "input": [ITEMS["a user message"]],
    "instructions": "be kind",
    "tools": [
        {"type": "function", "name": "f", "description": None, "parameters": {"type": "object"}, "strict": True},
        {"type": "function", "name": "g", "defer_loading": True},
        {"type": "custom", "name": "p", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}, "more": 1},
        {"type": "web_search", "external_web_access": True},
    ],
    "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]},
    "parallel_tool_calls": False,
    "max_tool_calls": 3,
    "max_output_tokens": 5,
    "temperature": 0.5,
    "top_p": 1,
    "presence_penalty": 0.1,
    "frequency_penalty": -0.1,
    "top_logprobs": 2,
    "include": ["message.output_text.logprobs"],
    "metadata": {"a": "b"},
    "store": True,
    "service_tier": "flex",
    "truncation": "auto",
    "user": "u",
    "safety_identifier": "s",
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "stream": True,
    "stream_options": {"include_obfuscation": False},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}, "verbosity": "low"},
    "reasoning": {"effort": "minimal", "summary": "auto", "context": "all_turns"},
    "client_metadata": {"x": 1},
}


def test_a_request_of_this_format_comes_out_as_it_was() -> None:
    body, changes = encoded(decoded(**FULL))
    given = {"model": "up"} | FULL
    given["tools"][0].pop("description", None)
    body["tools"][0].pop("description", None)
    assert body == given
    assert changes == []


def test_what_is_unknown_is_named_by_its_path() -> None:
    request = decoded(**FULL)
    assert request.extra is not None
    assert request.extra.fields == {"reasoning.context": "all_turns", "client_metadata": {"x": 1}}  # type: ignore[union-attr]


def test_nulls_are_as_good_as_absent() -> None:
    absent = decoded()
    assert decoded(temperature=None, text=None, reasoning=None, tools=None, store=None, conversation=None) == absent


def test_items_in_canonical_form() -> None:
    request = decoded(input=list(ITEMS.values()))
    assert request.items[0] == Message(role="user", content=(Text(text="hi"),))
    assert [type(item) for item in request.items[10:]] == [
        *[ToolCall, ToolResult, ToolResult, ToolCall, ToolResult],
        *[Reasoning] * 4,
        *[Opaque] * 3,
        AdditionalTools,
        Opaque,
    ]
    said = request.items[7]
    assert isinstance(said, Message)
    assert (said.id, said.status, said.phase) == ("msg_1", "completed", "final_answer")
    first = said.content[0]
    assert isinstance(first, Text)
    assert first.annotations[0] == UrlCitation(url="https://a", title="A", start_index=0, end_index=1)
    assert isinstance(first.annotations[1], Opaque)
    assert first.logprobs == (TOKEN,)
    assert said.content[2] == Refusal(text="no")
    assert request.items[13] == ToolCall(call_id="c", name="p", arguments="free", kind="custom", id="ctc_1")


@pytest.mark.parametrize(
    "value",
    ["hi", [{"role": "user", "content": "hi"}], [ITEMS["a user message"]]],
    ids=["string", "easy message", "message"],
)
def test_the_forms_of_a_simple_input_are_one(value: Any) -> None:
    assert decoded(input=value).items == (Message(role="user", content=(Text(text="hi"),)),)


def test_knobs_in_canonical_form() -> None:
    request = decoded(**FULL, stop=["a"], seed=3, logit_bias={"1": -1})
    assert request.logprobs is True
    assert request.output_format == JSONSchemaFormat(name="n", schema={"type": "object"})
    assert request.tool_choice == AllowedTools(mode="required", tools=(NamedTool(name="f"),))
    assert request.tools
    assert [type(tool) for tool in request.tools] == [FunctionTool, FunctionTool, CustomTool, Opaque]
    assert (request.stop, request.seed, request.logit_bias) == (("a",), 3, {"1": -1})
    assert (request.reasoning_effort, request.reasoning_summary) == ("minimal", "auto")
    assert request.include_obfuscation is False
    assert decoded(reasoning={"generate_summary": "detailed"}).reasoning_summary == "detailed"


@pytest.mark.parametrize(
    "choice",
    [
        "auto",
        "none",
        "required",
        {"type": "function", "name": "f"},
        {"type": "custom", "name": "p"},
        {"type": "web_search"},
        {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp", "server_label": "s"}]},
    ],
    ids=str,
)
def test_every_tool_choice_is_kept(choice: Any) -> None:
    assert encoded(decoded(tool_choice=choice))[0]["tool_choice"] == choice


@pytest.mark.parametrize("form", [{"type": "text"}, {"type": "json_object"}, {"type": "grammar", "x": 1}], ids=str)
def test_every_output_format_is_kept(form: dict[str, Any]) -> None:
    assert encoded(decoded(text={"format": form}))[0]["text"] == {"format": form}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"input": None}, "input"),
    ({"input": []}, "input"),
    ({"input": 5}, "input"),
    ({"input": ["x"]}, "input[0]"),
    ({"input": [{}]}, "input[0].type"),
    ({"input": [{"type": 3}]}, "input[0].type"),
    ({"input": [{"role": "user"}]}, "input[0].content"),
    ({"input": [{"role": "robot", "content": ""}]}, "input[0].role"),
    ({"input": [{"role": "user", "content": 1}]}, "input[0].content"),
    ({"input": [{"role": "user", "content": [{"text": "x"}]}]}, "input[0].content[0].type"),
    ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
    (
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": {"url": "x"}}]}]},
        "input[0].content[0].image_url",
    ),
    (
        {"input": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
        "input[0].content[0].input_audio.data",
    ),
    ({"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}]}, "input[0].arguments"),
    ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
    ({"input": [{"type": "function_call_output", "call_id": "c", "output": [1]}]}, "input[0].output[0]"),
    ({"input": [{"type": "reasoning", "summary": [{"type": "summary_text"}]}]}, "input[0].summary[0].text"),
    ({"model": 5}, "model"),
    ({"temperature": "hot"}, "temperature"),
    ({"max_output_tokens": True}, "max_output_tokens"),
    ({"stream": "yes"}, "stream"),
    ({"include": [1]}, "include[0]"),
    ({"metadata": {"a": 1}}, "metadata.a"),
    ({"text": {"format": {"type": "json_schema"}}}, "text.format.name"),
    ({"text": "x"}, "text"),
    ({"reasoning": {"effort": 3}}, "reasoning.effort"),
    ({"tools": [{"type": "function"}]}, "tools[0].name"),
    ({"tools": [{"type": "function", "name": "f", "parameters": []}]}, "tools[0].parameters"),
    ({"tool_choice": "maybe"}, "tool_choice"),
    ({"tool_choice": 1}, "tool_choice"),
    ({"tool_choice": {"type": "function"}}, "tool_choice.name"),
    ({"tool_choice": {"type": "allowed_tools", "mode": "x", "tools": []}}, "tool_choice.mode"),
]


@pytest.mark.parametrize(("body", "param"), WRONG, ids=[f"{json.dumps(body)} -> {param}" for body, param in WRONG])
def test_what_is_wrong_is_named(body: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        decoded(**body)
    assert caught.value.param == param
    assert caught.value.status == 400


def test_a_missing_model_or_input_is_named_and_instructions_alone_will_do() -> None:
    for body, param in (({"input": "hi"}, "model"), ({"model": "m"}, "input")):
        with pytest.raises(InvalidRequestError) as caught:
            CODEC.decode_request(body)
        assert caught.value.param == param
        assert caught.value.code == "missing_required_parameter"
    assert CODEC.decode_request({"model": "m", "instructions": "say hi"}).items == ()


@pytest.mark.parametrize(
    "body",
    [{"previous_response_id": "resp_1"}, {"conversation": "conv_1"}, {"prompt": {"id": "p"}}, {"background": True}],
    ids=lambda body: next(iter(body)),
)
def test_what_needs_state_at_the_upstream_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError) as caught:
        decoded(**body)
    assert caught.value.param == next(iter(body))
    assert "Responses API" in caught.value.message
