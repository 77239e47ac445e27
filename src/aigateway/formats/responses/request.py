"""Requests: body <-> canonical.

A request decoded from this format carries an `extra` of it, be it empty. Encoded again it is the same document; one
that came from another format is made to fit: what the Responses API lacks is dropped and listed, or refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET

from aigateway.canonical.types import Change, Extra, Item, Message, Part, Request, Text, ToolResult
from aigateway.errors import UnsupportedError
from aigateway.formats.responses.fields import (
    FORMAT,
    array,
    boolean,
    given,
    integer,
    missing,
    number,
    optional,
    own,
    record,
    required,
    string,
    strings,
    wrong_type,
)
from aigateway.formats.responses.fitting import LOGPROBS, fitted
from aigateway.formats.responses.items import decode_item, encode_item, plain_message
from aigateway.formats.responses.tools import (
    decode_output_format,
    decode_tool_choice,
    decode_tools,
    encode_output_format,
    encode_tool,
    encode_tool_choice,
)


def _decode_stop(value: Any, param: str) -> str | tuple[str, ...]:
    return value if isinstance(value, str) else strings(value, param)


def _decode_bias(value: Any, param: str) -> dict[str, float]:
    return {key: number(bias, f"{param}.{key}") for key, bias in record(value, param).items()}


def _decode_metadata(value: Any, param: str) -> dict[str, str]:
    return {key: string(text, f"{param}.{key}") for key, text in record(value, param).items()}


_KNOBS: dict[str, Callable[[Any, str], Any]] = {
    "instructions": string,
    "tools": decode_tools,
    "tool_choice": decode_tool_choice,
    "parallel_tool_calls": boolean,
    "max_tool_calls": integer,
    "max_output_tokens": integer,
    "temperature": number,
    "top_p": number,
    "presence_penalty": number,
    "frequency_penalty": number,
    "stop": _decode_stop,
    "seed": integer,
    "logit_bias": _decode_bias,
    "top_logprobs": integer,
    "include": strings,
    "metadata": _decode_metadata,
    "store": boolean,
    "service_tier": string,
    "truncation": string,
    "user": string,
    "safety_identifier": string,
    "prompt_cache_key": string,
    "prompt_cache_retention": string,
    "prompt_cache_options": record,
}
"""The fields that the canonical request has under the same name."""

_NESTED: dict[str, frozenset[str]] = {
    "text": frozenset({"format", "verbosity"}),
    "reasoning": frozenset({"effort", "summary", "generate_summary"}),
    "stream_options": frozenset({"include_obfuscation"}),
}

_STATEFUL = {
    "previous_response_id": "Send the whole conversation in `input`",
    "conversation": "Send the whole conversation in `input`",
    "prompt": "Send the prompt's text in `instructions` and `input`",
    "background": "Leave `background` out",
}
_ELSEWHERE = frozenset({"model", "input", "stream"})
_PLAIN = _ELSEWHERE | _KNOBS.keys()


def require_stateless(body: dict[str, Any]) -> None:
    """Raise UnsupportedError for what only a provider with a Responses API of its own can do."""
    if _STATEFUL.keys().isdisjoint(body):
        return
    for param, remedy in _STATEFUL.items():
        if body.get(param) not in (None, False):
            raise UnsupportedError(
                f"This model is served by an API without `{param}`. {remedy}, or route the model to a provider "
                "that speaks the Responses API.",
                param=param,
            )


def decode_request(body: dict[str, Any]) -> Request:
    """The body in canonical form. Raises InvalidRequestError naming the field that is wrong."""
    knobs: dict[str, Any] = {}
    for name, value in body.items():
        if value is not None and name in _KNOBS:
            knobs[name] = _KNOBS[name](value, name)
    nested: dict[str, Any] = {}
    unknown: dict[str, Any] = {}
    if not _PLAIN.issuperset(body):
        require_stateless(body)
        nested = _decode_nested(**{name: optional(body, name, record) or {} for name in _NESTED})
        unknown = _unknown(body)
    model = body.get("model")
    if not isinstance(model, str):
        model = required(body, "model", string)
    items = _decode_input(body, needed="instructions" not in knobs)
    stream = "stream" in body and (optional(body, "stream", boolean) or False)
    if "include" in knobs and LOGPROBS in knobs["include"]:
        knobs["logprobs"] = True
    return Request(
        model=model, items=items, stream=stream, extra=Extra(format=FORMAT, fields=unknown), **knobs, **nested
    )


def _decode_nested(text: dict[str, Any], reasoning: dict[str, Any], stream_options: dict[str, Any]) -> dict[str, Any]:
    return {
        "output_format": optional(text, "format", decode_output_format, "text"),
        "verbosity": optional(text, "verbosity", string, "text"),
        "reasoning_effort": optional(reasoning, "effort", string, "reasoning"),
        "reasoning_summary": optional(reasoning, "summary", string, "reasoning")
        or optional(reasoning, "generate_summary", string, "reasoning"),
        "include_obfuscation": optional(stream_options, "include_obfuscation", boolean, "stream_options"),
    }


def _decode_input(body: dict[str, Any], *, needed: bool) -> tuple[Item, ...]:
    value = body.get("input")
    if isinstance(value, str):
        return (Message(role="user", content=(Text(text=value),)),)
    if value is not None and not isinstance(value, list):
        raise wrong_type("input", "a string or an array of items", value)
    if not value:
        if needed:
            raise missing("input")
        return ()
    return tuple(
        [
            plain_message(item) or decode_item(item, f"input[{place}]")
            for place, item in enumerate(array(value, "input"))
        ]
    )


def place_of(request: Request, content: object) -> str:
    """Where an item or part stands in the body: each item is one of `input`."""
    for index, item in enumerate(request.items):
        place = f"input[{index}]"
        if item is content:
            return place
        field, parts = _parts_of(item)
        for position, part in enumerate(parts):
            if part is content:
                return f"{place}.{field}[{position}]"
    return "input"


def _parts_of(item: Item) -> tuple[str, tuple[Part, ...]]:
    if isinstance(item, Message):
        return "content", item.content
    if isinstance(item, ToolResult) and not isinstance(item.output, str):
        return "output", item.output
    return "", ()


def _unknown(body: dict[str, Any]) -> dict[str, Any]:
    """The keys that the canonical form does not name; those of a nested object as `object.key`."""
    fields: dict[str, Any] = {}
    for key, value in body.items():
        if value is None or key in _KNOBS or key in _ELSEWHERE or key in _STATEFUL:
            continue
        nested = _NESTED.get(key)
        if nested is None:
            fields[key] = value
        else:
            fields |= {f"{key}.{name}": entry for name, entry in value.items() if name not in nested}
    return fields


def encode_request(request: Request, *, model: str, changes: list[Change]) -> dict[str, Any]:
    """The body for an upstream. UnsupportedError for what the Responses API cannot hold."""
    native = request.extra is not UNSET and request.extra.format == FORMAT
    if not native:
        request = fitted(request, changes)
    body: dict[str, Any] = {"model": model, "input": [encode_item(item) for item in request.items]}
    for name in _KNOBS:
        value = getattr(request, name)
        if value is not UNSET:
            body[name] = list(value) if isinstance(value, tuple) else value
    if request.tools is not UNSET:
        strict = UNSET if native else False  # other APIs are not strict unless told so, this one is
        body["tools"] = [encode_tool(tool, strict=strict) for tool in request.tools]
    if request.tool_choice is not UNSET:
        body["tool_choice"] = encode_tool_choice(request.tool_choice)
    if request.stream:
        body["stream"] = True
    body |= {name: fields for name, fields in _nested(request).items() if fields}
    return _with_unknown(body, own(request.extra))


def _nested(request: Request) -> dict[str, dict[str, Any]]:
    wanted = request.output_format
    return {
        "text": given(format=UNSET if wanted is UNSET else encode_output_format(wanted), verbosity=request.verbosity),
        "reasoning": given(effort=request.reasoning_effort, summary=request.reasoning_summary),
        "stream_options": given(include_obfuscation=request.include_obfuscation if request.stream else UNSET),
    }


def _with_unknown(body: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    for key, value in fields.items():
        owner, _, name = key.partition(".")
        if name and owner in _NESTED:
            body.setdefault(owner, {})[name] = value
        else:
            body[key] = value
    return body
