"""A circuit: left open for a while where too many of the last outcomes were failures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from aigateway.policies import Breaker

_BUCKETS: Final = 10

State = Literal["closed", "open", "half_open"]


class Circuit:
    """The circuit of one target.

    closed     requests pass; outcomes are counted over a sliding window.
    open       none passes until the cooldown is over.
    half_open  one passes as a probe: a success closes the circuit, a failure opens it anew. Where it tells nothing
               (`give_back`) the next request is one; else another may follow a cooldown later, so that one that
               nobody heard of again does not shut the target off.
    """

    def __init__(self, policy: Breaker, clock: Callable[[], float]) -> None:
        self.opened = 0
        self._policy = policy
        self._clock = clock
        self._width = policy.window / _BUCKETS
        self._outcomes: list[tuple[int, int, int]] = []
        self._shut_until: float | None = None
        self._probing = False

    @property
    def state(self) -> State:
        """As it is now."""
        if self._shut_until is None:
            return "closed"
        return "half_open" if self._probing or self._clock() >= self._shut_until else "open"

    @property
    def wait(self) -> float:
        """Seconds until a request may pass; 0 where one may now."""
        return 0.0 if self._shut_until is None else max(0.0, self._shut_until - self._clock())

    def claim(self) -> bool:
        """Whether this request may pass; one that does while the circuit is not closed is the probe."""
        if self._shut_until is None:
            return True
        now = self._clock()
        if now < self._shut_until:
            return False
        self._probing = True
        self._shut_until = now + self._policy.cooldown
        return True

    def succeed(self) -> None:
        """A request was answered."""
        if self._shut_until is not None:
            if not self._probing:  # sent before it opened
                return
            self._shut_until, self._probing = None, False
            self._outcomes.clear()
        self._count(0)

    def fail(self, asked: float | None = None, *, was_answered: bool = False) -> None:
        """A request failed. asked: seconds that the provider wants to be left alone.

        was_answered  it had succeeded already, and broke off later: the outcome is no new one, but another.
        """
        if self._shut_until is not None:
            if self._probing:
                self._open(asked)
            return
        self._count(1, total=0 if was_answered else 1)
        total = sum(count for _, count, _ in self._outcomes)
        failed = sum(count for _, _, count in self._outcomes)
        if total >= self._policy.min_requests and failed >= self._policy.failure_rate * total:
            self._open(asked)

    def give_back(self) -> None:
        """A request told nothing of the target: it was wrong itself, or its caller has left. The next one is the probe."""
        if self._probing:
            self._shut_until, self._probing = self._clock(), False

    def _open(self, asked: float | None) -> None:
        policy = self._policy
        self._probing = False
        self._outcomes.clear()
        self._shut_until = self._clock() + min(max(policy.cooldown, asked or 0.0), policy.max_cooldown)
        self.opened += 1

    def _count(self, failed: int, *, total: int = 1) -> None:
        slot = int(self._clock() / self._width)
        outcomes = self._outcomes
        if outcomes and outcomes[-1][0] == slot:
            _, others, failures = outcomes[-1]
            outcomes[-1] = (slot, others + total, failures + failed)
            return
        while outcomes and outcomes[0][0] <= slot - _BUCKETS:
            del outcomes[0]
        outcomes.append((slot, total, failed))
