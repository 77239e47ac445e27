"""Whether a target is asked again, and after how long."""

from __future__ import annotations

from collections.abc import Callable

from aigateway.errors import GatewayError
from aigateway.policies import Failure, Retry
from aigateway.routing.failures import key_is_refused, was_not_sent


def retry_delay(
    policy: Retry,
    error: GatewayError,
    kind: Failure,
    *,
    tries: int,
    spent: float,
    floor: float | None,
    draw: Callable[[], float],
) -> float | None:
    """Seconds to wait before the same target is asked again; None where it is not.

    tries  how often it was asked. spent: seconds since the call's first attempt began. floor: seconds that the
    provider asks for. draw: gives a number from 0 to 1.
    """
    if tries >= policy.attempts or not _is_worth_it(policy, error, kind):
        return None
    left = policy.budget - spent
    least = floor or 0.0
    if least > left:
        return None
    most = min(policy.max_delay, policy.backoff * 2.0 ** min(tries - 1, 64))
    return min(least + draw() * most, left)


def _is_worth_it(policy: Retry, error: GatewayError, kind: Failure) -> bool:
    wish = error.headers.get("x-should-retry")
    if wish == "false" or key_is_refused(error):
        return False
    if kind in policy.on or ("unsent" in policy.on and kind == "connection" and was_not_sent(error)):
        return True
    return wish == "true" and "server_error" in policy.on
