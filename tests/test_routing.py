"""Retries, balance, key rings, circuits, places and hedges, over real HTTP."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
import msgspec
import pytest

from aigateway import (
    APIKeyAuthenticator,
    Breaker,
    Call,
    Fallback,
    FunctionProvider,
    Gateway,
    Hedge,
    Limits,
    Models,
    Provider,
    Queue,
    Retry,
    Target,
    UpstreamError,
)
from aigateway.routing.hedge import Latencies
from aigateway.routing.traffic import Traffic
from aigateway.testing import ReceivedRequest, Script, ScriptedUpstream
from tests.answers import EVENTS, stream, whole
from tests.asking import Row, Seen, post
from tests.faults import Outcomes
from tests.serving import served
from tests.test_circuit import Clock

CHAT = Row("chat", "chat")
STREAM = Row("chat", "chat", stream=True)
QUICK = Retry(attempts=3, backoff=0.001, max_delay=0.002, budget=5.0)


class Served:
    """A gateway that is served, its upstreams, and the calls that are over."""

    def __init__(self, url: str, gateway: Gateway, upstreams: list[ScriptedUpstream], calls: Outcomes) -> None:
        self.url = url
        self.gateway = gateway
        self.upstreams = upstreams
        self.up = upstreams[0]
        self.outcomes = calls

    async def ask(self, row: Row = CHAT, **headers: str) -> Seen:
        return await post(self.url, row, **headers)

    async def over(self, count: int) -> list[Call]:
        """So many calls, once they are over."""
        async with asyncio.timeout(5):
            while len(self.outcomes.calls) < count:
                self.outcomes.one.clear()
                await self.outcomes.one.wait()
        return self.outcomes.calls

    def counts(self) -> list[int]:
        """Requests that arrived at each upstream."""
        return [len(upstream.requests) for upstream in self.upstreams]

    async def health(self, **headers: str) -> tuple[int, Any]:
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/health?full", headers=headers) as reply:
            return reply.status, msgspec.json.decode(await reply.read())

    async def until(self, check: Callable[[Any], Any], name: str = "p0") -> None:
        """Wait until a provider's state is so. Fails after five seconds."""
        for _ in range(500):
            if check(self.state(name)):
                return
            await asyncio.sleep(0.01)
        raise AssertionError(self.state(name))

    def state(self, name: str) -> Any:
        [found] = [one for one in self.gateway.traffic.state(self.gateway.providers()) if one["name"] == name]
        return found

    async def shown(self, name: str = "p0") -> Any:
        """What the health says of a provider."""
        status, body = await self.health()
        assert status == 200
        [found] = [one for one in body["providers"] if one["name"] == name]
        return found


@asynccontextmanager
async def serving(
    count: int = 1,
    *,
    hooks: tuple[object, ...] = (),
    clock: Callable[[], float] | None = None,
    weights: tuple[float, ...] = (),
    provider: dict[str, Any] | None = None,
    **model: Any,
) -> AsyncIterator[Served]:
    """Providers p0, p1, ... behind the model `gpt`. provider, model: their settings; clock: what circuits go by."""
    upstreams = [ScriptedUpstream() for _ in range(count)]
    async with upstreams[0], upstreams[-1] if count > 1 else _nothing(), upstreams[1] if count > 2 else _nothing():
        settings = {"api_key": "k", "apis": {"chat"}} | (provider or {})
        if "api_keys" in settings:
            del settings["api_key"]
        targets = []
        for number, upstream in enumerate(upstreams):
            upstream.answer_with(lambda request: (stream if b'"stream":true' in request.body else whole)("chat"))
            weight = weights[number] if weights else 1.0
            targets.append(Target(Provider(f"p{number}", upstream.base_url, **settings), weight=weight))
        models, calls = Models(), Outcomes()
        models.register("gpt", targets, **model)
        gateway = Gateway(models=models, hooks=[*hooks, calls], limits=Limits(keepalive=30))
        if clock is not None:
            gateway.traffic = Traffic(clock=clock)
        async with served(gateway) as url:
            yield Served(url, gateway, upstreams, calls)


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield


def refusal(status: int, **headers: str) -> Script:
    shown = {name.replace("_", "-"): value for name, value in headers.items()}
    return Script.of_json({"error": {"message": "no", "type": "t"}}, status, shown)


def stand_in_line(shown: Any, count: int) -> bool:
    return bool(shown.get("running")) and shown["waiting"] == count


def has_failed(shown: Any) -> bool:
    return any(target["failed"] for target in shown["targets"])


# retries


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


# key rings


def by_key(answers: dict[str, Script]) -> Callable[[ReceivedRequest], Script]:
    """Answers as the key says; a good one for those not named."""
    return lambda request: answers.get(request.headers["authorization"].removeprefix("Bearer "), whole("chat"))


def keys_seen(upstream: ScriptedUpstream) -> list[str]:
    return [request.headers["authorization"].removeprefix("Bearer ") for request in upstream.requests]


KEYS = ["key-aaaa-1111", "key-bbbb-2222", "key-cccc-3333"]


@pytest.mark.parametrize(("status", "kind"), [(401, "auth"), (402, "auth"), (429, "rate_limit")])
async def test_a_refused_key_is_set_aside_and_the_next_one_used_at_once(status: int, kind: str) -> None:
    async with serving(provider={"api_keys": KEYS}) as gateway:
        gateway.up.answer_with(by_key({KEYS[0]: refusal(status, retry_after="300")}))
        for _ in range(4):
            assert (await gateway.ask()).status == 200
        assert keys_seen(gateway.up) == [KEYS[0], KEYS[1], KEYS[2], KEYS[1], KEYS[2]]
        call = (await gateway.over(4))[0]
        assert [attempt.why for attempt in call.attempts] == ["", f"another key after {kind}"]
        shown = await gateway.shown()
        assert (shown["keys"], shown["keys_usable"]) == (3, 2)


async def test_a_key_whose_limit_is_told_inside_the_stream_is_set_aside_too() -> None:
    async with serving(provider={"api_keys": KEYS}) as gateway:
        limit = {"error": {"message": "Slow down.", "type": "tokens", "code": "rate_limit_exceeded"}}
        gateway.up.script(stream("chat", [EVENTS["chat"][0], limit], done=False), stream("chat"))
        seen = await gateway.ask(STREAM)
        assert [event["choices"][0]["delta"].get("role") for event in seen.events[:2]] == ["assistant", None]
        assert keys_seen(gateway.up) == KEYS[:2]


async def test_the_next_target_s_keys_take_turns_too() -> None:
    async with serving(2, provider={"api_keys": KEYS}) as gateway:
        gateway.up.script(refusal(503))
        gateway.upstreams[1].answer_with(by_key({KEYS[0]: refusal(401)}))
        for _ in range(2):
            assert (await gateway.ask()).status == 200
        assert keys_seen(gateway.upstreams[1]) == KEYS
        call = (await gateway.over(2))[0]
        whys = ["", "fallback after server_error", "another key after auth"]
        assert [attempt.why for attempt in call.attempts] == whys


async def test_a_key_at_its_limit_comes_back_when_the_provider_said() -> None:
    async with serving(provider={"api_keys": KEYS[:2]}) as gateway:
        gateway.up.answer_with(by_key({KEYS[0]: refusal(429, retry_after_ms="1")}))
        assert (await gateway.ask()).status == 200
        gateway.up.answer_with(by_key({}))
        await asyncio.sleep(0.01)
        for _ in range(2):
            await gateway.ask()
        assert set(keys_seen(gateway.up)[2:]) == set(KEYS[:2])


async def test_where_every_key_is_refused_the_caller_is_told_once() -> None:
    async with serving(provider={"api_keys": KEYS}) as gateway:
        gateway.up.script(refusal(401))
        seen = await gateway.ask()
        assert (seen.status, keys_seen(gateway.up)) == (401, KEYS)
        assert (await gateway.ask()).status == 401
        assert len(gateway.up.requests) == 4  # the least bad one, once


async def test_a_403_or_a_caller_s_fault_rotates_nothing() -> None:
    async with serving(provider={"api_keys": KEYS}) as gateway:
        for status in (403, 400):
            gateway.up.script(refusal(status))
            assert (await gateway.ask()).status == status
        assert gateway.counts() == [2]


async def test_a_hook_s_own_key_is_used_and_its_refusal_sets_no_other_aside() -> None:
    class Own:
        def before_attempt(self, call: Call, attempt: Any) -> None:
            attempt.api_key = "key-of-the-hook"

    async with serving(provider={"api_keys": KEYS}, hooks=(Own(),)) as gateway:
        gateway.up.script(refusal(401))
        await gateway.ask()
        assert keys_seen(gateway.up) == ["key-of-the-hook"]
        assert (await gateway.shown())["keys_usable"] == 3


# balance


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


# circuits

BREAKER = Breaker(min_requests=3, cooldown=10.0)


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


# places


async def test_no_more_requests_run_than_there_are_places_and_all_are_answered() -> None:
    running: Counter[str] = Counter()

    async def answer(body: dict[str, Any]) -> str:
        running["now"] += 1
        running["most"] = max(running["most"], running["now"])
        await asyncio.sleep(0.01)
        running["now"] -= 1
        return "ok"

    provider = FunctionProvider("slow", answer)
    provider.max_concurrent = 2  # type: ignore[attr-defined]  # any provider may have it
    gateway = Gateway(models={"gpt": provider})
    message = [{"role": "user", "content": "q"}]
    await asyncio.gather(*(gateway.chat(model="gpt", messages=message) for _ in range(9)))
    assert running["most"] == 2


async def test_overload_is_answered_at_once_with_a_time_to_come_back() -> None:
    hold = asyncio.Event()
    async with serving(provider={"max_concurrent": 1, "queue": Queue(size=1)}) as gateway:
        gateway.up.script(whole("chat", hold=hold))
        first = asyncio.ensure_future(gateway.ask())
        await gateway.up.arrived.wait()
        second = asyncio.ensure_future(gateway.ask())
        await gateway.until(lambda shown: shown["waiting"] == 1)
        third = await gateway.ask()
        assert third.status == 503
        assert int(third.headers["retry-after"]) >= 1
        assert third.json()["error"]["code"] == "upstream_overloaded"
        shown = await gateway.shown()
        assert {key: shown[key] for key in ("max_concurrent", "running", "waiting", "refused")} == {
            "max_concurrent": 1, "running": 1, "waiting": 1, "refused": 1}  # fmt: skip
        hold.set()
        assert [(await first).status, (await second).status] == [200, 200]


async def test_overload_leads_to_the_next_target() -> None:
    hold = asyncio.Event()
    async with serving(2, provider={"max_concurrent": 1, "queue": Queue(size=0)}) as gateway:
        gateway.up.script(whole("chat", hold=hold))
        first = asyncio.ensure_future(gateway.ask())
        await gateway.up.arrived.wait()
        assert (await gateway.ask()).status == 200
        [call] = await gateway.over(1)
        assert [attempt.why for attempt in call.attempts] == ["", "fallback after overload"]
        hold.set()
        assert (await first).status == 200


async def test_overload_leads_nowhere_where_its_switch_is_off() -> None:
    hold = asyncio.Event()
    fallback = Fallback(on=("rate_limit", "server_error", "timeout", "connection", "auth"))
    async with serving(2, provider={"max_concurrent": 1, "queue": Queue(size=0)}, fallback=fallback) as gateway:
        gateway.up.script(whole("chat", hold=hold))
        first = asyncio.ensure_future(gateway.ask())
        await gateway.up.arrived.wait()
        assert (await gateway.ask()).status == 503
        assert gateway.counts() == [1, 0]
        hold.set()
        assert (await first).status == 200


async def test_the_wait_for_a_place_has_an_end() -> None:
    hold = asyncio.Event()
    async with serving(provider={"max_concurrent": 1, "queue": Queue(timeout=0.05)}) as gateway:
        gateway.up.script(whole("chat", hold=hold))
        first = asyncio.ensure_future(gateway.ask())
        await gateway.up.arrived.wait()
        assert (await gateway.ask()).status == 503
        hold.set()
        assert (await first).status == 200


async def test_a_stream_holds_its_place_until_it_ends() -> None:
    hold = asyncio.Event()
    async with serving(provider={"max_concurrent": 1}) as gateway:
        gateway.up.script(stream("chat", hold_after=(3, hold)), whole("chat"))
        first = asyncio.ensure_future(gateway.ask(STREAM))
        await gateway.up.arrived.wait()
        second = asyncio.ensure_future(gateway.ask())
        await gateway.until(lambda shown: shown["waiting"] == 1)
        assert gateway.counts() == [1]
        hold.set()
        assert [(await first).status, (await second).status] == [200, 200]


@pytest.mark.parametrize("who", ["runs", "waits"])
async def test_a_caller_who_leaves_gives_the_place_back(who: str) -> None:
    never = asyncio.Event()
    async with serving(provider={"max_concurrent": 1}) as gateway:
        gateway.up.script(stream("chat", hold_after=(2, never)), whole("chat"))
        first = asyncio.ensure_future(gateway.ask(STREAM))
        await gateway.up.arrived.wait()
        second = asyncio.ensure_future(gateway.ask())
        await gateway.until(lambda shown: shown["waiting"] == 1)
        if who == "waits":
            second.cancel()
            await gateway.until(lambda shown: not shown["waiting"])
            assert (await gateway.shown())["running"] == 1
            second = asyncio.ensure_future(gateway.ask())
        first.cancel()
        assert (await asyncio.wait_for(second, 5)).status == 200
        await gateway.over(3 if who == "waits" else 2)
        shown = await gateway.shown()
        assert (shown["running"], shown["waiting"], shown["in_flight"]) == (0, 0, 0)


async def test_tenants_take_turns() -> None:
    order: list[str] = []
    hold = asyncio.Event()
    auth = APIKeyAuthenticator({"sk-a": "a", "sk-b": "b"})

    class Watch:
        def after_response(self, call: Call, reply: Any) -> None:
            order.append(call.tenant or "")

    async with serving(provider={"max_concurrent": 1}, hooks=(auth, Watch())) as gateway:
        gateway.up.script(whole("chat", hold=hold))
        asking = []
        for number, tenant in enumerate("aaaab"):
            asking.append(asyncio.ensure_future(gateway.ask(authorization=f"Bearer sk-{tenant}")))
            await gateway.until(partial(stand_in_line, count=number))
        hold.set()
        await asyncio.gather(*asking)
        assert "".join(order) == "aabaa"


# hedging


def warm(gateway: Served) -> None:
    """As after enough calls for the usual latency to be known."""
    for target in gateway.gateway.models.listed()[0].targets:
        gateway.gateway.traffic.lane(target).latencies = latencies = Latencies()
        for _ in range(25):
            latencies.note(0.001)


HEDGE = Hedge(quantile=0.5, min_delay=0.02, share=1.0)


@pytest.mark.parametrize("row", [CHAT, STREAM], ids=["whole", "streamed"])
async def test_a_late_answer_is_asked_for_a_second_time_and_the_loser_is_let_go(row: Row) -> None:
    never = asyncio.Event()
    async with serving(2, hedge=HEDGE) as gateway:
        warm(gateway)
        gateway.up.script(whole("chat", hold=never))
        seen = await asyncio.wait_for(gateway.ask(row), 5)
        assert seen.status == 200
        await asyncio.wait_for(gateway.up.left.wait(), 5)
        call = (await gateway.over(1))[-1]
        assert [(attempt.provider, attempt.why) for attempt in call.attempts] == [("p0", ""), ("p1", "hedge")]
        assert [attempt.status for attempt in call.attempts] == [None, 200]
        assert all(attempt.ended_at is not None for attempt in call.attempts)
        assert call.outcome == "completed"
        assert [(await gateway.shown(name))["in_flight"] for name in ("p0", "p1")] == [0, 0]


async def test_where_the_first_answers_after_all_the_second_is_let_go() -> None:
    hold, never = asyncio.Event(), asyncio.Event()
    async with serving(2, hedge=HEDGE) as gateway:
        warm(gateway)
        gateway.up.script(whole("chat", hold=hold))
        gateway.upstreams[1].script(whole("chat", hold=never))
        asking = asyncio.ensure_future(gateway.ask())
        await gateway.upstreams[1].arrived.wait()
        hold.set()
        assert (await asking).status == 200
        await asyncio.wait_for(gateway.upstreams[1].left.wait(), 5)
        call = (await gateway.over(1))[-1]
        assert [attempt.provider for attempt in call.attempts] == ["p1", "p0"]  # who answered is the last one
        assert [(await gateway.shown(name))["in_flight"] for name in ("p0", "p1")] == [0, 0]


async def test_a_second_request_that_fails_changes_nothing() -> None:
    hold = asyncio.Event()
    async with serving(2, hedge=HEDGE) as gateway:
        warm(gateway)
        gateway.up.script(whole("chat", hold=hold))
        gateway.upstreams[1].script(refusal(500))
        asking = asyncio.ensure_future(gateway.ask())
        await gateway.until(has_failed, "p1")
        hold.set()
        assert (await asking).status == 200
        call = (await gateway.over(1))[-1]
        assert isinstance(call.attempts[0].error, UpstreamError)
        assert call.error is None


async def test_a_first_request_that_fails_leaves_the_second() -> None:
    hold, second = asyncio.Event(), asyncio.Event()
    async with serving(2, hedge=HEDGE) as gateway:
        warm(gateway)
        gateway.up.script(Script.of_json({"error": {"message": "no"}}, 500, hold=hold))
        gateway.upstreams[1].script(whole("chat", hold=second))
        asking = asyncio.ensure_future(gateway.ask())
        await gateway.upstreams[1].arrived.wait()
        hold.set()
        await gateway.until(has_failed)
        second.set()
        assert (await asking).status == 200


@pytest.mark.parametrize("who", ["first", "second"])
async def test_a_key_refused_in_a_race_is_set_aside_though_the_other_request_wins(who: str) -> None:
    hold, good = asyncio.Event(), asyncio.Event()
    async with serving(2, hedge=HEDGE, provider={"api_keys": KEYS}) as gateway:
        warm(gateway)
        refused = Script.of_json({"error": {"message": "no"}}, 401, hold=hold)
        answers = [refused, whole("chat", hold=good)]
        for upstream, script in zip(gateway.upstreams, answers if who == "first" else answers[::-1], strict=True):
            upstream.script(script)
        asking = asyncio.ensure_future(gateway.ask())
        await gateway.upstreams[1].arrived.wait()
        hold.set()
        name, other = ("p0", "p1") if who == "first" else ("p1", "p0")
        await gateway.until(has_failed, name)
        good.set()
        assert (await asking).status == 200
        assert (gateway.state(name)["keys_usable"], gateway.state(other)["keys_usable"]) == (2, 3)


async def test_a_second_request_waits_for_no_place_that_there_is_not() -> None:
    hold = asyncio.Event()
    async with serving(2, hedge=HEDGE, provider={"max_concurrent": 1, "queue": Queue(size=0)}) as gateway:
        warm(gateway)
        gateway.up.script(whole("chat", hold=hold))
        busy = gateway.gateway.traffic.lane(gateway.gateway.models.listed()[0].targets[1])
        since = await busy.enter(None)
        asking = asyncio.ensure_future(gateway.ask())
        await gateway.until(lambda shown: shown["refused"] == 1, "p1")
        hold.set()
        assert (await asking).status == 200
        assert gateway.counts() == [1, 0]
        busy.leave(since)
        assert [gateway.state(name)["running"] for name in ("p0", "p1")] == [0, 0]


async def test_a_second_request_passes_over_an_open_circuit() -> None:
    async with serving(2, hedge=HEDGE, provider={"breaker": Breaker(min_requests=1)}) as gateway:
        warm(gateway)
        gateway.up.script(whole("chat", hold=asyncio.Event()), whole("chat"))
        circuit = gateway.gateway.traffic.lane(gateway.gateway.models.listed()[0].targets[1]).circuit
        assert circuit is not None
        circuit.fail()
        assert (await asyncio.wait_for(gateway.ask(), 5)).status == 200
        assert gateway.counts() == [2, 0]


async def test_where_both_fail_the_call_goes_its_usual_way() -> None:
    hold = asyncio.Event()
    async with serving(2, hedge=HEDGE) as gateway:
        warm(gateway)
        gateway.up.script(Script.of_json({"error": {"message": "no"}}, 500, hold=hold))
        gateway.upstreams[1].script(refusal(500), whole("chat"))
        asking = asyncio.ensure_future(gateway.ask())
        await gateway.upstreams[1].arrived.wait()
        hold.set()
        assert (await asking).status == 200
        call = (await gateway.over(1))[-1]
        assert [attempt.why for attempt in call.attempts] == ["", "hedge", "fallback after server_error"]
        assert [(await gateway.shown(name))["in_flight"] for name in ("p0", "p1")] == [0, 0]


async def test_a_caller_who_leaves_lets_both_go() -> None:
    never = asyncio.Event()
    async with serving(2, hedge=HEDGE) as gateway:
        warm(gateway)
        for upstream in gateway.upstreams:
            upstream.script(whole("chat", hold=never))
        asking = asyncio.ensure_future(gateway.ask())
        await gateway.upstreams[1].arrived.wait()
        asking.cancel()
        for upstream in gateway.upstreams:
            await asyncio.wait_for(upstream.left.wait(), 5)
        await gateway.over(1)
        assert [(await gateway.shown(name))["in_flight"] for name in ("p0", "p1")] == [0, 0]


async def test_the_usual_latency_is_learned_from_the_calls_themselves() -> None:
    async with serving(2, hedge=Hedge(quantile=0.5, min_delay=0.02, share=1.0)) as gateway:
        for _ in range(25):
            await gateway.ask()
        before = gateway.counts()[1]
        gateway.up.script(whole("chat", hold=asyncio.Event()))
        assert (await asyncio.wait_for(gateway.ask(), 5)).status == 200
        assert gateway.counts()[1] == before + 1


async def test_hedges_are_no_more_than_their_share() -> None:
    async with serving(2, hedge=Hedge(quantile=0.5, min_delay=0.001, share=0.01)) as gateway:
        warm(gateway)
        gateway.up.answer_with(lambda request: whole("chat", delay=0.05))
        for _ in range(6):
            await gateway.ask()
        assert gateway.counts()[1] <= 1


async def test_without_the_option_nothing_is_sent_twice() -> None:
    async with serving(2) as gateway:
        warm(gateway)
        gateway.up.answer_with(lambda request: whole("chat", delay=0.1))
        await gateway.ask()
        assert gateway.counts() == [1, 0]


# the state that shows


async def test_the_full_health_shows_counters_and_neither_keys_nor_addresses() -> None:
    async with serving(2, provider={"api_keys": KEYS, "breaker": BREAKER, "max_concurrent": 5}) as gateway:
        gateway.up.script(refusal(503))
        await gateway.ask()
        await gateway.over(1)
        status, body = await gateway.health()
        assert (status, body["status"]) == (200, "ok")
        shown, other = body["providers"]
        assert (shown["name"], other["name"]) == ("p0", "p1")
        assert (shown["in_flight"], shown["running"], shown["waiting"], shown["max_concurrent"]) == (0, 0, 0, 5)
        [target] = shown["targets"]
        assert (target["requests"], target["answered"], target["failed"], target["circuit"]) == (1, 0, 1, "closed")
        [target] = other["targets"]
        assert (target["requests"], target["answered"], target["failed"]) == (1, 1, 0)
        assert target["seconds"] > 0
        text = msgspec.json.encode(body).decode()
        assert not any(secret in text for secret in (*KEYS, "127.0.0.1", "http"))


async def test_the_full_health_needs_a_key_where_the_gateway_does_and_the_plain_one_never() -> None:
    async with serving(hooks=(APIKeyAuthenticator({"sk-a": "a"}),)) as gateway:
        assert (await gateway.health())[0] == 401
        assert (await gateway.health(authorization="Bearer sk-a"))[0] == 200
        async with aiohttp.ClientSession() as session:
            for query in ("", "?", "?fuller=1", "?x=full"):
                async with session.get(f"{gateway.url}/health{query}") as reply:
                    assert (reply.status, await reply.json()) == (200, {"status": "ok"})
            for query in ("?full=1", "?a=b&full"):
                async with session.get(f"{gateway.url}/health{query}") as reply:
                    assert reply.status == 401


async def test_providers_made_anew_for_every_call_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aigateway.routing.traffic._MOST", 10)
    gateway = Gateway(resolver=lambda call: FunctionProvider("new", lambda body: "ok"))
    message = [{"role": "user", "content": "q"}]
    for _ in range(50):
        await gateway.chat(model="gpt", messages=message)
    assert len(gateway.traffic.state()) <= 10
