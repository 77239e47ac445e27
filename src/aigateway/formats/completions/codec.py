"""The completions format: POST /v1/completions."""

from __future__ import annotations

from typing import Any

from aigateway import _json
from aigateway.canonical.types import Reply, Request
from aigateway.formats.completions.encoder import CompletionsStreamEncoder
from aigateway.formats.completions.reply import decode_reply, encode_reply
from aigateway.formats.completions.request import decode_request
from aigateway.formats.protocol import ReplyContext


class CompletionsCodec:
    """Completions, as the CallerCodec protocol promises: nothing is translated into this API, for it has no messages."""

    def decode_request(self, body: dict[str, Any]) -> Request:
        """A request. Raises InvalidRequestError whose `param` names the place."""
        return decode_request(body)

    def place_of(self, request: Request, content: object) -> str:
        """There is no content but the prompt."""
        return "prompt"

    def decode_reply(self, body: dict[str, Any]) -> Reply:
        """A reply. Raises UpstreamError where it tells of one, UpstreamProtocolError where it is no completion."""
        return decode_reply(body)

    def encode_reply(self, reply: Reply, context: ReplyContext) -> dict[str, Any]:
        """A completion."""
        return encode_reply(reply, context)

    def reply_document(self, reply: Reply, context: ReplyContext) -> bytes:
        """The same as text."""
        return _json.encode(encode_reply(reply, context))

    def stream_encoder(self, context: ReplyContext) -> CompletionsStreamEncoder:
        """For one caller's stream."""
        return CompletionsStreamEncoder(context)
