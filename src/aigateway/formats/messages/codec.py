"""The codec of Anthropic's Messages API: POST /v1/messages."""

from __future__ import annotations

from typing import Any

from aigateway import _json
from aigateway.canonical.quirks import Quirks
from aigateway.canonical.toolbox import Toolbox
from aigateway.canonical.types import Change, Reply, Request
from aigateway.formats.messages.encoder import MessagesStreamEncoder
from aigateway.formats.messages.reply import decode_reply, encode_reply
from aigateway.formats.messages.request import decode_request, encode_request
from aigateway.formats.messages.stream import MessagesStreamDecoder
from aigateway.formats.messages.wire import FORMAT
from aigateway.formats.protocol import ReplyContext


class MessagesCodec:
    """Stateless. See `TextCodec` for what each method promises."""

    name = FORMAT

    def decode_request(self, body: dict[str, Any]) -> Request:
        """A caller's body."""
        return decode_request(body)

    def place_of(self, request: Request, content: object) -> str:
        """Among the messages, for one message may have become several items."""
        return "messages"

    def encode_request(self, request: Request, *, model: str, quirks: Quirks, changes: list[Change]) -> dict[str, Any]:
        """A body for an upstream. What it takes is told from the model's name, not from the host."""
        return encode_request(request, model=model, changes=changes)

    def toolbox(self, request: Request, quirks: Quirks) -> Toolbox:
        """All tools of a caller are functions here, none of them in groups."""
        return Toolbox(request, custom=False)

    def decode_reply(self, body: dict[str, Any]) -> Reply:
        """An upstream's message."""
        return decode_reply(body)

    def encode_reply(self, reply: Reply, context: ReplyContext) -> dict[str, Any]:
        """The message for a caller."""
        return encode_reply(reply, context)

    def reply_document(self, reply: Reply, context: ReplyContext) -> bytes:
        """The same as text."""
        return _json.encode(encode_reply(reply, context))

    def stream_decoder(self) -> MessagesStreamDecoder:
        """For one stream of an upstream."""
        return MessagesStreamDecoder()

    def stream_encoder(self, context: ReplyContext) -> MessagesStreamEncoder:
        """For one stream to a caller."""
        return MessagesStreamEncoder(context)
