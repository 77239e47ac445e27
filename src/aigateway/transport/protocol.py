"""What the gateway asks of an HTTP client: one seam, so that the wire can be changed without touching a provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec


class Timeout(msgspec.Struct, frozen=True, kw_only=True):
    """Limits in seconds; None = no limit.

    connect     until the connection stands (name look-up and TLS included).
    first_byte  from the request being sent until the response head is there.
    idle        between two reads of the response body.
    total       the whole exchange. None by default: a healthy long stream is never cut.
    """

    connect: float | None = 10.0
    first_byte: float | None = 600.0
    idle: float | None = 300.0
    total: float | None = None


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """Connection reuse.

    max_connections  per origin at once; None = no cap.
    keepalive        seconds an idle connection is kept.
    """

    max_connections: int | None = None
    keepalive: float = 60.0


class HTTPRequest(msgspec.Struct, kw_only=True):
    """One request to an upstream. `headers` are (name, value) pairs; the transport adds Host and Content-Length.

    peer  what error messages call the other side: they never show its address.
    """

    method: str
    url: str
    headers: Sequence[tuple[str, str]]
    body: bytes = b""
    timeout: Timeout = Timeout()
    peer: str = "The upstream"


class HTTPResponse(Protocol):
    """The head of an answer with its body still to come. Whoever got it closes it, also after an error."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Sequence[tuple[str, str]]:
        """(lower-case name, value) pairs as they came; the body is already decoded of any Content-Encoding.

        A `content-length` is among them where it is that of the body as it is read.
        """
        ...

    async def read(self) -> bytes:
        """The whole body. Raises UpstreamConnectionError or UpstreamTimeoutError."""
        ...

    def stream(self) -> AsyncIterator[bytes]:
        """The body in pieces as they arrive. Raises UpstreamConnectionError or UpstreamTimeoutError."""
        ...

    async def aclose(self) -> None:
        """Give the connection back, or cut it where the body was not read to its end."""
        ...


class Transport(Protocol):
    """An HTTP client with a pool."""

    async def send(self, request: HTTPRequest) -> HTTPResponse:
        """Send, and wait for the response head. Raises UpstreamConnectionError or UpstreamTimeoutError."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...
