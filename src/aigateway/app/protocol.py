"""uvicorn's HTTP protocol, cheaper: a head waits for the body that follows it, and a lost connection is told at once.

The one saves a system call per answer, the other a task per request. An answer that is whole goes out in one write. What it takes to speak WebSocket is loaded at the
first upgrade; a handshake that is none goes to the application as the HTTP request that it is.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from aigateway.app.delivery import LEAVING, WRITING, Leaving

HEAD_SECONDS: Final = 30.0
"""Seconds that a caller has for the head of a request."""

BODY_SECONDS: Final = 60.0
"""Seconds that may pass between two pieces of its body."""


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

    def flush(self) -> None:
        """Send a head that nothing follows: that of an answer to HEAD."""
        if self._head:
            self._transport.write(self._head)
            self._head = b""

    def close(self) -> None:
        """Close after what was written."""
        self.flush()
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
        self._heard_at = self._head_begun_at = self.loop.time()
        self._head_begun = False
        super().connection_made(cast("asyncio.Transport", HeadFirstTransport(transport)))
        self._look_again_in(self.timeout_keep_alive)

    def on_message_begin(self) -> None:
        """A new request."""
        super().on_message_begin()
        self._head_begun, self._head_begun_at = True, self._heard_at
        self.scope["extensions"] = {LEAVING: cast("dict[object, object]", self._leaving)}

    def on_headers_complete(self) -> None:
        """The head of a request is there: its answer may be written past ASGI, where that saves a task's turn."""
        self._head_begun = False
        super().on_headers_complete()
        cycle = self.cycle
        if cycle is not None and cycle.scope is self.scope:
            self.scope["extensions"][WRITING] = cast("dict[object, object]", _Writing(cycle))

    # who says nothing: one timer serves all requests of a connection, for few of its dates ever come

    def data_received(self, data: bytes) -> None:
        """Bytes of a request."""
        self._heard_at = self.loop.time()
        super().data_received(data)
        if self._waits_for_more() and self.timeout_keep_alive_task is None and not self.transport.is_closing():
            self._look_again_in(HEAD_SECONDS)

    def _unset_keepalive_if_required(self) -> None:
        """Nothing: a timer that rings in the middle of a request is set anew."""

    def _waits_for_more(self) -> bool:
        """Whether a request has begun that is not whole."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return self._head_begun
        return cycle.more_body and not self.flow.read_paused

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that was idle for long, or that sends its request too slowly."""
        self.timeout_keep_alive_task = None
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if self._waits_for_more():
            left = self._heard_at + BODY_SECONDS - self.loop.time()
            if self._head_begun:
                left = self._head_begun_at + HEAD_SECONDS - self.loop.time()
        elif cycle is None or cycle.response_complete:
            left = self._heard_at + self.timeout_keep_alive - self.loop.time()
        else:
            return  # on_response_complete() sets it again
        if left <= 0:
            self.transport.close()
        else:
            self._look_again_in(left)

    def _look_again_in(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def on_response_complete(self) -> None:
        """An answer was written: the next request may come, for a while."""
        cast("HeadFirstTransport", self.transport).flush()
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        self._heard_at = self.loop.time()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self.timeout_keep_alive_task is None:
            self._look_again_in(self.timeout_keep_alive)

    def resume_writing(self) -> None:
        """The caller has caught up."""
        super().resume_writing()
        self._leaving.room(some=True)

    def pause_writing(self) -> None:
        """The caller reads more slowly than it is written to."""
        super().pause_writing()
        self._leaving.room(some=False)

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
        timer, self.timeout_keep_alive_task = self.timeout_keep_alive_task, None
        if timer is not None:
            timer.cancel()
        super().connection_lost(exc)
        self._leaving.tell()


class _Writing:
    """Writes one answer. It is taken out of the scope by its reader, or it would hold the scope that holds it."""

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    def is_past(self, send: object) -> bool:
        """Whether this writes where that `send` would: no middleware stands between, which would miss what is written."""
        return getattr(send, "__self__", None) is self._cycle

    def piece(self, piece: bytes) -> bool:
        """A piece of a chunked body."""
        cycle = self._cycle
        if cycle.disconnected:
            return True
        cycle.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        return not cycle.flow.write_paused

    def whole(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """An answer in one write. As uvicorn's own `send` leaves the cycle, so does this."""
        cycle = self._cycle
        if cycle.response_started or cycle.flow.write_paused:
            return False
        if cycle.disconnected:
            return True
        parts = [STATUS_LINE[status]]
        for name, value in (*cycle.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
        parts.append(body)
        cast("HeadFirstTransport", cycle.transport).unwrapped().write(b"".join(parts))
        cycle.waiting_for_100_continue = False
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
        return True


def is_handshake(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether a request to upgrade is a WebSocket handshake (RFC 6455, section 4.2.1). Names are lower-case."""
    given = dict(headers)
    try:
        key = base64.b64decode(given.get(b"sec-websocket-key", b""), validate=True)
    except ValueError:
        return False
    return len(key) == 16 and given.get(b"sec-websocket-version") == b"13"
