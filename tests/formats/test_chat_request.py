"""Requests of chat, read and written."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from aigateway.canonical.quirks import Quirks
from aigateway.canonical.types import (
    AllowedTools,
    Audio,
    Change,
    CustomTool,
    Extra,
    File,
    FunctionTool,
    Image,
    Item,
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
from aigateway.formats.chat.codec import ChatCodec

CODEC = ChatCodec()
OPENAI = Quirks(max_tokens="max_completion_tokens", developer_role=True, allowed_tools=True, custom_tools=True)
STRICT = Quirks(strict_fields=True)
HI: dict[str, Any] = {"role": "user", "content": "Hi"}
PNG = "data:image/png;base64,AAAA"


def decode(**fields: Any) -> Request:
    return CODEC.decode_request({"model": "m", "messages": [HI], **fields})


def items(*messages: dict[str, Any]) -> tuple[Item, ...]:
    return decode(messages=list(messages)).items


def encode(request: Request, quirks: Quirks = OPENAI) -> tuple[dict[str, Any], list[Change]]:
    changes: list[Change] = []
    return CODEC.encode_request(request, model="upstream", quirks=quirks, changes=changes), changes


def encode_items(*sent: Item, quirks: Quirks = OPENAI) -> tuple[list[dict[str, Any]], list[Change]]:
    body, changes = encode(Request(model="m", items=sent), quirks)
    return body["messages"], changes


def with_knobs(**fields: Any) -> Request:
    return Request(model="m", items=(said("user", "Hi"),), **fields)


def said(role: str, text: str) -> Message:
    return Message(role=role, content=(Text(text=text),))


def call(call_id: str = "a", name: str = "f", arguments: str = "{}", kind: str = "function") -> dict[str, Any]:
    if kind == "custom":
        return {"id": call_id, "type": "custom", "custom": {"name": name, "input": arguments}}
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        pytest.param({"role": "system", "content": "S"}, (said("system", "S"),), id="system"),
        pytest.param({"role": "developer", "content": "D"}, (said("developer", "D"),), id="developer"),
        pytest.param(
            {"role": "user", "name": "Ann", "content": "U"},
            (Message(role="user", name="Ann", content=(Text(text="U"),)),),
            id="name",
        ),
        pytest.param(
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
                    {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
                    {"type": "image_url", "image_url": PNG},
                    {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
                    {"type": "file", "file": {"file_data": "data:x", "filename": "x.pdf", "file_id": None}},
                    {"type": "file", "file": {"file_id": "file_1"}},
                    {"type": "video_url", "video_url": {"url": "v"}},
                ],
            },
            (
                Message(
                    role="user",
                    content=(
                        Text(text="a", extra=Extra(format="chat", fields={"cache_control": {"type": "ephemeral"}})),
                        Image(url=PNG, detail="low"),
                        Image(url=PNG),
                        Audio(data="AA", format="wav"),
                        File(data="data:x", filename="x.pdf"),
                        File(file_id="file_1"),
                        Opaque(format="chat", raw={"type": "video_url", "video_url": {"url": "v"}}),
                    ),
                ),
            ),
            id="parts",
        ),
        pytest.param({"role": "assistant", "content": "A"}, (said("assistant", "A"),), id="assistant"),
        pytest.param({"role": "assistant", "content": ""}, (Message(role="assistant"),), id="silent assistant"),
        pytest.param(
            {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "no"}]},
            (Message(role="assistant", content=(Text(text="a"), Refusal(text="no"))),),
            id="refusal part",
        ),
        pytest.param(
            {"role": "assistant", "content": None, "refusal": "no"},
            (Message(role="assistant", content=(Refusal(text="no"),)),),
            id="refusal",
        ),
        pytest.param(
            {"role": "assistant", "audio": {"id": "audio_1"}},
            (Message(role="assistant", content=(Audio(id="audio_1"),)),),
            id="audio",
        ),
        pytest.param(
            {
                "role": "assistant",
                "content": "A",
                "reasoning_content": "R",
                "tool_calls": [call(), call("b", "patch", "***", "custom")],
            },
            (
                Reasoning(content=("R",)),
                said("assistant", "A"),
                ToolCall(call_id="a", name="f", arguments="{}"),
                ToolCall(call_id="b", name="patch", arguments="***", kind="custom"),
            ),
            id="reasoning, text and calls",
        ),
        pytest.param(
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {}}}],
            },
            (ToolCall(call_id="a", name="f", arguments="{}"),),
            id="calls only, no type, arguments as an object",
        ),
        pytest.param(
            {"role": "assistant", "content": "A", "reasoning": "R", "tool_calls": None},
            (Reasoning(content=("R",)), said("assistant", "A")),
            id="reasoning by its other name",
        ),
        pytest.param(
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "R"}]},
                    {"type": "text", "text": "A"},
                ],
            },
            (Reasoning(content=("R",)), said("assistant", "A")),
            id="thinking of Mistral",
        ),
        pytest.param(
            {
                "role": "assistant",
                "content": "A",
                "reasoning_details": [{"type": "reasoning.encrypted", "data": "x", "id": "rs_1"}],
            },
            (
                Reasoning(
                    encrypted="x",
                    id="rs_1",
                    extra=Extra(
                        format="chat",
                        fields={"reasoning_details": [{"type": "reasoning.encrypted", "data": "x", "id": "rs_1"}]},
                    ),
                ),
                said("assistant", "A"),
            ),
            id="encrypted reasoning",
        ),
        pytest.param(
            {
                "role": "assistant",
                "content": "A",
                "annotations": [{"type": "url_citation", "url_citation": {"url": "u", "title": "t"}}],
                "provider_specific_fields": {"x": 1},
            },
            (
                Message(
                    role="assistant",
                    content=(Text(text="A", annotations=(UrlCitation(url="u", title="t"),)),),
                    extra=Extra(format="chat", fields={"provider_specific_fields": {"x": 1}}),
                ),
            ),
            id="a reply sent back",
        ),
        pytest.param(
            {"role": "tool", "tool_call_id": "a", "content": "R"},
            (ToolResult(call_id="a", output="R"),),
            id="tool result",
        ),
        pytest.param(
            {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "R"}]},
            (ToolResult(call_id="a", output=(Text(text="R"),)),),
            id="tool result in parts",
        ),
    ],
)
def test_messages_become_items(message: dict[str, Any], expected: tuple[Item, ...]) -> None:
    assert items(message) == expected


def test_a_result_has_the_kind_of_its_call() -> None:
    found = items(
        {"role": "assistant", "tool_calls": [call("a", "patch", "***", "custom")]},
        {"role": "tool", "tool_call_id": "a", "content": "ok"},
    )
    assert found[1] == ToolResult(call_id="a", output="ok", kind="custom")


def test_functions_of_old_become_calls_and_results_that_belong_together() -> None:
    found = items(
        HI,
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "[]"}},
        {"role": "function", "name": "f", "content": None},
    )
    assert found[1:] == (
        ToolCall(call_id="call_function_0", name="f", arguments="{}"),
        ToolResult(call_id="call_function_0", output="1"),
        ToolCall(call_id="call_function_1", name="f", arguments="[]"),
        ToolResult(call_id="call_function_1", output=""),
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_tokens": 5}, {"max_output_tokens": 5}),
        ({"max_tokens": 5, "max_completion_tokens": 7}, {"max_output_tokens": 7}),
        ({"temperature": 1, "top_p": None}, {"temperature": 1}),
        ({"stop": "x"}, {"stop": "x"}),
        ({"stop": ["x", "y"]}, {"stop": ("x", "y")}),
        ({"stream": True, "stream_options": {"include_usage": True}}, {"stream": True, "include_usage": True}),
        ({"stream": None, "stream_options": {"include_obfuscation": False}}, {"include_obfuscation": False}),
        ({"response_format": {"type": "text"}}, {"output_format": "text"}),
        ({"response_format": {"type": "json_object"}}, {"output_format": "json_object"}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": None}}},
            {"output_format": JSONSchemaFormat(name="n", schema={}, strict=None)},
        ),
        (
            {"response_format": {"type": "grammar", "grammar": "g"}},
            {"output_format": Opaque(format="chat", raw={"type": "grammar", "grammar": "g"})},
        ),
        ({"logprobs": True, "top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
        ({"logit_bias": {"1": -5}, "metadata": {"a": "b"}}, {"logit_bias": {"1": -5}, "metadata": {"a": "b"}}),
        (
            {"modalities": ["text", "audio"], "audio": {"voice": "v"}},
            {"modalities": ("text", "audio"), "audio": {"voice": "v"}},
        ),
        ({"tools": []}, {"tools": ()}),
        ({"tool_choice": "any"}, {"tool_choice": "required"}),
        ({"function_call": "auto"}, {"tool_choice": "auto"}),
        ({"function_call": {"name": "f"}}, {"tool_choice": NamedTool(name="f")}),
        ({"functions": [{"name": "f", "parameters": {}}]}, {"tools": (FunctionTool(name="f", parameters={}),)}),
        ({"custom_knob": 1}, {"extra": Extra(format="chat", fields={"custom_knob": 1})}),
    ],
    ids=str,
)
def test_knobs_are_read(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    plain = dict(expected.items())
    assert decode(**fields) == msgspec.structs.replace(decode(), **plain)


TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True},
    },
    {"type": "function", "function": {"name": "g"}, "cache_control": {"type": "ephemeral"}},
    {
        "type": "custom",
        "custom": {
            "name": "c",
            "description": "d",
            "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}},
        },
    },
    {"type": "custom", "custom": {"name": "t", "format": {"type": "text"}}},
    {"type": "browser_search"},
]


def test_tools_are_read() -> None:
    assert decode(tools=TOOLS).tools == (
        FunctionTool(name="f", description="d", parameters={"type": "object"}, strict=True),
        FunctionTool(name="g", extra=Extra(format="chat", fields={"cache_control": {"type": "ephemeral"}})),
        CustomTool(name="c", description="d", format={"type": "grammar", "syntax": "lark", "definition": "x"}),
        CustomTool(name="t", format={"type": "text"}),
        Opaque(format="chat", raw={"type": "browser_search"}),
    )


CHOICES: list[Any] = [
    "none",
    "auto",
    "required",
    {"type": "function", "function": {"name": "f"}},
    {"type": "custom", "custom": {"name": "c"}},
    {"type": "browser_search"},
    {
        "type": "allowed_tools",
        "allowed_tools": {
            "mode": "required",
            "tools": [{"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "c"}}],
        },
    },
]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_tools_and_choice_survive_the_way_there_and_back(choice: Any) -> None:
    body, changes = encode(decode(tools=TOOLS, tool_choice=choice, parallel_tool_calls=False))
    assert (body["tools"], body["tool_choice"], body["parallel_tool_calls"]) == (TOOLS, choice, False)
    assert changes == []


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": ["Hi"]}, "messages[0]"),
        ({"messages": [HI, {"role": "robot", "content": ""}]}, "messages[1].role"),
        ({"messages": [{"role": ["user"], "content": ""}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["a"]}]}, "messages[0].content[0]"),
        ({"messages": [{**HI, "name": 1}]}, "messages[0].name"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": 1}]}]}, "messages[0].content[1].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "messages[0].content[0].image_url.url"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0].input_audio"),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": 1}}]}]}, "messages[0].content[0].file.file_id"),
        ({"messages": [{"role": "tool", "content": ""}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "function", "content": ""}]}, "messages[0].name"),
        ({"messages": [{"role": "assistant", "refusal": 1}]}, "messages[0].refusal"),
        ({"messages": [{"role": "assistant", "tool_calls": {}}]}, "messages[0].tool_calls"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]}, "messages[0].tool_calls[0].id"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "type": "x"}]}]}, "messages[0].tool_calls[0].type"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f"}}]}]}, "messages[0].tool_calls[0].function.arguments"),
        ({"model": 1}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"max_tokens": "1"}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"n": False}, "n"),
        ({"stop": 1}, "stop"),
        ({"stop": ["a", 1]}, "stop[1]"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"logit_bias": {"1": "x"}}, "logit_bias.1"),
        ({"modalities": "text"}, "modalities"),
        ({"stream_options": True}, "stream_options"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.json_schema.name"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]}, "tools[0].function.parameters"),
        ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0].custom.name"),
        ({"functions": [{}]}, "functions[0].name"),
        ({"tool_choice": 1}, "tool_choice"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": {}}, "tool_choice.type"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "x"}}}, "tool_choice.allowed_tools.mode"),
        ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": [1]}}}, "tool_choice.allowed_tools.tools[0]"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        decode(**fields)
    assert caught.value.param == param
    assert param in caught.value.message


def test_a_missing_model_is_left_to_the_gateway() -> None:
    assert CODEC.decode_request({"messages": [HI]}).model == ""


def test_one_assistant_turn_is_one_message_and_its_results_follow() -> None:
    messages, changes = encode_items(
        said("user", "Hi"),
        Reasoning(content=("R1",)),
        said("assistant", "A"),
        ToolCall(call_id="a", name="f", arguments="{}"),
        Reasoning(summary=("s1", "s2")),
        ToolCall(call_id="b", name="p", arguments="***", kind="custom"),
        ToolResult(call_id="b", output="2", kind="custom"),
        ToolResult(call_id="a", output=(Text(text="1"), Text(text="one"))),
        said("assistant", "done"),
    )
    assert messages == [
        HI,
        {
            "role": "assistant",
            "content": "A",
            "reasoning_content": "R1\n\ns1\n\ns2",
            "tool_calls": [call(), call("b", "p", "***", "custom")],
        },
        {"role": "tool", "tool_call_id": "b", "content": "2"},
        {"role": "tool", "tool_call_id": "a", "content": "1\none"},
        {"role": "assistant", "content": "done"},
    ]
    assert changes == []


def test_a_turn_of_calls_alone_has_null_content() -> None:
    messages, _ = encode_items(ToolCall(call_id="a", name="f", arguments="{}"))
    assert messages == [{"role": "assistant", "content": None, "tool_calls": [call()]}]


def test_results_are_moved_behind_their_calls() -> None:
    messages, changes = encode_items(
        ToolCall(call_id="a", name="f", arguments="{}"),
        said("user", "wait"),
        ToolResult(call_id="a", output="1"),
        said("assistant", "done"),
        ToolCall(call_id="a", name="f", arguments="{}"),
        ToolResult(call_id="a", output="2"),
        ToolResult(call_id="stray", output="3"),
    )
    assert [(message["role"], message["content"]) for message in messages] == [
        ("assistant", None),
        ("tool", "1"),
        ("user", "wait"),
        ("assistant", "done"),
        ("tool", "2"),
        ("tool", "3"),
    ]
    assert [(change.field, change.action) for change in changes] == [("input", "changed")]


def test_images_of_tool_results_move_into_a_user_message_behind_them() -> None:
    messages, changes = encode_items(
        ToolCall(call_id="a", name="f"),
        ToolCall(call_id="b", name="f"),
        ToolResult(call_id="a", output=(Image(url=PNG),)),
        ToolResult(call_id="b", output=(Text(text="two"), File(file_id="file_1"))),
        said("user", "Hi"),
    )
    assert [message["role"] for message in messages] == ["assistant", "tool", "tool", "user", "user"]
    assert [message["content"] for message in messages[1:3]] == ["The result stands in the next user message.", "two"]
    assert [part["type"] for part in messages[3]["content"]] == ["text", "image_url", "text", "file"]
    assert [(change.field, change.action) for change in changes] == [("input", "changed")]


@pytest.mark.parametrize(
    ("quirks", "roles"),
    [(OPENAI, ["developer", "system", "developer"]), (Quirks(), ["system", "system", "system"])],
    ids=["developer role", "system role"],
)
def test_instructions_come_first_in_the_role_that_the_host_knows(quirks: Quirks, roles: list[str]) -> None:
    sent = (said("system", "S"), said("developer", "D"), said("user", "Hi"))
    body, _ = encode(Request(model="m", items=sent, instructions="I"), quirks)
    assert [message["role"] for message in body["messages"][:3]] == roles
    assert body["messages"][0]["content"] == "I"


def test_several_texts_stay_parts_unless_the_host_takes_strings_only() -> None:
    both = Message(role="user", content=(Text(text="a"), Text(text="b")))
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert encode_items(both)[0][0]["content"] == parts
    assert encode_items(both, quirks=Quirks(text_parts=False))[0][0]["content"] == "a\nb"


@pytest.mark.parametrize(
    ("item", "word"),
    [
        (Opaque(format="responses", raw={"type": "item_reference"}), "item_reference"),
        (Message(role="user", content=(Opaque(format="responses", raw={"type": "input_video"}),)), "input_video"),
        (Message(role="user", content=(Image(file_id="file_1"),)), "file id"),
        (Message(role="user", content=(File(url="https://x"),)), "URL"),
        (Message(role="user", content=(File(filename="x"),)), "data or id"),
        (Message(role="user", content=(Audio(id="x"),)), "audio"),
        (Message(role="assistant", content=(Audio(data="x"),)), "audio"),
    ],
    ids=str,
)
def test_content_that_chat_cannot_hold_is_refused(item: Item, word: str) -> None:
    with pytest.raises(UnsupportedError, match=word) as caught:
        encode_items(said("user", "Hi"), item)
    assert caught.value.status == 400
    assert caught.value.code == "unsupported_content"


def test_messages_of_little_content_are_messages_still() -> None:
    named = Message(role="assistant", content=(Text(text="A"),), name="Bot")
    assert encode_items(
        Message(role="user"), named, Message(role="user", content=(Refusal(text="no"), Text(text="b")))
    )[0] == [
        {"role": "user", "content": ""},
        {"role": "assistant", "content": "A", "name": "Bot"},
        {"role": "user", "content": [{"type": "text", "text": "no"}, {"type": "text", "text": "b"}]},
    ]


def test_items_of_chat_itself_pass() -> None:
    raw = {"role": "critic", "content": "x"}
    assert encode_items(Opaque(format="chat", raw=raw))[0] == [raw]
    odd = Opaque(format="chat", raw={"type": "video_url"})
    assert encode_items(ToolResult(call_id="a", output=(Text(text="t"), odd)))[0][0]["content"] == [
        {"type": "text", "text": "t"},
        {"type": "video_url"},
    ]


def test_reasoning_goes_back_in_the_field_of_the_host() -> None:
    sent = (Reasoning(content=("R",)), said("assistant", "A"))
    assert encode_items(*sent, quirks=Quirks(reasoning_field="reasoning"))[0] == [
        {"role": "assistant", "content": "A", "reasoning": "R"}
    ]
    messages, changes = encode_items(*sent, quirks=Quirks(reasoning_field=""))
    assert messages == [{"role": "assistant", "content": "A"}]
    assert [change.action for change in changes] == ["dropped"]


def test_reasoning_that_only_its_maker_reads_is_dropped_and_listed() -> None:
    messages, changes = encode_items(said("user", "Hi"), Reasoning(encrypted="x", summary=()))
    assert messages == [HI]
    assert [(change.field, change.action) for change in changes] == [("reasoning.encrypted_content", "dropped")]


def test_reasoning_details_go_back_as_they_came() -> None:
    message = {
        "role": "assistant",
        "content": "A",
        "reasoning_content": "R",
        "reasoning_details": [{"type": "reasoning.text", "text": "R", "signature": "s", "index": 0}],
    }
    assert encode(decode(messages=[message]))[0]["messages"] == [message]


def test_audio_of_the_assistant_goes_back_by_id_or_as_its_transcript() -> None:
    by_id, _ = encode_items(Message(role="assistant", content=(Audio(id="audio_1", transcript="Hi"),)))
    assert by_id == [{"role": "assistant", "content": None, "audio": {"id": "audio_1"}}]
    spoken, changes = encode_items(Message(role="assistant", content=(Audio(transcript="Hi"),)))
    assert spoken == [{"role": "assistant", "content": "Hi"}]
    assert [change.action for change in changes] == ["changed"]


def test_refusals_go_back_as_a_refusal_or_as_text() -> None:
    refused = Message(role="assistant", content=(Refusal(text="no"),))
    assert encode_items(refused)[0] == [{"role": "assistant", "content": None, "refusal": "no"}]
    messages, changes = encode_items(refused, quirks=STRICT)
    assert messages == [{"role": "assistant", "content": "no"}]
    assert len(changes) == 1


def test_a_strict_host_gets_no_field_that_it_does_not_know() -> None:
    knobs = {
        "metadata": {"a": "b"},
        "store": False,
        "service_tier": "auto",
        "user": "u",
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "prompt_cache_retention": "24h",
        "verbosity": "low",
        "prediction": {"type": "content", "content": "x"},
    }
    reply = {"role": "assistant", "content": "A", "annotations": [], "provider_specific_fields": {}}
    request = decode(messages=[HI, reply], **knobs)
    body, changes = encode(request, STRICT)
    assert set(body) == {"model", "messages"}
    assert body["messages"][1] == {"role": "assistant", "content": "A"}
    assert sorted(change.field for change in changes) == sorted(knobs)
    lenient, changes = encode(request)
    assert {key: lenient[key] for key in knobs} == knobs
    assert changes == []


def test_annotations_and_logprobs_of_replies_never_go_back() -> None:
    text = Text(text="A", annotations=(UrlCitation(url="u"),), logprobs=({"token": "A"},))
    sent = Message(role="assistant", content=(text,), id="msg_1", status="completed", phase="final_answer")
    assert encode_items(sent)[0] == [{"role": "assistant", "content": "A"}]


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        ({"max_output_tokens": 5}, {"max_completion_tokens": 5}),
        ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
        (
            {"stream": True, "include_obfuscation": False},
            {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}},
        ),
        ({"include_usage": True}, {}),
        ({"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"top_logprobs": 0}, {}),
        ({"top_logprobs": 0, "include": ("message.output_text.logprobs",)}, {"logprobs": True}),
        ({"logprobs": False}, {"logprobs": False}),
        ({"truncation": "disabled", "include": ()}, {}),
        ({"reasoning_effort": "high"}, {"reasoning_effort": "high"}),
        ({"tools": (), "tool_choice": "auto", "parallel_tool_calls": False}, {}),
        ({"stop": ("a",), "modalities": ("text",)}, {"stop": ["a"], "modalities": ["text"]}),
        ({"output_format": "json_object"}, {"response_format": {"type": "json_object"}}),
        (
            {"output_format": JSONSchemaFormat(name="n", schema={}, description=None, strict=True)},
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}}},
        ),
        ({"extra": Extra(format="chat", fields={"custom_knob": 1})}, {"custom_knob": 1}),
        (
            {"tools": (FunctionTool(name="f", description=None, parameters=None, strict=None),)},
            {"tools": [{"type": "function", "function": {"name": "f"}}]},
        ),
    ],
    ids=str,
)
def test_knobs_are_written_without_loss(knobs: dict[str, Any], expected: dict[str, Any]) -> None:
    body, changes = encode(with_knobs(**knobs))
    assert body == {"model": "upstream", "messages": [HI], **expected}
    assert changes == []


@pytest.mark.parametrize(
    ("knobs", "field"),
    [
        ({"truncation": "auto"}, "truncation"),
        ({"max_tool_calls": 3}, "max_tool_calls"),
        ({"reasoning_summary": "auto"}, "reasoning.summary"),
        ({"include": ("file_search_call.results",)}, "include"),
        ({"extra": Extra(format="responses", fields={"client_metadata": {}})}, "client_metadata"),
        ({"tools": (Opaque(format="responses", raw={"type": "web_search"}),)}, "tools"),
    ],
    ids=str,
)
def test_what_chat_lacks_is_dropped_and_listed(knobs: dict[str, Any], field: str) -> None:
    body, changes = encode(with_knobs(**knobs))
    assert body == {"model": "upstream", "messages": [HI]}
    assert [(change.field, change.action) for change in changes] == [(field, "dropped")]


def test_a_host_without_usage_in_streams_is_not_asked_for_it() -> None:
    request = with_knobs(stream=True, include_usage=True, include_obfuscation=False)
    body, changes = encode(request, Quirks(stream_usage=False))
    assert "stream_options" not in body
    assert [change.field for change in changes] == [
        "stream_options.include_usage",
        "stream_options.include_obfuscation",
    ]


F, G = FunctionTool(name="f"), FunctionTool(name="g")
HOSTED = Opaque(format="responses", raw={"type": "web_search"})


def test_allowed_tools_are_enforced_by_sending_no_others() -> None:
    chosen = AllowedTools(tools=(NamedTool(name="g"), HOSTED), mode="required")
    body, changes = encode(with_knobs(tools=(F, G), tool_choice=chosen), Quirks())
    assert [tool["function"]["name"] for tool in body["tools"]] == ["g"]
    assert body["tool_choice"] == "required"
    assert [(change.field, change.action) for change in changes] == [("tool_choice", "changed")]


def test_when_no_allowed_tool_is_left_none_may_be_called() -> None:
    chosen = AllowedTools(tools=(HOSTED,))
    body, _ = encode(with_knobs(tools=(F, HOSTED), tool_choice=chosen))
    assert body["tool_choice"] == "none"


@pytest.mark.parametrize(
    "request_",
    [
        with_knobs(tools=(F,), tool_choice=Opaque(format="responses", raw={"type": "web_search"})),
        with_knobs(tools=(HOSTED,), tool_choice="required"),
        with_knobs(tools=(HOSTED,), tool_choice=NamedTool(name="f")),
        with_knobs(tools=(F, HOSTED), tool_choice=AllowedTools(tools=(HOSTED,), mode="required")),
    ],
    ids=["hosted choice", "required without tools", "named without tools", "allowed without tools"],
)
def test_a_tool_that_is_demanded_and_missing_is_an_error(request_: Request) -> None:
    with pytest.raises(UnsupportedError) as caught:
        encode(request_)
    assert caught.value.param == "tool_choice"


def test_an_output_format_of_another_api_is_refused() -> None:
    with pytest.raises(UnsupportedError) as caught:
        encode(with_knobs(output_format=Opaque(format="responses", raw={"type": "grammar"})))
    assert caught.value.param == "text.format"
    raw = {"type": "grammar", "grammar": "g"}
    assert encode(decode(response_format=raw))[0]["response_format"] == raw
    assert decode().output_format is UNSET


def test_a_result_is_of_the_latest_turn_that_called_by_its_id() -> None:
    first, second = ToolCall(call_id="a", name="f"), ToolCall(call_id="a", name="g")
    messages, changes = encode_items(first, said("user", "Hi"), second, ToolResult(call_id="a", output="42"))
    assert [message["role"] for message in messages] == ["assistant", "user", "assistant", "tool"]
    assert changes == []


def test_the_first_calls_of_one_turn_get_the_first_results_of_one_id() -> None:
    calls = [ToolCall(call_id="a", name="f"), ToolCall(call_id="a", name="g")]
    messages, _ = encode_items(*calls, ToolResult(call_id="a", output="1"), ToolResult(call_id="a", output="2"))
    assert [message.get("content") for message in messages] == [None, "1", "2"]
