"""How many requests run at a provider at once, and who waits for a place."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from aigateway.errors import UpstreamUnavailableError
from aigateway.policies import Queue

T = TypeVar("T")

_RETRY_AFTER_MAX: Final = 60
_WEIGHT_OF_NEW: Final = 0.1


class FairLine(Generic[T]):
    """A bounded line that is fair between tenants: each in turn, and within a tenant first come, first served.

    Where it is full, a tenant with fewer waiting takes the place of the last one of the tenant with the most.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lines: dict[str | None, deque[T]] = {}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def join(self, tenant: str | None, one: T) -> tuple[bool, T | None]:
        """Whether `one` stands in the line now, and who lost the place for it."""
        pushed: T | None = None
        if self._length >= self._size:
            longest = max(self._lines, key=lambda name: len(self._lines[name]), default=None)
            mine = len(self._lines.get(tenant, ()))
            if self._size == 0 or len(self._lines[longest]) <= mine + 1:
                return False, None
            pushed = self._lines[longest].pop()
            self._length -= 1
        self._lines.setdefault(tenant, deque()).append(one)
        self._length += 1
        return True, pushed

    def next(self) -> T | None:
        """Take out whose turn it is; None where nobody waits."""
        if not self._length:
            return None
        tenant, line = next(iter(self._lines.items()))
        del self._lines[tenant]
        one = line.popleft()
        self._length -= 1
        if line:
            self._lines[tenant] = line  # behind the other tenants
        return one

    def leave(self, tenant: str | None, one: T) -> bool:
        """Take one out of the middle; whether it stood there."""
        line = self._lines.get(tenant)
        if line is None or one not in line:
            return False
        line.remove(one)
        self._length -= 1
        if not line:
            del self._lines[tenant]
        return True


class Gate:
    """The places at one provider. `enter()` takes one, `leave()` gives it back; both always in pairs."""

    def __init__(self, name: str, most: int, queue: Queue, clock: Callable[[], float]) -> None:
        self.running = 0
        self.refused = 0
        self._name = name
        self._most = most
        self._timeout = queue.timeout
        self._line: FairLine[asyncio.Future[None]] = FairLine(queue.size)
        self._clock = clock
        self._stay = 1.0

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return len(self._line)

    @property
    def most(self) -> int:
        """How many places there are."""
        return self._most

    async def enter(self, tenant: str | None) -> float:
        """Take a place, at once or when it is this call's turn; gives the time for `leave`.

        Raises UpstreamUnavailableError with a Retry-After where the line is full or the wait too long. Who is
        cancelled while waiting is out of the line at once.
        """
        if self.running >= self._most:
            await self._wait(tenant)
        else:
            self.running += 1
        return self._clock()

    def leave(self, since: float) -> None:
        """Give a place back: to the next in line, if there is one."""
        self._stay += (max(0.0, self._clock() - since) - self._stay) * _WEIGHT_OF_NEW
        self._hand_on()

    def _hand_on(self) -> None:
        while (turn := self._line.next()) is not None:
            if not turn.done():
                turn.set_result(None)  # the place goes with it
                return
        self.running -= 1

    async def _wait(self, tenant: str | None) -> None:
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        stands, pushed = self._line.join(tenant, turn)
        if pushed is not None and not pushed.done():
            pushed.set_exception(self._full())
        if not stands:
            raise self._full()
        timer = loop.call_later(self._timeout, self._expire, tenant, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not self._line.leave(tenant, turn) and turn.done() and not turn.cancelled() and not turn.exception():
                self._hand_on()  # the place was given in the same moment
            raise
        finally:
            timer.cancel()

    def _expire(self, tenant: str | None, turn: asyncio.Future[None]) -> None:
        if self._line.leave(tenant, turn) and not turn.done():
            turn.set_exception(self._refusal("had no place for this request in time"))

    def _full(self) -> UpstreamUnavailableError:
        return self._refusal("has as many requests as it may, and too many wait already")

    def _refusal(self, what: str) -> UpstreamUnavailableError:
        self.refused += 1
        seconds = math.ceil(self._stay * (self.waiting + 1) / self._most)
        return UpstreamUnavailableError(
            f"Provider '{self._name}' {what}.",
            provider=self._name,
            code="upstream_overloaded",
            headers={"retry-after": str(min(max(seconds, 1), _RETRY_AFTER_MAX))},
        )
