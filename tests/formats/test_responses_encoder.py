"""Canonical events -> Responses events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigateway.canonical.accumulator import Accumulator, fold
from aigateway.canonical.events import (
    Annotated,
    Delta,
    Failed,
    Finished,
    ItemEnded,
    ItemStarted,
    PartEnded,
    PartStarted,
    ReasoningText,
    Started,
    StreamEvent,
    UsageReported,
)
from aigateway.canonical.types import Image, Item, Message, Opaque, Reasoning, Reply, Text, ToolCall, Usage
from aigateway.errors import GatewayError, UpstreamConnectionError, UpstreamError
from aigateway.formats.protocol import WireEvent
from aigateway.formats.responses.encoder import failure_events
from tests.formats.responses_law import check_one_after_another, check_stream
from tests.formats.responses_streams import CODEC, context, data_of, decoded, encoded, plain, streams

SCHEMA = json.loads((Path(__file__).parents[1] / "fixtures/responses/open_responses.schema.json").read_text())
ERROR = UpstreamConnectionError("The connection to the upstream broke.", provider="p")
START = Started("up", "upstream-model", 1)


def schema_of(event: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    for name, schema in SCHEMA["$defs"].items():
        if name.endswith("StreamingEvent") and event["type"] in schema["properties"]["type"]["enum"]:
            return jsonschema_rs.Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": SCHEMA["$defs"]})
    raise KeyError(event["type"])


def text_stream(*pieces: str, reason: str = "stop") -> list[StreamEvent]:
    accumulator = Accumulator()
    index, events = accumulator.start_item(Message(role="assistant"))
    number, opened = accumulator.start_part(index, Text)
    events += opened
    for piece in pieces:
        events += accumulator.delta(index, number, piece)
    return [START, *events, *accumulator.finish(reason)]


@given(streams(overlapping=True))
def test_every_stream_keeps_the_law(stream: list[StreamEvent]) -> None:
    events = encoded(stream)
    check_stream(events)
    check_one_after_another(events)


@given(streams())
def test_folding_what_was_encoded_gives_the_same_reply(stream: list[StreamEvent]) -> None:
    assert plain(fold(decoded(encoded(stream)))) == plain(fold(stream))


@given(streams())
def test_the_last_snapshot_is_the_unary_reply(stream: list[StreamEvent]) -> None:
    last = encoded(stream)[-1]["response"]
    unary = CODEC.encode_reply(fold(stream), context())
    assert without_ids(last) == without_ids(unary)


def without_ids(response: dict[str, Any]) -> dict[str, Any]:
    output = [{key: value for key, value in item.items() if key != "id"} for item in response["output"]]
    return response | {"id": "", "output": output}


@given(streams(overlapping=True), st.integers(0, 60))
def test_a_fault_at_any_event_ends_lawfully(stream: list[StreamEvent], place: int) -> None:
    encoder = CODEC.stream_encoder(context())
    before = [wire for event in stream[:-1][:place] for wire in encoder.feed(event)]
    events = data_of(before + encoder.fail(ERROR))
    check_stream(events)
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert [wire for event in stream for wire in encoder.feed(event)] + encoder.fail(ERROR) == []


@given(streams())
def test_events_that_open_responses_knows_fit_its_schema(stream: list[StreamEvent]) -> None:
    foreign = ("custom_tool_call", "web_search_call", "file_citation", "reasoning_text.")
    for event in encoded(stream):
        if not any(word in json.dumps(event) for word in foreign):
            schema_of(event).validate(event)


def test_the_order_of_a_plain_answer() -> None:
    assert [event["type"] for event in encoded(text_stream("Hel", "lo"))] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]


def test_a_text_delta_says_where_it_belongs() -> None:
    assert encoded(text_stream("Hel", "lo"))[4] == {
        "type": "response.output_text.delta",
        "sequence_number": 4,
        "item_id": "msg_1",
        "output_index": 0,
        "content_index": 0,
        "delta": "Hel",
        "logprobs": [],
    }


def test_logprobs_go_out_with_all_their_keys() -> None:
    token = {"token": "é", "logprob": -0.1, "bytes": None, "top_logprobs": [{"token": "e", "logprob": -2.0}]}
    text = Text(text="é", logprobs=(token,))
    message = Message(role="assistant", content=(text,))
    stream: list[StreamEvent] = [
        START,
        ItemStarted(0, Message(role="assistant")),
        PartStarted(0, 0, Text(text="")),
        Delta(0, 0, "é", (token,)),
        PartEnded(0, 0, text),
        ItemEnded(0, message),
        Finished("stop"),
    ]
    whole = {
        "token": "é",
        "logprob": -0.1,
        "bytes": [195, 169],
        "top_logprobs": [{"token": "e", "logprob": -2.0, "bytes": [101]}],
    }
    events = encoded(stream)
    assert [events[place]["logprobs"] for place in (4, 5)] == [[whole], [whole]]
    assert events[-1]["response"]["output"][0]["content"][0]["logprobs"] == [whole]
    assert events[6]["part"]["logprobs"] == [whole]


@pytest.mark.parametrize(
    ("reason", "status", "details"),
    [
        pytest.param("stop", "completed", None, id="stop"),
        pytest.param("tool_calls", "completed", None, id="tool_calls"),
        pytest.param("length", "incomplete", {"reason": "max_output_tokens"}, id="length"),
        pytest.param("content_filter", "incomplete", {"reason": "content_filter"}, id="content_filter"),
    ],
)
def test_the_finish_reason_is_the_status(reason: str, status: str, details: dict[str, str] | None) -> None:
    last = encoded(text_stream("cut", reason=reason))[-1]
    assert last["type"] == f"response.{status}"
    assert last["response"]["status"] == status
    assert last["response"]["incomplete_details"] == details
    assert last["response"]["output"][-1]["status"] == status


def test_usage_stands_on_the_terminal_event_and_stays_null_if_nobody_told_it() -> None:
    usage = Usage(input_tokens=5, output_tokens=3, total_tokens=8, cached_tokens=2, reasoning_tokens=1)
    stream = text_stream("x")
    assert encoded(stream)[-1]["response"]["usage"] is None
    told = encoded([*stream[:-1], UsageReported(usage), stream[-1]])
    assert told[0]["response"]["usage"] is None
    assert told[-1]["response"]["usage"] == {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 8,
    }


def test_a_function_without_arguments_gets_an_empty_object() -> None:
    call = ToolCall(call_id="c", name="now")
    events = encoded([START, ItemStarted(0, call), ItemEnded(0, call), Finished("tool_calls")])
    check_stream(events)
    assert [(event["type"], event.get("delta"), event.get("arguments")) for event in events[3:5]] == [
        ("response.function_call_arguments.delta", "{}", None),
        ("response.function_call_arguments.done", None, "{}"),
    ]
    assert events[4]["name"] == "now"
    assert events[-1]["response"]["output"][0]["arguments"] == "{}"


def test_a_function_whose_arguments_are_no_json_is_incomplete() -> None:
    whole = ToolCall(call_id="c", name="f", arguments='{"a":')
    stream: list[StreamEvent] = [
        START,
        ItemStarted(0, ToolCall(call_id="c", name="f")),
        Delta(0, 0, '{"a":'),
        ItemEnded(0, whole),
    ]
    events = encoded([*stream, Finished("tool_calls")])
    check_stream(events)
    assert events[-1]["response"]["output"][0]["status"] == "incomplete"
    assert events[-1]["response"]["status"] == "completed"


def test_a_custom_tool_call_has_its_own_events_and_raw_input() -> None:
    whole = ToolCall(call_id="c", name="patch", arguments="*** Begin", kind="custom")
    started = ToolCall(call_id="c", name="patch", kind="custom")
    events = encoded([START, ItemStarted(0, started), Delta(0, 0, "*** Begin"), ItemEnded(0, whole), Finished("stop")])
    check_stream(events)
    assert [event["type"] for event in events[3:5]] == [
        "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
    ]
    assert events[4]["input"] == "*** Begin"
    assert events[-1]["response"]["output"][0] == {
        "type": "custom_tool_call",
        "id": "ctc_1",
        "call_id": "c",
        "name": "patch",
        "input": "*** Begin",
        "status": "completed",
    }


def test_what_an_item_holds_beyond_its_events_is_streamed_before_it_is_done() -> None:
    reasoning = Reasoning(summary=("short",), content=("long",), encrypted="sealed", origin="openai")
    message = Message(role="assistant", content=(Text(text="hi"), Image(url="https://x/y.png", detail="auto")))
    call = ToolCall(call_id="c", name="f", arguments="{}")
    stream: list[StreamEvent] = [START]
    items: list[Item] = [reasoning, message, call]
    for index, item in enumerate(items):
        stream += [ItemStarted(index, item), ItemEnded(index, item)]
    events = encoded([*stream, Finished("tool_calls")])
    check_stream(events, allow={"unknown-type"})  # an image in a message: Open Responses has it, OpenAI has not
    assert (
        plain(fold(decoded(events))).items[0]
        == plain(Reply(id="", model="", created_at=0, items=(reasoning,))).items[0]
    )
    assert events[-1]["response"]["output"][1]["content"][1]["type"] == "input_image"


def test_a_part_that_its_item_leaves_open_is_closed_with_what_came() -> None:
    message = Message(role="assistant", content=(Text(text="hi"),))
    stream: list[StreamEvent] = [
        START,
        ItemStarted(0, Message(role="assistant")),
        PartStarted(0, 0, Text(text="")),
        Delta(0, 0, "hi"),
        ItemEnded(0, message),
        Finished("stop"),
    ]
    check_stream(encoded(stream))


def test_what_only_another_format_understands_is_left_out() -> None:
    alien = Opaque(format="messages", raw={"type": "server_tool_use"})
    stream = text_stream("hi")
    shifted: list[StreamEvent] = [START, ItemStarted(9, alien), ItemEnded(9, alien), *stream[1:3]]
    shifted += [Annotated(0, 0, alien), *stream[3:]]
    assert encoded(shifted) == encoded(stream)


def test_snapshots_share_nothing_with_each_other_or_with_the_request() -> None:
    body = {"tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}]}
    encoder = CODEC.stream_encoder(context(body))
    events: list[WireEvent] = []
    for event in text_stream("hi"):
        for wire in encoder.feed(event):
            events.append(wire)
            if "response" in wire.data:
                wire.data["response"]["tools"][0]["parameters"]["type"] = "edited"
            if "item" in wire.data:
                wire.data["item"].clear()
    assert body["tools"][0]["parameters"] == {"type": "object"}
    assert events[-1].data["response"]["output"][0]["content"][0]["text"] == "hi"


@pytest.mark.parametrize(
    ("item", "kept"),
    [
        pytest.param(Message(role="assistant", id="msg_7"), "msg_7", id="its own"),
        pytest.param(Message(role="assistant", id="chatcmpl-7"), "msg_1", id="of another format"),
        pytest.param(Message(role="assistant"), "msg_1", id="none"),
        pytest.param(Opaque(format="responses", raw={"type": "x"}), "item_1", id="hosted without one"),
    ],
)
def test_an_item_keeps_its_id_only_if_it_is_of_this_format(item: Message | Opaque, kept: str) -> None:
    events = encoded([START, ItemStarted(0, item), ItemEnded(0, item), Finished("stop")])
    assert {event["item"]["id"] for event in events if "item" in event} == {kept}


def test_a_failure_shows_what_there_was_and_closes_nothing_that_a_client_might_run() -> None:
    done, cut = Message(role="assistant", content=(Text(text="so"),)), ToolCall(call_id="c", name="rm", arguments="{}")
    encoder = CODEC.stream_encoder(context())
    stream: list[StreamEvent] = [
        START,
        ItemStarted(0, done),
        ItemEnded(0, done),
        ItemStarted(1, cut),
        Delta(1, 0, '{"path'),
    ]
    error = UpstreamError("Too long.", code="context_length_exceeded", type="invalid_request_error", param="input")
    events = data_of([wire for event in [*stream, Failed(error)] for wire in encoder.feed(event)])
    check_stream(events)
    flat = {"code": "context_length_exceeded", "message": "Too long.", "param": "input"}
    sequence = len(events) - 2
    nested = {"error": {"type": "invalid_request_error"} | flat}
    assert events[-2] == {"type": "error", "sequence_number": sequence} | flat | nested
    failed = events[-1]["response"]
    assert failed["error"] == {"code": "context_length_exceeded", "message": "Too long."}
    assert [(item["type"], item["status"]) for item in failed["output"]] == [
        ("message", "completed"),
        ("function_call", "incomplete"),
    ]
    assert failed["output"][1]["arguments"] == '{"path'
    assert sum(event["type"] == "response.output_item.done" for event in events) == 1


def test_a_failure_in_the_middle_of_reasoning_shows_the_reasoning_so_far() -> None:
    encoder = CODEC.stream_encoder(context())
    stream: list[StreamEvent] = [
        START,
        ItemStarted(0, Reasoning()),
        PartStarted(0, 0, ReasoningText("")),
        Delta(0, 0, "think"),
    ]
    events = data_of([wire for event in stream for wire in encoder.feed(event)] + encoder.fail(ERROR))
    check_stream(events)
    item = events[-1]["response"]["output"][0]
    assert item["content"] == [{"type": "reasoning_text", "text": "think"}]


@pytest.mark.parametrize("error", [GatewayError("x", code=None), ERROR], ids=["no code", "a code"])
def test_a_native_stream_that_was_cut_ends_with_its_own_snapshot(error: GatewayError) -> None:
    created = encoded(text_stream("x"))[0]["response"]
    error.code = error.code or None
    events = data_of(failure_events(error, response=created, sequence_number=41))
    assert [event["sequence_number"] for event in events] == [41, 42]
    for event in events:
        schema_of(event).validate(event)
    assert events[1]["response"]["id"] == created["id"]
    assert events[1]["response"]["status"] == "failed"
    assert created["status"] == "in_progress"


def test_a_native_stream_that_never_began_ends_with_a_whole_resource() -> None:
    for event in data_of(failure_events(ERROR, response=None, sequence_number=0)):
        schema_of(event).validate(event)
