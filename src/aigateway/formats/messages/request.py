"""Requests, both ways. One decoded from this API carries an `extra` of it, be it empty, and is encoded as it came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET

from aigateway.canonical.claude import sampled
from aigateway.canonical.toolbox import Toolbox
from aigateway.canonical.types import Change, Extra, JSONSchemaFormat, OutputFormat, Request
from aigateway.canonical.uncarried import described, foreign_keys
from aigateway.errors import InvalidRequestError
from aigateway.formats.fields import read_boolean, read_integer, read_number, read_object, read_string, read_strings
from aigateway.formats.messages.messages_in import decode_messages, decode_system
from aigateway.formats.messages.messages_out import encode_messages
from aigateway.formats.messages.models import default_max_tokens
from aigateway.formats.messages.thinking import decode_thinking_config, encode_thinking
from aigateway.formats.messages.tools import decode_tool_choice, decode_tools, encode_tools
from aigateway.formats.messages.wire import FORMAT, NO_THREADS

_KNOBS: dict[str, tuple[str, Callable[[Any, str], Any]]] = {
    "max_tokens": ("max_output_tokens", read_integer),
    "temperature": ("temperature", read_number),
    "top_p": ("top_p", read_number),
    "top_k": ("top_k", read_integer),
    "stop_sequences": ("stop", read_strings),
}
_BY_HAND = frozenset(
    {
        "model",
        "messages",
        "system",
        "stream",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "output_format",
        "metadata",
        "service_tier",
    }
)
_TIERS = {"auto": "auto", "standard_only": "default"}
_TIERS_HERE = {ours: theirs for theirs, ours in _TIERS.items()}
_USER_MAX = 64  # characters of OpenAI's `user`
_LACKING = (
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "verbosity",
    "max_tool_calls",
    "metadata",
    "store",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "web_search",
    "modalities",
    "audio",
    "prediction",
    "include",
)
_SAYS_NOTHING: dict[str, Any] = {"store": False, "logprobs": False, "top_logprobs": 0, "modalities": ("text",)}
"""Values of fields that ask for nothing which this API would not do."""


def decode_request(body: dict[str, Any]) -> Request:
    """A request. Raises InvalidRequestError whose `param` names the place."""
    refuse_thread(body)
    fields: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for key, value in body.items():
        knob = _KNOBS.get(key)
        if knob is not None and value is not None:
            fields[knob[0]] = knob[1](value, key)
        elif knob is None and key not in _BY_HAND and value is not None:
            extra[key] = value
    instructions, opening = decode_system(body.get("system"))
    tools = decode_tools(body.get("tools"))
    choice, parallel = decode_tool_choice(body.get("tool_choice"), tools)
    model, stream = body.get("model"), body.get("stream")
    _decode_metadata(body.get("metadata"), fields, extra)
    _decode_tier(body.get("service_tier"), fields, extra)
    decode_thinking_config(body.get("thinking"), fields, extra)
    _decode_output(body, fields, extra)
    return Request(
        model="" if model is None else read_string(model, "model"),
        items=(*opening, *decode_messages(body.get("messages"))),
        stream=stream is not None and read_boolean(stream, "stream"),
        instructions=instructions,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=parallel,
        extra=Extra(format=FORMAT, fields=extra),
        **fields,
    )


def refuse_thread(body: dict[str, Any]) -> None:
    """Raise InvalidRequestError for a request that goes on in a thread, which only Anthropic's own host holds."""
    if body.get("thread") is not None:
        reason = "The model's host holds no threads. Send the whole conversation in `messages`, and leave `thread` out."
        raise InvalidRequestError(reason, param="thread", code=NO_THREADS)


def _decode_metadata(raw: Any, fields: dict[str, Any], extra: dict[str, Any]) -> None:
    if raw is None:
        return
    user = read_object(raw, "metadata").get("user_id")
    if isinstance(user, str) and len(user) <= _USER_MAX and len(raw) == 1:
        fields["user"] = user
    elif raw:
        extra["metadata"] = raw


def _decode_tier(raw: Any, fields: dict[str, Any], extra: dict[str, Any]) -> None:
    if isinstance(raw, str) and raw in _TIERS:
        fields["service_tier"] = _TIERS[raw]
    elif raw is not None:
        extra["service_tier"] = raw


def _decode_output(body: dict[str, Any], fields: dict[str, Any], extra: dict[str, Any]) -> None:
    """`output_config` (or `output_format`, as it was called first): the schema of the answer, and the effort."""
    raw = body.get("output_config")
    config = {} if raw is None else read_object(raw, "output_config")
    effort = config.get("effort")
    if effort is not None:
        fields["reasoning_effort"] = read_string(effort, "output_config.effort")
    place = "output_config.format" if config.get("format") is not None else "output_format"
    wanted = config.get("format") if config.get("format") is not None else body.get("output_format")
    if wanted is not None:
        chosen = read_object(wanted, place)
        if chosen.get("type") == "json_schema":
            schema = read_object(chosen.get("schema"), f"{place}.schema")
            fields["output_format"] = JSONSchemaFormat(name="output", schema=schema, strict=True)
        else:
            extra[place] = chosen
    extra |= {f"output_config.{key}": value for key, value in config.items() if key not in ("effort", "format")}


def encode_request(request: Request, *, model: str, changes: list[Change]) -> dict[str, Any]:
    """A request for an upstream. What it cannot carry stands in `changes`. Raises UnsupportedError for what must not be lost."""
    foreign = foreign_keys(request, FORMAT)
    request = Toolbox(request, custom=False).flattened(changes)
    system, messages = encode_messages(request.instructions, request.items, model, changes)
    body: dict[str, Any] = {"model": model}
    if system is not UNSET:
        body["system"] = system
    body["messages"] = messages
    if request.stream:
        body["stream"] = True
    body.update(encode_tools(request, changes))
    config = _encode_format(request.output_format, changes)
    limit = default_max_tokens(model) if request.max_output_tokens is UNSET else request.max_output_tokens
    if request.max_output_tokens is UNSET:
        reason = f"Anthropic demands a limit: it is {limit} tokens."
        changes.append(Change(field="max_output_tokens", action="changed", reason=reason))
    body["max_tokens"] = limit
    thinking, effort = encode_thinking(request, model, body, changes)
    body.update(thinking)
    config.update(effort)
    _encode_sampling(body, request, model, changes)
    _encode_facts(body, request, changes)
    own = request.extra.fields if request.extra is not UNSET and request.extra.format == FORMAT else {}
    for key, value in own.items():
        holder, _, name = key.partition(".")
        if name and holder == "output_config":
            config[name] = value
        elif name and holder == "thinking":
            body.setdefault("thinking", {})[name] = value
        else:
            body[key] = value
    if config:
        body["output_config"] = config
    _note_dropped(request, foreign, changes)
    return body


def _encode_format(wanted: OutputFormat | msgspec.UnsetType, changes: list[Change]) -> dict[str, Any]:
    if isinstance(wanted, JSONSchemaFormat) and wanted.schema is not UNSET:
        return {"format": {"type": "json_schema", "schema": described(wanted.schema, wanted.description)}}
    if wanted is not UNSET and wanted != "text":
        reason = "Anthropic's API has no JSON without a schema."
        changes.append(Change(field="response_format", action="dropped", reason=reason))
    return {}


def _encode_sampling(body: dict[str, Any], request: Request, model: str, changes: list[Change]) -> None:
    """Temperature and its like. A model that thinks takes no temperature, and none takes one above 1."""
    thinks = body.get("thinking", {}).get("type") in ("enabled", "adaptive")
    if not thinks and (request.extra is UNSET or request.extra.format != FORMAT):
        request = sampled(request, model, changes)
    for key in ("temperature", "top_p", "top_k"):
        value = getattr(request, key)
        if value is UNSET:
            continue
        foreign = request.extra is UNSET or request.extra.format != FORMAT
        if thinks and foreign:
            reason = f"A model of Anthropic's that thinks takes no {key}."
            changes.append(Change(field=key, action="dropped", reason=reason))
        elif key == "temperature" and value > 1:
            body[key] = 1.0
            changes.append(Change(field=key, action="changed", reason="Anthropic's temperature ends at 1."))
        else:
            body[key] = value


def _encode_facts(body: dict[str, Any], request: Request, changes: list[Change]) -> None:
    if request.stop is not UNSET:
        stops = [request.stop] if isinstance(request.stop, str) else list(request.stop)
        kept = [text for text in stops if text.strip()]
        if kept or not stops:
            body["stop_sequences"] = kept
        if len(kept) < len(stops):
            reason = "Anthropic takes no stop sequence of white space alone."
            changes.append(Change(field="stop", action="dropped", reason=reason))
    user = request.safety_identifier if request.user is UNSET else request.user
    if user is not UNSET:
        body["metadata"] = {"user_id": user}
    if request.service_tier is not UNSET:
        tier = _TIERS_HERE.get(request.service_tier)
        if tier is not None:
            body["service_tier"] = tier
        else:
            reason = f"Anthropic's API has no service tier {request.service_tier}."
            changes.append(Change(field="service_tier", action="dropped", reason=reason))


def _note_dropped(request: Request, foreign: list[str], changes: list[Change]) -> None:
    """List the knobs that this API has not."""
    dropped = [
        key
        for key in _LACKING
        if getattr(request, key) is not UNSET and getattr(request, key) != _SAYS_NOTHING.get(key, UNSET)
    ]
    if request.n is not UNSET and request.n > 1:
        dropped.append("n")
    if request.truncation is not UNSET and request.truncation != "disabled":
        dropped.append("truncation")
    if request.include == ("reasoning.encrypted_content",) and "include" in dropped:
        dropped.remove("include")
    if request.extra is not UNSET and request.extra.format != FORMAT:
        dropped += request.extra.fields
    if request.include_obfuscation is True:
        dropped.append("stream_options.include_obfuscation")
    names = dict.fromkeys([*dropped, *foreign])
    changes += [Change(field=name, action="dropped", reason=f"Anthropic's API has no {name}.") for name in names]
