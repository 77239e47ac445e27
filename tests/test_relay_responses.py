"""Responses and images streams relayed: snapshots, numbers and usage, and a lawful end for what broke."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aigateway import _json, _sse
from aigateway.errors import GatewayError, UpstreamError, UpstreamProtocolError
from aigateway.formats.images.relay import ImagesRelay
from aigateway.formats.protocol import WireEvent
from aigateway.formats.relay import StreamRelay
from aigateway.formats.responses.relay import ResponsesRelay

ASKED = "gpt-4"
RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "status": "in_progress",
    "model": "gpt-4-turbo",
    "output": [],
    "error": None,
    "metadata": {"model": "gpt-4-turbo"},
    "usage": None,
    "x_new_field": 1,
}
USAGE = {"input_tokens": 3, "output_tokens": 5, "total_tokens": 8}


def frame(event: dict[str, Any], end: bytes = b"\n") -> bytes:
    return f"event: {event['type']}".encode() + end + b"data: " + _json.encode(event) + end + end


def numbered(*events: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"sequence_number": number} | event for number, event in enumerate(events)]


def about(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "response": RESPONSE | more}


DELTA = {"type": "response.output_text.delta", "delta": 'says "model":"gpt-4-turbo" and response.completed'}
ITEM = {"type": "response.output_item.done", "item": {"type": "image_generation_call", "model": "gpt-4-turbo"}}
COMPLETED = about("completed", status="completed", usage=USAGE)
EVENTS = numbered(about("created"), about("in_progress"), DELTA, ITEM, COMPLETED)


def renamed(event: dict[str, Any]) -> dict[str, Any]:
    return event | {"response": event["response"] | {"model": ASKED}} if "response" in event else event


def fed(relay: StreamRelay, stream: bytes, cuts: Sequence[int] = ()) -> tuple[bytes, GatewayError | None]:
    """What a stream became, and the error that ended it."""
    out = b""
    try:
        for start, end in itertools.pairwise([0, *sorted(cuts), len(stream)]):
            out += relay.feed(stream[start:end])
            if relay.failure is not None:
                return out, relay.failure
        out += relay.flush()
    except GatewayError as error:
        return out, error
    return out, relay.failure


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("by_byte", [False, True], ids=["at once", "byte by byte"])
def test_the_model_is_renamed_in_the_response_and_nowhere_else(end: bytes, by_byte: bool) -> None:
    stream = b"".join(frame(event, end) for event in EVENTS)
    relay = ResponsesRelay(ASKED)
    out, error = fed(relay, stream, range(len(stream)) if by_byte else ())
    assert out == b"".join(frame(renamed(event), end) for event in EVENTS)
    assert (error, relay.finished) == (None, True)
    assert relay.usage is not None
    assert (relay.usage.input_tokens, relay.usage.output_tokens) == (3, 5)


def test_a_response_that_names_the_model_asked_for_is_untouched() -> None:
    stream = b": hello\n\n" + b"".join(frame(renamed(event)) for event in EVENTS) + _sse.DONE_FRAME
    assert fed(ResponsesRelay(ASKED), stream) == (stream, None)


@pytest.mark.parametrize("kind", ["completed", "incomplete"])
def test_each_terminal_event_finishes_the_stream(kind: str) -> None:
    relay = ResponsesRelay(ASKED)
    _, error = fed(relay, b"".join(map(frame, numbered(about("created"), about(kind, usage=USAGE)))))
    assert (error, relay.finished) == (None, True)
    assert relay.usage is not None


@pytest.mark.parametrize("length", range(1, len(EVENTS)))
def test_success_is_never_invented_for_a_response_that_was_cut(length: int) -> None:
    relay = ResponsesRelay(ASKED)
    stream = b"".join(map(frame, EVENTS[:length]))
    out, error = fed(relay, stream + frame(EVENTS[length])[:40])
    assert isinstance(error, UpstreamProtocolError)
    assert out == b"".join(frame(renamed(event)) for event in EVENTS[:length])
    assert not relay.finished
    lawful(relay.fail(error), length, error)


def lawful(ending: list[WireEvent], number: int, error: GatewayError) -> None:
    """Check the events that end a broken stream: an error, then the failed response, numbered on."""
    told, failed = ending
    assert [told.name, failed.name] == ["error", "response.failed"] == [told.data["type"], failed.data["type"]]
    assert [told.data["sequence_number"], failed.data["sequence_number"]] == [number, number + 1]
    assert told.data["message"] == told.data["error"]["message"] == error.message
    assert told.data["code"] == told.data["error"]["code"] == error.code
    response = failed.data["response"]
    assert (response["status"], response["model"]) == ("failed", ASKED)
    assert response["error"] == {"code": error.code, "message": error.message}


def test_the_failed_response_is_the_last_snapshot_that_was_seen() -> None:
    relay = ResponsesRelay(ASKED)
    relay.feed(frame(EVENTS[0]))
    response = relay.fail(UpstreamProtocolError("cut"))[1].data["response"]
    assert (response["id"], response["metadata"], response["x_new_field"]) == ("resp_1", RESPONSE["metadata"], 1)


def test_a_stream_that_broke_before_any_event_still_ends_lawfully() -> None:
    error = UpstreamProtocolError("cut")
    lawful(ResponsesRelay(ASKED).fail(error), 0, error)


QUIET = {
    "comment": b": keepalive\n\n",
    "done": _sse.DONE_FRAME,
    "event without a number": frame({"type": "ping"}),
    "garbage": b'data: {"delta\n\n',
}


@pytest.mark.parametrize("quiet", QUIET.values(), ids=QUIET.keys())
def test_numbers_go_on_after_what_has_none(quiet: bytes) -> None:
    relay = ResponsesRelay(ASKED)
    for event in EVENTS[:3]:
        relay.feed(frame(event))
    relay.feed(quiet)
    error = UpstreamProtocolError("cut")
    lawful(relay.fail(error), 3, error)


FAILURES = {
    "error event": {"type": "error", "code": "rate_limit_exceeded", "message": "slow", "param": None},
    "nested error event": {"type": "error", "error": {"code": "rate_limit_exceeded", "message": "slow"}},
    "failed response": about("failed", status="failed", error={"code": "rate_limit_exceeded", "message": "slow"}),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES.keys())
def test_an_error_in_mid_stream_is_told_once(failure: dict[str, Any]) -> None:
    events = numbered(about("created"), DELTA, failure)
    stream = b"".join(map(frame, events)) + _sse.DONE_FRAME
    for cuts in ((), range(len(stream))):
        relay = ResponsesRelay(ASKED)
        out, error = fed(relay, stream, cuts)
        assert out == b"".join(frame(renamed(event)) for event in events[:2])
        assert isinstance(error, UpstreamError)
        assert (error.status, error.code, error.message) == (429, "rate_limit_exceeded", "slow")
        lawful(relay.fail(error), 2, error)


def test_the_failed_response_keeps_what_the_upstream_had_put_into_it() -> None:
    output = [{"type": "message", "content": []}]
    failure = about("failed", status="failed", error={"code": "server_error", "message": "secret"}, output=output)
    relay = ResponsesRelay(ASKED)
    _, error = fed(relay, b"".join(map(frame, numbered(about("created"), failure))))
    assert error is not None
    response = relay.fail(error)[1].data["response"]
    assert response["output"] == output
    assert "secret" not in str(response)


frames = st.sampled_from([DELTA, ITEM, about("in_progress"), COMPLETED, FAILURES["error event"], {"type": "ping"}])
line_ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
quiets = st.sampled_from([b"", b"", *QUIET.values()])


@given(st.lists(st.tuples(frames, line_ends, quiets), max_size=6), st.data())
@settings(max_examples=150)
def test_any_split_of_a_response_gives_the_same(
    made: list[tuple[dict[str, Any], bytes, bytes]], data: st.DataObject
) -> None:
    events = numbered(about("created"), *(event for event, _, _ in made))[1:]
    pieces = [frame(event, end) + quiet for event, (_, end, quiet) in zip(events, made, strict=True)]
    stream = frame(EVENTS[0]) + b"".join(pieces)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=10))
    whole, split = ResponsesRelay(ASKED), ResponsesRelay(ASKED)
    (out, error), (split_out, split_error) = fed(whole, stream), fed(split, stream, cuts)
    assert split_out == out
    assert (split.usage, split.finished, str(split_error)) == (whole.usage, whole.finished, str(error))
    failure = UpstreamProtocolError("cut")
    assert [event.data for event in split.fail(failure)] == [event.data for event in whole.fail(failure)]


PARTIAL = {"type": "image_generation.partial_image", "b64_json": "AAAA", "partial_image_index": 0}
IMAGE = {"type": "image_generation.completed", "b64_json": "BBBB", "usage": USAGE}


@given(st.data())
@settings(max_examples=50)
def test_an_images_stream_passes_untouched_at_any_split(data: st.DataObject) -> None:
    stream = frame(PARTIAL) + frame(IMAGE)
    relay = ImagesRelay(ASKED)
    assert fed(relay, stream, data.draw(st.lists(st.integers(0, len(stream)), max_size=6))) == (stream, None)
    assert relay.usage is not None
    assert (relay.usage.input_tokens, relay.usage.output_tokens) == (3, 5)


def test_an_images_stream_without_its_last_image_was_cut() -> None:
    out, error = fed(ImagesRelay(ASKED), frame(PARTIAL))
    assert out == frame(PARTIAL)
    assert isinstance(error, UpstreamProtocolError)


def test_a_stream_without_a_known_end_is_always_finished() -> None:
    stream = frame({"type": "anything"})
    assert fed(StreamRelay(ASKED), stream) == (stream, None)
