"""The cohere_chat format: POST /v2/chat. What it is made of is imported at its first use, as most have no use for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aigateway.canonical.quirks import Quirks
from aigateway.canonical.toolbox import Toolbox
from aigateway.canonical.types import Change, Reply, Request

if TYPE_CHECKING:
    from aigateway.formats.cohere_chat.stream import CohereChatStreamDecoder


class CohereChatCodec:
    """Cohere's chat, as the UpstreamCodec protocol promises."""

    def encode_request(self, request: Request, *, model: str, quirks: Quirks, changes: list[Change]) -> dict[str, Any]:
        """A request for this model; what it cannot carry stands in `changes`."""
        from aigateway.formats.cohere_chat.request import encode_request  # noqa: PLC0415

        return encode_request(request, model=model, changes=changes)

    def toolbox(self, request: Request, quirks: Quirks) -> Toolbox:
        """The names under which the tools of a request are called: there are functions only."""
        return Toolbox(request, custom=False)

    def decode_reply(self, body: dict[str, Any]) -> Reply:
        """A reply. Raises UpstreamError where it tells of one, UpstreamProtocolError where it is no reply of Cohere's."""
        from aigateway.formats.cohere_chat.reply import decode_reply  # noqa: PLC0415

        return decode_reply(body)

    def stream_decoder(self) -> CohereChatStreamDecoder:
        """For one upstream's stream."""
        from aigateway.formats.cohere_chat.stream import CohereChatStreamDecoder  # noqa: PLC0415

        return CohereChatStreamDecoder()
