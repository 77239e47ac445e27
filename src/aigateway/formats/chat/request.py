"""Requests, both ways: the knobs by table, the rest by hand."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import astuple

from aigateway.canonical.effort import effort_of
from aigateway.canonical.quirks import Quirks
from aigateway.canonical.toolbox import Toolbox
from aigateway.canonical.types import Change, Extra, JSONSchemaFormat, Message, Opaque, OutputFormat, Request, WebSearch
from aigateway.canonical.uncarried import foreign_keys
from aigateway.errors import UnsupportedError
from aigateway.formats.chat.fields import (
    read_boolean,
    read_integer,
    read_number,
    read_number_map,
    read_object,
    read_stop,
    read_string,
    read_string_map,
    read_strings,
)
from aigateway.formats.chat.messages_in import decode_messages
from aigateway.formats.chat.messages_out import encode_messages, plain_messages
from aigateway.formats.chat.tools import decode_tool_choice, decode_tools, encode_tools
from aigateway.formats.chat.wire import FORMAT


class _Knob(msgspec.Struct, frozen=True):
    """A field that chat and the canonical form spell alike. `openai_only`: hosts with strict fields refuse it."""

    read: Callable[[Any, str], Any]
    openai_only: bool = False


_KNOBS = {
    "temperature": _Knob(read_number),
    "top_p": _Knob(read_number),
    "presence_penalty": _Knob(read_number),
    "frequency_penalty": _Knob(read_number),
    "stop": _Knob(read_stop),
    "seed": _Knob(read_integer),
    "n": _Knob(read_integer),
    "logit_bias": _Knob(read_number_map),
    "reasoning_effort": _Knob(read_string),
    "verbosity": _Knob(read_string, openai_only=True),
    "metadata": _Knob(read_string_map, openai_only=True),
    "store": _Knob(read_boolean, openai_only=True),
    "service_tier": _Knob(read_string, openai_only=True),
    "user": _Knob(read_string, openai_only=True),
    "safety_identifier": _Knob(read_string, openai_only=True),
    "prompt_cache_key": _Knob(read_string, openai_only=True),
    "prompt_cache_retention": _Knob(read_string, openai_only=True),
    "prompt_cache_options": _Knob(read_object, openai_only=True),
    "prediction": _Knob(read_object, openai_only=True),
    "modalities": _Knob(read_strings, openai_only=True),
    "audio": _Knob(read_object, openai_only=True),
}
_KNOBS_OF = operator.itemgetter(*map(Request.__struct_fields__.index, _KNOBS))
"""Of a request as a tuple, which costs less than to ask for one field after the other."""
_NO_KNOBS = (UNSET,) * len(_KNOBS)
_Given: Callable[..., msgspec.Struct] = msgspec.defstruct("_Given", [(key, Any, UNSET) for key in _KNOBS])
"""The knobs again, as what tells the ones that are set without a look at each."""
_LISTED = frozenset({"stop", "modalities"})
_OPENAI_ONLY = frozenset(key for key, knob in _KNOBS.items() if knob.openai_only)
_BESIDE = (
    "logprobs",
    "top_logprobs",
    "include",
    "web_search",
    "truncation",
    "max_tool_calls",
    "top_k",
    "reasoning_summary",
    "reasoning_budget",
)
"""What few requests have: one look tells whether there is any."""
_BESIDE_OF = operator.itemgetter(*map(Request.__struct_fields__.index, _BESIDE))
_MESSAGES = frozenset({Message})
_NOTHING_BESIDE = (UNSET,) * len(_BESIDE)

_READ_ALONE = {"parallel_tool_calls": read_boolean, "logprobs": read_boolean, "top_logprobs": read_integer}
_BY_HAND = frozenset(
    {
        "model",
        "messages",
        "stream",
        "stream_options",
        "tools",
        "functions",
        "tool_choice",
        "function_call",
        "response_format",
        "max_completion_tokens",
        "max_tokens",
        "web_search_options",
    }
)
_LACKING_OPTIONS = ("comparison_response_id", "prewarm")
_LOGPROBS = "message.output_text.logprobs"
_INCLUDED = frozenset({_LOGPROBS, "reasoning.encrypted_content"})
"""Entries of `include` that are answered: reasoning is sealed for whoever asks for that, whoever thought it."""


def decode_request(body: dict[str, Any]) -> Request:
    """A chat request. Raises InvalidRequestError whose `param` names the place."""
    fields: dict[str, Any] = {}
    unknown: dict[str, Any] = {}
    for key, value in body.items():
        knob = _KNOBS.get(key)
        read = knob.read if knob else _READ_ALONE.get(key)
        if read is not None:
            if value is not None:
                fields[key] = read(value, key)
        elif key not in _BY_HAND:
            unknown[key] = value
    model, stream = body.get("model"), body.get("stream")
    return Request(
        model="" if model is None else read_string(model, "model"),
        items=decode_messages(body.get("messages")),
        stream=stream is not None and read_boolean(stream, "stream"),
        tools=decode_tools(body),
        tool_choice=decode_tool_choice(body),
        output_format=_decode_format(body.get("response_format")),
        max_output_tokens=_decode_limit(body),
        web_search=_decode_search(body.get("web_search_options")),
        reasoning_shown=True if fields.get("reasoning_effort", "none") != "none" else UNSET,
        extra=Extra(format=FORMAT, fields=unknown) if unknown else UNSET,
        **_decode_stream_options(body.get("stream_options")),
        **fields,
    )


def _decode_limit(body: dict[str, Any]) -> int | UnsetType:
    for key in ("max_completion_tokens", "max_tokens"):
        if body.get(key) is not None:
            return read_integer(body[key], key)
    return UNSET


def _decode_stream_options(raw: Any) -> dict[str, Any]:
    if raw is None:
        return {}
    options = read_object(raw, "stream_options")
    return {
        key: read_boolean(options[key], f"stream_options.{key}")
        for key in ("include_usage", "include_obfuscation")
        if options.get(key) is not None
    }


def _decode_search(raw: Any) -> WebSearch | UnsetType:
    if raw is None:
        return UNSET
    place = "web_search_options"
    options = read_object(raw, place)
    size, user = options.get("search_context_size"), options.get("user_location")
    location: Any = UNSET
    if user is not None:
        place_of_user = f"{place}.user_location"
        approximate = read_object(user, place_of_user).get("approximate")
        location = read_object(approximate, f"{place_of_user}.approximate")
    return WebSearch(
        context_size=UNSET if size is None else read_string(size, f"{place}.search_context_size"), location=location
    )


def _decode_format(raw: Any) -> OutputFormat | UnsetType:
    if raw is None:
        return UNSET
    chosen = read_object(raw, "response_format")
    kind = read_string(chosen.get("type"), "response_format.type")
    if kind in ("text", "json_object"):
        return kind
    if kind != "json_schema":
        return Opaque(format=FORMAT, raw=chosen)
    place = "response_format.json_schema"
    schema = read_object(chosen.get("json_schema"), place)
    fields: dict[str, Any] = {}
    if schema.get("schema") is not None:
        fields["schema"] = read_object(schema["schema"], f"{place}.schema")
    for key, read in (("description", read_string), ("strict", read_boolean)):
        if key in schema:
            fields[key] = None if schema[key] is None else read(schema[key], f"{place}.{key}")
    return JSONSchemaFormat(name=read_string(schema.get("name"), f"{place}.name"), **fields)


def encode_request(request: Request, *, model: str, quirks: Quirks, changes: list[Change]) -> dict[str, Any]:
    """A chat request for a host with these quirks. Raises UnsupportedError for what cannot be left out."""
    if request.reasoning_budget is not UNSET:
        request = msgspec.structs.replace(request, reasoning_effort=effort_of(request))
    messages = plain_messages(request, quirks) if request.tools is UNSET else None
    foreign: list[str] = []
    if messages is None:
        foreign = foreign_keys(request, FORMAT)
        if request.tools is not UNSET or not _MESSAGES.issuperset(map(type, request.items)):
            request = Toolbox(request, custom=quirks.custom_tools).flattened(changes)
        messages = encode_messages(request, model, quirks, changes)
    body: dict[str, Any] = {"model": model, "messages": messages}
    if request.stream:
        body["stream"] = True
        _encode_stream_options(body, request, quirks, changes)
    if request.tools is not UNSET or request.tool_choice is not UNSET:
        body.update(encode_tools(request, quirks, changes))
    if request.output_format is not UNSET:
        body["response_format"] = _encode_format(request.output_format)
    if request.max_output_tokens is not UNSET:
        body[quirks.max_tokens] = request.max_output_tokens
    fields = astuple(request)
    values = _KNOBS_OF(fields)
    if values != _NO_KNOBS:
        _encode_knobs(body, values, quirks, changes)
    extra = {} if request.extra is UNSET else request.extra.fields
    if foreign or extra or _BESIDE_OF(fields) != _NOTHING_BESIDE:
        _encode_logprobs(body, request)
        if request.web_search is not UNSET:
            body["web_search_options"] = _encode_search(request.web_search)
        _note_dropped(request, foreign, changes)
        if request.extra is not UNSET and request.extra.format == FORMAT:
            body.update(extra)
    return body


def _encode_knobs(body: dict[str, Any], values: tuple[Any, ...], quirks: Quirks, changes: list[Change]) -> None:
    given: dict[str, Any] = msgspec.to_builtins(_Given(*values))
    if quirks.strict_fields:
        for key in [key for key in given if key in _OPENAI_ONLY]:
            changes.append(Change(field=key, action="dropped", reason=f"The target does not know {key}."))
            del given[key]
    for key in _LISTED & given.keys():
        given[key] = list(given[key]) if isinstance(given[key], tuple) else given[key]
    body |= given
    if "prompt_cache_options" in given:
        _drop_options(body, changes)


def _encode_stream_options(body: dict[str, Any], request: Request, quirks: Quirks, changes: list[Change]) -> None:
    options: dict[str, bool] = {}
    if quirks.stream_usage:
        options["include_usage"] = True
    elif request.include_usage is True:
        reason = "The target tells no usage in streams."
        changes.append(Change(field="stream_options.include_usage", action="dropped", reason=reason))
    if request.include_obfuscation is not UNSET:
        if quirks.strict_fields or not quirks.stream_usage:
            reason = "The target does not know include_obfuscation."
            changes.append(Change(field="stream_options.include_obfuscation", action="dropped", reason=reason))
        else:
            options["include_obfuscation"] = request.include_obfuscation
    if options:
        body["stream_options"] = options


def _encode_format(chosen: OutputFormat) -> dict[str, Any]:
    if isinstance(chosen, str):
        return {"type": chosen}
    if isinstance(chosen, Opaque):
        if chosen.format != FORMAT:
            kind = chosen.raw.get("type")
            raise UnsupportedError(f"Chat has no output format of type {kind}.", param="text.format")
        return chosen.raw
    facts = (("description", chosen.description), ("schema", chosen.schema), ("strict", chosen.strict))
    given = {key: value for key, value in facts if value is not UNSET and value is not None}
    return {"type": "json_schema", "json_schema": {"name": chosen.name, **given}}


def _encode_logprobs(body: dict[str, Any], request: Request) -> None:
    asked = request.include is not UNSET and _LOGPROBS in request.include
    if request.top_logprobs is not UNSET and (request.top_logprobs > 0 or request.logprobs is True):
        body["logprobs"] = True
        body["top_logprobs"] = request.top_logprobs
    elif asked:
        body["logprobs"] = True
    elif request.logprobs is not UNSET:
        body["logprobs"] = request.logprobs


def _encode_search(search: WebSearch) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if search.context_size is not UNSET:
        options["search_context_size"] = search.context_size
    if search.location is not UNSET:
        options["user_location"] = {"type": "approximate", "approximate": search.location}
    return options


def _drop_options(body: dict[str, Any], changes: list[Change]) -> None:
    """Take out of `prompt_cache_options` what only the Responses API has."""
    options = body["prompt_cache_options"]
    lacking = [f"prompt_cache_options.{key}" for key in _LACKING_OPTIONS if options.get(key) is not None]
    if not options.keys().isdisjoint(_LACKING_OPTIONS):
        kept = {key: value for key, value in options.items() if key not in _LACKING_OPTIONS}
        body["prompt_cache_options"] = kept
        changes += [Change(field=name, action="dropped", reason=f"Chat has no {name}.") for name in lacking]
        if not kept:
            del body["prompt_cache_options"]


def _note_dropped(request: Request, foreign: list[str], changes: list[Change]) -> None:
    """List the knobs that chat has not, and what only another format knows of items, parts and tools."""
    dropped: list[str] = [*foreign]
    if request.truncation is not UNSET and request.truncation != "disabled":
        dropped.append("truncation")
    dropped += [key for key in ("max_tool_calls", "top_k") if getattr(request, key) is not UNSET]
    if request.reasoning_summary is not UNSET:
        dropped.append("reasoning.summary")
    if request.include is not UNSET and not _INCLUDED.issuperset(request.include):
        dropped.append("include")
    if request.extra is not UNSET and request.extra.format != FORMAT:
        dropped += request.extra.fields
    if request.reasoning_budget == 0 and request.reasoning_effort is UNSET:
        dropped.append("reasoning_budget")
    changes += [Change(field=name, action="dropped", reason=f"Chat has no {name}.") for name in dropped]
