"""What requests, replies and streams of completions spell alike.

https://platform.openai.com/docs/api-reference/completions
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from typing import Any

from aigateway.canonical.types import Message, Refusal, Reply, Text
from aigateway.formats.protocol import ReplyContext

FORMAT = "completions"
OBJECT = "text_completion"

Part = Text | Refusal


def sole_text(prompt: Any) -> str | None:
    """The text of a prompt that is one text, alone or in an array; None for tokens and for several."""
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    return prompt if isinstance(prompt, str) else None


def echoed(context: ReplyContext) -> str:
    """What the caller wants to have before the completion: its own prompt, or nothing.

    A reply that is of this API already has it in it.
    """
    body = context.body
    return sole_text(body.get("prompt")) or "" if context.translated and body.get("echo") is True else ""


def text_parts(reply: Reply) -> list[Part]:
    """All that a completion can tell of a reply: what the model wrote for the user, refusals too."""
    messages = [item for item in reply.items if isinstance(item, Message)]
    return [part for message in messages for part in message.content if isinstance(part, Text | Refusal)]


def encode_id(id: str, context: ReplyContext) -> str:
    """The upstream's id where it is one of completions, else a fresh one."""
    return id if id.startswith("cmpl") else context.new_id("cmpl")


def encode_finish_reason(reason: str) -> str:
    """stop, length or content_filter."""
    return "stop" if reason == "tool_calls" else reason


def decode_logprobs(raw: Any) -> tuple[dict[str, Any], ...]:
    """The token objects of OpenAI's four parallel arrays, or of the list that chat has: llama.cpp sends that here too."""
    if not isinstance(raw, dict):
        return ()
    if isinstance(raw.get("content"), list):
        return tuple(token for token in raw["content"] if isinstance(token, dict))
    tokens, scores, others = (_array(raw, key) for key in ("tokens", "token_logprobs", "top_logprobs"))
    return tuple(
        _token(token, scores[at] if at < len(scores) else None)
        | {"top_logprobs": _alternatives(others[at] if at < len(others) else None)}
        for at, token in enumerate(tokens)
        if isinstance(token, str)
    )


def _array(raw: dict[str, Any], key: str) -> list[Any]:
    value = raw.get(key)
    return value if isinstance(value, list) else []


def _alternatives(raw: Any) -> list[dict[str, Any]]:
    return [_token(token, score) for token, score in raw.items()] if isinstance(raw, dict) else []


def _token(token: str, score: Any) -> dict[str, Any]:
    return {"token": token, "logprob": score, "bytes": list(token.encode("utf-8", "replace"))}


def encode_logprobs(runs: Iterable[tuple[int, tuple[dict[str, Any], ...]]]) -> dict[str, Any] | None:
    """Runs of token objects as parallel arrays, None for no token; each run begins so many characters into the text.

    The token that was chosen is among its alternatives, as in OpenAI's own replies; one without a probability (the first
    of an echoed prompt) has none.
    """
    names: list[str] = []
    scores: list[Any] = []
    others: list[dict[str, Any] | None] = []
    offsets: list[int] = []
    for start, tokens in runs:
        at, characters = start, codecs.getincrementaldecoder("utf-8")("ignore")
        for entry in tokens:
            name, score = str(entry.get("token", "")), entry.get("logprob")
            names.append(name)
            scores.append(score)
            others.append(_scores_of(entry) | ({} if score is None else {name: score}) or None)
            offsets.append(at)
            at += _width(name, entry.get("bytes"), characters)
    if not names:
        return None
    return {"tokens": names, "token_logprobs": scores, "top_logprobs": others, "text_offset": offsets}


def _scores_of(entry: dict[str, Any]) -> dict[str, Any]:
    told = entry.get("top_logprobs")
    return {
        str(other.get("token", "")): other.get("logprob")
        for other in (told if isinstance(told, list) else ())
        if isinstance(other, dict)
    }


def _width(name: str, raw: Any, characters: codecs.IncrementalDecoder) -> int:
    """How many characters a token completes: one of several bytes may be spread over tokens."""
    try:
        return len(characters.decode(bytes(raw))) if isinstance(raw, list) else len(name)
    except (TypeError, ValueError):
        return len(name)
