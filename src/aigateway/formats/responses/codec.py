"""The codec of the Responses API: OpenAI's, and Open Responses (https://www.openresponses.org, 2026-04-24)."""

from __future__ import annotations

from typing import Any

from aigateway.canonical.quirks import Quirks
from aigateway.canonical.types import Change, Reply, Request
from aigateway.formats.protocol import ReplyContext
from aigateway.formats.responses.encoder import ResponsesStreamEncoder
from aigateway.formats.responses.reply import decode_reply
from aigateway.formats.responses.request import decode_request, encode_request, place_of
from aigateway.formats.responses.resource import encode_reply, reply_document
from aigateway.formats.responses.stream import ResponsesStreamDecoder


class ResponsesCodec:
    """Stateless. See `TextCodec` for what each method promises."""

    name = "responses"

    def decode_request(self, body: dict[str, Any]) -> Request:
        """A caller's body. UnsupportedError for what needs state at the upstream."""
        return decode_request(body)

    def place_of(self, request: Request, content: object) -> str:
        """`input[1].content[0]`."""
        return place_of(request, content)

    def encode_request(
        self,
        request: Request,
        *,
        model: str,
        quirks: Quirks,
        changes: list[Change],
    ) -> dict[str, Any]:
        """A body for an upstream. No host is known whose dialect of this API asks for a quirk."""
        return encode_request(request, model=model, changes=changes)

    def toolbox(self, request: Request, quirks: Quirks) -> None:
        """The Responses API has groups, custom tools and tools among the items itself."""

    def decode_reply(self, body: dict[str, Any]) -> Reply:
        """An upstream's response resource."""
        return decode_reply(body)

    def encode_reply(self, reply: Reply, context: ReplyContext) -> dict[str, Any]:
        """The response resource for a caller."""
        return encode_reply(reply, context)

    def reply_document(self, reply: Reply, context: ReplyContext) -> bytes:
        """The same as text."""
        return reply_document(reply, context)

    def stream_decoder(self) -> ResponsesStreamDecoder:
        """For one stream of an upstream."""
        return ResponsesStreamDecoder()

    def stream_encoder(self, context: ReplyContext) -> ResponsesStreamEncoder:
        """For one stream to a caller."""
        return ResponsesStreamEncoder(context)
