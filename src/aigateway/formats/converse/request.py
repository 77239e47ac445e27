"""Requests -> Converse: the knobs that it has, those of the models' makers, and a list of what neither has."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec import UNSET

from aigateway import _json
from aigateway.canonical.claude import sampled
from aigateway.canonical.toolbox import Toolbox
from aigateway.canonical.types import Change, JSONSchemaFormat, Request
from aigateway.canonical.uncarried import foreign_keys
from aigateway.errors import UnsupportedError
from aigateway.formats.converse.caching import MARK, CachePoints
from aigateway.formats.converse.messages import encode_messages, goes_on_without_thoughts, has_tool_blocks
from aigateway.formats.converse.thinking import encode_thinking, thinks
from aigateway.formats.converse.tools import encode_tools, forces_a_tool
from aigateway.formats.converse.wire import ANTHROPIC, FORMAT, maker_of

OWN_FIELDS: Final = frozenset(
    {
        "additionalModelRequestFields",
        "additionalModelResponseFieldPaths",
        "guardrailConfig",
        "performanceConfig",
        "promptVariables",
        "requestMetadata",
    }
)
"""Fields of Converse that a caller of any API may send: they are passed on as they are."""

_LACKING: Final = (
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "logit_bias",
    "top_logprobs",
    "verbosity",
    "max_tool_calls",
    "prediction",
    "audio",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "web_search",
)
_SAMPLING: Final = ("temperature", "top_p", "top_k")
_TIERS: Final = frozenset({"default", "flex", "priority", "reserved"})
_METADATA: Final = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,\-.]{0,256}")
_METADATA_MAX: Final = 16
_TEMPERATURE_MAX: Final = 1.0
_ENCRYPTED: Final = "reasoning.encrypted_content"


def encode_request(request: Request, *, model: str, changes: list[Change]) -> dict[str, Any]:
    """A request. Raises UnsupportedError for several choices, and for content that Converse cannot hold.

    The model and whether it streams stand in the path.
    """
    _refuse(request)
    foreign = foreign_keys(request, FORMAT)
    request = Toolbox(request, custom=False).flattened(changes)
    maker = maker_of(model)
    points = CachePoints(model, changes)
    if points.takes_marks and MARK in foreign:
        foreign.remove(MARK)
    body = encode_messages(request, maker=maker, points=points, changes=changes)
    tools = encode_tools(request, model, points, changes, bound=has_tool_blocks(body["messages"]))
    thinking = encode_thinking(
        request,
        model,
        changes,
        forced=forces_a_tool(tools),
        thoughtless=goes_on_without_thoughts(body["messages"]),
    )
    request = _without_sampling(request, changes) if thinks(thinking) else sampled(request, model, changes)
    body |= tools
    body |= _inference(request, changes)
    _merge(body, thinking)
    _merge(body, _top_k(request, maker, changes))
    _merge(body, _output_format(request, changes))
    _merge(body, _tier(request, changes))
    _merge(body, _metadata(request, changes))
    _merge(body, _own(request))
    _note_dropped(request, foreign, changes)
    return body


def _refuse(request: Request) -> None:
    if request.n is not UNSET and request.n > 1:
        raise UnsupportedError(
            "This model is served by Bedrock's Converse, which gives one choice. Send `n` requests, or leave `n` out.",
            param="n",
        )
    if request.modalities is not UNSET and set(request.modalities) - {"text"}:
        raise UnsupportedError(
            "This model is served by Bedrock's Converse, which answers in text only. Leave `modalities` out.",
            param="modalities",
        )


def _merge(body: dict[str, Any], fields: dict[str, Any]) -> None:
    """Objects of both are put together; what comes later counts."""
    for key, value in fields.items():
        known = body.get(key)
        body[key] = {**known, **value} if isinstance(known, dict) and isinstance(value, dict) else value


def _without_sampling(request: Request, changes: list[Change]) -> Request:
    given = [name for name in _SAMPLING if getattr(request, name) is not UNSET]
    if not given:
        return request
    reason = "Claude takes no sampling settings where it thinks."
    changes += [Change(field=name, action="dropped", reason=reason) for name in given]
    return msgspec.structs.replace(request, **dict.fromkeys(given, UNSET))


def _inference(request: Request, changes: list[Change]) -> dict[str, Any]:
    temperature = request.temperature
    if temperature is not UNSET and temperature > _TEMPERATURE_MAX:
        temperature = _TEMPERATURE_MAX
        reason = "Converse takes a temperature up to 1."
        changes.append(Change(field="temperature", action="changed", reason=reason))
    stop = (request.stop,) if isinstance(request.stop, str) else request.stop
    config = {
        "maxTokens": request.max_output_tokens,
        "temperature": temperature,
        "topP": request.top_p,
        "stopSequences": UNSET if stop is UNSET else [text for text in stop if text],
    }
    given = {name: value for name, value in config.items() if value is not UNSET and value != []}
    return {"inferenceConfig": given} if given else {}


def _top_k(request: Request, maker: str, changes: list[Change]) -> dict[str, Any]:
    if request.top_k is UNSET:
        return {}
    if maker == ANTHROPIC:
        return {"additionalModelRequestFields": {"top_k": request.top_k}}
    if maker == "amazon":
        return {"additionalModelRequestFields": {"inferenceConfig": {"topK": request.top_k}}}
    changes.append(Change(field="top_k", action="dropped", reason="The target has no top_k."))
    return {}


def _output_format(request: Request, changes: list[Change]) -> dict[str, Any]:
    wanted = request.output_format
    if wanted is UNSET or wanted == "text":
        return {}
    if not isinstance(wanted, JSONSchemaFormat):
        kind = wanted if isinstance(wanted, str) else wanted.raw.get("type")
        reason = f"Converse has no output format {kind}: ask for it in the prompt, or give a JSON schema."
        changes.append(Change(field="response_format", action="dropped", reason=reason))
        return {}
    schema = {} if wanted.schema is UNSET else wanted.schema
    given: dict[str, Any] = {"name": wanted.name, "schema": _json.encode(schema).decode()}
    if wanted.description:
        given["description"] = wanted.description
    return {"outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": given}}}}


def _tier(request: Request, changes: list[Change]) -> dict[str, Any]:
    tier = request.service_tier
    if tier is UNSET or tier == "auto":
        return {}
    if tier in _TIERS:
        return {"serviceTier": {"type": tier}}
    changes.append(Change(field="service_tier", action="dropped", reason="Bedrock has no such tier."))
    return {}


def _metadata(request: Request, changes: list[Change]) -> dict[str, Any]:
    given = {} if request.metadata is UNSET else request.metadata
    fit = {key: value for key, value in given.items() if key and all(map(_METADATA.fullmatch, (key, value)))}
    kept = dict(list(fit.items())[:_METADATA_MAX])
    if len(kept) < len(given):
        reason = "Bedrock takes 16 entries of up to 256 letters, digits and few other signs: the rest was left out."
        changes.append(Change(field="metadata", action="dropped", reason=reason))
    return {"requestMetadata": kept} if kept else {}


def _own(request: Request) -> dict[str, Any]:
    fields = {} if request.extra is UNSET else request.extra.fields
    return {key: value for key, value in fields.items() if key in OWN_FIELDS}


def _note_dropped(request: Request, foreign: list[str], changes: list[Change]) -> None:
    """List the knobs that Converse has not, and what only another format knows of items, parts and tools."""
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
    if request.include_obfuscation is True:
        dropped.append("stream_options.include_obfuscation")
    dropped += foreign
    changes += [Change(field=name, action="dropped", reason=f"Converse has no {name}.") for name in dropped]
