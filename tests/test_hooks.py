"""Each stage of the hooks is called exactly as often, and in exactly the order, that docs/architecture.md says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aigateway import Call, Gateway, InvalidRequestError, PermissionDeniedError, Provider
from aigateway.testing import Script, ScriptedUpstream
from tests.answers import ERROR_EVENTS, EVENTS, REPLIES, stream, whole
from tests.asking import EVERY_WAY, EVERY_WAY_IDS, ROWS, STREAMS, WAYS, Row, Seen
from tests.recorder import AsyncRecorder, Recorder, in_order, without_events

WAY_IN = ["authenticate", "before_request", "on_route", "before_attempt"]
FAILED = ["on_error", "on_complete"]
BROKEN = ["events", *in_order(["on_error"]), "events", *in_order(["on_complete"])]
"""A stream that breaks: the hooks see the events that tell the caller so, too."""

each_way = pytest.mark.parametrize(("way", "row"), EVERY_WAY, ids=EVERY_WAY_IDS)
each_stream = pytest.mark.parametrize(
    ("way", "row"),
    [pair for pair in EVERY_WAY if pair[1].stream],
    ids=[name for name, pair in zip(EVERY_WAY_IDS, EVERY_WAY, strict=True) if pair[1].stream],
)


class Told:
    """One call watched by two hooks, one with plain methods and one with coroutines."""

    def __init__(self, **doing: Any) -> None:
        self.log: list[str] = []
        self.first = Recorder("a", self.log, **doing)
        self.second = AsyncRecorder("b", self.log)
        self.seen = Seen()

    async def ask(self, way: str, row: Row, script: Script, *, leave: bool = False) -> None:
        """Make the call, and wait until the hooks have heard of its end."""
        async with ScriptedUpstream() as upstream:
            upstream.script(script)
            provider = Provider("up", upstream.base_url, "none", apis={row.upstream})
            gateway = Gateway(models={"gpt": provider}, hooks=[self.first, self.second])
            self.seen = await WAYS[way](gateway, row, upstream, leave=leave)
            await asyncio.wait_for(self.first.completed.wait(), 2)

    @property
    def call(self) -> Call:
        """The one call that there was."""
        assert len(self.first.calls) == 1
        assert self.second.calls == self.first.calls
        return self.first.calls[0]

    def heard(self) -> list[str]:
        """The stages in order, the events as one; each of those went to both hooks, the second first."""
        stages, events = without_events(self.log)
        assert events == in_order(["on_event"]) * (len(events) // 2)
        return stages

    def events_heard(self) -> int:
        """How many events went through the hooks."""
        return self.log.count("a.on_event")


def answer_of(row: Row, **more: Any) -> Script:
    """A good answer, streamed if asked for so."""
    return stream(row.upstream, **more) if row.stream else whole(row.upstream, **more)


def middle_of(row: Row) -> int:
    """How many events stand before the place where a stream breaks: the text has begun by then."""
    return {"chat": 2, "completions": 2, "responses": 5, "messages": 4, "images": 1, "generate_content": 1}[
        row.upstream
    ]


@each_way
async def test_a_call_that_succeeds_goes_through_every_stage_once(way: str, row: Row) -> None:
    told = Told()
    await told.ask(way, row, answer_of(row))
    assert told.seen.status == 200
    answered = ["events"] if row.stream else in_order(["after_response"])
    assert told.heard() == in_order(WAY_IN) + answered + in_order(["on_complete"])
    assert told.events_heard() == len(told.seen.events)
    assert bool(told.seen.events) is row.stream
    assert told.call.outcome == "completed"
    assert told.call.error is None


@each_way
async def test_an_upstream_error_before_the_first_byte_is_told_once(way: str, row: Row) -> None:
    told = Told()
    await told.ask(way, row, Script.of_json({"error": {"message": "slow down"}}, 429))
    assert told.seen.status == 429
    assert told.heard() == in_order(WAY_IN + FAILED)
    assert (told.call.outcome, told.call.status) == ("failed", 429)
    assert [error.message for error in told.first.errors + told.second.errors] == ["slow down"] * 2


@each_way
async def test_a_connection_cut_in_the_middle_of_the_answer_is_told_once(way: str, row: Row) -> None:
    told = Told()
    events = EVENTS[row.upstream][: middle_of(row)] if row.stream else []
    script = stream(row.upstream, events, done=False, fault="cut") if row.stream else whole(row.upstream, fault="cut")
    await told.ask(way, row, script)
    assert told.heard() == in_order(WAY_IN) + (BROKEN if row.stream else in_order(FAILED))
    assert told.seen.status == (200 if row.stream else 502)
    assert told.events_heard() == len(told.seen.events)
    assert told.call.outcome == "failed"
    assert told.call.error is told.first.errors[0]


@each_stream
async def test_an_error_object_in_mid_stream_is_a_failed_call(way: str, row: Row) -> None:
    told = Told()
    events = [*EVENTS[row.upstream][: middle_of(row)], ERROR_EVENTS[row.upstream]]
    await told.ask(way, row, stream(row.upstream, events))
    assert told.heard() == in_order(WAY_IN) + BROKEN
    assert told.call.outcome == "failed"
    google = row.upstream == "generate_content"  # whose codes are numbers
    assert told.first.errors[0].code == ("upstream_error" if google else "overloaded")


@each_stream
async def test_an_error_object_as_the_first_event_keeps_its_status(way: str, row: Row) -> None:
    told = Told()
    await told.ask(way, row, stream(row.upstream, [ERROR_EVENTS[row.upstream]]))
    assert told.seen.status == 502
    assert told.heard() == in_order(WAY_IN + FAILED)
    assert told.call.outcome == "failed"


@each_way
async def test_a_refusal_in_authenticate_ends_the_call_there(way: str, row: Row) -> None:
    def refuse(call: Call, key: str | None) -> None:
        raise PermissionDeniedError("not you")

    told = Told(authenticate=refuse)
    await told.ask(way, row, answer_of(row))
    assert told.seen.status == 403
    assert told.heard() == ["a.authenticate", *in_order(FAILED)]
    assert told.call.outcome == "refused"
    assert not told.call.has_request


@each_way
async def test_a_refusal_in_before_request_ends_the_call_there(way: str, row: Row) -> None:
    def refuse(call: Call) -> None:
        raise InvalidRequestError("not that", status=451)

    told = Told(before_request=refuse)
    await told.ask(way, row, answer_of(row))
    assert told.seen.status == 451
    assert told.heard() == [*in_order(["authenticate"]), "a.before_request", *in_order(FAILED)]
    assert told.call.outcome == "refused"
    assert told.call.attempts == []


@each_way
async def test_a_reply_given_in_before_request_is_answered_without_an_upstream(way: str, row: Row) -> None:
    told = Told(before_request=lambda call: REPLIES[row.api])
    await told.ask(way, row, Script.of_json({}, 500))
    assert told.seen.status == 200
    as_events = row.stream and row.api != "images"  # nothing makes events of an image that is there already
    answered = ["events"] if as_events else in_order(["after_response"])
    before = [*in_order(["authenticate"]), "a.before_request"]
    assert told.heard() == before + answered + in_order(["on_complete"])
    assert told.events_heard() == len(told.seen.events)
    assert told.call.outcome == "completed"


@each_way
async def test_a_client_that_leaves_abandons_the_call(way: str, row: Row) -> None:
    told = Told()
    never = asyncio.Event()
    script = answer_of(row, hold_after=(middle_of(row), never)) if row.stream else answer_of(row, hold=never)
    await told.ask(way, row, script, leave=True)
    assert told.heard() == in_order(WAY_IN) + (["events"] if row.stream else []) + in_order(["on_complete"])
    assert told.call.outcome == "abandoned"
    assert told.call.error is None
    assert told.call.attempts[-1].ended_at is not None


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
async def test_each_try_at_a_target_is_an_attempt(row: Row) -> None:
    told = Told()
    async with ScriptedUpstream() as broken, ScriptedUpstream() as good:
        broken.script(Script.of_json({}, 503))
        good.script(answer_of(row))
        targets = [
            Provider("broken", broken.base_url, "none", apis={row.upstream}),
            Provider("good", good.base_url, "none", apis={row.upstream}),
        ]
        gateway = Gateway(models={"gpt": targets}, hooks=[told.first, told.second])
        told.seen = await WAYS["http"](gateway, row, good)
        await asyncio.wait_for(told.first.completed.wait(), 2)
    assert told.seen.status == 200
    answered = ["events"] if row.stream else in_order(["after_response"])
    assert told.heard() == in_order([*WAY_IN, "before_attempt"]) + answered + in_order(["on_complete"])
    assert [(attempt.number, attempt.provider, attempt.status) for attempt in told.call.attempts] == [
        (1, "broken", 503),
        (2, "good", 200),
    ]


@pytest.mark.parametrize("row", STREAMS, ids=lambda row: row.id)
async def test_a_stream_that_just_stops_is_no_success(row: Row) -> None:
    told = Told()
    await told.ask("http", row, stream(row.upstream, EVENTS[row.upstream][: middle_of(row)], done=False))
    assert told.heard() == in_order(WAY_IN) + BROKEN
    assert told.call.outcome == "failed"
