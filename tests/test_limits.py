"""Places at a provider: the line before it, who gets one, who is sent away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigateway import Queue, UpstreamUnavailableError
from aigateway.routing.limits import FairLine, Gate
from tests.test_circuit import Clock


def gate(most: int = 1, **queue: Any) -> Gate:
    return Gate("up", most, Queue(**queue), Clock())


def drained(line: FairLine[str]) -> list[str]:
    found = []
    while (one := line.next()) is not None:
        found.append(one)
    return found


def test_the_line_takes_tenants_in_turn_and_each_in_order() -> None:
    line: FairLine[str] = FairLine(99)
    for one in ("a1", "a2", "a3", "b1", "a4", "c1", "b2"):
        line.join(one[0], one)
    assert drained(line) == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]


def test_a_full_line_gives_a_place_of_the_longest_to_who_has_less() -> None:
    line: FairLine[str] = FairLine(3)
    assert [line.join("a", one) for one in ("a1", "a2", "a3")] == [(True, None)] * 3
    assert line.join("a", "a4") == (False, None)
    assert line.join("b", "b1") == (True, "a3")
    assert line.join("b", "b2") == (False, None)  # two against one: nobody has more than he would have
    assert line.join("c", "c1") == (True, "a2")
    assert drained(line) == ["a1", "b1", "c1"]


def test_nobody_stands_in_a_line_of_size_0() -> None:
    line: FairLine[str] = FairLine(0)
    assert line.join(None, "a1") == (False, None)
    assert line.next() is None


def test_who_leaves_is_out() -> None:
    line: FairLine[str] = FairLine(9)
    line.join("a", "a1")
    line.join("b", "b1")
    assert line.leave("a", "a1")
    assert not line.leave("a", "a1")
    assert not line.leave("b", "b2")
    assert (len(line), drained(line)) == (1, ["b1"])


@given(st.lists(st.tuples(st.sampled_from(["join", "join", "leave", "next"]), st.sampled_from("abc")), max_size=80))
def test_a_line_is_bounded_and_loses_nobody(steps: list[tuple[str, str]]) -> None:
    line: FairLine[str] = FairLine(5)
    inside: list[str] = []
    for number, (step, tenant) in enumerate(steps):
        if step == "join":
            stands, pushed = line.join(tenant, f"{tenant}{number}")
            inside += [f"{tenant}{number}"] if stands else []
            if pushed is not None:
                inside.remove(pushed)
        elif step == "next":
            one = line.next()
            assert (one is None) is (not inside)
            if one is not None:
                assert one == next(other for other in inside if other[0] == one[0])  # first come, first served
                inside.remove(one)
        else:
            mine = [one for one in inside if one[0] == tenant]
            assert line.leave(tenant, mine[-1] if mine else "z") is bool(mine)
            if mine:
                inside.remove(mine[-1])
        assert len(line) == len(inside) <= 5
    assert sorted(drained(line)) == sorted(inside)


async def waits(one: Gate, tenant: str | None = None) -> asyncio.Task[float]:
    """A call that stands in the line."""
    before = one.waiting
    task = asyncio.ensure_future(one.enter(tenant))
    await asyncio.sleep(0)
    assert one.waiting == before + 1
    return task


async def test_places_are_taken_up_to_the_limit_and_then_handed_on() -> None:
    one = gate(2)
    since = await one.enter(None)
    await one.enter(None)
    third = await waits(one)
    fourth = await waits(one)
    one.leave(since)
    await third
    assert (one.running, one.waiting, fourth.done()) == (2, 1, False)
    one.leave(since)
    await fourth
    one.leave(since)
    one.leave(since)
    assert (one.running, one.waiting) == (0, 0)


async def test_a_newcomer_does_not_overtake_who_waits() -> None:
    one = gate(1)
    since = await one.enter(None)
    first = await waits(one)
    one.leave(since)  # the place is the waiter's now, though it has not woken yet
    second = await waits(one)
    await first
    one.leave(since)
    await second
    one.leave(since)
    assert one.running == 0


async def test_a_full_line_refuses_at_once_with_a_time_to_come_back() -> None:
    one = gate(1, size=1)
    since = await one.enter("a")
    waiting = await waits(one, "a")
    with pytest.raises(UpstreamUnavailableError, match="Provider 'up' has as many requests as it may") as caught:
        await one.enter("a")
    assert (caught.value.status, caught.value.code) == (503, "upstream_overloaded")
    assert 1 <= int(caught.value.headers["retry-after"]) <= 60
    assert one.refused == 1
    one.leave(since)
    one.leave(await waiting)
    assert one.running == 0


async def test_who_is_pushed_out_is_refused() -> None:
    one = gate(1, size=2)
    since = await one.enter("a")
    first, second = await waits(one, "a"), await waits(one, "a")
    other = asyncio.ensure_future(one.enter("b"))
    with pytest.raises(UpstreamUnavailableError):
        await second
    one.leave(since)
    one.leave(await first)
    one.leave(await other)
    assert (one.running, one.waiting) == (0, 0)


async def test_who_waits_too_long_is_refused() -> None:
    one = gate(1, timeout=0.01)
    since = await one.enter(None)
    with pytest.raises(UpstreamUnavailableError, match="no place for this request in time"):
        await one.enter(None)
    assert one.waiting == 0
    one.leave(since)
    assert one.running == 0


async def test_who_leaves_the_line_gives_the_place_to_the_next() -> None:
    one = gate(1)
    since = await one.enter(None)
    first, second = await waits(one), await waits(one)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert one.waiting == 1
    one.leave(since)
    one.leave(await second)
    assert one.running == 0


async def test_a_place_given_to_who_leaves_in_the_same_moment_is_not_lost() -> None:
    one = gate(1)
    since = await one.enter(None)
    first, second = await waits(one), await waits(one)
    one.leave(since)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert first.cancelled()
    one.leave(await asyncio.wait_for(second, 1))
    assert one.running == 0


@pytest.mark.parametrize("wrong", [{"size": -1}, {"timeout": 0}], ids=str)
def test_a_queue_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Queue(**wrong)
