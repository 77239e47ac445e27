"""Fewer cells of a large product: the same in every run, and each row and column is in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

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
