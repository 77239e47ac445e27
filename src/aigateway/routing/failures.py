"""What kind of failure an error is; retries, fallbacks and circuits go by that."""

from __future__ import annotations

from typing import Final

from aigateway.errors import (
    GatewayError,
    UnreachableError,
    UpstreamConnectionError,
    UpstreamError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from aigateway.policies import Failure

_FILTERED: Final = frozenset(
    {"content_filter", "content_policy_violation", "moderation_blocked", "responsibleaipolicyviolation"}
)
_BY_STATUS: Final[dict[int, Failure]] = {
    401: "auth",
    402: "auth",
    403: "auth",
    408: "timeout",
    409: "server_error",
    429: "rate_limit",
}
_NO_KEY: Final = frozenset({401, 402})
_SPENT: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})


def failure_of(error: GatewayError) -> Failure | None:
    """The kind of an attempt's failure; None for one that is the request's own fault."""
    if isinstance(error, UpstreamUnavailableError):
        return "overload"
    if isinstance(error, UpstreamTimeoutError):
        return "timeout"
    if isinstance(error, UpstreamConnectionError):
        return "connection"
    if error.code == "context_length_exceeded":
        return "context_length"
    if str(error.code).lower() in _FILTERED:
        return "content_filter"
    if error.status >= 500:
        return "server_error" if error.retryable else None
    return _BY_STATUS.get(error.status) or ("server_error" if error.retryable else None)


def was_not_sent(error: GatewayError) -> bool:
    """Whether the provider cannot have seen anything of the request."""
    return isinstance(error, UnreachableError | UpstreamUnavailableError)


def speaks_ill_of_target(error: GatewayError) -> bool:
    """Whether a circuit counts it: never what a caller can bring about with a bad request."""
    if not isinstance(error, UpstreamError) or isinstance(error, UpstreamUnavailableError):
        return False
    return error.status >= 500 or error.status == 429


def key_is_refused(error: GatewayError) -> bool:
    """Whether the key or its account is refused: asking again with it cannot help for a long while."""
    return error.status in _NO_KEY or (error.status == 429 and error.code in _SPENT)
