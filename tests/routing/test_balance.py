"""Which target gets the next call, over real HTTP."""

from __future__ import annotations

import asyncio
import random

import pytest

from aigateway import (
    Call,
    Target,
)
from aigateway.routing.traffic import Traffic
from tests.answers import stream, whole
from tests.asking import Row
from tests.routing.rig import (
    CHAT,
    STREAM,
    refusal,
    serving,
)


async def test_round_robin_reaches_each_target_in_turn() -> None:
    async with serving(3, balance="round_robin") as gateway:
        for _ in range(6):
            await gateway.ask()
        assert gateway.counts() == [2, 2, 2]


async def test_weights_are_kept_and_0_gets_only_what_others_fail_at() -> None:
    async with serving(3, balance="weighted", weights=(3.0, 1.0, 0.0)) as gateway:
        gateway.gateway.traffic = Traffic(draw=random.Random(3).random)
        for _ in range(60):
            await gateway.ask()
        first, second, third = gateway.counts()
        assert third == 0
        assert first > second > 0
        for upstream in gateway.upstreams[:2]:
            upstream.script(refusal(503))
        assert (await gateway.ask()).status == 200
        assert gateway.counts()[2] == 1


async def test_an_open_stream_counts_until_it_ends() -> None:
    async with serving(2, balance="least_busy") as gateway:
        go_on = asyncio.Event()
        for upstream in gateway.upstreams:
            upstream.answer_with(
                lambda request: stream("chat", hold_after=(2, go_on)) if b"stream" in request.body else whole("chat")
            )
        streaming = asyncio.ensure_future(gateway.ask(STREAM))
        await gateway.up.arrived.wait()
        for _ in range(5):
            await gateway.ask()
        assert gateway.counts() == [1, 5]
        assert (await gateway.shown())["in_flight"] == 1
        go_on.set()
        await streaming
        await gateway.over(6)
        assert (await gateway.shown())["in_flight"] == 0
        for _ in range(4):
            await gateway.ask()
        assert gateway.counts() == [3, 7]


async def test_a_slow_target_gets_less() -> None:
    async with serving(2, balance="lowest_latency") as gateway:
        gateway.up.answer_with(lambda request: whole("chat", delay=0.5))
        for _ in range(12):
            await gateway.ask()
        slow, quick = gateway.counts()
        assert slow <= 2
        assert quick >= 10


async def test_a_target_that_fails_quickly_is_not_taken_for_quick() -> None:
    async with serving(2, balance="lowest_latency") as gateway:
        gateway.up.script(refusal(503))
        gateway.upstreams[1].answer_with(lambda request: whole("chat", delay=0.02))
        for _ in range(10):
            assert (await gateway.ask()).status == 200
        assert gateway.counts()[0] <= 2


@pytest.mark.parametrize("row", [CHAT, STREAM], ids=["whole", "streamed"])
async def test_a_target_that_never_answers_is_not_taken_for_quick(row: Row) -> None:
    async with serving(2, balance="lowest_latency") as gateway:
        gateway.up.script(whole("chat", hold=asyncio.Event()))
        gateway.upstreams[1].answer_with(
            lambda request: (stream if b'"stream":true' in request.body else whole)("chat", delay=0.01)
        )
        asking = asyncio.ensure_future(gateway.ask(row))
        await gateway.up.arrived.wait()
        await asyncio.sleep(0.2)  # as long as its caller has patience
        asking.cancel()
        await gateway.over(1)
        for _ in range(6):
            assert (await asyncio.wait_for(gateway.ask(row), 5)).status == 200
        assert gateway.counts() == [1, 6]


async def test_hooks_route_what_is_balanced_already_and_have_the_last_word() -> None:
    orders: list[str] = []

    class Turn:
        def on_route(self, call: Call, targets: list[Target]) -> list[Target]:
            orders.append("".join(target.provider.name for target in targets))
            return targets[::-1]

    async with serving(2, balance="round_robin", hooks=(Turn(),)) as gateway:
        for _ in range(2):
            await gateway.ask()
        assert orders == ["p0p1", "p1p0"]
        assert gateway.counts() == [1, 1]
