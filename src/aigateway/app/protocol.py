"""uvicorn's HTTP protocol, cheaper: a head waits for the body that follows it, and a lost connection is told at once.

The one saves a system call per answer, the other a task per request. What it takes to speak WebSocket is loaded at the
first upgrade; a handshake that is none goes to the application as the HTTP request that it is.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from aigateway.app.delivery import LEAVING, WRITING, Leaving


class HeadFirstTransport:
    """A transport that keeps back the head of an answer until the next write, and sends both together.

    uvicorn writes the head and the body apart, and the event loop sends each write at once. The gateway always follows
    a head with a body message, an empty one where there is nothing to say yet.
    """

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        """Send, together with the head that was kept back."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1.") and not data.startswith(b"1", 9):
            self._head = data
            return
        self._transport.write(data)

    def close(self) -> None:
        """Close after what was written."""
        if self._head:
            self._transport.write(self._head)
            self._head = b""
        self._transport.close()

    def unwrapped(self) -> asyncio.Transport:
        """The transport itself: what is not HTTP has no heads."""
        return self._transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class HeadFirstProtocol(HttpToolsProtocol):
    """For `uvicorn.Config(http=...)`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it too
        """A new connection."""
        self._leaving = Leaving(self.loop)
        super().connection_made(cast("asyncio.Transport", HeadFirstTransport(transport)))

    def on_message_begin(self) -> None:
        """A new request."""
        super().on_message_begin()
        self.scope["extensions"] = {LEAVING: cast("dict[object, object]", self._leaving)}

    def on_headers_complete(self) -> None:
        """The head of a request is there: its answer may be written past ASGI, where that saves a task's turn."""
        super().on_headers_complete()
        cycle = self.cycle
        if cycle is not None and cycle.scope is self.scope:
            self.scope["extensions"][WRITING] = cast("dict[object, object]", _Writing(cycle))

    def resume_writing(self) -> None:
        """The caller has caught up."""
        super().resume_writing()
        self._leaving.room()

    def _should_upgrade_to_ws(self) -> bool:
        return self.scope["method"] == "GET" and is_handshake(self.headers)

    def handle_websocket_upgrade(self) -> None:
        """A WebSocket from here on."""
        from aigateway.app.upgrade import WebSocketProtocol  # noqa: PLC0415 - half of the clients never ask for it

        self.ws_protocol_class = WebSocketProtocol
        self.transport = cast("HeadFirstTransport", self.transport).unwrapped()
        super().handle_websocket_upgrade()

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller has left."""
        super().connection_lost(exc)
        self._leaving.tell()


class _Writing:
    """Writes pieces of one chunked body. It is taken out of the scope by its reader, or it would hold the scope that holds it."""

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    def __call__(self, piece: bytes) -> bool:
        cycle = self._cycle
        if cycle.disconnected:
            return True
        cycle.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        return not cycle.flow.write_paused


def is_handshake(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether a request to upgrade is a WebSocket handshake (RFC 6455, section 4.2.1). Names are lower-case."""
    given = dict(headers)
    try:
        key = base64.b64decode(given.get(b"sec-websocket-key", b""), validate=True)
    except ValueError:
        return False
    return len(key) == 16 and given.get(b"sec-websocket-version") == b"13"
