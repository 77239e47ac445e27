"""How hard a model shall think, for APIs that know efforts and no budgets of tokens."""

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
