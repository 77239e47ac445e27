"""When a provider wants to be asked again, out of the headers of its refusal."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

_NUMBER: Final = re.compile(r"\d{1,16}(?:\.\d{1,16})?|\.\d{1,16}", re.ASCII)
_DURATION: Final = re.compile(
    r"(?=.)(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?",
    re.ASCII,
)
_UNITS: Final = (86400.0, 3600.0, 60.0, 1.0, 0.001)
_RESET: Final = "x-ratelimit-reset"
_REMAINING: Final = "x-ratelimit-remaining"
_MILLISECONDS_FROM: Final = 1e12
_UNIX_FROM: Final = 1e9


def asked_delay(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that a provider asks to be left alone, 0 or more; None where it says nothing that can be understood.

    headers  names in lower case. now: Unix seconds.

    `retry-after-ms` counts first, then `retry-after` (seconds or an HTTP date), then `x-ratelimit-reset*`: of those
    whose `x-ratelimit-remaining*` is 0 the last to come, else the first.
    """
    exact = _seconds(headers.get("retry-after-ms", ""))
    if exact is not None:
        return exact / 1000
    told = headers.get("retry-after", "").strip()
    if told:
        seconds = _seconds(told)
        seconds = _until(told, now) if seconds is None else seconds
        if seconds is not None:
            return seconds
    return _reset(headers, now)


def _reset(headers: Mapping[str, str], now: float) -> float | None:
    spent: list[float] = []
    others: list[float] = []
    for name, value in headers.items():
        if name.startswith(_RESET):
            delay = reset_delay(value, now)
            if delay is not None:
                left = headers.get(_REMAINING + name[len(_RESET) :], "0")
                (spent if _seconds(left) == 0 else others).append(delay)
    if spent:
        return max(spent)
    return min(others) if others else None


def reset_delay(value: str, now: float) -> float | None:
    """Seconds in one `x-ratelimit-reset` header: `1s`, `6m0s`, `250ms`, seconds, Unix seconds or milliseconds, a date."""
    text = value.strip()
    number = _seconds(text)
    if number is not None:
        if number >= _MILLISECONDS_FROM:
            return max(0.0, number / 1000 - now)
        return max(0.0, number - now) if number >= _UNIX_FROM else number
    found = _DURATION.fullmatch(text)
    if found is not None:
        return sum(float(part) * unit for part, unit in zip(found.groups(), _UNITS, strict=True) if part)
    return _until(text, now)


def _seconds(text: str) -> float | None:
    text = text.strip()
    return float(text) if _NUMBER.fullmatch(text) else None


def _until(text: str, now: float) -> float | None:
    """Seconds to a date as HTTP or RFC 3339 writes it; one without a zone is in UTC."""
    # its package is large, and dates are rare
    from email.utils import parsedate_to_datetime  # noqa: PLC0415

    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            at = parse(text)
            at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
            delay = at.timestamp() - now
        except (ValueError, OverflowError, TypeError, IndexError):
            continue
        return max(0.0, delay) if math.isfinite(delay) else None
    return None
