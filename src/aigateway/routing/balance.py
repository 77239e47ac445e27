"""In which order the targets of a model are tried."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

from aigateway.policies import Balance

_MEMORY: Final = 10.0
"""Seconds after which an old latency counts a third."""


class PeakEWMA:
    """The latency of late, in seconds: up at once with a slow answer, down slowly with quick ones and with time.

    Of a target that was never asked it is 0, so that it is tried.
    """

    __slots__ = ("_at", "_clock", "_value")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._value = 0.0
        self._at = clock()

    def note(self, seconds: float) -> None:
        """A new sample."""
        now = self._clock()
        if seconds >= self._value:
            self._value = seconds
        else:
            old = math.exp((self._at - now) / _MEMORY)
            self._value = self._value * old + seconds * (1.0 - old)
        self._at = now

    @property
    def value(self) -> float:
        """As it is now."""
        return self._value * math.exp((self._at - self._clock()) / _MEMORY)


class Balanced(Protocol):
    """What a strategy wants to know of a target."""

    @property
    def weight(self) -> float: ...

    @property
    def in_flight(self) -> int: ...

    @property
    def latency(self) -> float: ...


B = TypeVar("B", bound=Balanced)


def balanced(strategy: Balance, targets: Sequence[B], *, turn: int, draw: Callable[[], float]) -> list[B]:
    """All of these, in the order in which they are to be tried.

    turn  counts the model's calls. draw: gives a number from 0 to 1, 1 excluded.
    """
    if strategy == "weighted":
        # the target with the smallest of independent exponential times comes first with a chance in its weight
        return sorted(
            targets, key=lambda target: -math.log(1.0 - draw()) / target.weight if target.weight else math.inf
        )
    if strategy == "ordered":
        return list(targets)
    start = turn % len(targets)
    rotated = [*targets[start:], *targets[:start]]
    if strategy == "least_busy":
        rotated.sort(key=lambda target: target.in_flight)
    elif strategy == "lowest_latency":
        rotated.sort(key=lambda target: target.latency * (target.in_flight + 1))
    return rotated
