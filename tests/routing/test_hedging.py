"""A second request where the first is late, over real HTTP."""

from __future__ import annotations

import asyncio

import pytest

from aigateway import (
    Breaker,
    Gateway,
    Hedge,
    Limits,
    Models,
    Provider,
    Queue,
    Target,
    UpstreamError,
)
from aigateway.routing.hedge import Latencies
from aigateway.testing import Script, ScriptedUpstream
from tests.answers import whole
from tests.asking import Row, post
from tests.routing.rig import (
    CHAT,
    KEYS,
    STREAM,
    Served,
    has_failed,
    refusal,
    serving,
)
from tests.serving import served


def warm(gateway: Served) -> None:
    know_latencies(gateway.gateway)


def know_latencies(gateway: Gateway) -> None:
    """As after enough calls for the usual latency to be known."""
    for target in gateway.models.listed()[0].targets:
        gateway.traffic.lane(target).latencies = latencies = Latencies()
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


@pytest.mark.parametrize("first", ["loses", "keeps"])
@pytest.mark.parametrize("winner", ["first", "second"])
async def test_what_is_lost_is_that_of_the_answer_that_counts(first: str, winner: str) -> None:
    now, never = asyncio.Event(), asyncio.Event()
    asked = Row("responses", "chat", raw=b'{"model":"gpt","input":"question","max_tool_calls":3}')
    async with ScriptedUpstream() as loses, ScriptedUpstream() as keeps:
        upstreams = {"loses": (loses, "chat"), "keeps": (keeps, "responses")}
        names = [first, *(name for name in upstreams if name != first)]
        for name, hold in zip(names, (now, never) if winner == "first" else (never, now), strict=True):
            upstream, api = upstreams[name]
            upstream.script(whole(api, hold=hold))
        targets = [
            Target(Provider(name, upstreams[name][0].base_url, "k", apis={upstreams[name][1]})) for name in names
        ]
        models = Models()
        models.register("gpt", targets, hedge=HEDGE)
        gateway = Gateway(models=models, limits=Limits(keepalive=30))
        know_latencies(gateway)
        async with served(gateway) as url:
            asking = asyncio.ensure_future(post(url, asked))
            await upstreams[names[1]][0].arrived.wait()
            now.set()
            seen = await asyncio.wait_for(asking, 5)
    assert seen.status == 200
    counts = first if winner == "first" else names[1]
    assert ("max_tool_calls" in seen.headers.get("x-aigateway-changes", "")) == (counts == "loses")
