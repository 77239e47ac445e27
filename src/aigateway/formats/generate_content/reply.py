"""Whole replies, both ways."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from aigateway.canonical.accumulator import fold
from aigateway.canonical.types import Reply
from aigateway.canonical.uncarried import note_lost
from aigateway.errors import UpstreamProtocolError
from aigateway.formats.generate_content.finish import encode_finish_reason
from aigateway.formats.generate_content.grounding import cited
from aigateway.formats.generate_content.logprobs import encode_logprobs
from aigateway.formats.generate_content.parts_out import LACKING, WholeParts, without_signatures
from aigateway.formats.generate_content.stream import GenerateContentStreamDecoder
from aigateway.formats.generate_content.usage import encode_usage
from aigateway.formats.generate_content.wire import FORMAT, camel
from aigateway.formats.protocol import ReplyContext


def decode_reply(body: dict[str, Any]) -> Reply:
    """The first candidate of a reply: a stream of one. Raises UpstreamError or UpstreamProtocolError."""
    told = {key for key, value in camel(body).items() if value is not None}
    if told.isdisjoint(("candidates", "promptFeedback", "error")):
        raise UpstreamProtocolError("The upstream sent no reply of generateContent: it has no candidates.")
    decoder = GenerateContentStreamDecoder(whole=True)
    return fold(decoder.piece(body) + decoder.flush())


def encode_reply(reply: Reply, context: ReplyContext) -> dict[str, Any]:
    """A reply. Items that this API has no place for (hosted tool calls of others) are passed over."""
    whole = WholeParts(reply.items)
    for item in reply.items:
        note_lost(without_signatures(item), FORMAT, LACKING, context.changes)
    reason = encode_finish_reason(reply.finish_reason)
    if whole.malformed and reason == "STOP":
        reason = "MALFORMED_FUNCTION_CALL"
    candidate: dict[str, Any] = {
        "content": {"parts": whole.parts or [{"text": ""}], "role": "model"},
        "finishReason": reason,
        "index": 0,
        **cited(whole.texts),
        **encode_logprobs(token for _, text in whole.texts for token in text.logprobs),
    }
    body: dict[str, Any] = {"candidates": [candidate]}
    if reply.usage is not UNSET:
        body["usageMetadata"] = encode_usage(reply.usage)
    return body | {"modelVersion": context.model, "responseId": reply.id or context.new_id("resp")}
