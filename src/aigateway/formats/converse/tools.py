"""Tools and tool_choice -> `toolConfig`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from msgspec import UNSET

from aigateway.canonical.types import (
    AllowedTools,
    Change,
    FunctionTool,
    NamedTool,
    Opaque,
    Request,
    Tool,
    ToolCall,
    ToolChoice,
)
from aigateway.canonical.uncarried import kind_of
from aigateway.errors import UnsupportedError
from aigateway.formats.converse.caching import CachePoints

_EMPTY: Final[dict[str, Any]] = {"type": "object", "properties": {}}
_HOLDS_TO_SCHEMAS: Final = re.compile(r"claude-(?:(?:opus|sonnet|haiku)-4-[5-9]|[a-z]+-[5-9])")
"""Models that take `strict` of a tool: Claude from 4.5 on."""


def encode_tools(
    request: Request, model: str, points: CachePoints, changes: list[Change], *, bound: bool
) -> dict[str, Any]:
    """`toolConfig`, or nothing. Raises UnsupportedError where a tool is demanded that cannot be offered.

    bound: whether calls stand in the conversation; then Bedrock insists on tools, also where none may be called.
    """
    offered = _offered(() if request.tools is UNSET else request.tools, changes)
    choice = request.tool_choice
    if isinstance(choice, Opaque):
        raise _not_offered(f"a tool of type {choice.raw.get('type')}")
    if isinstance(choice, AllowedTools):
        offered, choice = _allowed(choice, offered, changes)
    if not offered and (choice == "required" or isinstance(choice, NamedTool)):
        raise _not_offered(choice.name if isinstance(choice, NamedTool) else "a tool")
    if choice == "none" and offered:
        held = "Converse cannot forbid them: calls are held back." if bound else "Converse cannot forbid them."
        _note(changes, "tool_choice", "changed", f"Tools that may not be called are left out where they can be. {held}")
        if not bound:
            return {}
    specs = [spec for tool in offered for spec in (_encode_tool(tool, model, changes), *points.after(tool.extra))] or (
        _remembered(request, changes) if bound else []
    )
    if not specs:
        return {}
    config: dict[str, Any] = {"tools": specs}
    if choice == "required":
        config["toolChoice"] = {"any": {}}
    elif isinstance(choice, NamedTool):
        config["toolChoice"] = {"tool": {"name": choice.name}}
    return {"toolConfig": config}


def forces_a_tool(config: dict[str, Any]) -> bool:
    """Whether a `toolConfig` leaves the model no choice."""
    return "toolChoice" in config.get("toolConfig", {})


def _note(changes: list[Change], field: str, action: str, reason: str) -> None:
    change = Change(field=field, action=action, reason=reason)
    if change not in changes:
        changes.append(change)


def _not_offered(what: str) -> UnsupportedError:
    return UnsupportedError(f"tool_choice demands {what}, which the target cannot offer.", param="tool_choice")


def _offered(tools: Sequence[Tool], changes: list[Change]) -> list[FunctionTool]:
    offered: list[FunctionTool] = []
    for tool in tools:
        if isinstance(tool, FunctionTool):
            offered.append(tool)
        elif isinstance(tool, Opaque):
            _note(changes, "tools", "dropped", f"Converse has no tool of type {kind_of(tool)}.")
        else:
            raise TypeError("groups of tools and custom tools are flattened before they are encoded")
    return offered


def _encode_tool(tool: FunctionTool, model: str, changes: list[Change]) -> dict[str, Any]:
    spec: dict[str, Any] = {"name": tool.name}
    if tool.description:
        spec["description"] = tool.description
    spec["inputSchema"] = {"json": _EMPTY if tool.parameters in (UNSET, None) else tool.parameters}
    if tool.strict is True and _HOLDS_TO_SCHEMAS.search(model):
        spec["strict"] = True
    elif tool.strict is True:
        _note(changes, "tools.strict", "changed", "The model is not known to take strict tools: sent as plain ones.")
    return {"toolSpec": spec}


def _allowed(
    choice: AllowedTools, offered: list[FunctionTool], changes: list[Change]
) -> tuple[list[FunctionTool], ToolChoice]:
    names = {tool.name for tool in choice.tools if isinstance(tool, NamedTool)}
    allowed = [tool for tool in offered if tool.name in names]
    if not allowed and choice.mode == "required":
        raise _not_offered("one of the allowed tools")
    if not allowed:
        return offered, "none"
    _note(changes, "tool_choice", "changed", "Converse has no allowed_tools: only the allowed tools are sent.")
    return allowed, choice.mode


def _remembered(request: Request, changes: list[Change]) -> list[dict[str, Any]]:
    """The tools that were called before, for a request that offers none anymore."""
    names = dict.fromkeys(item.name for item in request.items if isinstance(item, ToolCall))
    if names:
        reason = "Bedrock wants the tools of earlier calls told: they are, with the word not to call them."
        _note(changes, "tools", "changed", reason)
    words = "Not at hand anymore: never call this."
    return [{"toolSpec": {"name": name, "description": words, "inputSchema": {"json": _EMPTY}}} for name in names]
