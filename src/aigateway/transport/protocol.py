"""What the gateway asks of a client of HTTP and WebSockets: one seam, so that the wire can be changed without touching a provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec

from aigateway.errors import UpstreamError


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


class TLS(msgspec.Struct, frozen=True, kw_only=True):
    """How an https upstream is trusted and entered. Files are in PEM.

    ca      a file of issuers that are trusted in place of the system's.
    cert    a file with our own certificate and its chain, for an upstream that asks for one.
    key     a file with its key, unencrypted, where `cert` does not hold it.
    verify  False = whoever answers is believed; a warning tells of it.
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    verify: bool = True


class HTTPRequest(msgspec.Struct, kw_only=True):
    """One request to an upstream. `headers` are (name, value) pairs; the transport adds Host and the body's framing.

    body      bytes, or an iterator whose pieces are sent as they come, no faster than the upstream takes them. The
              iterator is closed in every case. A `content-length` among the headers says how many bytes it will give
              (another number is an error, and the connection is cut); without one the body is chunked.
    trailers  sent after a chunked body.
    peer      what error messages call the other side: they never show its address.
    """

    method: str
    url: str
    headers: Sequence[tuple[str, str]]
    body: bytes | AsyncIterator[bytes] = b""
    trailers: Sequence[tuple[str, str]] = ()
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
        """Send, and wait for the response head. Raises UpstreamConnectionError, -ProtocolError or -TimeoutError.

        What an iterator for the body raises is raised again as it is. An answer that comes before the whole body is
        sent is given back at once; one that refuses (status 300 and up) ends the sending, any other when it is closed.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


class WebSocketRequest(msgspec.Struct, kw_only=True):
    """A WebSocket to open at an upstream. `url` is `http(s)://` or `ws(s)://`; `timeout.connect` and `.first_byte` count.

    subprotocols  offered, best first.
    max_message   bytes of one message that is taken; a larger one ends the connection.
    """

    url: str
    headers: Sequence[tuple[str, str]]
    subprotocols: Sequence[str] = ()
    timeout: Timeout = Timeout()
    max_message: int = 64 * 1024 * 1024
    peer: str = "The upstream"


class HandshakeRefusedError(UpstreamError):
    """The upstream answered the handshake as plain HTTP: `reply` is that answer."""

    def __init__(self, reply: HTTPResponse, peer: str) -> None:
        status = reply.status if 400 <= reply.status < 500 else None
        super().__init__(f"{peer} refused the WebSocket with HTTP {reply.status}.", status=status)
        self.reply = reply


class WebSocketClosedError(Exception):
    """The other side has closed the WebSocket, or is gone.

    code, reason  of its close frame; 1006 where it sent none.
    clean         whether it sent one.
    """

    def __init__(self, code: int, reason: str = "", *, clean: bool = True) -> None:
        super().__init__(f"closed with code {code}")
        self.code = code
        self.reason = reason
        self.clean = clean


def closing(code: int, reason: str) -> tuple[int, str]:
    """A code and a reason as a close frame may carry them: 1005 and its kin are told apart, but never sent."""
    may_be_sent = code in (1000, 1001, 1002, 1003) or 1007 <= code <= 1014 or 3000 <= code <= 4999
    return code if may_be_sent else 1000, reason.encode()[:123].decode(errors="ignore")


class WebSocket(Protocol):
    """One end of an open WebSocket, client or server side. Whoever opened it closes it.

    Messages are str (text) or bytes (binary). One `receive` at a time; `send` waits while the other side is slow.
    """

    @property
    def subprotocol(self) -> str | None:
        """The one agreed on."""
        ...

    async def receive(self) -> str | bytes:
        """The next message. Raises WebSocketClosedError once all that came before the close was received."""
        ...

    async def send(self, message: str | bytes) -> None:
        """Send one message. Raises WebSocketClosedError."""
        ...

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye and close, in a few seconds whatever the other side does; nothing where it is closed already."""
        ...


class WebSocketOpener(Protocol):
    """A client that opens WebSockets."""

    async def connect(self, request: WebSocketRequest) -> WebSocket:
        """Open one. Raises UpstreamConnectionError, -ProtocolError, -TimeoutError or HandshakeRefusedError."""
        ...
