"""The chat format: POST /v1/chat/completions."""

from __future__ import annotations

from typing import Any

from aigateway import _json
from aigateway.canonical.quirks import Quirks
from aigateway.canonical.toolbox import Toolbox
from aigateway.canonical.types import Change, Reply, Request
from aigateway.formats.chat.reply import decode_reply, encode_reply
from aigateway.formats.chat.request import decode_request, encode_request
from aigateway.formats.chat.stream import ChatStreamDecoder, ChatStreamEncoder
from aigateway.formats.chat.wire import FORMAT
from aigateway.formats.protocol import ReplyContext


class ChatCodec:
    """Chat Completions, as the TextCodec protocol promises."""

    name = FORMAT

    def decode_request(self, body: dict[str, Any]) -> Request:
        """A request. Raises InvalidRequestError whose `param` names the place."""
        return decode_request(body)

    def place_of(self, request: Request, content: object) -> str:
        """Among the messages, for one message may have become several items."""
        return "messages"

    def encode_request(self, request: Request, *, model: str, quirks: Quirks, changes: list[Change]) -> dict[str, Any]:
        """A request to a host with these quirks; what it cannot carry stands in `changes`."""
        return encode_request(request, model=model, quirks=quirks, changes=changes)

    def toolbox(self, request: Request, quirks: Quirks) -> Toolbox:
        """The names under which a host with these quirks calls the tools of a request."""
        return Toolbox(request, custom=quirks.custom_tools)

    def decode_reply(self, body: dict[str, Any]) -> Reply:
        """A reply. Raises UpstreamError where it tells of one, UpstreamProtocolError where it is no chat completion."""
        return decode_reply(body)

    def encode_reply(self, reply: Reply, context: ReplyContext) -> dict[str, Any]:
        """A chat completion."""
        return encode_reply(reply, context)

    def reply_document(self, reply: Reply, context: ReplyContext) -> bytes:
        """The same as text."""
        return _json.encode(encode_reply(reply, context))

    def stream_decoder(self) -> ChatStreamDecoder:
        """For one upstream's stream."""
        return ChatStreamDecoder()

    def stream_encoder(self, context: ReplyContext) -> ChatStreamEncoder:
        """For one caller's stream."""
        return ChatStreamEncoder(context)
