"""Tools and toolConfig, both ways.

https://ai.google.dev/api/caching#Tool
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET, UnsetType

from aigateway.canonical.quirks import Quirks
from aigateway.canonical.types import (
    AllowedTools,
    Change,
    FunctionTool,
    NamedTool,
    Opaque,
    Request,
    Tool,
    ToolChoice,
)
from aigateway.errors import InvalidRequestError, UnsupportedError
from aigateway.formats.fields import read_array, read_object, read_string, read_strings
from aigateway.formats.generate_content.schema import Subset, to_json_schema
from aigateway.formats.generate_content.wire import FORMAT, camel, kept, own, told_of

_DECLARATION: Final = frozenset({"name", "description", "parameters", "parametersJsonSchema"})
_CALLING: Final = frozenset({"mode", "allowedFunctionNames"})
_MODES: Final = {"AUTO": "auto", "ANY": "required", "NONE": "none", "VALIDATED": "auto", "MODE_UNSPECIFIED": "auto"}
_WORDS: Final = {"auto": "AUTO", "required": "ANY", "none": "NONE"}


def decode_tools(raw: Any) -> tuple[Tool, ...] | UnsetType:
    """`tools`: functions one by one, each hosted tool as an object with its one key."""
    if raw is None:
        return UNSET
    found: list[Tool] = []
    entries = [raw] if isinstance(raw, dict) else read_array(raw, "tools")
    for number, entry in enumerate(entries):
        place = f"tools[{number}]"
        for key, value in camel(read_object(entry, place)).items():
            if key == "functionDeclarations":
                declared = read_array(value, f"{place}.{key}")
                found += [_function(one, f"{place}.{key}[{at}]") for at, one in enumerate(declared)]
            elif value is not None:
                found.append(Opaque(format=FORMAT, raw={key: value}))
    return tuple(found)


def _function(raw: Any, place: str) -> FunctionTool:
    declared = camel(read_object(raw, place))
    fields: dict[str, Any] = {}
    extra = {key: value for key, value in declared.items() if key not in _DECLARATION and value is not None}
    told: dict[str, Any] = {}
    if declared.get("description"):
        fields["description"] = read_string(declared["description"], f"{place}.description")
    if declared.get("parametersJsonSchema") is not None:
        fields["parameters"] = read_object(declared["parametersJsonSchema"], f"{place}.parametersJsonSchema")
    elif declared.get("parameters") is not None:
        told["parameters"] = read_object(declared["parameters"], f"{place}.parameters")
        fields["parameters"] = to_json_schema(told["parameters"])
    return FunctionTool(name=read_string(declared.get("name"), f"{place}.name"), **fields, extra=kept(extra, told))


def decode_tool_choice(raw: Any) -> tuple[ToolChoice | UnsetType, dict[str, Any]]:
    """`toolConfig` as a choice, and the keys of it that only this format knows."""
    if raw is None:
        return UNSET, {}
    config = camel(read_object(raw, "toolConfig"))
    rest = {key: value for key, value in config.items() if key != "functionCallingConfig"}
    calling = config.get("functionCallingConfig")
    if calling is None:
        return UNSET, rest
    place = "toolConfig.functionCallingConfig"
    told = camel(read_object(calling, place))
    rest |= {f"functionCallingConfig.{key}": value for key, value in told.items() if key not in _CALLING}
    mode = told.get("mode", "AUTO")
    mode = mode.upper() if isinstance(mode, str) else ""
    if mode not in _MODES:
        raise InvalidRequestError(f"{place}.mode must be one of {', '.join(_MODES)}.", param=f"{place}.mode")
    names = told.get("allowedFunctionNames")
    allowed = () if names is None else read_strings(names, f"{place}.allowedFunctionNames")
    choice = _MODES[mode]
    if not allowed or choice == "none":
        return choice, rest
    if choice == "required" and len(allowed) == 1:
        return NamedTool(name=allowed[0]), rest
    return AllowedTools(tools=tuple(NamedTool(name=name) for name in allowed), mode=choice), rest


def encode_tools(request: Request, quirks: Quirks, changes: list[Change]) -> dict[str, Any]:
    """`tools` and `toolConfig` as far as there are any.

    Hosted tools of other APIs are set aside, unless the choice demands one: then it raises UnsupportedError.
    """
    declared: list[dict[str, Any]] = []
    tools: list[dict[str, Any]] = []
    subset, strict = Subset(), False
    for tool in () if request.tools is UNSET else request.tools:
        if isinstance(tool, FunctionTool):
            if not declared:  # the host takes all functions in one entry
                tools.append({"functionDeclarations": declared})
            declared.append(_declaration(tool, quirks, subset))
            strict = strict or tool.strict is True
        elif isinstance(tool, Opaque) and tool.format == FORMAT:
            tools.append(tool.raw)
        elif isinstance(tool, Opaque):
            kind = tool.raw.get("type")
            changes.append(Change(field="tools", action="dropped", reason=f"Gemini has no tool of type {kind}."))
        else:
            raise TypeError("groups of tools and custom tools are made functions before they are encoded")
    _note(subset, "tools", changes)
    if strict:
        reason = "Gemini has no strict tools: sent as plain ones."
        changes.append(Change(field="tools.strict", action="changed", reason=reason))
    config = _config(request, {entry["name"] for entry in declared}, changes)
    return {key: value for key, value in (("tools", tools), ("toolConfig", config)) if value}


def _declaration(tool: FunctionTool, quirks: Quirks, subset: Subset) -> dict[str, Any]:
    declared: dict[str, Any] = {"name": tool.name}
    if tool.description:
        declared["description"] = tool.description
    extra = {**told_of(tool.extra), **own(tool.extra)}
    if tool.parameters and "parameters" not in extra:
        if quirks.json_schema:
            declared["parametersJsonSchema"] = tool.parameters
        elif tool.parameters.get("properties"):  # the subset has no object without properties
            declared["parameters"] = subset.of(tool.parameters)
    return declared | extra


def _note(subset: Subset, field: str, changes: list[Change]) -> None:
    if subset.lost:
        reason = f"The target's schemas have no {', '.join(subset.lost)}."
        changes.append(Change(field=field, action="changed", reason=reason))


def _config(request: Request, names: set[str], changes: list[Change]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    calling = _calling(request.tool_choice, names)
    if calling:
        config["functionCallingConfig"] = calling
    if request.parallel_tool_calls is False and names:
        reason = "Gemini cannot be held to one call at a time."
        changes.append(Change(field="parallel_tool_calls", action="dropped", reason=reason))
    return config


def _calling(choice: ToolChoice | UnsetType, names: set[str]) -> dict[str, Any]:
    if choice is UNSET:
        return {}
    if isinstance(choice, Opaque):
        raise _not_offered(f"a tool of type {choice.raw.get('type')}")
    if isinstance(choice, NamedTool):
        if choice.name not in names:
            raise _not_offered(choice.name)
        return {"mode": "ANY", "allowedFunctionNames": [choice.name]}
    if isinstance(choice, AllowedTools):
        allowed = [tool.name for tool in choice.tools if isinstance(tool, NamedTool) and tool.name in names]
        if not allowed:
            if choice.mode == "required":
                raise _not_offered("one of the allowed tools")
            return {"mode": "NONE"} if names else {}
        return {"mode": "ANY" if choice.mode == "required" else "VALIDATED", "allowedFunctionNames": allowed}
    if not names:
        if choice == "required":
            raise _not_offered("a tool")
        return {}
    return {"mode": _WORDS[choice]}


def _not_offered(what: str) -> UnsupportedError:
    return UnsupportedError(f"tool_choice demands {what}, which the target cannot offer.", param="tool_choice")
