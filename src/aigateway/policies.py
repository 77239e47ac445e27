"""What is wanted of traffic to providers: plain values; what they do stands in `routing/`."""

from __future__ import annotations

import math
from typing import Final, Literal, get_args

import msgspec

Failure = Literal[
    "connection", "timeout", "rate_limit", "server_error", "auth", "context_length", "content_filter", "overload"
]
"""Why an attempt failed.

connection      no connection, or one that broke.
timeout         nothing came within a limit; 408, 504.
rate_limit      429.
server_error    5xx, 409, an error in a stream that is not the request's fault, or what is no answer of the API.
auth            401, 402, 403: the gateway's own key or account is refused.
context_length  the prompt is too long for the model.
content_filter  the provider's filter refused the prompt or the answer.
overload        the gateway itself did not send it: the queue is full, or the circuit has just opened.
"""

RetryOn = Literal["unsent", "connection", "timeout", "rate_limit", "server_error"]
"""As in `Failure`; `unsent` is the part of `connection` where no connection could be made, so nothing was sent."""

FallbackOn = Literal[
    "rate_limit", "server_error", "timeout", "connection", "auth", "overload", "context_length", "content_filter"
]

Balance = Literal["ordered", "weighted", "round_robin", "least_busy", "lowest_latency"]
"""In which order the targets of a model are tried.

ordered         as they are written.
weighted        by chance, a target of weight 2 first twice as often as one of weight 1; weight 0 comes last.
round_robin     each call begins with the next one.
least_busy      by how many requests run there now; a stream counts until it ends.
lowest_latency  by the time to the first output of late (peak EWMA), times the requests that run there.
"""

BALANCES: Final[tuple[Balance, ...]] = get_args(Balance)


def _positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be more than 0")


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} must be at least {least}")


def _words(name: str, words: tuple[str, ...], known: tuple[str, ...]) -> None:
    for word in words:
        if word not in known:
            raise ValueError(f"{name} must hold words out of {', '.join(known)}, not {word!r}")


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """When a target is asked again, before anything of its answer was given on.

    attempts   how often a target is asked at most; 1 = no retry.
    backoff    seconds: the n-th wait is drawn from 0 to backoff * 2**(n-1) (full jitter), on top of what the provider
               said (Retry-After and its like).
    max_delay  seconds; the most that is drawn.
    budget     seconds from the start of the call's first attempt, after which no retry begins.
    on         the failures that are worth it.

    Raises ValueError for amounts that make no sense.
    """

    attempts: int = 3
    backoff: float = 0.5
    max_delay: float = 8.0
    budget: float = 30.0
    on: tuple[RetryOn, ...] = ("connection", "timeout", "rate_limit", "server_error")

    def __post_init__(self) -> None:
        _at_least("attempts", self.attempts, 1)
        for name in ("backoff", "max_delay", "budget"):
            _positive(name, getattr(self, name))
        _words("on", self.on, get_args(RetryOn))


DEFAULT_RETRY: Final = Retry(attempts=2, backoff=0.1, budget=5.0, on=("unsent",))
"""Clients retry by themselves (OpenAI's twice); two layers of patience multiply. So only what costs nobody anything."""


class Fallback(msgspec.Struct, frozen=True, kw_only=True):
    """Which failures send a call on to the model's next target.

    Raises ValueError for a word that is no failure.
    """

    on: tuple[FallbackOn, ...] = ("rate_limit", "server_error", "timeout", "connection", "auth", "overload")

    def __post_init__(self) -> None:
        _words("on", self.on, get_args(FallbackOn))


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """When a target is left alone for a while: its circuit opens.

    window        seconds of the past that count.
    failure_rate  the share of failures from which it opens, 0 to 1.
    min_requests  fewer outcomes in the window say nothing.
    cooldown      seconds until one request probes it again; longer where the provider's Retry-After says so.
    max_cooldown  seconds; the most that a Retry-After may demand.

    Raises ValueError for amounts that make no sense.
    """

    window: float = 30.0
    failure_rate: float = 0.5
    min_requests: int = 10
    cooldown: float = 15.0
    max_cooldown: float = 300.0

    def __post_init__(self) -> None:
        for name in ("window", "cooldown", "max_cooldown"):
            _positive(name, getattr(self, name))
        _at_least("min_requests", self.min_requests, 1)
        if not 0 < self.failure_rate <= 1:
            raise ValueError("failure_rate must be more than 0 and at most 1")
        if self.max_cooldown < self.cooldown:
            raise ValueError("max_cooldown must not be less than cooldown")


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """Who waits for a place where a provider has `max_concurrent`.

    size     how many calls may wait; one more is refused at once. 0 = nobody waits.
    timeout  seconds that a call waits at most.

    Raises ValueError for amounts that make no sense.
    """

    size: int = 100
    timeout: float = 10.0

    def __post_init__(self) -> None:
        _at_least("size", self.size, 0)
        _positive("timeout", self.timeout)


class Hedge(msgspec.Struct, frozen=True, kw_only=True):
    """A second request to the next target where the first one is late; the first head that is no error wins.

    quantile   of the target's own times to the head of an answer: later than that is late.
    min_delay  seconds; it is never sent sooner.
    share      hedges at most, as a share of the model's calls.

    Raises ValueError for amounts that make no sense.
    """

    quantile: float = 0.95
    min_delay: float = 0.1
    share: float = 0.1

    def __post_init__(self) -> None:
        _positive("min_delay", self.min_delay)
        for name in ("quantile", "share"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be more than 0 and at most 1")
