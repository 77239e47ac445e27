"""The order of targets, key rings, latencies: on clocks and dice of the test."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigateway import Models, Provider, Secret, Target
from aigateway.policies import BALANCES, Balance
from aigateway.providers.keys import KeyRing
from aigateway.routing.balance import PeakEWMA, balanced
from aigateway.routing.hedge import Allowance, Latencies
from tests.test_circuit import Clock


class One:
    """A target as strategies see it."""

    def __init__(self, name: str, weight: float = 1.0, in_flight: int = 0, latency: float = 0.0) -> None:
        self.name = name
        self.weight = weight
        self.in_flight = in_flight
        self.latency = latency


def order(strategy: Balance, *targets: One, turn: int = 0, draw: Any = random.random) -> str:
    return "".join(one.name for one in balanced(strategy, targets, turn=turn, draw=draw))


@given(
    st.sampled_from(BALANCES),
    st.lists(st.tuples(st.floats(0, 10), st.integers(0, 9), st.floats(0, 99)), min_size=1, max_size=6),
    st.integers(0, 99),
)
def test_every_strategy_gives_each_target_once(strategy: Balance, facts: list[Any], turn: int) -> None:
    targets = [One(str(number), *fact) for number, fact in enumerate(facts)]
    assert sorted(balanced(strategy, targets, turn=turn, draw=random.random), key=targets.index) == targets


def test_ordered_is_as_written() -> None:
    assert order("ordered", One("a", in_flight=9), One("b"), turn=1) == "ab"


def test_round_robin_begins_with_the_next_one_each_time() -> None:
    assert [order("round_robin", One("a"), One("b"), One("c"), turn=turn) for turn in range(4)] == [
        "abc", "bca", "cab", "abc"]  # fmt: skip


def test_weights_are_shares_of_the_first_place_and_of_the_second() -> None:
    draw = random.Random(7).random
    seen = Counter(order("weighted", One("a", 6), One("b", 3), One("c", 1), draw=draw) for _ in range(20_000))
    first = Counter[str]()
    for word, count in seen.items():
        first[word[0]] += count
    assert [round(first[name] / 20_000, 1) for name in "abc"] == [0.6, 0.3, 0.1]
    assert seen["abc"] / first["a"] == pytest.approx(0.75, abs=0.02)  # b before c, three to one


def test_weight_0_comes_last() -> None:
    assert {order("weighted", One("a", 0), One("b", 0.01))[-1] for _ in range(50)} == {"a"}


def test_least_busy_takes_turns_among_equals() -> None:
    targets = [One("a", in_flight=2), One("b", in_flight=1), One("c", in_flight=1)]
    assert [order("least_busy", *targets, turn=turn) for turn in range(3)] == ["bca", "bca", "cba"]


def test_lowest_latency_weighs_what_runs_there() -> None:
    assert order("lowest_latency", One("a", latency=1.0), One("b", latency=0.4, in_flight=1)) == "ba"
    assert order("lowest_latency", One("a", latency=1.0), One("b", latency=0.4, in_flight=2)) == "ab"
    assert order("lowest_latency", One("a", latency=1.0), One("b")) == "ba"  # nobody knows b: it is tried


def test_a_peak_counts_at_once_and_fades() -> None:
    clock = Clock()
    latency = PeakEWMA(clock)
    assert latency.value == 0
    latency.note(1.0)
    latency.note(5.0)
    assert latency.value == 5.0
    latency.note(1.0)
    assert latency.value == 5.0  # no time has passed
    clock.now += 10
    assert latency.value == pytest.approx(5 / 2.71828, rel=1e-3)
    latency.note(1.0)
    assert 1.0 < latency.value < 3.0


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 60)), min_size=1))
def test_a_latency_is_never_over_the_worst_nor_under_0(samples: list[tuple[float, float]]) -> None:
    clock = Clock()
    latency = PeakEWMA(clock)
    for seconds, passed in samples:
        clock.now += passed
        latency.note(seconds)
        assert seconds * 0.999 <= latency.value + 1e-9 or latency.value >= 0
        assert 0 <= latency.value <= max(sample for sample, _ in samples) * 1.000001


# keys


def names(ring: KeyRing, count: int) -> str:
    return "".join(ring.pick().reveal() for _ in range(count))


def test_keys_take_turns() -> None:
    assert names(KeyRing(["a", Secret("b"), "c"]), 7) == "abcabca"


def test_a_key_set_aside_is_passed_over_until_its_time() -> None:
    clock = Clock()
    ring = KeyRing(["a", "b", "c"], clock=clock)
    ring.set_aside(Secret("b"), 30)
    assert (names(ring, 4), ring.usable) == ("acac", 2)
    clock.now += 30
    assert (set(names(ring, 3)), ring.usable) == ({"a", "b", "c"}, 3)


def test_where_all_are_set_aside_the_one_whose_time_comes_first_is_used() -> None:
    clock = Clock()
    ring = KeyRing(["a", "b"], clock=clock)
    ring.set_aside(Secret("a"), 600)
    ring.set_aside(Secret("b"), 5)
    ring.set_aside(Secret("b"), 1)  # a shorter time takes nothing back
    ring.set_aside(Secret("of somebody else"), 1)
    assert (names(ring, 3), ring.usable) == ("bbb", 0)
    clock.now += 2
    assert ring.usable == 0
    clock.now += 3
    assert ring.usable == 1


@pytest.mark.parametrize("keys", [[], [""], ["a", "a"]], ids=["none", "empty", "twice"])
def test_a_ring_of_bad_keys_is_refused(keys: list[str]) -> None:
    with pytest.raises(ValueError, match="api_keys"):
        KeyRing(keys)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"api_key": "a", "api_keys": ["b"]}, "api_key or api_keys, not both"),
        ({"api_keys": []}, "api_keys must name at least one"),
        ({"max_concurrent": 0}, "max_concurrent must be at least 1"),
    ],
)
def test_a_provider_refuses_settings_that_make_no_sense(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Provider("up", "http://127.0.0.1:9", **wrong)


def test_no_key_of_a_ring_shows_itself() -> None:
    provider = Provider("up", "http://127.0.0.1:9", api_keys=["sk-very-secret"])
    assert "sk-very" not in repr(provider.__dict__) + repr(vars(provider.keys))


def test_a_model_refuses_an_unknown_balance_and_a_target_a_negative_weight() -> None:
    provider = Provider("up", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match="balance must be one of ordered, weighted"):
        Models().register("m", provider, balance="fair")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="weight must not be less than 0"):
        Target(provider, weight=-1)


# hedging


def test_a_quantile_is_known_after_some_samples_only() -> None:
    latencies = Latencies()
    for number in range(19):
        latencies.note(number)
    assert latencies.quantile(0.5) is None
    latencies.note(19)
    assert (latencies.quantile(0.95), latencies.quantile(0.5), latencies.quantile(1.0)) == (18, 9, 19)


def test_old_latencies_are_forgotten() -> None:
    latencies = Latencies()
    for _ in range(300):
        latencies.note(9.0)
    for _ in range(256):
        latencies.note(1.0)
    assert latencies.quantile(1.0) == 1.0


@given(st.floats(0.01, 1.0), st.integers(1, 500))
def test_an_allowance_gives_no_more_than_its_share(share: float, calls: int) -> None:
    allowance = Allowance(share)
    given_out = 0
    for _ in range(calls):
        allowance.earn()
        assert allowance.has_one is (allowance._saved >= 1)
        given_out += allowance.spend()
    assert given_out <= 1 + share * calls
