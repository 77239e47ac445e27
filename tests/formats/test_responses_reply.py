"""Response resources <-> canonical replies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from aigateway.canonical.types import (
    Audio,
    Image,
    Item,
    Message,
    Opaque,
    Reasoning,
    Refusal,
    Reply,
    Text,
    ToolCall,
    ToolResult,
    UrlCitation,
    Usage,
)
from aigateway.errors import UpstreamError, UpstreamProtocolError
from tests.formats.responses_streams import CODEC, context, plain

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "tests/fixtures/responses/open_responses.schema.json").read_text())
OPEN_RESPONSES = jsonschema_rs.Draft202012Validator({"$ref": "#/$defs/ResponseResource", "$defs": SCHEMA["$defs"]})
OPENAI = ROOT.parent / "shared/reference/openai/openapi.json"

TEXT = Text(text="hi", annotations=(UrlCitation(url="https://a"),), logprobs=({"token": "hi", "logprob": -1.0},))
CALL = ToolCall(call_id="c", name="f", arguments='{"a":1}')
ITEMS: list[Item] = [
    Reasoning(summary=("short",), content=("long",), encrypted="sealed", origin="openai"),
    Message(role="assistant", content=(TEXT, Refusal(text="no")), phase="commentary"),
    CALL,
]
USAGE = Usage(input_tokens=5, output_tokens=3, total_tokens=8, cached_tokens=2, reasoning_tokens=1)


def reply_of(*items: Item, **facts: Any) -> Reply:
    return Reply(id="up", model="upstream-model", created_at=1, items=items, **facts)


def resource_of(*items: Item, body: dict[str, Any] | None = None, **facts: Any) -> dict[str, Any]:
    resource: dict[str, Any] = json.loads(json.dumps(CODEC.encode_reply(reply_of(*items, **facts), context(body))))
    return resource


FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}}
BODIES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "every knob": {
        "instructions": "be kind",
        "tools": [FUNCTION, FUNCTION | {"name": "g", "description": "d", "strict": True}],
        "tool_choice": {"type": "allowed_tools", "tools": [{"type": "function", "name": "f"}]},
        "parallel_tool_calls": False,
        "max_tool_calls": 3,
        "max_output_tokens": 500,
        "temperature": 0,
        "top_p": 0.5,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "top_logprobs": 2,
        "metadata": {"a": "b"},
        "store": False,
        "truncation": "auto",
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"format": {"type": "json_object"}, "verbosity": "low"},
        "user": "u",
        "prompt_cache_retention": "24h",
    },
    "nulls": {"tools": None, "temperature": None, "store": None, "metadata": None, "reasoning": None, "text": None},
    "a named function": {"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "f"}},
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("reason", ["stop", "length", "content_filter"])
def test_the_resource_fits_the_schema_of_open_responses(body: dict[str, Any], reason: str) -> None:
    resource = resource_of(*ITEMS, body=body, finish_reason=reason, usage=USAGE)
    OPEN_RESPONSES.validate(resource)


@pytest.mark.skipif(not OPENAI.exists(), reason="needs the schemas that lie beside the project")
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("reason", ["stop", "length", "content_filter"])
def test_the_resource_fits_the_schema_of_openai(body: dict[str, Any], reason: str) -> None:
    document = json.loads(OPENAI.read_text())
    schema = {"$ref": "#/components/schemas/Response", "components": document["components"]}
    resource = resource_of(*ITEMS, body=body, finish_reason=reason, usage=USAGE)
    jsonschema_rs.Draft202012Validator(schema).validate(resource)


def test_a_request_that_says_nothing_is_echoed_with_the_defaults() -> None:
    resource = resource_of(Message(role="assistant", content=(Text(text="hi"),)))
    assert resource == {
        "id": "resp_0",
        "object": "response",
        "created_at": 1_700_000_000,
        "completed_at": 1_700_000_000,
        "status": "completed",
        "incomplete_details": None,
        "model": "asked-for",
        "previous_response_id": None,
        "instructions": None,
        "output": [
            {
                "type": "message",
                "id": "msg_1",
                "status": "completed",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "hi", "annotations": [], "logprobs": []}],
            }
        ],
        "error": None,
        "tools": [],
        "tool_choice": "auto",
        "truncation": "disabled",
        "parallel_tool_calls": True,
        "text": {"format": {"type": "text"}},
        "top_p": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "top_logprobs": 0,
        "temperature": 1.0,
        "reasoning": {"effort": None, "summary": None},
        "usage": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "store": True,
        "background": False,
        "service_tier": "default",
        "metadata": {},
        "safety_identifier": None,
        "prompt_cache_key": None,
    }


def test_what_the_request_says_is_echoed() -> None:
    body = BODIES["every knob"]
    resource = resource_of(body=body, service_tier="flex")
    same = set(body) - {"tools", "tool_choice"}
    assert {key: resource[key] for key in same} == {key: body[key] for key in same}
    assert resource["tools"] == [
        FUNCTION | {"description": None, "strict": None},
        FUNCTION | {"name": "g", "description": "d", "strict": True},
    ]
    assert resource["tool_choice"] == body["tool_choice"] | {"mode": "auto"}
    assert resource["service_tier"] == "flex"


def test_hosted_tools_and_the_json_schema_are_echoed_as_they_are() -> None:
    form = {"type": "json_schema", "name": "n", "schema": {"type": "object"}}
    resource = resource_of(body={"tools": [{"type": "web_search"}], "text": {"format": form}})
    assert resource["tools"] == [{"type": "web_search"}]
    assert resource["text"] == {"format": form | {"description": None, "strict": False}}


def test_the_deprecated_summary_is_echoed_as_the_summary() -> None:
    reasoning = {"generate_summary": "concise"}
    assert resource_of(body={"reasoning": reasoning})["reasoning"] == {"effort": None, "summary": "concise"}


@pytest.mark.parametrize(
    ("reason", "statuses"),
    [
        ("stop", ["completed", "completed"]),
        ("length", ["completed", "incomplete"]),
        ("content_filter", ["completed", "incomplete"]),
    ],
)
def test_only_the_last_item_of_a_cut_reply_is_incomplete(reason: str, statuses: list[str]) -> None:
    same = Message(role="assistant", content=(Text(text="hi"),))
    assert [item["status"] for item in resource_of(same, same, finish_reason=reason)["output"]] == statuses


@pytest.mark.parametrize(
    ("item", "shown"),
    [
        pytest.param(
            ToolCall(call_id="c", name="f", id="fc_9", namespace="n"),
            {
                "type": "function_call",
                "id": "fc_9",
                "call_id": "c",
                "name": "f",
                "namespace": "n",
                "arguments": "{}",
                "status": "completed",
            },
            id="no arguments",
        ),
        pytest.param(
            ToolCall(call_id="c", name="f", arguments='{"a'),
            {
                "type": "function_call",
                "id": "fc_1",
                "call_id": "c",
                "name": "f",
                "arguments": '{"a',
                "status": "incomplete",
            },
            id="arguments that are no JSON",
        ),
        pytest.param(
            ToolCall(call_id="c", name="p", arguments="free", kind="custom", id="call_1"),
            {
                "type": "custom_tool_call",
                "id": "ctc_1",
                "call_id": "c",
                "name": "p",
                "input": "free",
                "status": "completed",
            },
            id="custom",
        ),
        pytest.param(
            Reasoning(summary=("s",)),
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"type": "summary_text", "text": "s"}],
                "encrypted_content": "aigw1.e30",
                "status": "completed",
            },
            id="reasoning has only what there is, and a mark that it is of another API",
        ),
        pytest.param(
            ToolResult(call_id="c", output="42"),
            {"type": "function_call_output", "id": "fco_1", "call_id": "c", "output": "42", "status": "completed"},
            id="a result",
        ),
        pytest.param(
            ToolResult(call_id="c", output="42", kind="custom"),
            {"type": "custom_tool_call_output", "id": "ctco_1", "call_id": "c", "output": "42", "status": "completed"},
            id="a custom result",
        ),
        pytest.param(
            Message(role="assistant", content=(Audio(transcript="said"), Image(url="https://a"))),
            {
                "type": "message",
                "id": "msg_1",
                "role": "assistant",
                "status": "completed",
                "content": [
                    {"type": "output_text", "text": "said", "annotations": [], "logprobs": []},
                    {"type": "input_image", "image_url": "https://a"},
                ],
            },
            id="speech and images",
        ),
        pytest.param(
            Opaque(format="responses", raw={"type": "web_search_call", "id": "ws_1", "status": "completed"}),
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
            id="hosted",
        ),
    ],
)
def test_an_item_as_the_caller_gets_it(item: Item, shown: dict[str, Any]) -> None:
    assert resource_of(item)["output"] == [shown]


def test_what_only_another_format_understands_is_left_out() -> None:
    alien = Opaque(format="messages", raw={"type": "server_tool_use"})
    said = Message(role="assistant", content=(Text(text="hi", annotations=(alien,)), alien))
    output = resource_of(alien, said)["output"]
    assert [item["type"] for item in output] == ["message"]
    assert output[0]["content"] == [{"type": "output_text", "text": "hi", "annotations": [], "logprobs": []}]


def test_the_ids_of_the_items_of_one_response_differ() -> None:
    same = Message(role="assistant", id="msg_same")
    ids = [item["id"] for item in resource_of(same, same, same)["output"]]
    assert ids[0] == "msg_same"
    assert len(set(ids)) == 3


# --- decoding ---


@pytest.mark.parametrize("reason", ["tool_calls", "length", "content_filter"])
def test_what_was_encoded_decodes_to_the_same(reason: str) -> None:
    token = {"token": "hi", "logprob": -1.0, "bytes": [104, 105], "top_logprobs": []}
    said = Message(
        role="assistant", content=(Text(text="hi", logprobs=(token,)), Refusal(text="no")), phase="commentary"
    )
    reply = reply_of(ITEMS[0], said, CALL, finish_reason=reason, usage=USAGE, service_tier="flex")
    back = CODEC.decode_reply(CODEC.encode_reply(reply, context()))
    assert plain(back) == plain(reply)


def test_a_sparse_response_of_a_lenient_host() -> None:
    reply = CODEC.decode_reply(
        {
            "created_at": 5.7,
            "output": [
                {"type": "message", "content": [{"type": "output_text", "text": "hi", "annotations": None}]},
                {"type": "message", "content": None},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": {"a": 1}},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": None},
                {"type": "reasoning", "summary": None, "content": []},
            ],
        }
    )
    assert (reply.id, reply.model, reply.created_at, reply.finish_reason) == ("", "", 5, "tool_calls")
    assert reply.items == (
        Message(role="assistant", content=(Text(text="hi"),)),
        Message(role="assistant"),
        ToolCall(call_id="c", name="f", arguments='{"a":1}'),
        ToolCall(call_id="c", name="f"),
        Reasoning(),
    )


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": "rate_limit_exceeded", "message": "Slow down."}},
        {"status": "failed", "output": [], "error": {"code": "rate_limit_exceeded", "message": "Slow down."}},
    ],
    ids=["no output", "failed"],
)
def test_a_response_that_failed_raises_its_error(body: dict[str, Any]) -> None:
    with pytest.raises(UpstreamError) as caught:
        CODEC.decode_reply(body)
    assert (caught.value.status, caught.value.code) == (429, "rate_limit_exceeded")
    assert caught.value.message == "Slow down."


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"object": "chat.completion", "choices": []},
        {"status": "queued", "output": []},
        {"status": "completed", "output": [5]},
        {"status": "completed", "output": [{"type": "message", "content": [{"type": "output_text"}]}]},
    ],
    ids=["empty", "another format", "queued", "an item of no kind", "a text without text"],
)
def test_what_is_no_finished_response_is_a_protocol_error(body: dict[str, Any]) -> None:
    with pytest.raises(UpstreamProtocolError):
        CODEC.decode_reply(body)
