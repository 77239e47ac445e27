"""Two attempts at once, where the first is late: until the head of an answer, then one of them is let go."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import msgspec

from aigateway.call import Attempt, Call, Target
from aigateway.canonical.types import Change
from aigateway.errors import GatewayError
from aigateway.hooks.chain import Chain
from aigateway.providers.protocol import ProviderReply
from aigateway.providers.secret import Secret
from aigateway.routing.course import Course
from aigateway.routing.hedge import race
from aigateway.routing.traffic import Lane
from aigateway.translation import Translation
from aigateway.upstream import reply_error


class Runner(msgspec.Struct):
    """An attempt that has its place on a lane, and what belongs to it.

    asked_usage  whether usage was asked for on the gateway's account. since: for the lane's `leave`. changes: what its
    translation does not carry as it was. key: of the provider's, which it goes by.
    """

    attempt: Attempt
    translation: Translation | None
    asked_usage: bool
    lane: Lane
    since: float
    changes: list[Change]
    key: Secret | None = None
    reply: ProviderReply | None = None

    @property
    def answered(self) -> ProviderReply:
        """The reply. Raises RuntimeError where there is none yet."""
        if self.reply is None:
            raise RuntimeError("this attempt has no reply")
        return self.reply


async def hedged(
    call: Call,
    course: Course,
    first: Runner,
    delay: float,
    *,
    chain: Chain,
    prepare: Callable[[Target, str], tuple[Attempt, Translation | None, bool]],
    send: Callable[[Attempt], Awaitable[ProviderReply]],
) -> Runner:
    """The runner whose reply came first and is good, its reply still open; of the call's attempts it is the last one.

    After `delay` seconds a second one is prepared for the course's spare target. Who lost is cancelled, its reply
    closed, its place given back: of both where this raises, which is then what became of the first.
    """
    runners = [first]

    async def run(runner: Runner) -> Runner:
        try:
            runner.reply = reply = await send(runner.attempt)
            runner.attempt.status = reply.status
            if reply.status >= 300:
                raise await reply_error(reply, runner.attempt.provider)
        except GatewayError as error:
            runner.attempt.error = error
            runner.lane.note_failure(error)
            if runner.key is not None:
                runner.lane.set_aside(runner.key, error)
            raise
        return runner

    async def run_second() -> Runner:
        target, lane = course.spare()
        attempt, translation, asked_usage = prepare(target, "hedge")
        attempt.api_key = key = lane.keys.pick() if lane.keys is not None else None
        changes = list(call.changes)
        try:
            await chain.before_attempt(call, attempt)
            since = await lane.enter(call.tenant)
        except GatewayError as error:
            attempt.error = error
            attempt.ended_at = time.monotonic()
            raise
        own = key if attempt.api_key is key else None  # a hook's is its own affair
        runners.append(Runner(attempt, translation, asked_usage, lane, since, changes, own))
        return await run(runners[-1])

    won: Runner | None = None
    try:
        won = await race(lambda: run(first), run_second, delay=delay)
    finally:
        for runner in runners:
            if runner is not won:
                await _let_go(runner)
    call.attempts.sort(key=lambda attempt: attempt is won.attempt)
    call.changes[:] = won.changes
    return won


async def _let_go(runner: Runner) -> None:
    runner.attempt.ended_at = now = time.monotonic()
    runner.lane.leave(runner.since)
    if runner.attempt.status is None and runner.attempt.error is None:
        took = now - runner.attempt.started_at
        runner.lane.note_unanswered(took)
        if runner.lane.latencies is not None:
            runner.lane.latencies.note(took)  # it would have taken longer
    if runner.reply is not None:
        await runner.reply.aclose()
