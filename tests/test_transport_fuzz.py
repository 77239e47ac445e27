"""A short run of the fuzzer, and properties of the wire over any bytes at any split."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aigateway.errors import UpstreamError
from tests.fuzz_wire import SEEDS, WORDS, check, mutated

ANSWERS = st.lists(st.sampled_from(SEEDS + WORDS) | st.binary(max_size=40), max_size=8).map(b"".join)


@given(data=ANSWERS, cuts=st.lists(st.integers(0, 400), max_size=6), method=st.sampled_from(["POST", "HEAD"]))
@example(data=b"", cuts=[], method="POST")
@example(data=SEEDS[0] + SEEDS[0], cuts=[3], method="HEAD")
def test_any_bytes_are_an_answer_or_one_of_our_errors(data: bytes, cuts: list[int], method: str) -> None:
    check(data, cuts, method)


@given(data=ANSWERS, cuts=st.lists(st.integers(0, 400), max_size=6))
def test_where_an_answer_is_split_changes_nothing(data: bytes, cuts: list[int]) -> None:
    whole, split = check(data, []), check(data, cuts)
    if isinstance(whole, UpstreamError) and isinstance(split, UpstreamError):
        assert whole.status == split.status == 502
    else:
        assert whole == split


@pytest.mark.parametrize("seed", range(20))
def test_answers_with_a_few_faults_in_them(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(20):
        data, cuts = mutated(chance)
        check(data, cuts)
