"""Responses events -> canonical events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigateway import _json
from aigateway._sse import SSEEvent
from aigateway.canonical.accumulator import fold
from aigateway.canonical.events import (
    Annotated,
    Delta,
    Failed,
    Finished,
    Started,
    StreamEvent,
    UsageReported,
)
from aigateway.canonical.types import Item, Message, Opaque, Reasoning, Reply, Text, ToolCall, UrlCitation
from aigateway.errors import UpstreamError, UpstreamProtocolError
from tests.formats.responses_streams import (
    CODEC,
    alike,
    check_canonical,
    decoded,
    decoded_bytes,
    encoded,
    plain,
    streams,
)

FIXTURES = sorted((Path(__file__).parents[1] / "fixtures/responses").glob("*.sse"))
CREATED = {"type": "response.created", "response": {"id": "r", "model": "m", "created_at": 5, "status": "in_progress"}}
MESSAGE = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant"}
TEXT_DELTA = {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0}
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "c",
    "name": "f",
    "arguments": '{"a":1}',
    "status": "completed",
}


def message(text: str) -> dict[str, Any]:
    return MESSAGE | {"content": [{"type": "output_text", "text": text, "annotations": []}]}


def completed(*output: dict[str, Any], **facts: Any) -> dict[str, Any]:
    response = {"id": "r", "model": "m", "created_at": 5, "status": "completed", "output": list(output)}
    return {"type": "response.completed", "response": response | facts}


def done(item: dict[str, Any], place: int = 0) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": place, "item": item}


def added(item: dict[str, Any], place: int = 0) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": place, "item": item}


def delta(text: str, **facts: Any) -> dict[str, Any]:
    return TEXT_DELTA | {"delta": text} | facts


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_a_recorded_stream_is_the_same_reply_as_its_last_snapshot(path: Path) -> None:
    stream = path.read_bytes()
    events = decoded_bytes([stream])
    check_canonical(events)
    last = next(line for line in stream.splitlines() if line.startswith(b'data: {"type":"response.completed"'))
    assert alike(fold(events)) == alike(CODEC.decode_reply(_json.decode(last[6:])["response"]))


@given(st.data())
def test_any_split_of_the_bytes_gives_the_same_events(data: st.DataObject) -> None:
    stream = data.draw(st.sampled_from(FIXTURES)).read_bytes()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    chunks = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert decoded_bytes(chunks) == decoded_bytes([stream])


@given(streams(), st.integers(0, 40))
def test_a_stream_that_is_cut_never_ends_in_success(stream: list[StreamEvent], place: int) -> None:
    cut = encoded(stream)[:-1][:place]
    last = decoded(cut)[-1]
    assert isinstance(last, Failed)
    assert isinstance(last.error, UpstreamProtocolError)


@given(streams(), st.sets(st.sampled_from(["added", "part", "delta", "done", "item"])))
def test_what_an_upstream_leaves_out_is_made_up_for(stream: list[StreamEvent], missing: set[str]) -> None:
    """The last event tells all; an item that had no other comes last."""
    marks = {"added": "item.added", "part": "part.", "delta": ".delta", "done": "text.done", "item": "item.done"}
    kept = [event for event in encoded(stream) if not any(marks[name] in event["type"] for name in missing)]
    events = decoded(kept)
    check_canonical(events)
    found, whole = plain(fold(events)), plain(fold(stream))
    assert sorted(map(repr, found.items)) == sorted(map(repr, whole.items))
    assert msgspec.structs.replace(found, items=()) == msgspec.structs.replace(whole, items=())


LENIENT = {
    "only the last event": [completed(message("Hello"))],
    "only the whole item": [done(message("Hello")), completed()],
    "deltas without starts": [delta("Hel"), delta("lo"), completed()],
    "a tail that was not streamed": [delta("Hel"), done(message("Hello")), completed()],
    "a tail in the text's own end": [
        delta("Hel"),
        TEXT_DELTA | {"type": "response.output_text.done", "text": "Hello"},
        completed(message("Hello")),
    ],
    "no item.done": [added(MESSAGE | {"content": []}), delta("Hello"), completed(message("Hello"))],
    "another id on every event": [
        added(MESSAGE | {"content": []}),
        delta("Hel", item_id="x"),
        delta("lo", item_id="y"),
        done(message("Hello") | {"id": "z"}),
        completed(message("Hello") | {"id": "w"}),
    ],
    "no ids at all": [
        added({"type": "message", "role": "assistant", "content": []}),
        delta("Hello", item_id=None),
        done({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello"}]}),
        completed(),
    ],
    "an item announced twice": [added(MESSAGE), added(MESSAGE), delta("Hello"), completed(message("Hello"))],
    "an item done twice": [done(message("Hello")), done(message("Hello")), completed()],
    "deltas after the end": [done(message("Hello")), delta("again"), completed()],
    "events that nobody knows": [{"type": "response.keepalive"}, {"type": "x", "item": 1}, completed(message("Hello"))],
}


@pytest.mark.parametrize("events", LENIENT.values(), ids=LENIENT.keys())
def test_a_lenient_reading(events: list[dict[str, Any]]) -> None:
    canonical = decoded([CREATED, *events])
    check_canonical(canonical)
    reply = fold(canonical)
    assert [item.content for item in reply.items if isinstance(item, Message)] == [(Text(text="Hello"),)]
    assert "".join(event.text for event in canonical if isinstance(event, Delta)) == "Hello"


def test_two_items_at_one_place_are_told_apart_by_their_ids() -> None:
    events = decoded([CREATED, done(message("one")), done(message("two") | {"id": "msg_2"}), completed()])
    assert [item.id for item in fold(events).items if isinstance(item, Message)] == ["msg_1", "msg_2"]


def test_the_last_form_of_an_item_counts_but_for_what_has_been_told() -> None:
    events = decoded([CREATED, delta("Hallo"), done(message("Hello") | {"status": "incomplete"}), completed()])
    [item] = [item for item in fold(events).items if isinstance(item, Message)]
    assert (item.content, item.status) == ((Text(text="Hallo"),), "incomplete")


def test_an_empty_last_form_does_not_take_away_what_was_streamed() -> None:
    call_delta = {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": 1, "delta": "{}"}
    reasoning_delta = {"type": "response.reasoning_text.delta", "item_id": "rs_1", "output_index": 2, "delta": "hm"}
    events = decoded(
        [
            CREATED,
            delta("Hello"),
            done(MESSAGE | {"content": []}),
            added(CALL | {"arguments": ""}, 1),
            call_delta,
            done(CALL | {"arguments": ""}, 1),
            reasoning_delta,
            done({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"}, 2),
            completed(),
        ]
    )
    said, call, reasoning = fold(events).items
    assert isinstance(said, Message)
    assert said.content == (Text(text="Hello"),)
    assert isinstance(call, ToolCall)
    assert call.arguments == "{}"
    assert isinstance(reasoning, Reasoning)
    assert (reasoning.content, reasoning.encrypted) == (("hm",), "sealed")


@pytest.mark.parametrize("name", ["response.reasoning_text", "response.reasoning"])
def test_reasoning_text_has_two_names(name: str) -> None:
    place = {"item_id": "rs_1", "output_index": 0, "content_index": 0}
    events = decoded(
        [
            CREATED,
            place | {"type": f"{name}.delta", "delta": "th"},
            place | {"type": f"{name}.done", "text": "think"},
            completed(),
        ]
    )
    assert plain(fold(events)).items == plain(reply_of(Reasoning(content=("think",), id="rs_1"))).items


def reply_of(*items: Item) -> Reply:
    return Reply(id="", model="", created_at=0, items=items)


def test_annotations_come_once_by_their_event_or_with_their_part() -> None:
    raw = {"type": "url_citation", "url": "https://a", "title": "A", "start_index": 0, "end_index": 1}
    other = raw | {"url": "https://b"}
    part = {"type": "output_text", "text": "Hello", "annotations": [raw, other]}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    events = decoded(
        [
            CREATED,
            delta("Hello"),
            place | {"type": "response.output_text.annotation.added", "annotation_index": 0, "annotation": raw},
            place | {"type": "response.content_part.done", "part": part},
            done(MESSAGE | {"content": [part]}),
            completed(),
        ]
    )
    found = [event.annotation for event in events if isinstance(event, Annotated)]
    assert [citation.url for citation in found if isinstance(citation, UrlCitation)] == ["https://a", "https://b"]
    said = fold(events).items[0]
    assert isinstance(said, Message)
    assert isinstance(said.content[0], Text)
    assert said.content[0].annotations == tuple(found)


def test_a_hosted_call_goes_along_as_it_is() -> None:
    raw = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}}
    events = decoded([CREATED, added(raw | {"status": "in_progress"}), done(raw), completed(raw)])
    assert fold(events).items == (Opaque(format="responses", raw=raw),)


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        pytest.param(completed(message("x")), "stop", id="stop"),
        pytest.param(completed(CALL), "tool_calls", id="tool_calls"),
        pytest.param(
            completed(CALL, status="incomplete", incomplete_details={"reason": "max_output_tokens"})
            | {"type": "response.incomplete"},
            "length",
            id="length",
        ),
        pytest.param(
            {"type": "response.incomplete", "response": {"incomplete_details": {"reason": "content_filter"}}},
            "content_filter",
            id="content_filter",
        ),
        pytest.param({"type": "response.completed"}, "stop", id="no response in it"),
    ],
)
def test_the_finish_reason(last: dict[str, Any], reason: str) -> None:
    assert fold(decoded([CREATED, last])).finish_reason == reason


def test_usage_and_service_tier_come_from_the_last_event() -> None:
    usage = {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13, "input_tokens_details": {"cached_tokens": 3}}
    events = decoded([CREATED, completed(usage=usage, service_tier="flex")])
    reported = [event.usage for event in events if isinstance(event, UsageReported)]
    assert [(entry.input_tokens, entry.output_tokens, entry.cached_tokens) for entry in reported] == [(9, 4, 3)]
    assert fold(events).service_tier == "flex"


@pytest.mark.parametrize(
    ("event", "status", "code", "message"),
    [
        pytest.param(
            {
                "type": "response.failed",
                "response": {"error": {"code": "rate_limit_exceeded", "message": "Slow down."}},
            },
            429,
            "rate_limit_exceeded",
            "Slow down.",
            id="response.failed",
        ),
        pytest.param(
            {"type": "error", "code": "context_length_exceeded", "message": "Too long.", "param": None},
            400,
            "context_length_exceeded",
            "Too long.",
            id="flat",
        ),
        pytest.param(
            {"type": "error", "error": {"type": "server_error", "code": "boom", "message": "Oh."}},
            502,
            "boom",
            "The upstream reported an error in its stream.",
            id="nested",
        ),
        pytest.param(
            {"error": {"message": "Oh.", "code": 503}},
            502,
            "upstream_error",
            "The upstream reported an error in its stream.",
            id="bare",
        ),
        pytest.param(
            completed(status="failed", error={"code": "invalid_prompt", "message": "No."}),
            400,
            "invalid_prompt",
            "No.",
            id="completed as failed",
        ),
        pytest.param(
            {"type": "response.cancelled", "response": {}},
            502,
            "upstream_error",
            "The upstream reported an error in its stream.",
            id="cancelled",
        ),
    ],
)
def test_an_error_of_the_upstream_ends_the_stream(event: dict[str, Any], status: int, code: str, message: str) -> None:
    decoder = CODEC.stream_decoder()
    (failed,) = decoder.feed(SSEEvent(_json.encode(event)))
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, UpstreamError)
    assert (failed.error.status, failed.error.code, failed.error.message) == (status, code, message)
    assert decoder.feed(SSEEvent(_json.encode(completed()))) == decoder.flush() == []


@pytest.mark.parametrize(
    "data",
    [
        b"<html>",
        b"[1]",
        b"\xff",
        b"[" * 100_000,
        _json.encode(done({"type": "message", "content": 5})),
        _json.encode(done({"content": []})),
    ],
    ids=["html", "a list", "not utf-8", "too deep", "an unreadable item", "an item of no type"],
)
def test_what_is_not_an_event_ends_the_stream(data: bytes) -> None:
    decoder = CODEC.stream_decoder()
    last = decoder.feed(SSEEvent(data))[-1]
    assert isinstance(last, Failed)
    assert isinstance(last.error, UpstreamProtocolError)


def test_an_event_without_type_is_read_by_its_sse_name_and_an_empty_one_is_passed_over() -> None:
    decoder = CODEC.stream_decoder()
    assert decoder.feed(SSEEvent(b"", "ping")) == []
    (started,) = decoder.feed(SSEEvent(_json.encode({"response": {"id": "r"}}), "response.created"))
    assert started == Started("r", "", 0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.sampled_from(["", "msg_1", "text", "output_text", "message"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["type", "text", "content", "id", "annotations", "output", "error"]), inner)
    ),
    max_leaves=6,
)
NAMES = [
    "response.created",
    "response.output_item.added",
    "response.output_item.done",
    "response.content_part.added",
    "response.content_part.done",
    "response.output_text.delta",
    "response.output_text.done",
    "response.output_text.annotation.added",
    "response.function_call_arguments.delta",
    "response.completed",
    "response.failed",
    "error",
    "",
]
KEYS = ["response", "item", "part", "delta", "text", "item_id", "output_index", "content_index", "annotation", "error"]


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.dictionaries(st.sampled_from(KEYS), JSON)), max_size=6))
def test_no_event_makes_the_decoder_raise_and_nothing_follows_its_end(found: list[tuple[str, dict[str, Any]]]) -> None:
    decoder = CODEC.stream_decoder()
    events: list[StreamEvent] = []
    for name, data in found:
        events += decoder.feed(SSEEvent(_json.encode(data | {"type": name})))
    events += decoder.flush()
    ends = [isinstance(event, Finished | Failed) for event in events]
    assert ends == [False] * (len(ends) - 1) + [True]
