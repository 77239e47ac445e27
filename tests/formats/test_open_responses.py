"""The profile `open_responses`: answers that a strict reader of Open Responses takes, and nothing lost in them."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigateway.canonical.accumulator import fold
from aigateway.canonical.events import (
    Annotated,
    Delta,
    Finished,
    ItemEnded,
    ItemStarted,
    PartEnded,
    PartStarted,
    Started,
    StreamEvent,
)
from aigateway.canonical.types import (
    CustomTool,
    FunctionTool,
    Image,
    Item,
    Message,
    NamedTool,
    Opaque,
    Reasoning,
    Reply,
    Text,
    ToolCall,
)
from aigateway.errors import UpstreamConnectionError
from aigateway.formats.protocol import PROFILES, Profile
from aigateway.formats.responses.items import decode_item
from aigateway.formats.responses.lens import ResponsesReply, ResponsesRequest
from tests.formats.responses_law import check_one_after_another, check_stream
from tests.formats.responses_streams import CODEC, context, data_of, decoded, encoded, plain, streams
from tests.schemas import resource_faults, strict_event_faults, strict_resource_faults

each_profile = pytest.mark.parametrize("profile", PROFILES)

SCHEMA = {"type": "object", "properties": {"type": {"type": "string"}}}
WEB = {"type": "web_search_preview"}
FUNCTION = {"type": "function", "name": "f", "parameters": SCHEMA}
BODIES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "schema": {"text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}}},
    "hosted tools": {"tools": [WEB, FUNCTION, {"type": "custom", "name": "patch"}], "tool_choice": WEB},
    "allowed tools": {
        "tools": [WEB, FUNCTION],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [WEB, {"type": "function", "name": "f"}]},
    },
    "effort": {"reasoning": {"effort": "minimal", "summary": "detailed"}},
    "summary": {"reasoning": {"effort": "high", "summary": "curt"}},
}
each_body = pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())


def resource_of(body: dict[str, Any], profile: Profile, *items: Any) -> dict[str, Any]:
    reply = Reply(id="", model="", created_at=0, items=items or (Message(role="assistant", content=(Text(text="x"),)),))
    return CODEC.encode_reply(reply, context(body, profile))


@given(streams(overlapping=True), st.sampled_from(list(BODIES.values())))
def test_every_stream_keeps_the_law_and_the_strict_schema(stream: list[StreamEvent], body: dict[str, Any]) -> None:
    events = encoded(stream, body, "open_responses")
    check_stream(events, "open_responses")
    check_one_after_another(events)
    assert [fault for event in events for fault in strict_event_faults(event)] == []


@given(streams())
def test_the_last_snapshot_is_the_unary_reply(stream: list[StreamEvent]) -> None:
    last = encoded(stream, profile="open_responses")[-1]["response"]
    unary = CODEC.encode_reply(fold(stream), context(profile="open_responses"))
    assert strict_resource_faults(unary) == []
    assert [item | {"id": ""} for item in last["output"]] == [item | {"id": ""} for item in unary["output"]]


@given(streams(overlapping=True), st.integers(0, 60))
def test_a_fault_at_any_event_ends_lawfully(stream: list[StreamEvent], place: int) -> None:
    encoder = CODEC.stream_encoder(context(BODIES["schema"], "open_responses"))
    events = data_of([wire for event in stream[:-1][:place] for wire in encoder.feed(event)])
    events += data_of(encoder.fail(UpstreamConnectionError("The connection broke.")))
    check_stream(events, "open_responses")
    assert [fault for event in events for fault in strict_event_faults(event)] == []
    error = events[-2]
    assert error["message"] == error["error"]["message"], "the keys of both"


@given(streams())
def test_the_profiles_say_the_same(stream: list[StreamEvent]) -> None:
    assert plain(fold(decoded(encoded(stream, profile="open_responses")))) == plain(fold(stream))


@each_body
def test_openai_s_profile_is_for_openai_s_clients(body: dict[str, Any]) -> None:
    resource = resource_of(body, "openai")
    if body is not BODIES["summary"]:  # nobody's word
        assert [fault for fault in resource_faults(resource) if fault.startswith("openai")] == []
    assert "openai:" not in json.dumps(resource)


@each_body
def test_the_echo_fits_the_strict_schema_and_the_request_is_not_touched(body: dict[str, Any]) -> None:
    before = copy.deepcopy(body)
    assert strict_resource_faults(resource_of(body, "open_responses")) == []
    assert body == before


def test_the_schema_of_a_format_is_echoed_for_openai_only() -> None:
    formats = {profile: resource_of(BODIES["schema"], profile)["text"]["format"] for profile in PROFILES}
    assert formats["openai"]["schema"] == SCHEMA
    assert formats["open_responses"] == formats["openai"] | {"schema": None}


def test_what_only_openai_has_carries_its_slug_in_the_echo() -> None:
    echo = resource_of(BODIES["allowed tools"], "open_responses")
    assert [tool["type"] for tool in echo["tools"]] == ["openai:web_search_preview", "function"]
    assert [tool["type"] for tool in echo["tool_choice"]["tools"]] == ["openai:web_search_preview", "function"]
    assert resource_of(BODIES["hosted tools"], "open_responses")["tool_choice"] == {"type": "openai:web_search_preview"}
    assert resource_of(BODIES["effort"], "open_responses")["reasoning"] == {"effort": None, "summary": "detailed"}
    assert resource_of(BODIES["summary"], "open_responses")["reasoning"] == {"effort": "high", "summary": None}


def test_a_slug_of_somebody_else_stays() -> None:
    tool = {"type": "acme:search"}
    item = Opaque(format="responses", raw={"type": "acme:search_call", "id": "s", "status": "completed"})
    resource = resource_of({"tools": [tool]}, "open_responses", item)
    assert resource["tools"] == [tool]
    assert resource["output"][0]["type"] == "acme:search_call"


@each_profile
def test_hosted_items_and_citations_have_the_profile_s_names(profile: Profile) -> None:
    slug = "" if profile == "openai" else "openai:"
    search = Opaque(format="responses", raw={"type": "web_search_call", "id": "ws_1", "status": "completed"})
    cited = Opaque(format="responses", raw={"type": "file_citation", "file_id": "f", "filename": "n", "index": 0})
    text = Text(text="x", annotations=(cited,))
    stream: list[StreamEvent] = [
        Started("", "", 0),
        ItemStarted(0, search),
        ItemEnded(0, search),
        ItemStarted(1, Message(role="assistant")),
        PartStarted(1, 0, Text(text="")),
        Delta(1, 0, "x"),
        Annotated(1, 0, cited),
        PartEnded(1, 0, text),
        ItemEnded(1, Message(role="assistant", content=(text,))),
        Finished("stop"),
    ]
    events = encoded(stream, profile=profile)
    check_stream(events, profile)
    items = [event["item"]["type"] for event in events if "item" in event]
    assert items == [f"{slug}web_search_call"] * 2 + ["message"] * 2
    annotations = [event["annotation"]["type"] for event in events if "annotation" in event]
    assert annotations == [f"{slug}file_citation"]
    assert [item["type"] for item in events[-1]["response"]["output"]] == [f"{slug}web_search_call", "message"]


@each_profile
def test_reasoning_and_custom_calls_have_the_profile_s_events(profile: Profile) -> None:
    call = ToolCall(call_id="c", name="patch", arguments="*** Begin", kind="custom")
    reasoning = Reasoning(content=("thought",), summary=("short",))
    stream: list[StreamEvent] = [Started("", "", 0)]
    items: list[Item] = [reasoning, call]
    for index, item in enumerate(items):
        stream += [ItemStarted(index, item), ItemEnded(index, item)]
    wire = encoded([*stream, Finished("tool_calls")], profile=profile)
    names = [event["type"] for event in wire if event["type"].rpartition(".")[2] == "delta"]
    assert names == [
        "response.reasoning_summary_text.delta",
        {"openai": "response.reasoning_text.delta", "open_responses": "response.reasoning.delta"}[profile],
        ("" if profile == "openai" else "openai:") + "response.custom_tool_call_input.delta",
    ]
    assert ResponsesReply(wire[-1]["response"]).finish_reason == "tool_calls"


def test_an_image_of_the_assistant_has_the_keys_that_open_responses_wants() -> None:
    pictures = (Image(file_id="file_1"), Image(url="https://x/y.png", detail="original"))
    resource = resource_of({}, "open_responses", Message(role="assistant", content=pictures))
    assert strict_resource_faults(resource) == []


def test_what_carries_the_slug_is_read_as_what_it_is() -> None:
    call = {"type": "openai:custom_tool_call", "call_id": "c", "name": "patch", "input": "x"}
    assert decode_item(call, "input[0]") == ToolCall(call_id="c", name="patch", arguments="x", kind="custom")
    search = {"type": "openai:web_search_call", "id": "ws_1"}
    assert decode_item(search, "input[0]") == Opaque(format="responses", raw=search | {"type": "web_search_call"})
    request = CODEC.decode_request(
        {
            "model": "m",
            "input": "hi",
            "tools": [{"type": "openai:custom", "name": "patch"}, FUNCTION, {"type": "openai:web_search_preview"}],
            "tool_choice": {"type": "openai:custom", "name": "patch"},
        }
    )
    assert request.tools == (
        CustomTool(name="patch"),
        FunctionTool(name="f", parameters=SCHEMA),
        Opaque(format="responses", raw=WEB),
    )
    assert request.tool_choice == NamedTool(name="patch", kind="custom")
    lens = ResponsesRequest({"input": [{"type": "openai:custom_tool_call_output", "call_id": "c", "output": "done"}]})
    assert lens.texts() == ["done"]
