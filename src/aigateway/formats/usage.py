"""Token counts as OpenAI's APIs spell them: prompt/completion (chat, embeddings) and input/output (responses, images)."""

from __future__ import annotations

from typing import Any

from aigateway.canonical.types import Usage


def _count(source: Any, *keys: str) -> int:
    if not isinstance(source, dict):
        return 0
    for key in keys:
        value = source.get(key)
        if isinstance(value, int | float) and value > 0:
            return int(value)
    return 0


def _usage(raw: Any, kind_in: str, kind_out: str) -> Usage | None:
    if not isinstance(raw, dict) or not any(key in raw for key in (f"{kind_in}_tokens", "total_tokens")):
        return None
    details_in, details_out = raw.get(f"{kind_in}_tokens_details"), raw.get(f"{kind_out}_tokens_details")
    spent, made = _count(raw, f"{kind_in}_tokens"), _count(raw, f"{kind_out}_tokens")
    cached = _count(details_in, "cached_tokens") or _count(raw, "prompt_cache_hit_tokens", "cached_tokens")
    return Usage(
        input_tokens=spent,
        output_tokens=made,
        total_tokens=_count(raw, "total_tokens") or spent + made,
        cached_tokens=min(cached, spent),
        cache_write_tokens=min(_count(details_in, "cache_write_tokens"), spent),
        reasoning_tokens=min(_count(details_out, "reasoning_tokens"), made) if made else 0,
        input_audio_tokens=_count(details_in, "audio_tokens"),
        output_audio_tokens=_count(details_out, "audio_tokens"),
    )


def chat_usage(raw: Any) -> Usage | None:
    """A usage object of chat or embeddings; None where it is none."""
    return _usage(raw, "prompt", "completion")


def responses_usage(raw: Any) -> Usage | None:
    """A usage object of responses or images; None where it is none."""
    return _usage(raw, "input", "output")
