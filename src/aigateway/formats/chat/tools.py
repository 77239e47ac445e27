"""Tools and tool_choice, both ways."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType

from aigateway.canonical.quirks import Quirks
from aigateway.canonical.types import (
    AllowedTools,
    Change,
    CustomTool,
    Extra,
    FunctionTool,
    NamedTool,
    Opaque,
    Request,
    Tool,
    ToolChoice,
    ToolGroup,
)
from aigateway.errors import InvalidRequestError, UnsupportedError
from aigateway.formats.chat.fields import (
    extra_of,
    read_array,
    read_boolean,
    read_object,
    read_string,
    refuse,
)
from aigateway.formats.chat.wire import FORMAT

_Plain = FunctionTool | CustomTool | Opaque
_KEYS = frozenset({"type", "function"})
_FUNCTION = frozenset({"name", "description", "parameters", "strict"})
_MODES = {"auto": "auto", "none": "none", "required": "required", "any": "required"}


def decode_tools(body: dict[str, Any]) -> tuple[Tool, ...] | UnsetType:
    """`tools`, or the older `functions`."""
    tools, functions = body.get("tools"), body.get("functions")
    if tools is not None:
        return tuple(_tool(raw, f"tools[{number}]") for number, raw in enumerate(read_array(tools, "tools")))
    if functions is not None:
        entries = read_array(functions, "functions")
        return tuple(_function(raw, f"functions[{number}]") for number, raw in enumerate(entries))
    return UNSET


def _tool(raw: Any, place: str) -> Tool:
    tool = read_object(raw, place)
    kind = read_string(tool.get("type", "function"), f"{place}.type")
    if kind == "function":
        return _function(tool.get("function"), f"{place}.function", tool)
    if kind == "custom":
        return _custom(read_object(tool.get("custom"), f"{place}.custom"), f"{place}.custom")
    return Opaque(format=FORMAT, raw=tool)


def _function(raw: Any, place: str, tool: dict[str, Any] | None = None) -> FunctionTool:
    function = read_object(raw, place)
    fields: dict[str, Any] = {}
    for key, read in (("description", read_string), ("parameters", read_object), ("strict", read_boolean)):
        if key in function:
            value = function[key]
            fields[key] = None if value is None else read(value, f"{place}.{key}")
    name = read_string(function.get("name"), f"{place}.name")
    extra = extra_of(tool or {}, _KEYS)
    if not _FUNCTION.issuperset(function):
        within = {f"function.{key}": value for key, value in function.items() if key not in _FUNCTION}
        extra = Extra(format=FORMAT, fields=within if extra is UNSET else {**extra.fields, **within})
    return FunctionTool(name=name, **fields, extra=extra)


def _custom(custom: dict[str, Any], place: str) -> CustomTool:
    fields: dict[str, Any] = {}
    if custom.get("description") is not None:
        fields["description"] = read_string(custom["description"], f"{place}.description")
    if custom.get("format") is not None:
        raw = read_object(custom["format"], f"{place}.format")
        grammar = raw.get("grammar")
        fields["format"] = {"type": "grammar", **grammar} if isinstance(grammar, dict) else raw
    return CustomTool(name=read_string(custom.get("name"), f"{place}.name"), **fields)


def decode_tool_choice(body: dict[str, Any]) -> ToolChoice | UnsetType:
    """`tool_choice`, or the older `function_call`."""
    choice, legacy = body.get("tool_choice"), body.get("function_call")
    if choice is None and legacy is not None:
        if isinstance(legacy, str):
            return _mode(legacy, "function_call")
        named = read_object(legacy, "function_call")
        return NamedTool(name=read_string(named.get("name"), "function_call.name"))
    if choice is None:
        return UNSET
    if isinstance(choice, str):
        return _mode(choice, "tool_choice")
    if not isinstance(choice, dict):
        refuse(choice, "tool_choice", "a string or an object")
    if choice.get("type") == "allowed_tools":
        return _allowed(read_object(choice.get("allowed_tools"), "tool_choice.allowed_tools"))
    return _named(choice, "tool_choice")


def _mode(choice: str, place: str) -> str:
    if choice not in _MODES:
        raise InvalidRequestError(f"{place} must be none, auto or required, or name a tool.", param=place)
    return _MODES[choice]


def _named(raw: dict[str, Any], place: str) -> NamedTool | Opaque:
    kind = read_string(raw.get("type"), f"{place}.type")
    if kind not in ("function", "custom"):
        return Opaque(format=FORMAT, raw=raw)
    tool = read_object(raw.get(kind), f"{place}.{kind}")
    return NamedTool(name=read_string(tool.get("name"), f"{place}.{kind}.name"), kind=kind)


def _allowed(raw: dict[str, Any]) -> AllowedTools:
    place = "tool_choice.allowed_tools"
    mode = raw.get("mode", "auto")
    if mode not in ("auto", "required"):
        raise InvalidRequestError(f"{place}.mode must be auto or required.", param=f"{place}.mode")
    entries = enumerate(read_array(raw.get("tools"), f"{place}.tools"))
    tools = [
        _named(read_object(entry, f"{place}.tools[{number}]"), f"{place}.tools[{number}]") for number, entry in entries
    ]
    return AllowedTools(tools=tuple(tools), mode=mode)


def encode_tools(request: Request, quirks: Quirks, changes: list[Change]) -> dict[str, Any]:
    """`tools`, `tool_choice` and `parallel_tool_calls` as far as there are any.

    Hosted tools that chat lacks are set aside, unless the choice demands one: then it raises UnsupportedError.
    """
    offered = _offered(() if request.tools is UNSET else request.tools, changes)
    choice = request.tool_choice
    if isinstance(choice, Opaque) and choice.format != FORMAT:
        raise _not_offered(f"a tool of type {choice.raw.get('type')}")
    if isinstance(choice, AllowedTools):
        offered, raw_choice = _encode_allowed(choice, offered, quirks, changes)
    else:
        raw_choice = _encode_choice(choice)
    if not offered:
        if choice == "required" or isinstance(choice, NamedTool):
            raise _not_offered(choice.name if isinstance(choice, NamedTool) else "a tool")
        return {}
    body: dict[str, Any] = {"tools": [_encode_tool(tool) for tool in offered]}
    if raw_choice is not None:
        body["tool_choice"] = raw_choice
    if request.parallel_tool_calls is not UNSET:
        body["parallel_tool_calls"] = request.parallel_tool_calls
    return body


def _not_offered(what: str) -> UnsupportedError:
    return UnsupportedError(f"tool_choice demands {what}, which the target cannot offer.", param="tool_choice")


def _offered(tools: tuple[Tool, ...], changes: list[Change]) -> list[_Plain]:
    offered: list[_Plain] = []
    for tool in tools:
        if isinstance(tool, ToolGroup):
            raise TypeError("groups of tools are flattened before they are encoded")
        if isinstance(tool, Opaque) and tool.format != FORMAT:
            kind = tool.raw.get("type")
            changes.append(Change(field="tools", action="dropped", reason=f"Chat has no tool of type {kind}."))
        else:
            offered.append(tool)
    return offered


def _encode_tool(tool: _Plain) -> dict[str, Any]:
    if isinstance(tool, Opaque):
        return tool.raw
    if isinstance(tool, CustomTool):
        custom: dict[str, Any] = {"name": tool.name}
        if tool.description:
            custom["description"] = tool.description
        if tool.format is not UNSET:
            custom["format"] = _encode_grammar(tool.format)
        return {"type": "custom", "custom": custom}
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not UNSET and tool.description is not None:
        function["description"] = tool.description
    if tool.parameters is not UNSET and tool.parameters is not None:
        function["parameters"] = tool.parameters
    if tool.strict is not UNSET and tool.strict is not None:
        function["strict"] = tool.strict
    entry: dict[str, Any] = {"type": "function", "function": function}
    if tool.extra is not UNSET and tool.extra.format == FORMAT:
        for key, value in tool.extra.fields.items():
            holder, _, name = key.rpartition(".")
            (function if holder == "function" else entry)[name if holder == "function" else key] = value
    return entry


def _encode_grammar(raw: dict[str, Any]) -> dict[str, Any]:
    if raw.get("type") != "grammar" or "grammar" in raw:
        return raw
    return {"type": "grammar", "grammar": {key: value for key, value in raw.items() if key != "type"}}


def _encode_choice(choice: ToolChoice | UnsetType) -> Any:
    if isinstance(choice, NamedTool):
        return _encode_named(choice)
    if isinstance(choice, Opaque):
        return choice.raw
    return choice if isinstance(choice, str) else None


def _encode_named(tool: NamedTool | Opaque) -> dict[str, Any]:
    return tool.raw if isinstance(tool, Opaque) else {"type": tool.kind, tool.kind: {"name": tool.name}}


def _encode_allowed(
    choice: AllowedTools, offered: list[_Plain], quirks: Quirks, changes: list[Change]
) -> tuple[list[_Plain], Any]:
    """The tools to send, and the choice among them."""
    names = {(tool.kind, tool.name) for tool in choice.tools if isinstance(tool, NamedTool)}
    allowed = [tool for tool in offered if _is_named(tool, names)]
    if not allowed:
        if choice.mode == "required":
            raise _not_offered("one of the allowed tools")
        return offered, "none"
    if quirks.allowed_tools:
        kept = [tool for tool in choice.tools if isinstance(tool, NamedTool) or tool.format == FORMAT]
        tools = [_encode_named(tool) for tool in kept]
        return offered, {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": tools}}
    reason = "The target has no allowed_tools: only the allowed tools are sent."
    changes.append(Change(field="tool_choice", action="changed", reason=reason))
    return allowed, choice.mode


def _is_named(tool: Tool, names: set[tuple[str, str]]) -> bool:
    if isinstance(tool, Opaque):
        return False
    return ("custom" if isinstance(tool, CustomTool) else "function", tool.name) in names
