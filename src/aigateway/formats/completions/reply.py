"""Whole replies, both ways."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from aigateway.canonical.types import Message, Reply, Text
from aigateway.errors import UpstreamProtocolError
from aigateway.formats.completions.wire import (
    OBJECT,
    decode_logprobs,
    echoed,
    encode_finish_reason,
    encode_id,
    encode_logprobs,
    text_parts,
)
from aigateway.formats.finish import broken_finish, decode_finish_reason
from aigateway.formats.protocol import ReplyContext
from aigateway.formats.relay import stream_error
from aigateway.formats.usage import chat_usage, encode_chat_usage


def decode_reply(body: dict[str, Any]) -> Reply:
    """The one choice of a completion. Raises UpstreamError or UpstreamProtocolError as the contract says."""
    if body.get("error"):
        raise stream_error(body["error"])
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict) or not isinstance(choice.get("text"), str):
        raise UpstreamProtocolError("The upstream sent no completion: it has no choices[0].text.")
    if len(choices or ()) > 1:
        raise UpstreamProtocolError("The upstream sent several whole completions where a stream was asked for.")
    broken = broken_finish(choice.get("finish_reason"))
    if broken is not None:
        raise broken
    created, fingerprint = body.get("created"), body.get("system_fingerprint")
    text = Text(text=choice["text"], logprobs=decode_logprobs(choice.get("logprobs")))
    return Reply(
        id=str(body.get("id") or ""),
        model=str(body.get("model") or ""),
        created_at=int(created) if isinstance(created, int | float) else 0,
        items=(Message(role="assistant", content=(text,)),),
        finish_reason=decode_finish_reason(choice.get("finish_reason"), has_tool_calls=False),
        usage=chat_usage(body.get("usage")) or UNSET,
        system_fingerprint=fingerprint if isinstance(fingerprint, str) else UNSET,
    )


def encode_reply(reply: Reply, context: ReplyContext) -> dict[str, Any]:
    """A completion. What is no text (reasoning, calls of tools, citations) has no place in it and is passed over."""
    text, runs = echoed(context), []
    for part in text_parts(reply):
        if isinstance(part, Text):
            runs.append((len(text), part.logprobs))
        text += part.text
    choice = {
        "text": text,
        "index": 0,
        "logprobs": encode_logprobs(runs),
        "finish_reason": encode_finish_reason(reply.finish_reason),
    }
    body: dict[str, Any] = {
        "id": encode_id(reply.id, context),
        "object": OBJECT,
        "created": reply.created_at or context.now(),
        "model": context.model,
        "choices": [choice],
    }
    if reply.usage is not UNSET:
        body["usage"] = encode_chat_usage(reply.usage)
    if reply.system_fingerprint is not UNSET:
        body["system_fingerprint"] = reply.system_fingerprint
    return body
