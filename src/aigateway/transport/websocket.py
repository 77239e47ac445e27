"""WebSockets to upstreams: opened with limits, errors that name the provider, no redirect followed."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Final, Literal

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidProxy,
    InvalidStatus,
    ProxyError,
)
from websockets.frames import Close
from websockets.http11 import Response
from websockets.typing import Subprotocol

from aigateway.errors import (
    ServerError,
    UpstreamConnectionError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
)
from aigateway.transport.connect import no_files
from aigateway.transport.protocol import TLS, HandshakeRefusedError, WebSocketClosedError, WebSocketRequest, closing
from aigateway.transport.proxy import NONE
from aigateway.transport.sockets import SCARCE
from aigateway.transport.tls import context_of

CLOSE_TIMEOUT: Final = 2.0
"""Seconds that an upstream has to answer a close; then the connection is cut."""

PING_EVERY: Final = 20.0
PING_TIMEOUT: Final = 60.0
"""Seconds without an answer to a ping after which an upstream counts as gone. Reading stops while the caller is slow."""

_OF_THE_HANDSHAKE = ("host", "connection", "upgrade", "content-length", "transfer-encoding")
_BACKLOG = 16  # messages received ahead of who reads them

# its debug level would write the handshake's headers, keys included
_quiet = logging.getLogger("aigateway.transport.websocket")
_quiet.setLevel(logging.WARNING)


class RefusedReply:
    """The answer of an upstream in place of a WebSocket: short, and read already."""

    def __init__(self, response: Response) -> None:
        self.status = response.status_code
        self.headers: Sequence[tuple[str, str]] = [
            (name.lower(), value) for name, value in response.headers.raw_items()
        ]
        self.body = bytes(response.body)

    async def read(self) -> bytes:
        """The whole body."""
        return self.body

    async def stream(self) -> AsyncIterator[bytes]:
        """The body in one piece."""
        yield self.body

    async def aclose(self) -> None:
        """Nothing: the connection is closed."""


class WebSocketClient:
    """Opens WebSockets.

    tls    for https and wss URLs.
    proxy  the URL of one, or "none"; None = as the environment says.
    """

    def __init__(self, *, tls: TLS | None = None, proxy: str | None = None) -> None:
        self._settings = tls or TLS()
        self._proxy: str | Literal[True] | None = True if proxy is None else None if proxy == NONE else proxy
        self._tls: ssl.SSLContext | None = None

    async def connect(self, request: WebSocketRequest) -> OpenWebSocket:
        """Open one.

        Raises HandshakeRefusedError where the upstream answers otherwise, UpstreamConnectionError, -ProtocolError or -TimeoutError.
        """
        url = f"ws{request.url.removeprefix('http')}" if request.url.startswith("http") else request.url
        _check_headers(request.headers)
        limits, waited = request.timeout, "did not accept a connection in time"
        loop = asyncio.get_running_loop()
        headers = [(name, value) for name, value in request.headers if name.lower() not in _OF_THE_HANDSHAKE]

        class Connection(ClientConnection):
            """Tells when the connection stands: then the limit for the answer begins."""

            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                nonlocal waited
                super().connection_made(transport)
                waited = "did not answer in time"
                clock.reschedule(None if limits.first_byte is None else loop.time() + limits.first_byte)

        opening = _Connect(
            url,
            additional_headers=headers,
            user_agent_header=None,
            subprotocols=[Subprotocol(name) for name in request.subprotocols] or None,
            compression=None,
            open_timeout=None,
            ping_interval=PING_EVERY,
            ping_timeout=PING_TIMEOUT,
            close_timeout=CLOSE_TIMEOUT,
            max_size=request.max_message,
            max_queue=_BACKLOG,
            logger=_quiet,
            create_connection=Connection,
            proxy=self._proxy,
            ssl=self._context() if url.startswith("wss:") else None,
        )
        try:
            async with asyncio.timeout(limits.connect) as clock:
                return OpenWebSocket(await opening)
        except TimeoutError as error:
            raise UpstreamTimeoutError(f"{request.peer} {waited}.") from error
        except InvalidStatus as error:
            raise HandshakeRefusedError(RefusedReply(error.response), request.peer) from error
        except (InvalidHandshake, InvalidProxy, OSError, EOFError, ImportError) as error:
            if isinstance(error, OSError) and error.errno in SCARCE:
                raise no_files(request.peer) from error
            raise _failure(error, request.peer) from error

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = context_of(self._settings)
        return self._tls


class _Connect(connect):
    """A redirect would take the key to a host that nobody configured."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class OpenWebSocket:
    """A WebSocket to an upstream (see the WebSocket protocol)."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    @property
    def subprotocol(self) -> str | None:
        """The one that the upstream chose."""
        return self._connection.subprotocol

    async def receive(self) -> str | bytes:
        """The next message. Raises WebSocketClosedError."""
        try:
            message = await self._connection.recv()
        except ConnectionClosed as error:
            raise _closed(error) from error
        return message if isinstance(message, str) else bytes(message)

    async def send(self, message: str | bytes) -> None:
        """Send one message. Raises WebSocketClosedError."""
        try:
            await self._connection.send(message)
        except ConnectionClosed as error:
            raise _closed(error) from error

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye, and be gone within seconds."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT + 1):
                await self._connection.close(*closing(code, reason))
        except TimeoutError:
            pass  # it does not even read
        finally:
            self._connection.transport.abort()


def _closed(error: ConnectionClosed) -> WebSocketClosedError:
    """What the upstream said, where it was the one who closed."""
    close: Close | None = error.rcvd if error.sent is None or error.rcvd_then_sent else None
    if close is None:
        return WebSocketClosedError(error.sent.code if error.sent is not None else 1006, clean=False)
    return WebSocketClosedError(close.code, close.reason)


def _failure(error: Exception, peer: str) -> UpstreamError:
    """What went wrong before the WebSocket stood, in words that show no address."""
    within = f"{peer[0].lower()}{peer[1:]}"
    if isinstance(error, ProxyError | InvalidProxy | ImportError):
        return UpstreamConnectionError(f"The proxy on the way to {within} failed.")
    if isinstance(error, InvalidMessage):
        return UpstreamConnectionError(f"{peer} closed the connection without a valid answer.")
    if isinstance(error, InvalidHandshake):
        return UpstreamProtocolError(f"{peer} answered the WebSocket handshake with something that is none.")
    if isinstance(error, socket.gaierror):
        return UpstreamConnectionError(f"The host name of {within} could not be resolved.")
    if isinstance(error, ssl.SSLError | ssl.CertificateError):
        return UpstreamConnectionError(f"{peer} failed the TLS handshake.")
    return UpstreamConnectionError(f"{peer} could not be reached.")


def _check_headers(headers: Sequence[tuple[str, str]]) -> None:
    for name, value in headers:
        if any(char in name + value for char in "\r\n"):
            raise ServerError(f"The header {name.split()[0]!r} for the upstream holds a line break.", code="bad_header")
