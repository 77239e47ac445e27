"""Reasoning knobs -> what the makers of the models call them. Converse itself has no such field but `outputConfig.effort`."""

from __future__ import annotations

import re
from typing import Any, Final

from msgspec import UNSET

from aigateway.canonical.claude import hides_thoughts
from aigateway.canonical.effort import shows_thoughts
from aigateway.canonical.types import Change, Request
from aigateway.formats.converse.wire import ANTHROPIC, maker_of

_BUDGETS: Final = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32768, "max": 32768}
_LEVELS: Final = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
_BUDGET_MIN: Final = 1024
_ADAPTIVE: Final = re.compile(r"claude-(?:(?:opus|sonnet|haiku)-4-[6-9]|[a-z]+-[5-9])")
"""Claude from 4.6 on settles itself how long it thinks, and takes an effort."""

_REASON: Final = "The target has no way to be told how much to think."


def encode_thinking(
    request: Request, model: str, changes: list[Change], *, forced: bool, thoughtless: bool
) -> dict[str, Any]:
    """Fields of a request: `additionalModelRequestFields`, `outputConfig`.

    forced       whether a tool must be called.
    thoughtless  whether it goes on with a turn of calls that has no thinking before them.
    """
    budget = _budget(request)
    if budget is None:
        return {}
    name = "reasoning_effort" if request.reasoning_effort is not UNSET else "reasoning_budget"
    maker = maker_of(model)
    if maker == ANTHROPIC or not maker:
        found = _claude(request, model, budget, forced=forced, thoughtless=thoughtless)
        if isinstance(found, str):
            changes.append(Change(field=name, action="dropped", reason=found))
            return {}
        return found
    level = _LEVELS.get(request.reasoning_effort or "") or _level_of(budget)
    if maker == "openai" and budget:
        return {"additionalModelRequestFields": {"reasoning_effort": level}}
    if maker == "amazon" and "nova-2" in model:
        config = {"type": "enabled", "maxReasoningEffort": level} if budget else {"type": "disabled"}
        return {"additionalModelRequestFields": {"reasoningConfig": config}}
    if budget or maker == "openai":
        changes.append(Change(field=name, action="dropped", reason=_REASON))
    return {}


def _budget(request: Request) -> int | None:
    """Tokens for thinking: 0 = none, -1 = as many as the model likes, None = nobody said."""
    if request.reasoning_budget is not UNSET:
        return request.reasoning_budget
    if request.reasoning_effort is UNSET:
        return None
    return 0 if request.reasoning_effort == "none" else _BUDGETS.get(request.reasoning_effort, -1)


def _level_of(budget: int) -> str:
    if budget < 0:
        return "medium"
    return "low" if budget <= _BUDGETS["low"] else "medium" if budget <= _BUDGETS["medium"] else "high"


def _claude(request: Request, model: str, budget: int, *, forced: bool, thoughtless: bool) -> dict[str, Any] | str:
    """The fields, or why it cannot think. It does not unless it is told to."""
    if not budget:
        return {}
    if forced:
        return "Claude does not think where it must call a tool."
    if _ADAPTIVE.search(model):
        shown = {"display": "summarized"} if shows_thoughts(request) and hides_thoughts(model) else {}
        fields: dict[str, Any] = {"additionalModelRequestFields": {"thinking": {"type": "adaptive", **shown}}}
        effort = _LEVELS.get(request.reasoning_effort or "") or (_level_of(budget) if budget > 0 else "")
        return fields | ({"outputConfig": {"effort": effort}} if effort else {})
    if thoughtless:
        return "Claude goes on thinking only where its thoughts before the calls are sent back."
    if budget < 0:
        budget = _BUDGETS["medium"]
    if request.max_output_tokens is not UNSET and request.max_output_tokens <= budget:
        budget = request.max_output_tokens - _BUDGET_MIN // 2
        if budget < _BUDGET_MIN:
            return f"Claude thinks with {_BUDGET_MIN} tokens or more, and max_output_tokens leaves no room for them."
    return {
        "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": max(budget, _BUDGET_MIN)}}
    }


def thinks(fields: dict[str, Any]) -> bool:
    """Whether a request makes Claude think; then it takes no temperature, top_p or top_k."""
    thinking = fields.get("additionalModelRequestFields", {}).get("thinking")
    return isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive")
