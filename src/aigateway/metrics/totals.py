"""Numbers that only grow, by metric and labels: made in one process, added up over several."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import repeat

from aigateway.metrics.families import FAMILIES

Labels = tuple[str, ...]
Series = dict[Labels, list[float]]


class Totals:
    """Metric -> values of its labels -> numbers: `[value]`, or of a histogram those in each bucket, the rest, the sum."""

    def __init__(self, values: dict[str, Series] | None = None) -> None:
        self.values: dict[str, Series] = values or {}

    def __iter__(self) -> Iterator[tuple[str, Series]]:
        return iter(self.values.items())

    def add(self, name: str, labels: Labels, number: float = 1) -> None:
        """Count."""
        series = self.values.setdefault(name, {})
        known = series.get(labels)
        if known is None:
            series[labels] = [number]
        else:
            known[0] += number

    def observe(self, name: str, labels: Labels, seen: Sequence[float]) -> None:
        """Put numbers into the buckets of a histogram."""
        bounds = FAMILIES[name].buckets
        series = self.values.setdefault(name, {})
        numbers = series.get(labels)
        if numbers is None:
            numbers = series[labels] = [0.0] * (len(bounds) + 2)
        for place, number in Counter(map(bisect_left, repeat(bounds), seen)).items():
            numbers[place] += number
        numbers[-1] += sum(seen)

    def merge(self, name: str, labels: Labels, numbers: Sequence[float]) -> None:
        """Add what another process counted."""
        series = self.values.setdefault(name, {})
        known = series.get(labels)
        if known is None:
            series[labels] = list(numbers)
        elif len(known) == len(numbers):
            series[labels] = [ours + theirs for ours, theirs in zip(known, numbers, strict=True)]

    def merge_all(self, other: Totals) -> None:
        """Add all that another process counted."""
        for name, series in other:
            for labels, numbers in series.items():
                self.merge(name, labels, numbers)
