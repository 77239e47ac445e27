"""A hook that has every stage, and writes down each time it is called."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from aigateway import Attempt, Call, EventLens, GatewayError, Principal, ReplyLens, Target

BACKWARD = ("after_response", "on_event", "on_error", "on_complete")


class Recorder:
    """Notes `name.stage` in a list that several share. `doing`: what a stage does beside that."""

    def __init__(self, name: str, log: list[str], **doing: Callable[..., Any]) -> None:
        self.name = name
        self.log = log
        self.doing = doing
        self.calls: list[Call] = []
        self.errors: list[GatewayError] = []
        self.completed = asyncio.Event()

    def _note(self, stage: str, *arguments: Any) -> Any:
        self.log.append(f"{self.name}.{stage}")
        doing = self.doing.get(stage)
        return doing(*arguments) if doing is not None else None

    def authenticate(self, call: Call, key: str | None) -> Any:
        return self._note("authenticate", call, key) or Principal(self.name)

    def before_request(self, call: Call) -> Any:
        return self._note("before_request", call)

    def on_route(self, call: Call, targets: list[Target]) -> Any:
        return self._note("on_route", call, targets)

    def before_attempt(self, call: Call, attempt: Attempt) -> Any:
        return self._note("before_attempt", call, attempt)

    def on_event(self, call: Call, event: EventLens) -> Any:
        self._note("on_event", call, event)
        return event

    def after_response(self, call: Call, reply: ReplyLens) -> Any:
        return self._note("after_response", call, reply)

    def on_error(self, call: Call, error: GatewayError) -> Any:
        self.errors.append(error)
        return self._note("on_error", call, error)

    def on_complete(self, call: Call) -> Any:
        self.calls.append(call)
        self._note("on_complete", call)
        self.completed.set()


class AsyncRecorder(Recorder):
    """The same with coroutines."""

    async def authenticate(self, call: Call, key: str | None) -> Any:
        await asyncio.sleep(0)
        return super().authenticate(call, key)

    async def before_request(self, call: Call) -> Any:
        await asyncio.sleep(0)
        return super().before_request(call)

    async def on_route(self, call: Call, targets: list[Target]) -> Any:
        await asyncio.sleep(0)
        return super().on_route(call, targets)

    async def before_attempt(self, call: Call, attempt: Attempt) -> Any:
        await asyncio.sleep(0)
        return super().before_attempt(call, attempt)

    async def on_event(self, call: Call, event: EventLens) -> Any:
        await asyncio.sleep(0)
        return super().on_event(call, event)

    async def after_response(self, call: Call, reply: ReplyLens) -> Any:
        await asyncio.sleep(0)
        return super().after_response(call, reply)

    async def on_error(self, call: Call, error: GatewayError) -> Any:
        await asyncio.sleep(0)
        return super().on_error(call, error)

    async def on_complete(self, call: Call) -> Any:
        await asyncio.sleep(0)
        return super().on_complete(call)


def in_order(stages: Sequence[str], names: str = "ab") -> list[str]:
    """What recorders of these names note, given in list order, when a call goes through these stages."""
    return [f"{name}.{stage}" for stage in stages for name in (reversed(names) if stage in BACKWARD else names)]


def without_events(log: list[str]) -> tuple[list[str], list[str]]:
    """A log with all its events as one `events`, and the events by themselves."""
    rest: list[str] = []
    for is_event, entries in itertools.groupby(log, key=lambda entry: entry.endswith(".on_event")):
        rest += ["events"] if is_event else list(entries)
    return rest, [entry for entry in log if entry.endswith(".on_event")]
