"""How much a model thinks, both ways: an effort, a budget of tokens, or as it sees fit."""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET

from aigateway.canonical.claude import hides_thoughts
from aigateway.canonical.effort import effort_of, shows_thoughts
from aigateway.canonical.types import Change, Request
from aigateway.formats.fields import read_integer, read_object, read_string
from aigateway.formats.messages.models import thinks, thinks_adaptively
from aigateway.formats.messages.wire import FORMAT

LEAST_BUDGET: Final = 1024
ADAPTIVE: Final = -1
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 24_576, "max": 31_999}
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
_ANSWER: Final = 4096  # tokens that stay for the answer where the gateway sets the limit


def decode_thinking_config(raw: Any, fields: dict[str, Any], extra: dict[str, Any]) -> None:
    """`thinking`: a budget, 0 for none, -1 for as the model sees fit."""
    if raw is None:
        return
    config = read_object(raw, "thinking")
    kind = read_string(config.get("type"), "thinking.type")
    if kind == "enabled":
        fields["reasoning_budget"] = read_integer(config.get("budget_tokens"), "thinking.budget_tokens")
    elif kind in ("adaptive", "disabled"):
        fields["reasoning_budget"] = ADAPTIVE if kind == "adaptive" else 0
    else:
        extra["thinking"] = config
        return
    if kind != "disabled":
        fields["reasoning_shown"] = config.get("display") != "omitted"
        if config.get("display") == "summarized":
            fields["reasoning_summary"] = "auto"
    known = ("type", "budget_tokens")
    extra |= {f"thinking.{key}": value for key, value in config.items() if key not in known and value is not None}


def encode_thinking(
    request: Request, model: str, body: dict[str, Any], changes: list[Change]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`thinking` (and the limit that it needs), and the effort of `output_config`."""
    effort, budget = request.reasoning_effort, request.reasoning_budget
    if _is_own(request):
        return _config(budget), {} if effort is UNSET else {"effort": effort}
    if request.reasoning_summary is not UNSET and budget is UNSET and effort is UNSET:
        changes.append(_dropped("reasoning.summary", "A thought is told as it is."))
    if effort is UNSET and budget is UNSET:
        return {}, {}
    if effort == "none" or budget == 0:
        return ({"thinking": {"type": "disabled"}}, {}) if thinks(model) else ({}, {})
    if not thinks(model):
        changes.append(_dropped("reasoning_effort", "The model does not think."))
        return {}, {}
    wanted = effort_of(request)
    told = {} if wanted is UNSET else {"effort": _EFFORTS.get(wanted, "high")}
    if body.get("tool_choice", {}).get("type") in ("any", "tool"):
        changes.append(_dropped("reasoning_effort", "Anthropic's models do not think where a tool is demanded."))
        return {}, told if thinks_adaptively(model) else {}
    if thinks_adaptively(model):
        shown = {"display": "summarized"} if shows_thoughts(request) and hides_thoughts(model) else {}
        return {"thinking": {"type": "adaptive", **shown}}, told
    if _goes_on_thoughtless(body["messages"]):
        changes.append(_dropped("reasoning_effort", "The calls before were sent without the thoughts behind them."))
        return {}, {}
    tokens = budget if isinstance(budget, int) and budget > 0 else _BUDGETS.get(str(effort), _BUDGETS["medium"])
    return _within_limit(max(tokens, LEAST_BUDGET), request, body, changes), {}


def _is_own(request: Request) -> bool:
    """Whether the request was one of this API: then it says what it wants in its own words."""
    return request.extra is not UNSET and request.extra.format == FORMAT


def _config(budget: Any) -> dict[str, Any]:
    if budget is UNSET:
        return {}
    if budget == ADAPTIVE:
        return {"thinking": {"type": "adaptive"}}
    return {"thinking": {"type": "enabled", "budget_tokens": budget} if budget else {"type": "disabled"}}


def _goes_on_thoughtless(messages: list[dict[str, Any]]) -> bool:
    """Whether the turn that goes on has calls that no thought stands before: with a budget Anthropic refuses that."""
    for message in reversed(messages):
        kinds = [block.get("type") for block in message["content"]]
        if message["role"] == "assistant" and "tool_use" in kinds:
            return kinds[0] not in ("thinking", "redacted_thinking")
        if message["role"] == "user" and "tool_result" not in kinds:
            return False
    return False


def _within_limit(budget: int, request: Request, body: dict[str, Any], changes: list[Change]) -> dict[str, Any]:
    """A budget below the limit, which counts thoughts too; where the gateway sets the limit, that makes room."""
    limit = body["max_tokens"]
    if request.max_output_tokens is UNSET:
        return _enabled(budget) | {"max_tokens": max(limit, budget + _ANSWER)}
    if limit > budget:
        return _enabled(budget)
    if limit // 2 >= LEAST_BUDGET:
        return _enabled(limit // 2)
    changes.append(_dropped("reasoning_effort", "The limit of tokens leaves no room for thoughts."))
    return {}


def _enabled(budget: int) -> dict[str, Any]:
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


def _dropped(field: str, reason: str) -> Change:
    return Change(field=field, action="dropped", reason=reason)
