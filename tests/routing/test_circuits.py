"""Targets that fail are left alone for a while, over real HTTP."""

from __future__ import annotations

import asyncio

import pytest

from aigateway import (
    Breaker,
)
from tests.answers import stream, whole
from tests.asking import Row
from tests.routing.rig import (
    BREAKER,
    CHAT,
    KEYS,
    QUICK,
    STREAM,
    by_key,
    refusal,
    serving,
)
from tests.test_circuit import Clock


async def test_a_circuit_opens_refuses_at_once_probes_and_closes() -> None:
    clock = Clock()
    async with serving(provider={"breaker": BREAKER}, clock=clock) as gateway:
        gateway.up.script(refusal(500))
        for _ in range(3):
            assert (await gateway.ask()).status == 502
        seen = await gateway.ask()
        assert (seen.status, seen.headers["retry-after"]) == (503, "10")
        assert seen.json()["error"]["code"] == "upstream_unavailable"
        assert gateway.counts() == [3]
        [target] = (await gateway.shown())["targets"]
        assert (target["circuit"], target["opened"], target["retry_in"]) == ("open", 1, 10.0)
        clock.now += 10
        assert (await gateway.ask()).status == 502  # the probe
        assert (await gateway.ask()).status == 503
        assert gateway.counts() == [4]
        clock.now += 10
        gateway.up.script(whole("chat"))
        assert [(await gateway.ask()).status for _ in range(2)] == [200, 200]
        [target] = (await gateway.shown())["targets"]
        assert target["circuit"] == "closed"
        assert "retry_in" not in target


@pytest.mark.parametrize("row", [CHAT, STREAM], ids=["whole", "streamed"])
@pytest.mark.parametrize("how", ["is wrong itself", "has a refused key", "is left by its caller"])
async def test_after_a_probe_that_tells_nothing_the_next_request_is_one(row: Row, how: str) -> None:
    clock = Clock()
    async with serving(provider={"breaker": BREAKER}, clock=clock) as gateway:
        gateway.up.script(refusal(500))
        for _ in range(3):
            await gateway.ask(row)
        clock.now += 10
        if how == "is left by its caller":
            gateway.up.arrived.clear()
            gateway.up.script(whole("chat", hold=asyncio.Event()))
            asking = asyncio.ensure_future(gateway.ask(row))
            await gateway.up.arrived.wait()
            assert (await gateway.ask(row)).status == 503  # there is one probe at a time
            asking.cancel()
            await gateway.over(5)
        else:
            gateway.up.script(refusal(400 if how == "is wrong itself" else 401))
            assert (await gateway.ask(row)).status in (400, 401)
        [target] = gateway.state("p0")["targets"]
        assert target["circuit"] == "half_open"
        gateway.up.script(stream("chat") if row.stream else whole("chat"))
        assert [(await gateway.ask(row)).status for _ in range(2)] == [200, 200]
        [target] = gateway.state("p0")["targets"]
        assert (target["circuit"], target["in_flight"]) == ("closed", 0)


async def test_an_open_circuit_is_passed_over_without_an_attempt() -> None:
    async with serving(2, provider={"breaker": BREAKER}, clock=Clock()) as gateway:
        gateway.up.script(refusal(500))
        for _ in range(6):
            assert (await gateway.ask()).status == 200
        assert gateway.counts() == [3, 6]
        assert len((await gateway.over(6))[-1].attempts) == 1


async def test_a_fallback_passes_over_an_open_circuit_too() -> None:
    async with serving(3, provider={"breaker": Breaker(min_requests=2)}, clock=Clock()) as gateway:
        circuit = gateway.gateway.traffic.lane(gateway.gateway.models.listed()[0].targets[1]).circuit
        assert circuit is not None
        for _ in range(2):
            circuit.fail()
        gateway.up.script(refusal(503))
        assert (await gateway.ask()).status == 200
        assert gateway.counts() == [1, 0, 1]
        [call] = await gateway.over(1)
        assert [attempt.why for attempt in call.attempts] == ["", "fallback after server_error"]


async def test_where_all_circuits_are_open_the_caller_may_come_for_the_first_probe() -> None:
    async with serving(2, provider={"breaker": Breaker(min_requests=1)}, clock=Clock()) as gateway:
        gateway.up.script(refusal(429, retry_after="120"))
        gateway.upstreams[1].script(refusal(429, retry_after="40"))
        assert (await gateway.ask()).status == 429
        seen = await gateway.ask()
        assert (seen.status, seen.headers["retry-after"], gateway.counts()) == (503, "40", [1, 1])


async def test_the_cooldown_is_as_long_as_the_provider_asks() -> None:
    async with serving(provider={"breaker": BREAKER}, clock=Clock()) as gateway:
        gateway.up.script(refusal(429, retry_after="120"))
        for _ in range(3):
            assert (await gateway.ask()).status == 429
        seen = await gateway.ask()
        assert (seen.status, seen.headers["retry-after"]) == (503, "120")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422])
async def test_what_a_caller_can_bring_about_opens_no_circuit(status: int) -> None:
    async with serving(provider={"breaker": Breaker(min_requests=1)}) as gateway:
        gateway.up.script(refusal(status))
        for _ in range(4):
            assert (await gateway.ask()).status == status
        assert gateway.counts() == [4]


async def test_keys_at_their_limit_open_no_circuit_while_there_is_another() -> None:
    breaker = Breaker(min_requests=2, failure_rate=0.5)
    async with serving(provider={"breaker": breaker, "api_keys": KEYS}) as gateway:
        full = refusal(429, retry_after="300")
        gateway.up.answer_with(by_key({KEYS[0]: full, KEYS[1]: full}))
        assert [(await gateway.ask()).status for _ in range(3)] == [200] * 3
        assert gateway.state("p0")["targets"][0]["opened"] == 0
        gateway.up.script(full)
        statuses = [(await gateway.ask()).status for _ in range(8)]
        assert (statuses[0], statuses[-1]) == (429, 503)  # not one is left


async def test_streams_that_break_off_open_it_too() -> None:
    async with serving(provider={"breaker": BREAKER}, clock=Clock()) as gateway:
        gateway.up.script(stream("chat", fault="cut", done=False, events=[{"choices": [{"delta": {"content": "x"}}]}]))
        for _ in range(3):
            assert (await gateway.ask(STREAM)).status == 200
        assert (await gateway.ask(STREAM)).status == 503


async def test_no_retry_goes_to_a_target_whose_circuit_has_just_opened() -> None:
    async with serving(provider={"breaker": Breaker(min_requests=1)}, retry=QUICK) as gateway:
        gateway.up.script(refusal(500))
        assert (await gateway.ask()).status == 502
        assert gateway.counts() == [1]
