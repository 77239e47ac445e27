"""Faults of upstreams for callers of Gemini's API, and faults of Gemini and Bedrock for callers of others.

The same faults as in the neighbouring files, on the ways that these have not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aigateway.testing import Script
from tests import bedrock
from tests.answers import ERROR_EVENTS, stream, whole
from tests.faults import Answered, Stage, Surface, gateway_is_idle, leaks_nothing, staged
from tests.test_bedrock import EVENTS as CONVERSE
from tests.test_bedrock import REPLY as CONVERSE_REPLY
from tests.test_faults_midstream import BEGUN
from tests.test_faults_midstream import FAULTS as IN_THE_STREAM
from tests.test_faults_upstream import BODIES, REFUSALS, Fault
from tests.test_faults_upstream import FAULTS as BEFORE

SURFACES = {
    "generate_content relay": Surface("generate_content", "generate_content"),
    "generate_content edit": Surface("generate_content", "generate_content", edits=True),
    "generate_content on chat": Surface("generate_content", "chat"),
    "generate_content on messages": Surface("generate_content", "messages"),
    "generate_content on responses": Surface("generate_content", "responses"),
    "chat on generate_content": Surface("chat", "generate_content"),
    "responses on generate_content": Surface("responses", "generate_content"),
    "messages on generate_content": Surface("messages", "generate_content"),
    "chat on converse": Surface("chat", "converse"),
    "generate_content on converse": Surface("generate_content", "converse"),
}
STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    502: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_each = [pytest.param(surface, id=name) for name, surface in SURFACES.items()]
each_surface = pytest.mark.parametrize("surface", _each)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged() as stage:
        yield stage


def sampled(rows: Any, number: int) -> list[Any]:
    """Every third of the rows, another third for each surface, so that each row is met on several."""
    return [row for place, row in enumerate(rows) if place % 3 == number % 3]


BEFORE_EACH = [
    pytest.param(surface, fault, streams, id=f"{name}, {fault_name}, {'streamed' if streams else 'whole'}")
    for number, (name, surface) in enumerate(SURFACES.items())
    for streams in (False, True)
    for fault_name, fault in sampled(BEFORE.items(), number + streams)
]


@pytest.mark.parametrize(("surface", "fault", "streams"), BEFORE_EACH)
async def test_fault_before_the_first_byte_names_the_provider_and_leaks_nothing(
    stage: Stage, surface: Surface, fault: Fault, streams: bool
) -> None:
    answered = await stage.ask(surface, fault.script, stream=streams)
    status = 529 if surface.api == "messages" and fault.script.status == 529 else fault.status
    assert answered.status == status
    error = answered.error()
    assert "Provider 'acme'" in error["message"]
    assert fault.says in error["message"] or surface.upstream == "converse"  # Amazon has no errors with 200
    assert error["code"] == fault.code or not fault.code
    if surface.api == "generate_content":
        assert error["type"] == STATUSES[status]
    leaks_nothing(stage, answered.body)
    assert stage.call.outcome == "failed"
    assert len(stage.upstream.requests) == 1
    await gateway_is_idle()


@each_surface
async def test_refusals_keep_status_words_and_limits(stage: Stage, surface: Surface) -> None:
    for status, error in REFUSALS.values():
        stage.outcomes.calls.clear()
        stage.outcomes.one.clear()
        body = {"error": error, "message": error["message"]}
        answered = await stage.ask(surface, Script.of_json(body, status, {"retry-after": "7"}), stream=False)
        assert answered.status == status
        assert error["message"] in answered.error()["message"]
        assert answered.headers["retry-after"] == "7"
        if surface.api == "generate_content":
            assert answered.error()["type"] == STATUSES[status]
            assert answered.error()["param"] == error["param"] or surface.upstream == "converse"


@pytest.mark.parametrize(("body", "message"), BODIES.values(), ids=BODIES.keys())
async def test_error_bodies_of_all_shapes_become_googles(stage: Stage, body: bytes, message: str) -> None:
    answered = await stage.ask(SURFACES["generate_content on chat"], Script(status=400, body=body), stream=False)
    assert (answered.status, answered.error()["message"]) == (400, message)
    assert answered.error()["type"] == "INVALID_ARGUMENT"


# in the middle of a stream


def converse(name: str) -> Script:
    """A fault of Bedrock's in mid-stream."""
    pieces = [bedrock.frame(kind, data) for kind, data in CONVERSE[:2]]
    headers = {"content-type": bedrock.STREAM_TYPE}
    if name in ("cut", "reset"):
        return Script(headers=headers, pieces=pieces, fault="cut" if name == "cut" else "reset_body")
    if name == "end within an event":
        pieces.append(bedrock.frame("contentBlockDelta", CONVERSE[2][1])[:-9])
    elif name == "a broken checksum":
        pieces.append(bedrock.frame("contentBlockDelta", CONVERSE[2][1])[:-1] + b"\0")
    elif name == "error object":
        pieces.append(bedrock.frame("modelStreamErrorException", {"message": "the model fell over"}))
    return Script(headers=headers, pieces=pieces)


OF_CONVERSE = ("cut", "reset", "end without a finish", "end within an event", "a broken checksum", "error object")
MIDST = [
    pytest.param(surface, making(surface.upstream), id=f"{name}, {fault}")
    for number, (name, surface) in enumerate(SURFACES.items())
    if surface.upstream != "converse"
    for fault, (making, _) in sampled(IN_THE_STREAM.items(), number)
] + [
    pytest.param(surface, converse(fault), id=f"{name}, {fault}")
    for name, surface in SURFACES.items()
    if surface.upstream == "converse"
    for fault in OF_CONVERSE
]


def error_at_the_end(surface: Surface, answered: Answered) -> Any:
    """The one error of a broken stream, the last that it tells."""
    events = answered.events()
    if surface.api == "responses":
        assert events.pop() == "[DONE]"
        assert [event["type"] for event in events][-2:] == ["error", "response.failed"]
        return events[-1]["response"]["error"]
    assert "[DONE]" not in events
    assert [event for event in events if "error" in event] == events[-1:]
    if surface.api == "generate_content":
        finishes = [one.get("finishReason") for event in events[:-1] for one in event["candidates"]]
        assert not any(finishes), "a broken answer has no finish"
        assert events[-1]["error"]["status"] == "UNAVAILABLE"
        texts = [part["text"] for event in events[:-1] for part in event["candidates"][0]["content"]["parts"]]
        assert "".join(texts).startswith("Hel")
    return events[-1]["error"]


@pytest.mark.parametrize(("surface", "script"), MIDST)
async def test_fault_in_mid_stream_ends_it_with_an_error(stage: Stage, surface: Surface, script: Script) -> None:
    answered = await stage.ask(surface, script, stream=True)
    assert answered.status == 200
    assert not answered.broken
    assert "Provider 'acme'" in error_at_the_end(surface, answered)["message"]
    leaks_nothing(stage, answered.body)
    assert (stage.call.outcome, stage.call.status) == ("failed", 200)
    await gateway_is_idle()


@pytest.mark.parametrize("surface", _each[:8])
async def test_silence_in_mid_stream_ends_it_as_a_timeout(stage: Stage, surface: Surface) -> None:
    pieces: list[Any] = [*BEGUN[surface.upstream], b": never sent\n\n"]
    script = stream(surface.upstream, pieces, done=False)
    script.hold_after = (len(BEGUN[surface.upstream]), asyncio.Event())
    answered = await stage.ask(surface, script, stream=True, model=f"hasty-{surface.upstream}")
    assert answered.status == 200
    assert stage.call.error is not None
    assert (stage.call.error.status, stage.call.error.code) == (504, "upstream_timeout")
    await asyncio.wait_for(stage.upstream.left.wait(), 1)


@each_surface
async def test_a_good_answer_is_one_here_too(stage: Stage, surface: Surface) -> None:
    good = Script.of_json(CONVERSE_REPLY) if surface.upstream == "converse" else whole(surface.upstream)
    answered = await stage.ask(surface, good, stream=False)
    assert answered.status == 200
    assert b"Hello" in answered.body


@pytest.mark.parametrize("name", ["generate_content relay", "chat on generate_content"])
async def test_an_error_as_the_first_event_keeps_its_http_status(stage: Stage, name: str) -> None:
    event = {"error": {"code": 429, "message": "Slow down.", "status": "RESOURCE_EXHAUSTED"}}
    answered = await stage.ask(SURFACES[name], stream("generate_content", [event]), stream=True)
    assert (answered.status, answered.error()["message"]) == (429, "Slow down.")
    stage.outcomes.one.clear()
    answered = await stage.ask(
        SURFACES[name], stream("generate_content", [ERROR_EVENTS["generate_content"]]), stream=True
    )
    assert answered.status == 502
