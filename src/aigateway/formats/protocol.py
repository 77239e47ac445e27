"""What every format gives: one Codec a format, listed in `formats.CODECS` and `formats.CALLER_CODECS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, Protocol, get_args

import msgspec

from aigateway._sse import SSEEvent
from aigateway.canonical.events import StreamEvent
from aigateway.canonical.lens import Document
from aigateway.canonical.quirks import Quirks
from aigateway.canonical.toolbox import Toolbox
from aigateway.canonical.types import Change, Reply, Request
from aigateway.errors import GatewayError

Profile = Literal["openai", "open_responses"]
"""Which of two dialects of the Responses API a translated answer has, where they truly conflict."""

PROFILES: Final[tuple[Profile, ...]] = get_args(Profile)


class WireEvent(msgspec.Struct):
    """One event in a format's own wire form. `name` is the SSE event name, "" where the format uses none."""

    name: str
    data: dict[str, Any]


class ReplyContext(msgspec.Struct, kw_only=True):
    """What an encoder needs to know beside the reply: time and ids come from here, never from the codec itself.

    model    the name that the caller asked for, which the reply names.
    document  the caller's own request, for what is echoed.
    request  the same, decoded.
    new_id   makes a fresh id with a prefix: new_id("msg") -> "msg_...".
    now      Unix seconds.
    profile  whose dialect is written, where a format has several.
    translated  whether the reply comes from another API; else it is in the caller's own form already.
    changes  where an encoder lists what it could not show of a reply.
    """

    model: str
    document: Document
    request: Request
    new_id: Callable[[str], str]
    now: Callable[[], int]
    profile: Profile = "openai"
    translated: bool = True
    changes: list[Change] = msgspec.field(default_factory=list)

    @property
    def body(self) -> dict[str, Any]:
        """The request's body, for who only reads."""
        return self.document.snapshot()


class FrameDecoder(Protocol):
    """The bytes of a stream -> its events. State of one stream; both methods raise UpstreamProtocolError."""

    def feed(self, chunk: bytes) -> list[SSEEvent]:
        """The events that these bytes complete, wherever they are split."""
        ...

    def flush(self) -> list[SSEEvent]:
        """The end of the bytes."""
        ...


class StreamDecoder(Protocol):
    """Wire events of an upstream -> canonical events. State of one stream."""

    def feed(self, event: SSEEvent) -> list[StreamEvent]:
        """What follows from one event. A broken or error event gives `Failed` as the last one; later ones nothing."""
        ...

    def flush(self) -> list[StreamEvent]:
        """The end of the bytes. Gives `Failed` where the stream stopped before it was finished."""
        ...


class StreamEncoder(Protocol):
    """Canonical events -> wire events of the caller's format. State of one stream.

    One may have a short way for deltas too: `delta_frame(event)` gives the frame of what `feed` would give (empty where
    that is nothing), or None where only `feed` can make it; then it has done nothing.
    """

    def feed(self, event: StreamEvent) -> list[WireEvent]:
        """What the caller gets for one canonical event."""
        ...

    def fail(self, error: GatewayError) -> list[WireEvent]:
        """The lawful end of a stream that broke: whatever must be told, nothing after it."""
        ...


class CallerCodec(Protocol):
    """A format for generating text whose callers other APIs can serve, through the canonical form.

    `place_of` says where an item or part of a decoded request stands in its body, as near as it is known.
    `decode_reply` raises UpstreamProtocolError for a reply that is not of its format, and UpstreamError for one that
    says it failed.
    """

    def decode_request(self, body: dict[str, Any]) -> Request: ...

    def place_of(self, request: Request, content: object) -> str: ...

    def decode_reply(self, body: dict[str, Any]) -> Reply: ...

    def encode_reply(self, reply: Reply, context: ReplyContext) -> dict[str, Any]: ...

    def reply_document(self, reply: Reply, context: ReplyContext) -> bytes:
        """The same as text."""
        ...

    def stream_encoder(self, context: ReplyContext) -> StreamEncoder: ...


class UpstreamCodec(Protocol):
    """A format that can serve the callers of others, whether or not it has any of its own.

    `encode_request` puts `model` in as the upstream's name, lists in `changes` what it could not carry, and raises
    UnsupportedError for content that its format cannot hold (UncarriedError where it cannot say where that stands).
    `toolbox` tells the names that a format gives the request's tools, None where these are the caller's own.
    """

    def encode_request(
        self, request: Request, *, model: str, quirks: Quirks, changes: list[Change]
    ) -> dict[str, Any]: ...

    def toolbox(self, request: Request, quirks: Quirks) -> Toolbox | None: ...

    def decode_reply(self, body: dict[str, Any]) -> Reply: ...

    def stream_decoder(self) -> StreamDecoder: ...


class TextCodec(CallerCodec, UpstreamCodec, Protocol):
    """A format on both sides."""
