"""`logprobsResult` and the token objects of the canonical form, both ways."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aigateway.formats.generate_content.wire import camel, objects, word

_Token = dict[str, Any]


def decode_logprobs(candidate: dict[str, Any]) -> tuple[_Token, ...]:
    """The tokens of a candidate (or of the piece of it that one event brings)."""
    raw = candidate.get("logprobsResult")
    if not isinstance(raw, dict):
        return ()
    told = camel(raw)
    others = [objects(entry.get("candidates")) for entry in objects(told.get("topCandidates"))]
    chosen = objects(told.get("chosenCandidates"))
    return tuple(
        {**_token(entry), "top_logprobs": [_token(other) for other in others[number]] if number < len(others) else []}
        for number, entry in enumerate(chosen)
    )


def _token(raw: dict[str, Any]) -> _Token:
    text, score = word(raw.get("token")), raw.get("logProbability")
    number = float(score) if isinstance(score, int | float) and not isinstance(score, bool) else 0.0
    return {"token": text, "logprob": number, "bytes": list(text.encode("utf-8", "replace"))}


def encode_logprobs(tokens: Iterable[_Token]) -> dict[str, Any]:
    """`logprobsResult` and `avgLogprobs` of a candidate; nothing where there are no tokens."""
    told = list(tokens)
    if not told:
        return {}
    chosen = [_candidate(token) for token in told]
    tops = [
        {"candidates": [_candidate(other) for other in token.get("top_logprobs") or () if isinstance(other, dict)]}
        for token in told
    ]
    result: dict[str, Any] = {"chosenCandidates": chosen}
    if any(entry["candidates"] for entry in tops):
        result["topCandidates"] = tops
    return {
        "avgLogprobs": sum(entry["logProbability"] for entry in chosen) / len(chosen),
        "logprobsResult": result,
    }


def _candidate(token: _Token) -> _Token:
    score = token.get("logprob")
    known = isinstance(score, int | float) and not isinstance(score, bool)
    return {"token": word(token.get("token")), "logProbability": score if known else 0.0}
