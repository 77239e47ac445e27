"""What is tried again, when, and for how long, over real HTTP."""

from __future__ import annotations

import asyncio

import pytest

from aigateway import (
    Retry,
)
from aigateway.testing import ReceivedRequest, Script
from tests.answers import stream, whole
from tests.asking import Row
from tests.routing.rig import (
    CHAT,
    QUICK,
    STREAM,
    has_failed,
    refusal,
    serving,
)
from tests.test_circuit import Clock


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (refusal(429, retry_after="0"), "rate_limit"),
        (refusal(429, retry_after_ms="5"), "rate_limit"),
        (refusal(503), "server_error"),
        (refusal(529), "server_error"),
        (refusal(409), "server_error"),
        (refusal(408), "timeout"),
        (Script(fault="reset"), "connection"),
        (Script(fault="refuse"), "connection"),
    ],
    ids=["429 with Retry-After", "429 with retry-after-ms", "503", "529", "409", "408", "reset", "closed"],
)
@pytest.mark.parametrize("row", [CHAT, STREAM], ids=["whole", "streamed"])
async def test_a_failure_that_passes_is_tried_again(script: Script, kind: str, row: Row) -> None:
    good = stream("chat") if row.stream else whole("chat")
    async with serving(retry=QUICK) as gateway:
        gateway.up.script(script, script, good)
        seen = await gateway.ask(row)
        assert seen.status == 200
        [call] = await gateway.over(1)
        assert [attempt.why for attempt in call.attempts] == ["", *[f"retry after {kind}"] * 2]
        assert [attempt.number for attempt in call.attempts] == [1, 2, 3]
        assert all(attempt.error is not None for attempt in call.attempts[:2])
        assert call.attempts[2].error is None
        assert call.outcome == "completed"


async def test_a_retry_waits_as_long_as_the_provider_asks() -> None:
    async with serving(retry=QUICK) as gateway:
        gateway.up.script(refusal(429, retry_after_ms="150"), whole("chat"))
        await gateway.ask()
        [call] = await gateway.over(1)
        first, second = call.attempts
        assert first.ended_at is not None
        assert second.started_at - first.ended_at >= 0.15


async def test_a_wait_beyond_the_budget_is_the_caller_s() -> None:
    async with serving(retry=QUICK) as gateway:
        gateway.up.script(refusal(429, retry_after="60"), whole("chat"))
        seen = await gateway.ask()
        assert (seen.status, seen.headers["retry-after"], gateway.counts()) == (429, "60", [1])


@pytest.mark.parametrize("row", [CHAT, STREAM], ids=["whole", "streamed"])
async def test_the_budget_counts_from_the_start_of_the_first_attempt(row: Row) -> None:
    async with serving(retry=Retry(attempts=3, backoff=0.001, budget=0.1)) as gateway:
        gateway.up.script(Script.of_json({"error": {"message": "no"}}, 503, delay=0.15), whole("chat"))
        assert (await gateway.ask(row)).status == 502
        assert gateway.counts() == [1]


async def test_the_budget_is_one_for_all_targets_and_attempts() -> None:
    clock = Clock()

    def late(request: ReceivedRequest) -> Script:
        clock.now += 2
        return refusal(503)

    async with serving(2, retry=Retry(attempts=4, backoff=0.001, budget=9.0), clock=clock) as gateway:
        for upstream in gateway.upstreams:
            upstream.answer_with(late)
        assert (await gateway.ask(STREAM)).status == 502
        assert gateway.counts() == [4, 1]


async def test_a_wait_beyond_the_budget_leads_to_the_next_target() -> None:
    async with serving(2, retry=QUICK) as gateway:
        gateway.up.script(refusal(429, retry_after="60"))
        seen = await gateway.ask()
        assert (seen.status, gateway.counts()) == (200, [1, 1])


@pytest.mark.parametrize("script", [refusal(400), refusal(401), refusal(404), refusal(503, x_should_retry="false")])
async def test_what_cannot_help_is_not_tried_again(script: Script) -> None:
    async with serving(retry=QUICK) as gateway:
        gateway.up.script(script, whole("chat"))
        seen = await gateway.ask()
        assert seen.status >= 400
        assert gateway.counts() == [1]


async def test_without_a_setting_an_answered_request_is_sent_once() -> None:
    for script in (refusal(503), refusal(429, retry_after="0"), Script(fault="reset")):
        async with serving() as gateway:
            gateway.up.script(script, whole("chat"))
            assert (await gateway.ask()).status >= 429
            assert gateway.counts() == [1]


async def test_the_model_s_own_retry_wins_over_its_provider_s() -> None:
    async with serving(provider={"retry": QUICK}) as gateway:
        gateway.up.script(refusal(503), whole("chat"))
        assert (await gateway.ask()).status == 200
    async with serving(provider={"retry": QUICK}, retry=Retry(attempts=1)) as gateway:
        gateway.up.script(refusal(503), whole("chat"))
        assert (await gateway.ask()).status == 502


async def test_nothing_is_retried_for_a_caller_who_has_left() -> None:
    async with serving(retry=Retry(attempts=5, backoff=0.001)) as gateway:
        gateway.up.script(refusal(429, retry_after="20"))
        asking = asyncio.ensure_future(gateway.ask())
        await gateway.up.arrived.wait()
        await gateway.until(has_failed)
        asking.cancel()
        [call] = await gateway.over(1)
        assert call.outcome == "abandoned"
        assert gateway.counts() == [1]
