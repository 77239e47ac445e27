"""`thinkingConfig`, both ways: a budget of tokens, or from Gemini 3 on a level, and whether thoughts are shown.

https://ai.google.dev/gemini-api/docs/thinking, https://ai.google.dev/gemini-api/docs/gemini-3
"""

from __future__ import annotations

import re
from typing import Any, Final

from msgspec import UNSET

from aigateway.canonical.effort import effort_of, shows_thoughts
from aigateway.canonical.types import Change, Request
from aigateway.formats.fields import read_boolean, read_integer, read_object, read_string
from aigateway.formats.generate_content.wire import FORMAT, camel, can_think, is_newest

_LEVELS: Final = {
    "none": "minimal",
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
_BUDGETS: Final = {"none": 0, "minimal": 512, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576, "max": 24576}
"""Thinking tokens for an effort, as Google's own OpenAI-compatible endpoint counts them."""

_RANGES: Final = (
    (re.compile(r"gemini-2\.5-pro"), 128, 32_768, False),
    (re.compile(r"gemini-2\.5-flash-lite"), 512, 24_576, True),
    (re.compile(r"gemini-2\.5-"), 1, 24_576, True),
)
"""Models -> the least and the most that a budget may be, and whether it may be 0."""


def decode_thinking(raw: Any, place: str) -> dict[str, Any]:
    """The fields of a request that it tells. Raises InvalidRequestError naming the place."""
    if raw is None:
        return {}
    told = camel(read_object(raw, place))
    fields: dict[str, Any] = {}
    if told.get("thinkingBudget") is not None:
        fields["reasoning_budget"] = read_integer(told["thinkingBudget"], f"{place}.thinkingBudget")
    level = told.get("thinkingLevel")
    if level is not None and level != "THINKING_LEVEL_UNSPECIFIED":
        fields["reasoning_effort"] = read_string(level, f"{place}.thinkingLevel").lower()
    if told.get("includeThoughts") is not None and read_boolean(told["includeThoughts"], f"{place}.includeThoughts"):
        fields["reasoning_summary"] = "auto"
    return fields


def encode_thinking(request: Request, model: str, changes: list[Change]) -> dict[str, Any]:
    """The config for a model; {} where it says nothing."""
    if request.extra is not UNSET and request.extra.format == FORMAT:
        return _own(request)
    thinking = _level(request, model, changes) if is_newest(model) else _budget(request, model, changes)
    is_wanted = request.reasoning_budget != 0 and request.reasoning_effort != "none"
    if shows_thoughts(request) and is_wanted:
        thinking["includeThoughts"] = True
    if thinking and not can_think(model):
        if is_wanted:
            changes.append(Change(field="reasoning", action="dropped", reason="The target's model does not think."))
        return {}
    return thinking


def _own(request: Request) -> dict[str, Any]:
    """As the caller said it, who speaks this API."""
    shown = {"includeThoughts": True} if shows_thoughts(request) else {}
    if request.reasoning_budget is not UNSET:
        return {"thinkingBudget": request.reasoning_budget, **shown}
    return shown if request.reasoning_effort is UNSET else {"thinkingLevel": request.reasoning_effort, **shown}


def _level(request: Request, model: str, changes: list[Change]) -> dict[str, Any]:
    """A level, which none of these models can do without: no thinking at all is the lowest one."""
    budget, effort = request.reasoning_budget, request.reasoning_effort
    wanted = "none" if budget == 0 else effort_of(request)
    if wanted is UNSET:
        return {}
    level = _LEVELS.get(wanted)
    if level is None:
        changes.append(_dropped(wanted))
        return {}
    if wanted == "minimal" and effort is UNSET:
        level = wanted = "low"  # the least budget that other makers take is still one to think with
    if "pro" in model:
        level = {"minimal": "low", "medium": "high" if "gemini-3-pro" in model else "medium"}.get(level, level)
    if level != wanted:
        changes.append(_nearest(effort, "The target's model has no such level: it is given the nearest."))
    return {"thinkingLevel": level}


def _budget(request: Request, model: str, changes: list[Change]) -> dict[str, Any]:
    """A budget within what the model takes; an effort says more than that the model may think as it sees fit."""
    budget, effort = request.reasoning_budget, request.reasoning_effort
    if effort is not UNSET and (budget is UNSET or budget < 0):
        if effort not in _BUDGETS:
            changes.append(_dropped(effort))
            return {}
        budget = _BUDGETS[effort]
    if budget is UNSET:
        return {}
    least, most, may_rest = next((found[1:] for found in _RANGES if found[0].search(model)), (0, budget, True))
    if budget < 0 or (budget == 0 and may_rest):
        return {"thinkingBudget": budget}
    within = min(max(budget, least), most)
    if within != budget:
        changes.append(
            _nearest(effort, f"The target's model thinks with {least} to {most} tokens: it is given {within}.")
        )
    return {"thinkingBudget": within}


def _nearest(effort: Any, reason: str) -> Change:
    field = "reasoning_budget" if effort is UNSET else "reasoning_effort"
    return Change(field=field, action="changed", reason=reason)


def _dropped(effort: str) -> Change:
    return Change(field="reasoning_effort", action="dropped", reason=f"Gemini has no effort {effort}.")
