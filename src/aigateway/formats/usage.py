"""Token counts as OpenAI's APIs spell them: prompt/completion (chat, embeddings) and input/output (responses, images).

What is read adds up, whatever the upstream sent: the total is what was given and what was made, and cached, reasoning
and audio tokens are parts of these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from aigateway.canonical.types import Usage

_NOTHING: dict[str, Any] = {}
_WHOLE = {int}
_OWN_CACHE_COUNTS = frozenset({"prompt_cache_hit_tokens", "cached_tokens"})


def _count(value: Any) -> int:
    if type(value) is int:
        return max(0, value)
    return int(value) if isinstance(value, float) and value > 0 else 0


def _plain(spent: Any, made: Any, total: Any, given: Any, produced: Any) -> Usage | None:
    """What most hosts send, read quickly; None for anything odd."""
    of_input = given.get if type(given) is dict else _NOTHING.get
    of_output = produced.get if type(produced) is dict else _NOTHING.get
    cached, written, heard = of_input("cached_tokens"), of_input("cache_write_tokens"), of_input("audio_tokens")
    thought, told = of_output("reasoning_tokens"), of_output("audio_tokens")
    try:
        counts = (cached or 0, written or 0, heard or 0, thought or 0, told or 0)
        if spent + made != total or min(counts) < 0 or max(counts[:3]) > spent or max(counts[3:]) > made:
            return None
    except TypeError:
        return None
    if type(total) is not int or type(made) is not int or {*map(type, counts)} != _WHOLE:
        return None
    return Usage(
        input_tokens=spent,
        output_tokens=made,
        total_tokens=total,
        cached_tokens=counts[0],
        cache_write_tokens=counts[1],
        reasoning_tokens=counts[3],
        input_audio_tokens=counts[2],
        output_audio_tokens=counts[4],
    )


class GivenDetails(msgspec.Struct):
    """Parts of `prompt_tokens`."""

    cached_tokens: int | None = 0
    audio_tokens: int | None = 0
    cache_write_tokens: int | None = 0


class MadeDetails(msgspec.Struct):
    """Parts of `completion_tokens`."""

    reasoning_tokens: int | None = 0
    audio_tokens: int | None = 0


class ChatCounts(msgspec.Struct):
    """The usage object of chat as most hosts send it."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: GivenDetails | None = None
    completion_tokens_details: MadeDetails | None = None
    prompt_cache_hit_tokens: Any = None
    cached_tokens: Any = None


_NOTHING_GIVEN = GivenDetails()
_NOTHING_MADE = MadeDetails()


def usage_of(counts: ChatCounts) -> Usage | None:
    """What these counts say, read quickly; None where they do not add up, or say it in another way."""
    spent, made, total = counts.prompt_tokens, counts.completion_tokens, counts.total_tokens
    if spent + made != total or spent < 0 or made < 0:
        return None
    given, produced = counts.prompt_tokens_details, counts.completion_tokens_details
    said_otherwise = counts.prompt_cache_hit_tokens is not None or counts.cached_tokens is not None
    if (
        (given is None or not (given.cached_tokens or given.audio_tokens or given.cache_write_tokens))
        and (produced is None or not (produced.reasoning_tokens or produced.audio_tokens))
        and not said_otherwise
    ):
        return Usage(input_tokens=spent, output_tokens=made, total_tokens=total)
    given = given or _NOTHING_GIVEN
    produced = produced or _NOTHING_MADE
    cached, written, heard = given.cached_tokens or 0, given.cache_write_tokens or 0, given.audio_tokens or 0
    thought, told = produced.reasoning_tokens or 0, produced.audio_tokens or 0
    if (
        max(cached, written, heard) > spent
        or max(thought, told) > made
        or min(cached, written, heard, thought, told) < 0
    ):
        return None
    if said_otherwise and not cached:
        return None
    return Usage(
        input_tokens=spent,
        output_tokens=made,
        total_tokens=total,
        cached_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=thought,
        input_audio_tokens=heard,
        output_audio_tokens=told,
    )


def _reader(kind_in: str, kind_out: str, details: str = "tokens_details") -> Callable[[Any], Usage | None]:
    spent_key, made_key = f"{kind_in}_tokens", f"{kind_out}_tokens"
    spent_details, made_details = f"{kind_in}_{details}", f"{kind_out}_{details}"

    def read(raw: Any) -> Usage | None:
        if not isinstance(raw, dict) or (spent_key not in raw and "total_tokens" not in raw):
            return None
        get = raw.get
        plain = _plain(get(spent_key), get(made_key), get("total_tokens"), get(spent_details), get(made_details))
        if plain is not None and (plain.cached_tokens or _OWN_CACHE_COUNTS.isdisjoint(raw)):
            return plain
        given, produced = get(spent_details), get(made_details)
        of_input = given.get if isinstance(given, dict) else _NOTHING.get
        of_output = produced.get if isinstance(produced, dict) else _NOTHING.get
        spent, made, thought = _count(get(spent_key)), _count(get(made_key)), _count(of_output("reasoning_tokens"))
        total = _count(get("total_tokens"))
        if total > spent + made:  # Gemini and xAI count what was thought in the total, and not in what was made
            made = total - spent
        elif thought > made:
            made += thought
        cached = (
            _count(of_input("cached_tokens")) or _count(get("prompt_cache_hit_tokens")) or _count(get("cached_tokens"))
        )
        return Usage(
            input_tokens=spent,
            output_tokens=made,
            total_tokens=spent + made,
            cached_tokens=min(cached, spent),
            cache_write_tokens=min(_count(of_input("cache_write_tokens")), spent),
            reasoning_tokens=min(thought, made),
            input_audio_tokens=min(_count(of_input("audio_tokens")), spent),
            output_audio_tokens=min(_count(of_output("audio_tokens")), made),
        )

    return read


chat_usage = _reader("prompt", "completion")
"""A usage object of chat or embeddings as `Usage`; None where it is none."""

responses_usage = _reader("input", "output")
"""A usage object of responses or images as `Usage`; None where it is none."""

realtime_usage = _reader("input", "output", "token_details")
"""A usage object of a realtime event as `Usage`; None where it is none (transcriptions may be counted in seconds)."""


def encode_chat_usage(usage: Usage) -> dict[str, Any]:
    """The usage object of chat or completions with its details, as OpenAI sends it."""
    prompt = {"cached_tokens": usage.cached_tokens, "audio_tokens": usage.input_audio_tokens}
    if usage.cache_write_tokens:
        prompt["cache_write_tokens"] = usage.cache_write_tokens
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": prompt,
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.output_audio_tokens,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
