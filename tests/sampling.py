"""Fewer rows of a large test: the same ones in every run, so that it says the same of the same tree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar
from zlib import crc32

import pytest

LARGE: Final = 60
"""A test with more rows than this runs half of them, unless `--every-row` is asked for; with many more, a third."""

_HUGE: Final = 120

A = TypeVar("A")
B = TypeVar("B")


def spread(rows: Iterable[A], columns: Sequence[B], *, every: int) -> list[tuple[A, B]]:
    """One cell in `every`, along diagonals: each row meets a share of the columns, neighbours another one."""
    return [
        (row, column)
        for number, row in enumerate(rows)
        for place, column in enumerate(columns)
        if (number + place) % every == 0
    ]


def function_of(item: pytest.Item) -> str:
    """The test of which an item is a row."""
    return item.nodeid.partition("[")[0]


def sample(items: Sequence[pytest.Item]) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """What the gate has time for, and what it leaves out: of large tests the rows are chosen by their names."""
    rows = Counter(map(function_of, items))
    kept: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        number = rows[function_of(item)]
        out = number > LARGE and crc32(item.nodeid.encode()) % (3 if number > _HUGE else 2)
        (left if out else kept).append(item)
    return kept, left
