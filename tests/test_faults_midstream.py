"""Upstreams that fail after the first event: the stream ends as the law of the caller's format says, never as a success."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from aigateway import UpstreamError
from aigateway.formats.responses.resource import empty_resource
from aigateway.testing import Script
from tests.answers import ERROR_EVENTS, EVENTS, TO_TEXT, stream
from tests.faults import (
    ERROR_KEYS,
    STREAMED,
    SURFACES,
    Answered,
    Stage,
    Surface,
    gateway_is_idle,
    leaks_nothing,
    plain_error,
    staged,
    type_for,
)

TEXTUAL = {name: surface for name, surface in STREAMED.items() if surface.api != "images"}
TRANSLATED = {name: surface for name, surface in TEXTUAL.items() if surface.api != surface.upstream}

each_stream = pytest.mark.parametrize("surface", STREAMED.values(), ids=STREAMED.keys())
each_text = pytest.mark.parametrize("surface", TEXTUAL.values(), ids=TEXTUAL.keys())
each_translation = pytest.mark.parametrize("surface", TRANSLATED.values(), ids=TRANSLATED.keys())

BEGUN = {api: EVENTS[api][:count] for api, count in TO_TEXT.items()}
"""Events up to and with the first text."""


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged() as stage:
        yield stage


def broken(api: str, *more: Any, done: bool = False, fault: str | None = None) -> Script:
    """A stream that begins well."""
    return stream(api, [*BEGUN[api], *more], done=done, fault=fault)


Making = Callable[[str], Script]

FAULTS: Mapping[str, tuple[Making, str]] = {
    "cut": (lambda api: broken(api, fault="cut"), "upstream_connection_error"),
    "reset": (lambda api: broken(api, fault="reset_body"), "upstream_connection_error"),
    "end without a finish": (broken, "upstream_protocol_error"),
    "end within an event": (lambda api: broken(api, b'data: {"id":"x","typ'), "upstream_protocol_error"),
    "error object": (lambda api: broken(api, ERROR_EVENTS[api]), "overloaded"),
    "error object, then [DONE]": (lambda api: broken(api, ERROR_EVENTS[api], done=True), "overloaded"),
    "error object, then more": (
        lambda api: stream(api, [*BEGUN[api], ERROR_EVENTS[api], *EVENTS[api][-2:]]),
        "overloaded",
    ),
}


def ends_lawfully(stage: Stage, surface: Surface, answered: Answered) -> dict[str, Any]:
    """A head of success, the text so far, then the format's own end of a failure. Gives the error object."""
    assert answered.status == 200
    assert answered.headers["content-type"] == "text/event-stream"
    assert not answered.broken, "the connection is closed in an orderly way"
    leaks_nothing(stage, answered.body)
    events = answered.events()
    if surface.api in ("chat", "completions"):
        error = _end_of_chat(events)
    elif surface.api == "responses":
        error = _end_of_response(answered.body, events)
    elif surface.api == "messages":
        error = _end_of_message(events)
    else:
        assert events[-1]["type"] == "error"
        assert [event for event in events if "completed" in event["type"]] == []
        error = events[-1]["error"]
    assert set(error) == ERROR_KEYS
    assert "Provider 'acme'" in error["message"]
    return dict(error)


def _end_of_chat(events: list[Any]) -> dict[str, Any]:
    assert "[DONE]" not in events
    assert [event for event in events if "error" in event] == events[-1:], "one error object, and it is the last"
    choices = [choice for chunk in events[:-1] for choice in chunk["choices"]]
    assert "".join(choice.get("text") or choice.get("delta", {}).get("content") or "" for choice in choices) == "Hello"
    assert not any(choice.get("finish_reason") for choice in choices)
    error: dict[str, Any] = events[-1]["error"]
    return error


def _end_of_message(events: list[Any]) -> dict[str, Any]:
    kinds = [event["type"] for event in events]
    assert kinds[0] == "message_start"
    assert kinds[-1] == "error"
    assert not {"message_delta", "message_stop"} & set(kinds)
    texts = [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(texts) == "Hello"
    return plain_error(events[-1]["error"])


def _end_of_response(body: bytes, events: list[Any]) -> dict[str, Any]:
    assert events.pop() == "[DONE]"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    names = [event["type"] for event in events]
    assert [line[7:].decode() for line in body.split(b"\n") if line.startswith(b"event: ")] == names
    assert names[:2] == ["response.created", "response.in_progress"]
    assert names[-2:] == ["error", "response.failed"]
    assert names.count("error") == names.count("response.failed") == 1
    assert not {"response.completed", "response.incomplete", "response.output_item.done"} & set(names)
    assert "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta") == "Hello"
    told, failed = events[-2], events[-1]["response"]
    error: dict[str, Any] = told["error"]
    assert {key: told[key] for key in ("code", "message", "param")} == {
        key: error[key] for key in ("code", "message", "param")
    }
    assert failed["status"] == "failed"
    assert failed["error"] == {"code": error["code"], "message": error["message"]}
    first = events[0]["response"]
    assert failed.keys() >= first.keys() | empty_resource().keys()
    assert (failed["id"], failed["model"], failed["created_at"]) == (first["id"], first["model"], first["created_at"])
    assert not failed.get("completed_at")
    return error


def told_as_failed(stage: Stage, status: int, code: str) -> None:
    call = stage.call
    assert call.outcome == "failed"
    assert call.status == 200
    assert isinstance(call.error, UpstreamError)
    assert (call.error.status, call.error.code, call.error.provider) == (status, code, "acme")
    assert call.attempts[-1].error is not None
    assert call.first_byte_at is not None


@each_stream
@pytest.mark.parametrize(("making", "code"), FAULTS.values(), ids=FAULTS.keys())
async def test_fault_in_mid_stream_ends_it_lawfully(stage: Stage, making: Making, code: str, surface: Surface) -> None:
    answered = await stage.ask(surface, making(surface.upstream), stream=True)
    error = ends_lawfully(stage, surface, answered)
    kind = type_for(surface, 502, "upstream_error")
    assert (error["type"], error["code"], error["param"]) == (kind, code, None)
    told_as_failed(stage, 502, code)
    await gateway_is_idle()


@each_stream
async def test_refusal_in_mid_stream_keeps_the_upstreams_words(stage: Stage, surface: Surface) -> None:
    facts = {
        "message": "Provider 'acme' is out of room.",
        "type": "tokens",
        "param": None,
        "code": "context_length_exceeded",
    }
    event: dict[str, Any] = (
        {"error": facts} if surface.upstream in ("chat", "completions") else {"type": "error", "error": facts}
    )
    answered = await stage.ask(surface, broken(surface.upstream, event), stream=True)
    if surface.api == "messages":
        facts |= {"type": "invalid_request_error", "message": f"prompt is too long: {facts['message']}"}
    error = ends_lawfully(stage, surface, answered)
    assert error == facts
    told_as_failed(stage, 400, "context_length_exceeded")


@pytest.mark.parametrize("name", ["responses relay", "responses edit", "chat on responses"])
async def test_response_that_the_upstream_gave_up_on_failed(stage: Stage, name: str) -> None:
    failed = {
        **EVENTS["responses"][0]["response"],
        "status": "failed",
        "error": {"code": "server_error", "message": "x"},
        "usage": {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4},
    }
    event = {"type": "response.failed", "sequence_number": 5, "response": failed}
    answered = await stage.ask(SURFACES[name], broken("responses", event, done=True), stream=True)
    error = ends_lawfully(stage, SURFACES[name], answered)
    assert error["code"] == "server_error"
    told_as_failed(stage, 502, "server_error")
    if name != "chat on responses":
        assert stage.call.usage is not None
        assert stage.call.usage.input_tokens == 3
        assert answered.events()[-2]["response"]["usage"]["total_tokens"] == 4


@each_translation
@pytest.mark.parametrize(
    "garbage", [b"data: <html>\n\n", b"data: [1]\n\n", b"data: null\n\n"], ids=["html", "list", "null"]
)
async def test_garbage_in_a_translated_stream_ends_it_lawfully_and_at_once(
    stage: Stage, garbage: bytes, surface: Surface
) -> None:
    script = broken(surface.upstream, garbage, b"data: {}\n\n")
    script.hold_after = (len(BEGUN[surface.upstream]) + 1, asyncio.Event())
    answered = await stage.ask(surface, script, stream=True)
    error = ends_lawfully(stage, surface, answered)
    assert error["code"] == "upstream_protocol_error"
    told_as_failed(stage, 502, "upstream_protocol_error")
    await asyncio.wait_for(stage.upstream.left.wait(), 1)


@each_stream
async def test_error_in_mid_stream_lets_go_of_an_upstream_that_goes_on(stage: Stage, surface: Surface) -> None:
    script = broken(surface.upstream, ERROR_EVENTS[surface.upstream], b": more\n\n")
    script.hold_after = (len(BEGUN[surface.upstream]) + 1, asyncio.Event())
    answered = await stage.ask(surface, script, stream=True)
    ends_lawfully(stage, surface, answered)
    await asyncio.wait_for(stage.upstream.left.wait(), 1)
    assert stage.upstream.gone == 1


@each_stream
async def test_silence_in_mid_stream_ends_it_as_a_timeout(stage: Stage, surface: Surface) -> None:
    script = broken(surface.upstream, b": never sent\n\n")
    script.hold_after = (len(BEGUN[surface.upstream]), asyncio.Event())
    answered = await stage.ask(surface, script, stream=True, model=f"hasty-{surface.upstream}")
    error = ends_lawfully(stage, surface, answered)
    assert error["code"] == "upstream_timeout"
    told_as_failed(stage, 504, "upstream_timeout")
    await asyncio.wait_for(stage.upstream.left.wait(), 1)


@pytest.mark.parametrize("name", ["chat relay", "responses on chat"])
async def test_total_time_ends_a_stream_that_never_falls_silent(stage: Stage, name: str) -> None:
    surface = SURFACES[name]
    script = broken(surface.upstream, *[b": still here\n\n"] * 100)
    script.piece_delay = 0.05
    answered = await stage.ask(surface, script, stream=True, model=f"short-{surface.upstream}")
    assert ends_lawfully(stage, surface, answered)["code"] == "upstream_timeout"
    call = stage.call
    assert call.ended_at is not None
    assert 0.4 <= call.ended_at - call.started_at < 1.5


@pytest.mark.parametrize("name", ["chat relay", "responses on chat", "responses edit"])
async def test_healthy_stream_is_longer_than_any_one_silence_may_be(stage: Stage, name: str) -> None:
    surface = SURFACES[name]
    events: list[Any] = EVENTS[surface.upstream]
    events = events[:1] + [b": thinking\n\n"] * 4 + events[1:]
    script = stream(surface.upstream, events, piece_delay=0.1)
    answered = await stage.ask(surface, script, stream=True, model=f"hasty-{surface.upstream}")
    assert answered.events()[-1] == "[DONE]"
    assert "error" not in {event.get("type") for event in answered.events()[:-1]}
    call = stage.call
    assert call.outcome == "completed"
    assert call.ended_at is not None
    assert call.ended_at - call.started_at > 0.8


@each_text
async def test_stream_that_forgets_its_done_line_is_still_a_success(stage: Stage, surface: Surface) -> None:
    answered = await stage.ask(surface, stream(surface.upstream, done=False), stream=True)
    assert not answered.broken
    assert stage.call.outcome == "completed"
    assert stage.call.usage is not None


async def test_snapshot_of_a_failed_response_holds_what_was_said(stage: Stage) -> None:
    answered = await stage.ask(SURFACES["responses on chat"], broken("chat", fault="cut"), stream=True)
    failed = answered.events()[-2]["response"]
    assert failed.keys() >= empty_resource().keys()
    assert failed["output"][0]["status"] == "incomplete"
    assert failed["output"][0]["content"][0]["text"] == "Hello"


@pytest.mark.parametrize("name", ["responses relay", "responses on chat"])
async def test_numbers_go_on_where_a_hook_has_dropped_events(stage: Stage, name: str) -> None:
    surface = SURFACES[name]
    stage.edited.add_hook(_DropsParts())
    stage.upstream.script(broken(surface.upstream, fault="cut"))
    answered = await stage.post(f"{stage.urls[True]}/v1/responses", surface.request(stream=True))
    events = answered.events()[:-1]
    assert "response.content_part.added" not in {event["type"] for event in events}
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events][-2:] == ["error", "response.failed"]


class _DropsParts:
    def on_event(self, call: Any, event: Any) -> Any:
        return None if event.data["type"] == "response.content_part.added" else event
