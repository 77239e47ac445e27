"""Tools and tool_choice, both ways."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType

from aigateway.canonical.types import (
    AllowedTools,
    Change,
    CustomTool,
    FunctionTool,
    NamedTool,
    Opaque,
    Request,
    Tool,
    ToolChoice,
    ToolGroup,
)
from aigateway.canonical.uncarried import kind_of
from aigateway.errors import InvalidRequestError, UnsupportedError
from aigateway.formats.fields import read_array, read_boolean, read_object, read_string
from aigateway.formats.messages.wire import FORMAT, extra_of, own_fields

_TOOL = frozenset({"name", "description", "input_schema", "strict"})
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_WORDS = {"auto": "auto", "required": "any", "none": "none"}


def decode_tools(raw: Any) -> tuple[Tool, ...] | UnsetType:
    """The tools; those that Anthropic defines or runs itself are Opaque."""
    if raw is None:
        return UNSET
    return tuple(_tool(entry, f"tools[{number}]") for number, entry in enumerate(read_array(raw, "tools")))


def _tool(raw: Any, place: str) -> Tool:
    tool = read_object(raw, place)
    if tool.get("type") not in (None, "custom"):
        return Opaque(format=FORMAT, raw=tool)
    description, strict = tool.get("description"), tool.get("strict")
    return FunctionTool(
        name=read_string(tool.get("name"), f"{place}.name"),
        description=UNSET if description is None else read_string(description, f"{place}.description"),
        parameters=read_object(tool.get("input_schema"), f"{place}.input_schema"),
        strict=UNSET if strict is None else read_boolean(strict, f"{place}.strict"),
        extra=extra_of(tool, _TOOL),
    )


def decode_tool_choice(
    raw: Any, tools: tuple[Tool, ...] | UnsetType
) -> tuple[ToolChoice | UnsetType, bool | UnsetType]:
    """The choice, and whether several tools may be called at once."""
    if raw is None:
        return UNSET, UNSET
    choice = read_object(raw, "tool_choice")
    kind = read_string(choice.get("type"), "tool_choice.type")
    alone = choice.get("disable_parallel_tool_use")
    parallel = UNSET if alone is None else not read_boolean(alone, "tool_choice.disable_parallel_tool_use")
    if kind in _CHOICES:
        return _CHOICES[kind], parallel
    if kind != "tool":
        words = "tool_choice.type must be auto, any, tool or none."
        raise InvalidRequestError(words, param="tool_choice.type")
    name = read_string(choice.get("name"), "tool_choice.name")
    hosted = any(isinstance(tool, Opaque) and tool.raw.get("name") == name for tool in tools or ())
    return (Opaque(format=FORMAT, raw=choice) if hosted else NamedTool(name=name)), parallel


def encode_tools(request: Request, changes: list[Change]) -> dict[str, Any]:
    """`tools` and `tool_choice` as far as there are any.

    Hosted tools of others are set aside, unless the choice demands one: then it raises UnsupportedError.
    """
    offered = _offered(() if request.tools is UNSET else request.tools, changes)
    choice = request.tool_choice
    if isinstance(choice, Opaque) and choice.format != FORMAT:
        raise _not_offered(f"a tool of type {choice.raw.get('type')}")
    if isinstance(choice, AllowedTools):
        names = {tool.name for tool in choice.tools if isinstance(tool, NamedTool)}
        kept: list[FunctionTool | Opaque] = [
            tool for tool in offered if isinstance(tool, FunctionTool) and tool.name in names
        ]
        if kept != offered:
            reason = "Anthropic's API has no allowed_tools: only the allowed tools are sent."
            changes.append(Change(field="tool_choice", action="changed", reason=reason))
        if not kept and choice.mode == "required":
            raise _not_offered("one of the allowed tools")
        offered, choice = (kept, choice.mode) if kept else (offered, "none")
    if not offered:
        if choice == "required" or isinstance(choice, NamedTool):
            raise _not_offered(choice.name if isinstance(choice, NamedTool) else "a tool")
        return {} if request.tools is UNSET or request.tools else {"tools": []}
    body: dict[str, Any] = {"tools": [_encode_tool(tool) for tool in offered]}
    told = _encode_choice(choice, parallel=request.parallel_tool_calls)
    return body if told is None else {**body, "tool_choice": told}


def _not_offered(what: str) -> UnsupportedError:
    return UnsupportedError(f"tool_choice demands {what}, which the target cannot offer.", param="tool_choice")


def _offered(tools: tuple[Tool, ...], changes: list[Change]) -> list[FunctionTool | Opaque]:
    offered: list[FunctionTool | Opaque] = []
    for tool in tools:
        if isinstance(tool, ToolGroup | CustomTool):
            raise TypeError("groups and custom tools are made functions before they are encoded")
        if isinstance(tool, Opaque) and tool.format != FORMAT:
            reason = f"Anthropic's API has no tool of type {kind_of(tool)}."
            changes.append(Change(field="tools", action="dropped", reason=reason))
        else:
            offered.append(tool)
    return offered


def _encode_tool(tool: FunctionTool | Opaque) -> dict[str, Any]:
    if isinstance(tool, Opaque):
        return tool.raw
    schema = tool.parameters or {}
    raw: dict[str, Any] = {"name": tool.name}
    if isinstance(tool.description, str):
        raw["description"] = tool.description
    raw["input_schema"] = schema if "type" in schema else {"type": "object", "properties": {}, **schema}
    if isinstance(tool.strict, bool) and (tool.strict or tool.extra is UNSET or tool.extra.format == FORMAT):
        raw["strict"] = tool.strict
    return raw | own_fields(tool)


def _encode_choice(choice: ToolChoice | UnsetType, *, parallel: bool | UnsetType) -> dict[str, Any] | None:
    if isinstance(choice, Opaque):
        return choice.raw
    if choice is UNSET and parallel is not False:
        return None
    raw: dict[str, Any] = {"type": "auto"}
    if isinstance(choice, NamedTool):
        raw = {"type": "tool", "name": choice.name}
    elif isinstance(choice, str):
        raw = {"type": _WORDS[choice]}
    if parallel is not UNSET and choice != "none":
        raw["disable_parallel_tool_use"] = not parallel
    return raw
