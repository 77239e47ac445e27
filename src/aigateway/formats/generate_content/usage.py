"""`usageMetadata`, both ways. What was thought stands outside `candidatesTokenCount`, what was cached inside the prompt.

https://ai.google.dev/api/generate-content#UsageMetadata
"""

from __future__ import annotations

from typing import Any

from aigateway.canonical.types import Usage
from aigateway.formats.generate_content.wire import camel, objects


def decode_usage(raw: Any) -> Usage | None:
    """The tokens; None where it is no usage object."""
    if not isinstance(raw, dict):
        return None
    told = camel(raw)
    if "promptTokenCount" not in told and "totalTokenCount" not in told:
        return None
    spent = _count(told.get("promptTokenCount")) + _count(told.get("toolUsePromptTokenCount"))
    thought = _count(told.get("thoughtsTokenCount"))
    made = _count(told.get("candidatesTokenCount")) + thought
    return Usage(
        input_tokens=spent,
        output_tokens=made,
        total_tokens=spent + made,
        cached_tokens=min(_count(told.get("cachedContentTokenCount")), spent),
        reasoning_tokens=thought,
        input_audio_tokens=min(_spoken(told.get("promptTokensDetails")), spent),
        output_audio_tokens=min(_spoken(told.get("candidatesTokensDetails")), made),
    )


def _count(value: Any) -> int:
    return max(0, value) if type(value) is int else 0


def _spoken(details: Any) -> int:
    return sum(_count(entry.get("tokenCount")) for entry in objects(details) if entry.get("modality") == "AUDIO")


def encode_usage(usage: Usage) -> dict[str, Any]:
    """The usage object; counts that are nothing are left out, as the host does."""
    told: dict[str, Any] = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": usage.output_tokens - usage.reasoning_tokens,
        "totalTokenCount": usage.total_tokens,
    }
    if usage.cached_tokens:
        told["cachedContentTokenCount"] = usage.cached_tokens
    if usage.reasoning_tokens:
        told["thoughtsTokenCount"] = usage.reasoning_tokens
    if usage.input_audio_tokens:
        told["promptTokensDetails"] = _details(usage.input_tokens, usage.input_audio_tokens)
    if usage.output_audio_tokens:
        told["candidatesTokensDetails"] = _details(told["candidatesTokenCount"], usage.output_audio_tokens)
    return told


def _details(whole: int, spoken: int) -> list[dict[str, Any]]:
    details = [{"modality": "TEXT", "tokenCount": max(0, whole - spoken)}, {"modality": "AUDIO", "tokenCount": spoken}]
    return [entry for entry in details if entry["tokenCount"]]
