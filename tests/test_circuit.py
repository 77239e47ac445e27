"""Circuits, on a clock of the test."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigateway import Breaker
from aigateway.routing.breaker import Circuit


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def circuit(clock: Clock, **policy: Any) -> Circuit:
    return Circuit(Breaker(**{"min_requests": 4, "cooldown": 10.0} | policy), clock)


def state(one: Circuit) -> str:
    return one.state


def opened(clock: Clock, asked: float | None = None, **policy: Any) -> Circuit:
    """One that has just opened."""
    one = circuit(clock, **policy)
    for _ in range(4):
        one.fail(asked)
    assert state(one) == "open"
    return one


def test_it_opens_at_the_rate_once_enough_is_known() -> None:
    one = circuit(Clock())
    one.fail()
    one.fail()
    one.succeed()
    assert (state(one), one.claim(), one.wait) == ("closed", True, 0.0)
    one.succeed()  # two of four are known now, but a success opens nothing
    assert state(one) == "closed"
    one.fail()
    assert (state(one), one.claim(), one.wait, one.opened) == ("open", False, 10.0, 1)


def test_a_stream_that_broke_off_is_one_outcome() -> None:
    one = circuit(Clock())
    for _ in range(3):
        one.succeed()
        one.fail(was_answered=True)
    assert state(one) == "closed"
    one.fail()
    assert state(one) == "open"


def test_below_the_rate_it_stays_closed() -> None:
    one = circuit(Clock(), failure_rate=0.5)
    for _ in range(100):
        one.succeed()
        one.succeed()
        one.fail()
    assert state(one) == "closed"


def test_what_is_older_than_the_window_counts_no_more() -> None:
    clock = Clock()
    one = circuit(clock, window=30.0)
    for _ in range(3):
        one.fail()
    clock.now += 31
    one.fail()
    assert state(one) == "closed"
    for _ in range(3):
        one.fail()
    assert state(one) == "open"


def test_after_the_cooldown_one_probe_passes_and_a_success_closes_it() -> None:
    clock = Clock()
    one = opened(clock)
    clock.now += 9.9
    assert not one.claim()
    clock.now += 0.1
    assert (state(one), one.wait) == ("half_open", 0.0)
    assert one.claim()
    assert not one.claim()
    assert state(one) == "half_open"
    one.succeed()
    assert state(one) == "closed"
    assert one.claim()
    one.fail()
    assert state(one) == "closed"  # what was before is forgotten


def test_a_failed_probe_opens_it_anew() -> None:
    clock = Clock()
    one = opened(clock)
    clock.now += 10
    assert one.claim()
    one.fail()
    assert (state(one), one.wait, one.opened) == ("open", 10.0, 2)
    assert not one.claim()


def test_a_probe_that_nobody_heard_of_again_does_not_shut_it_for_ever() -> None:
    clock = Clock()
    one = opened(clock)
    clock.now += 10
    assert one.claim()
    clock.now += 10
    assert one.claim()


def test_an_answer_to_what_was_sent_before_it_opened_does_not_close_it() -> None:
    clock = Clock()
    one = opened(clock)
    one.succeed()
    one.fail()
    assert (state(one), one.wait, one.opened) == ("open", 10.0, 1)


@pytest.mark.parametrize(("asked", "wait"), [(None, 10.0), (3.0, 10.0), (25.0, 25.0), (9999.0, 60.0)])
def test_the_cooldown_is_what_the_provider_asks_for_within_bounds(asked: float | None, wait: float) -> None:
    assert opened(Clock(), asked, max_cooldown=60.0).wait == wait


@given(st.lists(st.tuples(st.sampled_from(["ok", "fail", "claim"]), st.floats(0, 20)), max_size=200))
def test_whatever_happens_it_comes_back(steps: list[tuple[str, float]]) -> None:
    clock = Clock()
    one = circuit(clock, max_cooldown=30.0)
    for step, seconds in steps:
        clock.now += seconds
        waits = one.wait
        if step == "claim":
            assert one.claim() is (waits == 0)
        elif step == "ok":
            one.succeed()
        else:
            one.fail(seconds)
        assert 0 <= one.wait <= 30.0
        assert (state(one) == "closed") <= (one.wait == 0)
    clock.now += 30.1
    assert one.claim()
    one.succeed()
    assert state(one) == "closed"


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": 0},
        {"failure_rate": 0},
        {"failure_rate": 1.1},
        {"min_requests": 0},
        {"cooldown": float("inf")},
        {"max_cooldown": 1.0},
    ],
    ids=str,
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Breaker(**wrong)
