"""Requests -> Cohere's chat: its knobs, and a list of those that it has not."""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET

from aigateway.canonical.toolbox import Toolbox
from aigateway.canonical.types import (
    AllowedTools,
    Change,
    FunctionTool,
    JSONSchemaFormat,
    NamedTool,
    Opaque,
    Request,
)
from aigateway.canonical.uncarried import described, foreign_keys, kind_of
from aigateway.errors import UnsupportedError
from aigateway.formats.cohere_chat.messages import encode_messages
from aigateway.formats.cohere_chat.wire import FORMAT

OWN_FIELDS: Final = frozenset(
    {"citation_options", "documents", "priority", "raw_prompting", "safety_mode", "strict_tools"}
)
"""Fields of Cohere that a caller of any API may send: they are passed on as they are."""

_NAMES: Final = {
    "max_output_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "p",
    "top_k": "k",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "seed": "seed",
}
_LACKING: Final = (
    "logit_bias",
    "top_logprobs",
    "verbosity",
    "max_tool_calls",
    "metadata",
    "prediction",
    "audio",
    "service_tier",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "web_search",
)
_RANGES: Final = {
    "temperature": (0.0, 1.0),
    "top_p": (0.01, 0.99),
    "top_k": (0, 500),
    "frequency_penalty": (0.0, 1.0),
    "presence_penalty": (0.0, 1.0),
}
_ENCRYPTED: Final = "reasoning.encrypted_content"


def encode_request(request: Request, *, model: str, changes: list[Change]) -> dict[str, Any]:
    """A request. Raises UnsupportedError for several choices, and for content that Cohere cannot hold."""
    _refuse(request)
    foreign = foreign_keys(request, FORMAT)
    request = Toolbox(request, custom=False).flattened(changes)
    body: dict[str, Any] = {"model": model, "messages": encode_messages(request, changes), "stream": request.stream}
    body |= _tools(request, changes)
    body |= {name: getattr(request, ours) for ours, name in _NAMES.items() if getattr(request, ours) is not UNSET}
    for ours, (least, most) in _RANGES.items():
        name = _NAMES[ours]
        if name in body and not least <= body[name] <= most:
            body[name] = min(max(body[name], least), most)
            reason = f"Cohere's goes from {least:g} to {most:g}."
            changes.append(Change(field=ours, action="changed", reason=reason))
    body |= _stop(request)
    body |= _output_format(request, changes)
    body |= _thinking(request, changes)
    if request.extra is not UNSET:
        body |= {key: value for key, value in request.extra.fields.items() if key in OWN_FIELDS}
    _note_dropped(request, foreign, changes)
    return body


def _refuse(request: Request) -> None:
    if request.n is not UNSET and request.n > 1:
        raise UnsupportedError("Cohere gives one choice. Send `n` requests, or leave `n` out.", param="n")
    if request.modalities is not UNSET and set(request.modalities) - {"text"}:
        raise UnsupportedError("Cohere answers in text only. Leave `modalities` out.", param="modalities")


def _stop(request: Request) -> dict[str, Any]:
    stop = (request.stop,) if isinstance(request.stop, str) else request.stop
    texts = [] if stop is UNSET else [text for text in stop if text]
    return {"stop_sequences": texts} if texts else {}


def _output_format(request: Request, changes: list[Change]) -> dict[str, Any]:
    wanted = request.output_format
    if wanted is UNSET or wanted == "text":
        return {}
    if isinstance(wanted, JSONSchemaFormat):
        schema = described({} if wanted.schema is UNSET else wanted.schema, wanted.description)
        return {"response_format": {"type": "json_object", "json_schema": schema}}
    if wanted == "json_object":
        return {"response_format": {"type": "json_object"}}
    changes.append(Change(field="response_format", action="dropped", reason="Cohere has no such output format."))
    return {}


def _thinking(request: Request, changes: list[Change]) -> dict[str, Any]:
    budget, effort = request.reasoning_budget, request.reasoning_effort
    if budget == 0 or (budget is UNSET and effort == "none"):
        return {"thinking": {"type": "disabled"}}
    if budget is not UNSET and budget > 0:
        return {"thinking": {"type": "enabled", "token_budget": budget}}
    if effort is not UNSET:
        reason = "Cohere's models think to a budget of tokens, not to an effort: theirs is left to them."
        changes.append(Change(field="reasoning_effort", action="dropped", reason=reason))
    return {}


def _tools(request: Request, changes: list[Change]) -> dict[str, Any]:
    """`tools`, `strict_tools` and `tool_choice`, which is REQUIRED, NONE or left out."""
    offered: list[FunctionTool] = []
    for tool in () if request.tools is UNSET else request.tools:
        if isinstance(tool, FunctionTool):
            offered.append(tool)
        elif isinstance(tool, Opaque):
            reason = f"Cohere has no tool of type {kind_of(tool)}."
            changes.append(Change(field="tools", action="dropped", reason=reason))
    choice = request.tool_choice
    if isinstance(choice, Opaque):
        raise _not_offered(f"a tool of type {choice.raw.get('type')}")
    if isinstance(choice, NamedTool | AllowedTools):
        named = (choice,) if isinstance(choice, NamedTool) else choice.tools
        names = {tool.name for tool in named if isinstance(tool, NamedTool)}
        offered = [tool for tool in offered if tool.name in names]
        reason = "Cohere cannot be told which tools to call: only these are sent."
        changes.append(Change(field="tool_choice", action="changed", reason=reason))
        choice = "required" if isinstance(choice, NamedTool) else choice.mode
    if choice == "required" and not offered:
        raise _not_offered("a tool that is not among the tools")
    if not offered:
        return {}
    body: dict[str, Any] = {"tools": [_tool(tool) for tool in offered]}
    strict = [tool.strict is True for tool in offered]
    if all(strict):
        body["strict_tools"] = True
    elif any(strict):
        reason = "Cohere holds to the schemas of all tools or of none."
        changes.append(Change(field="tools.strict", action="changed", reason=reason))
    if choice in ("required", "none"):
        body["tool_choice"] = str(choice).upper()
    return body


def _not_offered(what: str) -> UnsupportedError:
    return UnsupportedError(f"tool_choice demands {what}, which the target cannot offer.", param="tool_choice")


def _tool(tool: FunctionTool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = (
        {"type": "object", "properties": {}} if tool.parameters in (UNSET, None) else tool.parameters
    )
    return {"type": "function", "function": function}


def _note_dropped(request: Request, foreign: list[str], changes: list[Change]) -> None:
    """List the knobs that Cohere has not, and what only another format knows of items, parts and tools."""
    dropped = [name for name in _LACKING if getattr(request, name) is not UNSET]
    if request.logprobs is True:
        dropped.append("logprobs")
    if request.parallel_tool_calls is False:
        dropped.append("parallel_tool_calls")
    if request.store is True:
        dropped.append("store")
    if request.truncation is not UNSET and request.truncation != "disabled":
        dropped.append("truncation")
    if request.reasoning_summary is not UNSET:
        dropped.append("reasoning.summary")
    if request.include is not UNSET and any(entry != _ENCRYPTED for entry in request.include):
        dropped.append("include")
    if request.extra is not UNSET:
        dropped += [key for key in request.extra.fields if key not in OWN_FIELDS]
    dropped += foreign
    changes += [Change(field=name, action="dropped", reason=f"Cohere has no {name}.") for name in dropped]
