"""Which target a call goes to next: the same again, with another key, or the next one."""

from __future__ import annotations

import math
import time
from typing import Final

from aigateway.call import Target
from aigateway.errors import GatewayError, UpstreamUnavailableError
from aigateway.models import Model
from aigateway.policies import DEFAULT_RETRY, Failure, Fallback, Retry
from aigateway.providers.secret import Secret
from aigateway.routing.delays import asked_delay
from aigateway.routing.failures import failure_of
from aigateway.routing.retry import retry_delay
from aigateway.routing.traffic import Lane, Traffic

_FALLBACK: Final = Fallback()


class Course:
    """The course of one call over its targets. `target` and `lane` are where it is now; `why` it came there.

    since: when the first attempt began (seconds of `time.monotonic`), where that was before.

    Raises UpstreamUnavailableError where the circuits of all targets are open: with a Retry-After.
    """

    _at = 0
    _tries = 1
    _tried_keys = 0
    key: Secret | None = None
    why = ""

    def __init__(
        self, traffic: Traffic, targets: list[Target], entry: Model | None, *, since: float | None = None
    ) -> None:
        self.entry = entry
        self.hedges = entry is not None and entry.hedge is not None
        self._traffic = traffic
        self._targets = targets
        self._began = traffic.clock() - (0.0 if since is None else time.monotonic() - since)
        self.target = targets[0]
        self.lane: Lane = traffic.lane(self.target)
        if self.lane.circuit is not None and self.lane.circuit.wait and not self._advance():
            raise self._all_open()
        if self.lane.keys is not None:
            self.key = self.lane.keys.pick()

    @property
    def may_go_on(self) -> bool:
        """Whether an attempt that fails in the course of its answer could be followed by another one."""
        if self._at + 1 < len(self._targets) and self.fallback.on:
            return True
        if self.lane.keys is not None and self._tried_keys + 1 < len(self.lane.keys):
            return True
        retry = self.retry
        return retry is not DEFAULT_RETRY and self._tries < retry.attempts

    @property
    def retry(self) -> Retry:
        """How the target is retried: as the model says, else as its provider does."""
        found = self.entry.retry if self.entry is not None else None
        found = found or getattr(self.target.provider, "retry", None)
        return found if isinstance(found, Retry) else DEFAULT_RETRY

    @property
    def fallback(self) -> Fallback:
        """When the next target is tried."""
        found = self.entry.fallback if self.entry is not None else None
        return found or _FALLBACK

    def hedge_delay(self) -> float | None:
        """Seconds after which a second request is sent while the first is waited for; None = never."""
        if self.entry is None or self.entry.hedge is None:
            return None
        return self._traffic.hedge_delay(self.entry, self.entry.hedge, self.lane)

    def spare(self) -> tuple[Target, Lane]:
        """Where the second request goes: the next target, else the same. Raises UpstreamUnavailableError: nowhere."""
        if self.entry is None or not self._traffic.spend_hedge(self.entry):
            raise UpstreamUnavailableError("The model's share of second requests is used up.")
        for target in self._targets[self._at + 1 :]:
            lane = self._traffic.lane(target)
            if lane.circuit is None or not lane.circuit.wait:
                return target, lane
        return self.target, self.lane

    def after(self, error: GatewayError) -> float | None:
        """Seconds to wait before the next attempt, for which all is set then; None where none is to follow."""
        kind = failure_of(error)
        if kind is None:
            return None
        floor = asked_delay(error.headers, time.time())
        if self._has_another_key(error):
            self.why = f"another key after {kind}"
            return 0.0
        delay = self._retry_in(error, kind, floor)
        if delay is not None:
            self._tries += 1
            self.why = f"retry after {kind}"
        elif kind in self.fallback.on and self._advance():
            delay = 0.0
            self.why = f"fallback after {kind}"
        elif floor and error.status == 429:
            error.headers.setdefault("retry-after", str(math.ceil(floor)))
        if delay is not None and self.lane.keys is not None:
            self.key = self.lane.keys.pick()
        return delay

    def _retry_in(self, error: GatewayError, kind: Failure, floor: float | None) -> float | None:
        if self.lane.circuit is not None and self.lane.circuit.wait:
            return None
        return retry_delay(
            self.retry,
            error,
            kind,
            tries=self._tries,
            spent=self._traffic.clock() - self._began,
            floor=floor,
            draw=self._traffic.draw,
        )

    def _has_another_key(self, error: GatewayError) -> bool:
        keys = self.lane.keys
        if keys is None or self.key is None or not self.lane.set_aside(self.key, error):
            return False
        self._tried_keys += 1
        if self._tried_keys >= len(keys) or not keys.usable:
            return False
        self.key = keys.pick()
        return True

    def _advance(self) -> bool:
        """Go to the next target whose circuit lets requests through; whether there is one."""
        for at in range(self._at + 1, len(self._targets)):
            lane = self._traffic.lane(self._targets[at])
            if lane.circuit is None or not lane.circuit.wait:
                self._at, self.target, self.lane = at, self._targets[at], lane
                self._tries, self._tried_keys, self.key = 1, 0, None
                return True
        return False

    def _all_open(self) -> UpstreamUnavailableError:
        circuits = [self._traffic.lane(target).circuit for target in self._targets]
        wait = min(circuit.wait for circuit in circuits if circuit is not None)
        names = ", ".join(dict.fromkeys(f"'{target.provider.name}'" for target in self._targets))
        return UpstreamUnavailableError(
            f"Provider {names} failed too often of late and is left alone for a while.",
            provider=self._targets[0].provider.name,
            headers={"retry-after": str(max(1, math.ceil(wait)))},
        )
