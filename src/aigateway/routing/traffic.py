"""The traffic of one gateway: a lane to every target, what runs there, and what became of it."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal

from aigateway.call import Attempt, Target
from aigateway.errors import GatewayError, UpstreamUnavailableError
from aigateway.models import Model
from aigateway.policies import Breaker, Hedge, Queue
from aigateway.providers.keys import KeyRing
from aigateway.providers.protocol import ProviderLike
from aigateway.providers.secret import Secret
from aigateway.routing.balance import PeakEWMA, balanced
from aigateway.routing.breaker import Circuit, State
from aigateway.routing.delays import asked_delay
from aigateway.routing.failures import failure_of, key_is_refused, speaks_ill_of_target
from aigateway.routing.hedge import Allowance, Latencies
from aigateway.routing.limits import Gate

_MOST: Final = 4096
"""Lanes kept; a resolver may make providers anew for every call."""

_PENALTY: Final = 1.0
"""Seconds that a failure counts at least as a latency: who fails quickly is not quick."""

KEY_REFUSED: Final = 600.0
"""Seconds that a refused key is left alone: somebody has to do something about it."""

KEY_LIMITED: Final = 10.0
"""The same for a key that has reached its limit, where the provider does not say how long."""

_EVEN: Final = 0.5
"""A draw for all alike: the heaviest target comes first."""


class Lane:
    """The way to one target.

    requests, answered, failed   counters. seconds: the sum of the times to the first output of those answered.
    in_flight    what runs now; a stream counts until it ends.
    is_guarded   whether a request needs leave to enter. is_plain: not that, and no choice of keys either.
    quick        by operation, what is known of the short way there.
    """

    def __init__(
        self, provider: ProviderLike, model: str | None, gate: Gate | None, clock: Callable[[], float]
    ) -> None:
        breaker = getattr(provider, "breaker", None)
        keys = getattr(provider, "keys", None)
        self.provider = provider
        self.model = model
        self.gate = gate
        self.circuit = Circuit(breaker, clock) if isinstance(breaker, Breaker) else None
        self.keys = keys if isinstance(keys, KeyRing) else None
        self.in_flight = 0
        self.requests = 0
        self.answered = 0
        self.failed = 0
        self.seconds = 0.0
        self.is_guarded = self.gate is not None or self.circuit is not None
        self.is_plain = not self.is_guarded and self.keys is None
        self.quick: dict[str, Literal["yes", "no", "sifted"]] = {}
        self.latencies: Latencies | None = None
        self._clock = clock
        self._ewma: PeakEWMA | None = None

    async def enter(self, tenant: str | None) -> float:
        """Take a place there, in turn with other tenants; gives the time for `leave`, which must follow.

        Raises UpstreamUnavailableError where there is none in time, or the circuit has opened meanwhile.
        """
        since = await self.gate.enter(tenant) if self.gate is not None else 0.0
        if self.circuit is not None and not self.circuit.claim():
            if self.gate is not None:
                self.gate.leave(since)
            name = self.provider.name
            raise UpstreamUnavailableError(
                f"Provider '{name}' failed too often of late and is left alone for a while.",
                provider=name,
                headers={"retry-after": str(max(1, math.ceil(self.circuit.wait)))},
            )
        self.count()
        return since

    def count(self) -> None:
        """A request runs there; enough for a lane that is not guarded."""
        self.in_flight += 1
        self.requests += 1

    def leave(self, since: float) -> None:
        """The request is over, whatever became of it."""
        self.in_flight -= 1
        if self.gate is not None:
            self.gate.leave(since)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs there, and nothing is known that must be kept."""
        return self.in_flight == 0 and (self.circuit is None or self.circuit.state == "closed")

    @property
    def latency(self) -> float:
        """Seconds to the first output, of late; noted from the first time on that somebody asks."""
        if self._ewma is None:
            self._ewma = PeakEWMA(self._clock)
        return self._ewma.value

    def note_answer(self, attempt: Attempt, seconds: float) -> None:
        """An attempt was answered: its first output came so long after it began."""
        self.answered += 1
        self.seconds += seconds
        if self._ewma is not None:
            self._ewma.note(seconds)
        if self.latencies is not None and attempt.first_byte_at is not None:
            self.latencies.note(attempt.first_byte_at - attempt.started_at)
        if self.circuit is not None:
            self.circuit.succeed()

    def note_failure(self, error: GatewayError, *, was_answered: bool = False) -> None:
        """An attempt failed. was_answered: it had been noted as answered, and its stream broke off later."""
        self.failed += 1
        if not speaks_ill_of_target(error) or self._is_of_one_key(error):
            if self.circuit is not None and not was_answered:
                self.circuit.give_back()
            return
        if self._ewma is not None:
            self._ewma.note(max(_PENALTY, 2 * self._ewma.value))
        if self.circuit is not None:
            self.circuit.fail(asked_delay(error.headers, time.time()), was_answered=was_answered)

    def _is_of_one_key(self, error: GatewayError) -> bool:
        """Whether it is one key's limit, while others may still be used: the target is well."""
        return error.status == 429 and self.keys is not None and self.keys.usable > 0

    def note_unanswered(self, seconds: float) -> None:
        """An attempt was given up after so long, before it was answered: its caller left, or another was quicker."""
        if self._ewma is not None and seconds > self._ewma.value:
            self._ewma.note(seconds)
        if self.circuit is not None:
            self.circuit.give_back()

    def set_aside(self, key: Secret, error: GatewayError) -> bool:
        """Leave a key of the provider's alone that this error speaks of, as being refused or at its limit; whether it does."""
        if self.keys is None:
            return False
        if key_is_refused(error):
            self.keys.set_aside(key, KEY_REFUSED)
        elif failure_of(error) == "rate_limit":
            asked = asked_delay(error.headers, time.time())
            self.keys.set_aside(key, KEY_LIMITED if asked is None else min(asked, KEY_REFUSED))
        else:
            return False
        return True


class _Weighted:
    """A target with its lane, for a strategy."""

    __slots__ = ("in_flight", "lane", "target", "weight")

    def __init__(self, target: Target, lane: Lane) -> None:
        self.target = target
        self.weight = target.weight
        self.in_flight = lane.in_flight
        self.lane = lane

    @property
    def latency(self) -> float:
        return self.lane.latency


class Traffic:
    """Every lane of a gateway. clock: seconds that only grow; draw: gives a number from 0 to 1, 1 excluded."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, draw: Callable[[], float] = random.random
    ) -> None:
        self.clock = clock
        self.draw = draw
        self._lanes: dict[tuple[int, str | None], Lane] = {}
        self._gates: dict[int, Gate] = {}
        self._turns: dict[str, int] = {}
        self._allowances: dict[str, Allowance] = {}

    def lane(self, target: Target) -> Lane:
        """The lane to a target."""
        provider = target.provider
        lane = self._lanes.get((id(provider), target.model))
        return lane if lane is not None else self._new_lane(provider, target.model)

    def _new_lane(self, provider: ProviderLike, model: str | None) -> Lane:
        if len(self._lanes) >= _MOST:
            self._lanes = {key: lane for key, lane in self._lanes.items() if not lane.is_idle}
            known = {id(lane.provider) for lane in self._lanes.values()}
            self._gates = {key: gate for key, gate in self._gates.items() if key in known}
        most = getattr(provider, "max_concurrent", None)
        if id(provider) not in self._gates and isinstance(most, int):
            queue = getattr(provider, "queue", None)
            queue = queue if isinstance(queue, Queue) else Queue()
            self._gates[id(provider)] = Gate(provider.name, most, queue, self.clock)
        lane = Lane(provider, model, self._gates.get(id(provider)), self.clock)
        self._lanes[id(provider), model] = lane
        return lane

    def balanced(self, entry: Model, targets: Sequence[Target]) -> list[Target]:
        """The targets of a model in the order in which this call tries them."""
        turn = self._turns.get(entry.name, 0)
        self._turns[entry.name] = turn + 1
        return self._in_order(entry, targets, turn, self.draw)

    def foreseen(self, entry: Model, targets: Sequence[Target]) -> list[Target]:
        """The order in which the next call would try them, where there were one; of weights the likeliest."""
        return self._in_order(entry, targets, self._turns.get(entry.name, 0), lambda: _EVEN)

    def _in_order(self, entry: Model, targets: Sequence[Target], turn: int, draw: Callable[[], float]) -> list[Target]:
        known = [_Weighted(target, self.lane(target)) for target in targets]
        return [one.target for one in balanced(entry.balance, known, turn=turn, draw=draw)]

    def circuit(self, target: Target) -> State | None:
        """How the circuit of a target is; None where there is none, or nothing was sent there yet."""
        lane = self._lanes.get((id(target.provider), target.model))
        return lane.circuit.state if lane is not None and lane.circuit is not None else None

    def take_over(self, other: Traffic, providers: Iterable[ProviderLike]) -> None:
        """Go on with what another gateway knows of these providers: what runs there, and waits; circuits, latencies."""
        kept = {id(provider) for provider in providers}
        self._lanes |= {key: lane for key, lane in other._lanes.items() if key[0] in kept}
        self._gates |= {key: gate for key, gate in other._gates.items() if key in kept}

    def hedge_delay(self, entry: Model, hedge: Hedge, lane: Lane) -> float | None:
        """Seconds after which a second request is sent; None where none is, or too little is known of the lane.

        From the first call on, the lane's times to the head of an answer are kept.
        """
        if lane.latencies is None:
            lane.latencies = Latencies()
        allowance = self._allowances.get(entry.name)
        if allowance is None:
            allowance = self._allowances[entry.name] = Allowance(hedge.share)
        allowance.earn()
        usual = lane.latencies.quantile(hedge.quantile)
        return max(usual, hedge.min_delay) if usual is not None and allowance.has_one else None

    def spend_hedge(self, entry: Model) -> bool:
        """Whether the model's share still allows one more; it counts then."""
        return self._allowances[entry.name].spend()

    def state(self, providers: Iterable[ProviderLike] = ()) -> list[dict[str, Any]]:
        """How every provider does, these first: for a person or an exporter. No address and no key is in it."""
        lanes: dict[int, list[Lane]] = {}
        known = {id(provider): provider for provider in providers}
        for lane in self._lanes.values():
            lanes.setdefault(id(lane.provider), []).append(lane)
            known.setdefault(id(lane.provider), lane.provider)
        return [self._provider_state(provider, lanes.get(id(provider), [])) for provider in known.values()]

    def _provider_state(self, provider: ProviderLike, lanes: list[Lane]) -> dict[str, Any]:
        shown: dict[str, Any] = {"name": provider.name, "in_flight": sum(lane.in_flight for lane in lanes)}
        gate = self._gates.get(id(provider))
        if gate is not None:
            shown |= {"max_concurrent": gate.most, "running": gate.running}
            shown |= {"waiting": gate.waiting, "refused": gate.refused}
        keys = getattr(provider, "keys", None)
        if isinstance(keys, KeyRing):
            shown |= {"keys": len(keys), "keys_usable": keys.usable}
        connections = getattr(provider, "connections", None)
        if callable(connections) and (found := connections()):
            shown["connections"] = found
        shown["targets"] = [_shown(lane) for lane in lanes]
        return shown


def _shown(lane: Lane) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "model": lane.model,
        "in_flight": lane.in_flight,
        "requests": lane.requests,
        "answered": lane.answered,
        "failed": lane.failed,
        "seconds": round(lane.seconds, 6),
    }
    if lane.circuit is not None:
        shown |= {"circuit": lane.circuit.state, "opened": lane.circuit.opened}
        if lane.circuit.state == "open":
            shown["retry_in"] = round(lane.circuit.wait, 3)
    return shown
