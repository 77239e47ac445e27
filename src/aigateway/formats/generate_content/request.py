"""Requests, both ways. The model and whether a stream is asked for stand in the path, not in the body."""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET

from aigateway.canonical.quirks import Quirks
from aigateway.canonical.toolbox import Toolbox
from aigateway.canonical.types import Change, Request
from aigateway.canonical.uncarried import foreign_keys
from aigateway.formats.generate_content.config import decode_config, encode_config
from aigateway.formats.generate_content.contents_in import decode_contents, decode_instructions
from aigateway.formats.generate_content.contents_out import encode_contents
from aigateway.formats.generate_content.tools import decode_tool_choice, decode_tools, encode_tools
from aigateway.formats.generate_content.wire import FORMAT, camel, kept, told_of, word

_KNOWN: Final = frozenset(
    {"model", "stream", "contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "serviceTier"}
)
_NESTED: Final = ("generationConfig", "toolConfig")
_DROPPED: Final = {
    "max_tool_calls": "max_tool_calls",
    "verbosity": "verbosity",
    "logit_bias": "logit_bias",
    "metadata": "metadata",
    "user": "user",
    "safety_identifier": "safety_identifier",
    "prompt_cache_key": "prompt_cache_key",
    "prompt_cache_retention": "prompt_cache_retention",
    "prompt_cache_options": "prompt_cache_options",
    "prediction": "prediction",
    "audio": "audio",
    "web_search": "web_search",
}
"""What this API has not, under the name it is told by."""

_TIERS: Final = {"standard": "default", "flex": "flex", "priority": "priority"}
_TIERS_HERE: Final = {ours: theirs for theirs, ours in _TIERS.items()}

_INCLUDED: Final = frozenset({"message.output_text.logprobs", "reasoning.encrypted_content"})
"""Entries of `include` that are answered all the same."""


def decode_request(body: dict[str, Any]) -> Request:
    """A request; `model` and `stream` as far as whoever read the path put them in. Raises InvalidRequestError."""
    told = camel(body)
    as_told: dict[str, Any] = {}
    fields, unknown = decode_config(told.get("generationConfig"), as_told)
    _decode_tier(told.get("serviceTier"), fields, unknown)
    choice, rest = decode_tool_choice(told.get("toolConfig"))
    unknown |= {f"toolConfig.{key}": value for key, value in rest.items()}
    unknown |= {key: value for key, value in told.items() if key not in _KNOWN and value is not None}
    instructions, beside = decode_instructions(told.get("systemInstruction"))
    unknown |= {f"systemInstruction.{key}": value for key, value in beside.items()}
    return Request(
        model=word(told.get("model")),
        items=decode_contents(told.get("contents")),
        stream=told.get("stream") is True,
        instructions=instructions,
        tools=decode_tools(told.get("tools")),
        tool_choice=choice,
        extra=kept(unknown, as_told),
        **fields,
    )


def _decode_tier(raw: Any, fields: dict[str, Any], unknown: dict[str, Any]) -> None:
    tier = _TIERS.get(raw.lower()) if isinstance(raw, str) else None
    if tier is not None:
        fields["service_tier"] = tier
    elif raw is not None:
        unknown["serviceTier"] = raw


def encode_request(request: Request, *, model: str, quirks: Quirks, changes: list[Change]) -> dict[str, Any]:
    """The body for an upstream's model. Raises UnsupportedError for what cannot be left out."""
    foreign = foreign_keys(request, FORMAT)
    request = Toolbox(request, custom=False).flattened(changes)
    extra = {} if request.extra is UNSET or request.extra.format != FORMAT else request.extra.fields
    nested = {owner: _within(extra, owner) for owner in _NESTED}
    body = encode_contents(request, model, changes)
    body |= encode_tools(request, quirks, changes)
    if nested["toolConfig"]:
        _put(body.setdefault("toolConfig", {}), nested["toolConfig"])
    config = encode_config(
        request, nested["generationConfig"], told_of(request.extra), model=model, quirks=quirks, changes=changes
    )
    if config:
        body["generationConfig"] = config
    if request.service_tier in _TIERS_HERE:
        body["serviceTier"] = _TIERS_HERE[request.service_tier]
    _note_dropped(request, foreign, changes)
    return body | {key: value for key, value in extra.items() if "." not in key}


def _within(extra: dict[str, Any], owner: str) -> dict[str, Any]:
    return {key[len(owner) + 1 :]: value for key, value in extra.items() if key.startswith(f"{owner}.")}


def _put(config: dict[str, Any], extra: dict[str, Any]) -> None:
    """Put keys back where they stood: with a dot they stood in an object below."""
    for key, value in extra.items():
        holder, _, name = key.rpartition(".")
        (config.setdefault(holder, {}) if holder else config)[name] = value


def _note_dropped(request: Request, foreign: list[str], changes: list[Change]) -> None:
    """List the knobs that this API has not, and what only another format knows of items, parts and tools."""
    dropped = [told for name, told in _DROPPED.items() if getattr(request, name) is not UNSET]
    if request.store is True:
        dropped.append("store")
    if request.service_tier not in (UNSET, "auto", *_TIERS_HERE):
        dropped.append("service_tier")
    if request.truncation not in (UNSET, "disabled"):
        dropped.append("truncation")
    if request.include is not UNSET and not _INCLUDED.issuperset(request.include):
        dropped.append("include")
    if request.extra is not UNSET and request.extra.format != FORMAT:
        dropped += request.extra.fields
    if request.include_obfuscation is True:
        dropped.append("stream_options.include_obfuscation")
    names = dict.fromkeys([*dropped, *foreign])
    changes += [Change(field=name, action="dropped", reason=f"Gemini has no {name}.") for name in names]
