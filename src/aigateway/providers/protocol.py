"""What a provider is to the gateway: a name, the APIs it speaks, and `send`.

A provider gets requests in the wire form of one API that it named in `apis`, and answers in that same form. Everything
else (translation, hooks, naming, errors in the caller's format) is done above it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Collection, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec

from aigateway import _json
from aigateway.errors import GatewayError, UpstreamError
from aigateway.transport.protocol import WebSocket

logger = logging.getLogger("aigateway")


class ProviderRequest(msgspec.Struct, kw_only=True):
    """One request in a provider's own API.

    api           the API's name: `chat`, `responses`, `embeddings`, `images`, ...
    path          the operation below the base URL, with its query: `/chat/completions`, `/files?limit=2`.
    method        the HTTP method.
    model         the name that the upstream knows; "" where the request names none.
    body          the bytes to send, already in the form of `api`.
    upload        the bytes to send while they arrive, in place of `body`; a `content-length` among the headers says how
                  many they are. They can be read once.
    content_type  of the body; multipart bodies keep their boundary. "" where there is none.
    stream        whether events are asked for.
    headers       extra headers for this one request (a hook may have set them; they win over the provider's own).
    api_key       a key for this one request in place of the provider's own.
    request_id    the call's id, for correlation.
    """

    api: str
    path: str
    model: str
    body: bytes
    method: str = "POST"
    upload: AsyncIterator[bytes] | None = None
    content_type: str = "application/json"
    stream: bool = False
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    api_key: str | None = None
    request_id: str = ""

    def json(self) -> dict[str, Any]:
        """The body decoded; a new dict at each call."""
        return _json.decode_object(self.body)


class ConnectRequest(msgspec.Struct, kw_only=True):
    """A WebSocket to open at a provider, for a session in its own API.

    api           the API's name: `realtime`.
    path          the operation below the base URL: `/realtime`.
    model         the name that the upstream knows, "" where none was asked for.
    query         (name, value) pairs behind the path, `model` among them.
    subprotocols  offered to the upstream, best first.
    max_message   bytes of one message that may come.
    headers, api_key, request_id   as in ProviderRequest.
    """

    api: str
    path: str
    model: str
    query: Sequence[tuple[str, str]] = ()
    subprotocols: Sequence[str] = ()
    max_message: int = 64 * 1024 * 1024
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    api_key: str | None = None
    request_id: str = ""


class ProviderReply(Protocol):
    """An answer whose body is still to come: `transport.HTTPResponse` is one, `Answer` is one made in process."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Sequence[tuple[str, str]]: ...

    async def read(self) -> bytes: ...

    def stream(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None: ...


@runtime_checkable
class ProviderLike(Protocol):
    """Anything that can answer requests. Raise a GatewayError (UpstreamError and its kin) when it cannot.

    Optional attributes are read when they are there: `quirks` (a `Quirks`), `aclose()` (async), for sessions
    `connect(request: ConnectRequest)` (async), which gives a `WebSocket`, `relays`: True where it takes every operation of
    its APIs, and not only those that generate (`/chat/completions/{id}`, ...); and for its traffic `retry`, `breaker`,
    `max_concurrent`, `queue` and `keys` (as `Provider` has them).
    """

    @property
    def name(self) -> str: ...

    @property
    def apis(self) -> Collection[str]: ...

    async def send(self, request: ProviderRequest) -> ProviderReply: ...


class PostedReply(ProviderReply, Protocol):
    """A ProviderReply. `whole` is its body where nothing of it is open anymore, else None."""

    @property
    def whole(self) -> bytes | None: ...


class Posting(ProviderLike, Protocol):
    """A provider with a short way for the plainest requests, where `posts` is True."""

    @property
    def posts(self) -> bool: ...

    def post(self, api: str, path: str, body: bytes, *, stream: bool = False) -> Awaitable[PostedReply]:
        """As `send`, of a JSON request that has no headers and no key of its own. stream: whether it asks for events.

        Errors need not name the provider, and a refusal is to be read through `guarded`.
        """
        ...

    async def guarded(self, reply: ProviderReply) -> ProviderReply:
        """A refusal without the key that it may repeat."""
        ...


@runtime_checkable
class Connects(Protocol):
    """A provider that opens WebSockets. Raises as `send` does; a refusal is an UpstreamError of its status."""

    async def connect(self, request: ConnectRequest) -> WebSocket: ...


class Answer:
    """A ProviderReply made in process: from bytes, or from an async iterator of byte chunks (a stream)."""

    def __init__(
        self,
        body: bytes | AsyncIterator[bytes],
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        default = "application/json" if isinstance(body, bytes) else "text/event-stream"
        self.headers: Sequence[tuple[str, str]] = tuple(({"content-type": default} | dict(headers or {})).items())
        self._body = body

    async def read(self) -> bytes:
        """The whole body. Raises UpstreamError where its source raises anything else."""
        return b"".join([piece async for piece in self.stream()])

    async def stream(self) -> AsyncIterator[bytes]:
        """The body in pieces. Raises UpstreamError where its source raises anything else."""
        if isinstance(self._body, bytes):
            yield self._body
            return
        try:
            async for piece in self._body:
                yield piece
        except GatewayError:
            raise
        except Exception as error:
            logger.exception("a provider's own stream failed")
            raise UpstreamError("The upstream failed in the middle of its answer.") from error

    async def aclose(self) -> None:
        """Stop the source, also in the middle."""
        closer = getattr(self._body, "aclose", None)
        if closer is not None:
            await closer()
