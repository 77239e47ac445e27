"""When a provider wants to be asked again, and when the gateway does: pure functions, every spelling of the headers."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigateway import (
    GatewayError,
    Retry,
    UnreachableError,
    UpstreamConnectionError,
    UpstreamError,
    UpstreamOverloadedError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
)
from aigateway.errors import UpstreamUnavailableError
from aigateway.policies import DEFAULT_RETRY, Failure
from aigateway.routing.delays import asked_delay, reset_delay
from aigateway.routing.failures import failure_of, key_is_refused, speaks_ill_of_target
from aigateway.routing.retry import retry_delay

NOW = 1_800_000_000.0

SPELLINGS: dict[str, tuple[dict[str, str], float | None]] = {
    "seconds": ({"retry-after": "7"}, 7.0),
    "a fraction": ({"retry-after": "0.25"}, 0.25),
    "a date": ({"retry-after": formatdate(NOW + 90, usegmt=True)}, 90.0),
    "a date gone by": ({"retry-after": formatdate(NOW - 90, usegmt=True)}, 0.0),
    "milliseconds win": ({"retry-after": "7", "retry-after-ms": "1500"}, 1.5),
    "bad milliseconds do not": ({"retry-after": "7", "retry-after-ms": "soon"}, 7.0),
    "negative": ({"retry-after": "-3"}, None),
    "no number": ({"retry-after": "nan"}, None),
    "endless": ({"retry-after": "inf"}, None),
    "words": ({"retry-after": "in a while"}, None),
    "retry-after before resets": ({"retry-after": "2", "x-ratelimit-reset-requests": "9s"}, 2.0),
    "OpenAI, requests used up": (
        {
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": "6m0s",
            "x-ratelimit-remaining-tokens": "900",
            "x-ratelimit-reset-tokens": "1s",
        },
        360.0,
    ),
    "OpenAI, both used up": (
        {
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": "120ms",
            "x-ratelimit-remaining-tokens": "0",
            "x-ratelimit-reset-tokens": "1m3.5s",
        },
        63.5,
    ),
    "OpenAI, none used up": (
        {
            "x-ratelimit-remaining-requests": "5",
            "x-ratelimit-reset-requests": "1h2m3s",
            "x-ratelimit-remaining-tokens": "9",
            "x-ratelimit-reset-tokens": "20s",
        },
        20.0,
    ),
    "Unix seconds": ({"x-ratelimit-reset": str(int(NOW) + 33)}, 33.0),
    "Unix milliseconds": ({"x-ratelimit-reset": str(int(NOW * 1000) + 33_500)}, 33.5),
    "seconds to go": ({"x-ratelimit-reset": "12"}, 12.0),
    "RFC 3339": ({"x-ratelimit-reset-tokens": "2027-01-15T08:00:30Z"}, 30.0),
    "an empty reset": ({"x-ratelimit-reset": ""}, None),
    "nothing": ({"x-request-id": "1"}, None),
}


@pytest.mark.parametrize(("headers", "seconds"), SPELLINGS.values(), ids=SPELLINGS.keys())
def test_a_provider_s_wish_is_understood_however_it_is_spelled(headers: dict[str, str], seconds: float | None) -> None:
    found = asked_delay(headers, NOW)
    assert found == (seconds if seconds is None else pytest.approx(seconds, abs=1e-3))


@given(
    st.sampled_from(["retry-after", "retry-after-ms", "x-ratelimit-reset", "x-ratelimit-reset-tokens"]),
    st.text(max_size=40) | st.integers().map(str) | st.floats().map(str) | st.from_regex(r"\d+[dhms]+", fullmatch=True),
)
def test_whatever_stands_there_gives_a_delay_or_nothing(name: str, value: str) -> None:
    found = asked_delay({name: value}, NOW)
    assert found is None or 0 <= found < float("inf")


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_openai_s_durations_are_added_up(hours: int, minutes: int, seconds: int, millis: int) -> None:
    found = reset_delay(f"{hours}h{minutes}m{seconds}s{millis}ms", NOW)
    assert found == pytest.approx(hours * 3600 + minutes * 60 + seconds + millis / 1000)


def refusal(status: int, **more: Any) -> UpstreamError:
    retryable = status >= 500 or status in (401, 403, 408, 409, 429)
    return UpstreamError("no", status=status, retryable=retryable, **more)


KINDS: dict[str, tuple[GatewayError, Failure | None, bool, bool]] = {
    "no connection": (UnreachableError("x"), "connection", True, False),
    "a reset": (UpstreamConnectionError("x"), "connection", True, False),
    "a timeout": (UpstreamTimeoutError("x"), "timeout", True, False),
    "a web page": (UpstreamProtocolError("x"), "server_error", True, False),
    "500": (refusal(502), "server_error", True, False),
    "529": (UpstreamOverloadedError("x"), "server_error", True, False),
    "408": (refusal(408), "timeout", False, False),
    "409": (refusal(409), "server_error", False, False),
    "429": (refusal(429, code="rate_limit_exceeded"), "rate_limit", True, False),
    "429, nothing paid": (refusal(429, code="insufficient_quota"), "rate_limit", True, True),
    "401": (refusal(401), "auth", False, True),
    "402": (refusal(402), "auth", False, True),
    "403": (refusal(403), "auth", False, False),
    "400": (refusal(400), None, False, False),
    "404": (refusal(404, code="model_not_found"), None, False, False),
    "422": (refusal(422), None, False, False),
    "too long": (refusal(400, code="context_length_exceeded"), "context_length", False, False),
    "filtered": (refusal(400, code="content_filter"), "content_filter", False, False),
    "filtered by OpenAI": (refusal(400, code="content_policy_violation"), "content_filter", False, False),
    "no place": (UpstreamUnavailableError("x"), "overload", False, False),
}


@pytest.mark.parametrize(("error", "kind", "counts", "refused"), KINDS.values(), ids=KINDS.keys())
def test_failures_are_told_apart(error: GatewayError, kind: Failure | None, counts: bool, refused: bool) -> None:
    assert failure_of(error) == kind
    assert speaks_ill_of_target(error) is counts
    assert key_is_refused(error) is refused


def delay(error: UpstreamError, policy: Retry | None = None, **more: Any) -> float | None:
    """As `retry_delay` gives it for a first failure, with the longest draw."""
    kind = failure_of(error)
    assert kind is not None
    facts: dict[str, Any] = {"tries": 1, "spent": 0.0, "floor": None, "draw": lambda: 1.0} | more
    return retry_delay(policy or Retry(), error, kind, **facts)


def test_the_backoff_doubles_and_has_a_top() -> None:
    waits = [delay(refusal(503), Retry(attempts=99, budget=99), tries=tries) for tries in range(1, 8)]
    assert waits == [0.5, 1, 2, 4, 8, 8, 8]


def test_the_jitter_is_full() -> None:
    assert delay(refusal(503), draw=lambda: 0.0) == 0.0
    assert delay(refusal(503), draw=lambda: 0.5) == 0.25


def test_attempts_are_counted_in_all() -> None:
    assert delay(refusal(503), Retry(attempts=3), tries=2) is not None
    assert delay(refusal(503), Retry(attempts=3), tries=3) is None
    assert delay(refusal(503), Retry(attempts=1)) is None


def test_what_the_provider_asks_for_is_the_floor() -> None:
    assert delay(refusal(429), floor=4.0) == 4.5
    assert delay(refusal(429), floor=4.0, draw=lambda: 0.0) == 4.0


def test_a_floor_beyond_the_budget_is_not_waited_for() -> None:
    assert delay(refusal(429), Retry(budget=10), floor=10.5) is None
    assert delay(refusal(429), Retry(budget=10), floor=6.0, spent=5.0) is None
    assert delay(refusal(429), Retry(budget=10), floor=10.0) == 10.0


def test_no_retry_begins_after_the_budget() -> None:
    assert delay(refusal(503), Retry(budget=2), spent=2.1) is None
    assert delay(refusal(503), Retry(budget=2), spent=1.9) == pytest.approx(0.1)


@given(
    st.integers(1, 2000),
    st.floats(0, 100),
    st.none() | st.floats(0, 100),
    st.floats(0, 1, exclude_max=True),
    st.floats(0.01, 60),
)
def test_a_delay_is_never_under_the_floor_nor_over_the_budget(
    tries: int, spent: float, floor: float | None, drawn: float, budget: float
) -> None:
    policy = Retry(attempts=3000, budget=budget)
    found = delay(refusal(503), policy, tries=tries, spent=spent, floor=floor, draw=lambda: drawn)
    if found is None:
        assert spent + (floor or 0) >= budget  # an equal sum may be a rounded one
    else:
        assert (floor or 0) <= found <= (floor or 0) + policy.max_delay
        assert spent + found <= budget + 1e-9


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_refused_key_is_not_tried_again(status: int) -> None:
    assert delay(refusal(status)) is None


def test_a_quota_that_is_used_up_is_not_tried_again() -> None:
    assert delay(refusal(429, code="insufficient_quota")) is None


def test_the_provider_s_word_counts() -> None:
    assert delay(refusal(503, headers={"x-should-retry": "false"})) is None
    assert delay(refusal(403, headers={"x-should-retry": "true"})) is not None
    assert delay(refusal(403, headers={"x-should-retry": "true"}), DEFAULT_RETRY) is None


def test_without_a_setting_only_what_was_never_sent_is_tried_again_once() -> None:
    assert delay(UnreachableError("x"), DEFAULT_RETRY) == 0.1
    assert delay(UnreachableError("x"), DEFAULT_RETRY, tries=2) is None
    for error in (UpstreamConnectionError("x"), UpstreamTimeoutError("x"), refusal(503), refusal(429)):
        assert delay(error, DEFAULT_RETRY) is None


@pytest.mark.parametrize(
    ("on", "error", "retried"),
    [
        (("rate_limit",), refusal(429), True),
        (("rate_limit",), refusal(503), False),
        (("connection",), UnreachableError("x"), True),
        (("connection",), UpstreamConnectionError("x"), True),
        (("unsent",), UpstreamConnectionError("x"), False),
        (("timeout",), refusal(408), True),
        (("server_error",), refusal(409), True),
        ((), refusal(503), False),
    ],
)
def test_only_the_failures_named_are_tried_again(on: Any, error: UpstreamError, retried: bool) -> None:
    assert (delay(error, Retry(on=on)) is not None) is retried


@pytest.mark.parametrize(
    "wrong",
    [{"attempts": 0}, {"backoff": 0}, {"max_delay": -1}, {"budget": float("inf")}, {"on": ("rate_limits",)}],
    ids=str,
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Retry(**wrong)
