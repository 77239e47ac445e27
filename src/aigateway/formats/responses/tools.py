"""Tools, tool_choice and text.format, both ways."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType

from aigateway.canonical.types import (
    AllowedTools,
    CustomTool,
    FunctionTool,
    JSONSchemaFormat,
    NamedTool,
    Opaque,
    OutputFormat,
    Tool,
    ToolChoice,
    ToolGroup,
)
from aigateway.errors import UnsupportedError
from aigateway.formats.responses.fields import (
    FORMAT,
    array,
    boolean,
    given,
    optional,
    own,
    record,
    required,
    rest,
    string,
    without_slug,
    wrong_type,
    wrong_value,
)

_CHOICES = frozenset({"auto", "none", "required"})
_MODES = frozenset({"auto", "required"})
_FUNCTION = frozenset({"type", "name", "description", "parameters", "strict"})
_CUSTOM = frozenset({"type", "name", "description", "format"})
_GROUP = frozenset({"type", "name", "description", "tools"})


def decode_tools(value: Any, param: str) -> tuple[Tool, ...]:
    """The list of tools; what is neither a function nor a custom tool is Opaque."""
    return tuple(_decode_tool(tool, f"{param}[{place}]") for place, tool in enumerate(array(value, param)))


def _decode_tool(value: Any, path: str) -> Tool:
    plain = _plain_function(value) if isinstance(value, dict) and value.get("type") == "function" else None
    if plain is not None:
        return plain
    tool = without_slug(record(value, path))
    kind = required(tool, "type", string, path)
    if kind == "function":
        return FunctionTool(
            name=required(tool, "name", string, path),
            description=optional(tool, "description", string, path),
            parameters=optional(tool, "parameters", record, path),
            strict=optional(tool, "strict", boolean, path),
            extra=rest(tool, _FUNCTION),
        )
    if kind == "custom":
        return CustomTool(
            name=required(tool, "name", string, path),
            description=optional(tool, "description", string, path),
            format=optional(tool, "format", record, path),
            extra=rest(tool, _CUSTOM),
        )
    if kind == "namespace":
        return ToolGroup(
            name=required(tool, "name", string, path),
            description=optional(tool, "description", string, path),
            tools=optional(tool, "tools", decode_tools, path),
            extra=rest(tool, _GROUP),
        )
    return Opaque(format=FORMAT, raw=tool)


def _plain_function(tool: dict[str, Any]) -> FunctionTool | None:
    """A function with only what it should have, as most are, read quickly; None for any other."""
    if not _FUNCTION.issuperset(tool):
        return None
    get = tool.get
    name, description, parameters, strict = (
        get("name"),
        get("description", UNSET),
        get("parameters", UNSET),
        get("strict", UNSET),
    )
    if (
        type(name) is not str
        or (description is not UNSET and type(description) is not str)
        or (parameters is not UNSET and type(parameters) is not dict)
        or (strict is not UNSET and type(strict) is not bool)
    ):
        return None
    return FunctionTool(name=name, description=description, parameters=parameters, strict=strict)


def decode_tool_choice(value: Any, param: str) -> ToolChoice:
    """tool_choice in all its forms; a hosted tool named there is Opaque."""
    if isinstance(value, str):
        if value not in _CHOICES:
            raise wrong_value(param, value, _CHOICES)
        return value
    if not isinstance(value, dict):
        raise wrong_type(param, "a string or an object", value)
    if required(value, "type", string, param) != "allowed_tools":
        return _decode_named(value, param)
    mode = optional(value, "mode", string, param) or "auto"
    if mode not in _MODES:
        raise wrong_value(f"{param}.mode", mode, _MODES)
    path = f"{param}.tools"
    tools = required(value, "tools", array, param)
    return AllowedTools(
        mode=mode, tools=tuple(_decode_named(tool, f"{path}[{place}]") for place, tool in enumerate(tools))
    )


def _decode_named(value: Any, path: str) -> NamedTool | Opaque:
    tool = without_slug(record(value, path))
    kind = required(tool, "type", string, path)
    if kind in ("function", "custom", "namespace"):
        return NamedTool(
            name=required(tool, "name", string, path),
            kind=kind,
            namespace=optional(tool, "namespace", string, path),
        )
    return Opaque(format=FORMAT, raw=tool)


def decode_output_format(value: Any, param: str) -> OutputFormat:
    """text.format: `text`, `json_object` or a JSON schema."""
    wanted = record(value, param)
    kind = required(wanted, "type", string, param)
    if kind in ("text", "json_object"):
        return kind
    if kind != "json_schema":
        return Opaque(format=FORMAT, raw=wanted)
    return JSONSchemaFormat(
        name=required(wanted, "name", string, param),
        schema=optional(wanted, "schema", record, param),
        description=optional(wanted, "description", string, param),
        strict=optional(wanted, "strict", boolean, param),
    )


def encode_tool(tool: Tool, *, strict: bool | UnsetType) -> dict[str, Any]:
    """One tool; `strict` is written for a function that does not say (UNSET: nothing is), and `parameters: null`."""
    if isinstance(tool, FunctionTool):
        raw: dict[str, Any] = {"type": "function", "name": tool.name}
        if strict is not UNSET:
            raw["parameters"] = None
        raw |= given(
            description=tool.description,
            parameters=tool.parameters,
            strict=strict if tool.strict is UNSET else tool.strict,
        )
        return raw | own(tool.extra)
    if isinstance(tool, CustomTool):
        return (
            {"type": "custom", "name": tool.name}
            | given(description=tool.description, format=tool.format)
            | own(tool.extra)
        )
    if isinstance(tool, ToolGroup):
        group = {"type": "namespace", "name": tool.name} | given(description=tool.description)
        tools = UNSET if tool.tools is UNSET else [encode_tool(one, strict=strict) for one in tool.tools]
        return group | given(tools=tools) | own(tool.extra)
    return _own_raw(tool, "tools")


def encode_tool_choice(choice: ToolChoice) -> str | dict[str, Any]:
    """tool_choice in its flat forms."""
    if isinstance(choice, str):
        return choice
    if isinstance(choice, AllowedTools):
        return {"type": "allowed_tools", "mode": choice.mode, "tools": [_encode_named(tool) for tool in choice.tools]}
    return _encode_named(choice)


def _encode_named(tool: NamedTool | Opaque) -> dict[str, Any]:
    if isinstance(tool, NamedTool):
        return {"type": tool.kind, "name": tool.name} | given(namespace=tool.namespace)
    return _own_raw(tool, "tool_choice")


def encode_output_format(wanted: OutputFormat) -> dict[str, Any]:
    """text.format."""
    if isinstance(wanted, str):
        return {"type": wanted}
    if isinstance(wanted, Opaque):
        return _own_raw(wanted, "response_format")
    return {"type": "json_schema", "name": wanted.name} | given(
        description=wanted.description, schema=wanted.schema, strict=wanted.strict
    )


def _own_raw(value: Opaque, param: str) -> dict[str, Any]:
    if value.format != FORMAT:
        kind = value.raw.get("type", "unknown")
        raise UnsupportedError(
            f"The Responses API has no '{kind}' here. Leave it out of `{param}`, or use a model served by the API that it is of.",
            param=param,
        )
    return value.raw


# --- what a response echoes ---


def echoed_tools(value: Any) -> list[Any]:
    """The caller's tools as a response shows them: functions with all their keys, others as they came."""
    tools = value if isinstance(value, list) else []
    return [_echoed_tool(tool) if isinstance(tool, dict) else tool for tool in tools]


def _echoed_tool(tool: dict[str, Any]) -> dict[str, Any]:
    if tool.get("type") != "function":
        return tool
    return {"description": None, "parameters": None, "strict": None} | tool


def echoed_tool_choice(value: Any) -> Any:
    """The caller's tool_choice as a response shows it: `auto` by default, the mode of allowed_tools filled in."""
    if value is None:
        return "auto"
    if isinstance(value, dict) and value.get("type") == "allowed_tools":
        return value | {"mode": value.get("mode") or "auto"}
    return value


def echoed_text(value: Any) -> dict[str, Any]:
    """The caller's text settings as a response shows them: text by default, a JSON schema with all its keys."""
    if value is None:
        return {"format": {"type": "text"}}
    text = value if isinstance(value, dict) else {}
    wanted = text.get("format") or {"type": "text"}
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        wanted = wanted | {
            "description": wanted.get("description"),
            "schema": wanted.get("schema"),
            "strict": wanted.get("strict") or False,
        }
    echoed = {"format": wanted}
    if text.get("verbosity") is not None:
        echoed["verbosity"] = text["verbosity"]
    return echoed
