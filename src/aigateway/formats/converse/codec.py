"""The converse format: POST /model/{modelId}/converse and /converse-stream of Amazon Bedrock.

What it is made of is imported at its first use: who has nothing to do with Bedrock does not pay for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from aigateway.canonical.quirks import Quirks
from aigateway.canonical.toolbox import Toolbox
from aigateway.canonical.types import Change, Reply, Request

if TYPE_CHECKING:
    from aigateway._eventstream import EventStreamDecoder
    from aigateway.formats.converse.stream import ConverseStreamDecoder


class ConverseCodec:
    """Converse, as the UpstreamCodec protocol promises."""

    def encode_request(self, request: Request, *, model: str, quirks: Quirks, changes: list[Change]) -> dict[str, Any]:
        """A request for this model; what it cannot carry stands in `changes`."""
        from aigateway.formats.converse.request import encode_request  # noqa: PLC0415

        return encode_request(request, model=model, changes=changes)

    def toolbox(self, request: Request, quirks: Quirks) -> Toolbox:
        """The names under which the tools of a request are called: there are functions only."""
        return Toolbox(request, custom=False)

    def decode_reply(self, body: dict[str, Any]) -> Reply:
        """A reply. Raises UpstreamError where it tells of one, UpstreamProtocolError where it is no Converse reply."""
        from aigateway.formats.converse.reply import decode_reply  # noqa: PLC0415

        return decode_reply(body)

    def stream_decoder(self) -> ConverseStreamDecoder:
        """For one upstream's stream."""
        from aigateway.formats.converse.stream import ConverseStreamDecoder  # noqa: PLC0415

        return ConverseStreamDecoder()


def framing() -> EventStreamDecoder:
    """For the bytes of one upstream's stream."""
    from aigateway._eventstream import EventStreamDecoder  # noqa: PLC0415

    return EventStreamDecoder()


def path_for(model: str, stream: bool) -> str:  # noqa: FBT001 - as every format's path is asked for
    """Where a model is asked: an id, the ARN of an inference profile, ..., as one segment of the path."""
    return f"/model/{quote(model, safe='')}/{'converse-stream' if stream else 'converse'}"
