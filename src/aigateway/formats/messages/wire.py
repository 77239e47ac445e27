"""What requests, replies and streams of Anthropic's Messages API spell alike: https://platform.claude.com/docs/en/api/messages."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from aigateway import _json
from aigateway.canonical.seal import Sealed, seal, unseal
from aigateway.canonical.types import (
    AdditionalTools,
    Annotation,
    Audio,
    Extra,
    File,
    Image,
    Item,
    Opaque,
    Reasoning,
    ToolCall,
    ToolResult,
    UrlCitation,
    Usage,
)

FORMAT: Final = "messages"
ORIGIN: Final = "anthropic"
"""Whose signatures and sealed thoughts this API takes back."""

LACKING = (AdditionalTools, Audio, File, Image, ToolResult)
"""What a reply of this API cannot hold."""

NO_THREADS: Final = "thread_unsupported_request"
"""The `error_code` at which Anthropic's clients go on without a thread: with each turn they send all that came before."""

INVALID_JSON: Final = "INVALID_JSON"
"""The key under which Anthropic wants arguments that are no JSON object: its `input` is always one."""

_STOP_REASONS: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "compaction": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_REASONS: Mapping[str, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_SERVED: Mapping[str, str] = {"standard": "default", "priority": "priority"}
_SERVED_HERE: Mapping[str | UnsetType, str] = {ours: theirs for theirs, ours in _SERVED.items()}
_ID = re.compile(r"[A-Za-z0-9_-]+")
_UNFIT = re.compile(r"[^A-Za-z0-9_-]")


def finish_reason(raw: Any, *, has_tool_calls: bool) -> str:
    """A `stop_reason` in canonical words."""
    reason = _STOP_REASONS.get(raw, "stop") if isinstance(raw, str) else "stop"
    return "tool_calls" if reason == "stop" and has_tool_calls else reason


def stop_reason(reason: str) -> str:
    """The `stop_reason` of a finish reason."""
    return _REASONS.get(reason, "end_turn")


# usage


def messages_usage(raw: Any) -> Usage | None:
    """A usage object as `Usage`; None where it is none.

    Anthropic's `input_tokens` leave out what was read from the cache or written to it; ours are all of the prompt.
    """
    if not isinstance(raw, dict) or not ("input_tokens" in raw or "output_tokens" in raw):
        return None
    read, made = _count(raw, "cache_read_input_tokens"), _count(raw, "output_tokens")
    written = _count(raw, "cache_creation_input_tokens")
    creation = raw.get("cache_creation")
    if not written and isinstance(creation, dict):
        written = _count(creation, "ephemeral_5m_input_tokens") + _count(creation, "ephemeral_1h_input_tokens")
    spent = _count(raw, "input_tokens") + read + written
    details = raw.get("output_tokens_details")
    thought = _count(details, "thinking_tokens") if isinstance(details, dict) else 0
    return Usage(
        input_tokens=spent,
        output_tokens=made,
        total_tokens=spent + made,
        cached_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=min(thought, made),
    )


def merged_usage(known: dict[str, Any], raw: Any) -> dict[str, Any]:
    """The usage of a stream after one more event that tells some: what it does not tell stays."""
    return known | {key: value for key, value in raw.items() if value is not None} if isinstance(raw, dict) else known


def served_tier(usage: Any) -> str | UnsetType:
    """The service tier that a usage object tells, in canonical words."""
    tier = usage.get("service_tier") if isinstance(usage, dict) else None
    return _SERVED.get(tier, UNSET) if isinstance(tier, str) else UNSET


def encode_usage(usage: Usage | UnsetType, tier: str | UnsetType = UNSET) -> dict[str, Any]:
    """The usage object; zeros where nothing is known, for clients read it always. tier: who served, where it has a word."""
    told = Usage() if usage is UNSET else usage
    raw: dict[str, Any] = {
        "input_tokens": max(0, told.input_tokens - told.cached_tokens - told.cache_write_tokens),
        "cache_creation_input_tokens": told.cache_write_tokens,
        "cache_read_input_tokens": told.cached_tokens,
        "output_tokens": told.output_tokens,
    }
    if told.reasoning_tokens:
        raw["output_tokens_details"] = {"thinking_tokens": told.reasoning_tokens}
    if tier in _SERVED_HERE:
        raw["service_tier"] = _SERVED_HERE[tier]
    return raw


def _count(raw: dict[str, Any], key: str) -> int:
    value = raw.get(key)
    return max(0, int(value)) if isinstance(value, int | float) and not isinstance(value, bool) else 0


# reasoning


def decode_thinking(text: str, signature: Any) -> Reasoning:
    """A `thinking` block. A signature of ours holds what another maker gave."""
    if not isinstance(signature, str):
        return Reasoning(content=(text,) if text else ())
    sealed = unseal(signature)
    if sealed is None:
        return Reasoning(content=(text,), signature=signature, origin=ORIGIN)
    return unsealed(sealed, (text,) if text else ())


def decode_redacted(data: Any) -> Reasoning:
    """A `redacted_thinking` block."""
    sealed = unseal(data) if isinstance(data, str) else None
    if sealed is not None:
        return unsealed(sealed, ())
    return Reasoning(encrypted=data if isinstance(data, str) else "", origin=ORIGIN)


def unsealed(sealed: Sealed, told: tuple[str, ...]) -> Reasoning:
    """The reasoning that a text of ours stands for; `told` is what came beside it in the open."""
    return Reasoning(
        content=sealed.content or told,
        encrypted=UNSET if sealed.encrypted is None else sealed.encrypted,
        signature=UNSET if sealed.signature is None else sealed.signature,
        origin=sealed.origin or UNSET,
        id=sealed.id or UNSET,
    )


def thought_of(reasoning: Reasoning) -> str:
    """The thought as one text: the reasoning itself, else its summaries."""
    return "".join(reasoning.content) or "\n\n".join(text for text in reasoning.summary if text)


def is_own(reasoning: Reasoning) -> bool:
    """Whether Anthropic made it, so that it takes it back."""
    return reasoning.origin == ORIGIN and (reasoning.signature is not UNSET or reasoning.encrypted is not UNSET)


def signature_for(reasoning: Reasoning) -> str:
    """The signature of a thinking block for a caller: its maker's, else one of ours that brings back what there is."""
    if reasoning.origin == ORIGIN and reasoning.signature is not UNSET:
        return reasoning.signature
    return seal(_sealed(reasoning))


def redacted_for(reasoning: Reasoning) -> str | None:
    """The data of a redacted block for reasoning that nobody can read; None where there is nothing to bring back."""
    if reasoning.encrypted is UNSET:
        return seal(_sealed(reasoning)) if reasoning.signature is not UNSET else None
    return reasoning.encrypted if reasoning.origin == ORIGIN else seal(_sealed(reasoning))


def _sealed(reasoning: Reasoning) -> Sealed:
    return Sealed(
        origin=reasoning.origin or "",
        encrypted=reasoning.encrypted if isinstance(reasoning.encrypted, str) else None,
        signature=reasoning.signature if isinstance(reasoning.signature, str) else None,
        id=reasoning.id or None,
    )


# calls


def input_of(arguments: str) -> dict[str, Any]:
    """The `input` of a call: the object that its arguments are, or one that holds their text."""
    if not arguments.strip():
        return {}
    try:
        value = _json.decode(arguments.encode("utf-8", "replace"))
    except (_json.DecodeError, RecursionError):
        return {INVALID_JSON: arguments}
    return value if isinstance(value, dict) else {INVALID_JSON: arguments}


def decode_call(block: dict[str, Any]) -> ToolCall:
    """A `tool_use` block that a model made, read leniently."""
    given = block.get("input")
    return ToolCall(
        call_id=str(block.get("id") or ""),
        name=str(block.get("name") or ""),
        arguments=arguments_of({} if given is None else given),
    )


def arguments_of(given: Any) -> str:
    """The arguments of a call: the text of its `input`."""
    return given if isinstance(given, str) else _json.encode(given).decode()


def safe_id(call_id: str) -> str:
    """The id of a call as Anthropic takes it: letters, digits, `_` and `-`. The same for the same id."""
    if _ID.fullmatch(call_id):
        return call_id
    return f"{_UNFIT.sub('_', call_id)}_{hashlib.sha256(call_id.encode('utf-8', 'replace')).hexdigest()[:8]}"


# citations


def decode_citation(raw: Any, length: int) -> Annotation | None:
    """A citation of a text of that length."""
    if not isinstance(raw, dict):
        return None
    url, title = raw.get("url"), raw.get("title")
    if raw.get("type") != "web_search_result_location" or not isinstance(url, str):
        return Opaque(format=FORMAT, raw=raw)
    return UrlCitation(url=url, title=title if isinstance(title, str) else "", start_index=0, end_index=length)


def encode_citation(annotation: Annotation, text: str) -> dict[str, Any] | None:
    """The citation for a caller; None if it is another format's."""
    if isinstance(annotation, Opaque):
        return annotation.raw if annotation.format == FORMAT else None
    return {
        "type": "web_search_result_location",
        "cited_text": text[annotation.start_index : annotation.end_index],
        "encrypted_index": "",
        "title": annotation.title or None,
        "url": annotation.url,
    }


def extra_of(raw: Mapping[str, Any], known: frozenset[str], **odd: Any) -> Extra | UnsetType:
    """The keys that nobody here knows, and `odd` ones, to be written again where they came from."""
    fields = {key: value for key, value in raw.items() if value is not None and key not in known} | odd
    return Extra(format=FORMAT, fields=fields) if fields else UNSET


def own_fields(value: Item | msgspec.Struct) -> dict[str, Any]:
    """The keys that came with a thing from this format."""
    extra = getattr(value, "extra", UNSET)
    return extra.fields if isinstance(extra, Extra) and extra.format == FORMAT else {}
