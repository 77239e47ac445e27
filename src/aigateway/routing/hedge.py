"""A second request where the first is late: when it is due, and who wins."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

T = TypeVar("T")

_KEPT: Final = 256
_ENOUGH: Final = 20
_SAVED_UP: Final = 5.0


class Latencies:
    """The last times to an answer's head of one target, in seconds."""

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=_KEPT)

    def note(self, seconds: float) -> None:
        """A new sample."""
        self._samples.append(seconds)

    def quantile(self, share: float) -> float | None:
        """The time within which this share of the answers came; None while too few are known."""
        if len(self._samples) < _ENOUGH:
            return None
        return sorted(self._samples)[min(len(self._samples) - 1, math.ceil(share * len(self._samples)) - 1)]


class Allowance:
    """Lets at most a share of the calls through, a few at once where they were saved up."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._saved = 1.0

    def earn(self) -> None:
        """One more call."""
        self._saved = min(_SAVED_UP, self._saved + self._share)

    @property
    def has_one(self) -> bool:
        """Whether one may be let through."""
        return self._saved >= 1.0

    def spend(self) -> bool:
        """Whether one may be let through; it is then."""
        if not self.has_one:
            return False
        self._saved -= 1.0
        return True


async def race(first: Callable[[], Awaitable[T]], second: Callable[[], Awaitable[T]], *, delay: float) -> T:
    """What `first` gives; where that takes longer than `delay` seconds, what the first of both gives.

    Where both fail it raises what `first` raised. The loser is cancelled at once; nothing of both runs on when this
    returns or is cancelled.
    """
    leading = asyncio.ensure_future(first())
    running = [leading]
    winner: asyncio.Future[T] | None = None
    try:
        await asyncio.wait(running, timeout=delay)
        if not leading.done():
            running.append(asyncio.ensure_future(second()))
        pending = set(running)
        while pending and winner is None:
            _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            winner = next((task for task in running if _is_over_well(task)), None)
    finally:
        losers = [task for task in running if task is not winner]
        for task in losers:
            task.cancel()
        await asyncio.gather(*losers, return_exceptions=True)
    return (winner or leading).result()


def _is_over_well(task: asyncio.Future[T]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None
