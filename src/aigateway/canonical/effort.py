"""How hard a model shall think, and whether that is shown, for APIs that say it in other words."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from aigateway.canonical.types import Request

_EFFORTS = ((1024, "minimal"), (4096, "low"), (12_288, "medium"), (24_576, "high"))


def effort_of(request: Request) -> str | UnsetType:
    """The effort asked for, else the one nearest to the budget; unset where the model may think as it sees fit."""
    budget = request.reasoning_budget
    if request.reasoning_effort is not UNSET or budget is UNSET or budget <= 0:
        return request.reasoning_effort
    return next((effort for most, effort in _EFFORTS if budget <= most), "xhigh")


def shows_thoughts(request: Request) -> bool:
    """Whether the caller asked to see what is thought."""
    return request.reasoning_shown is True or request.reasoning_summary not in (UNSET, "none")
