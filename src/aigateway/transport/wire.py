"""One HTTP/1.1 connection to an upstream: one request at a time, parsed by httptools."""

from __future__ import annotations

import asyncio
from typing import cast

import httptools

HIGH_WATER = 64 * 1024
"""Bytes of a body held for a reader who does not come; then the socket is not read any further."""

MAX_HEAD = 256 * 1024
"""Bytes of a response head; a longer one is refused."""


class GarbledError(Exception):
    """The upstream wrote something that is no HTTP."""


class LateError(Exception):
    """The upstream let a limit pass."""


class Wire(asyncio.Protocol):
    """begin() a request, await head(), then read() pieces until b"".

    Once `is_done`, the connection can carry another request if `is_reusable`. A limit in seconds guards each wait;
    `deadline` (on the loop's clock) guards all of them.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.is_done = True
        self.is_closed = False
        self.deadline: float | None = None
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._head_seen = False
        self._keep_alive = False
        self._interim = False
        self._head_size = 0
        self._pieces: list[bytes] = []
        self._held = 0
        self._paused = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._limit_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    # one exchange

    @property
    def is_reusable(self) -> bool:
        """Whether another request may follow."""
        transport = self._transport
        return self.is_done and self._keep_alive and transport is not None and not transport.is_closing()

    def begin(self, request: bytes, deadline: float | None) -> None:
        """Send a request."""
        self.status = 0
        self.headers = []
        self.is_done = self._head_seen = self._keep_alive = False
        self._head_size = 0
        self._pieces = []
        self._held = 0
        self._error = None
        self.deadline = deadline
        if self._transport is None:
            raise ConnectionResetError("the connection is gone")
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        self._transport.write(request)

    async def head(self, limit: float | None) -> None:
        """Wait for the response head. Raises ConnectionError, GarbledError or LateError."""
        while not self._head_seen:
            if self._error is not None:
                raise self._error
            await self._wait(limit)

    async def read(self, limit: float | None) -> bytes:
        """What has come of the body; b"" at its end. Raises ConnectionError, GarbledError or LateError."""
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self.is_done:
                return b""
            await self._wait(limit)
        pieces, self._pieces = self._pieces, []
        self._held = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Cut the connection."""
        self._disarm()
        if self._transport is not None:
            self._transport.abort()

    def expire_in(self, seconds: float) -> None:
        """Close by itself if nobody uses it for so long."""
        self.deadline = None
        self._arm(seconds)

    async def _wait(self, limit: float | None) -> None:
        self._waiter = waiter = self._loop.create_future()
        self._arm(limit)
        try:
            await waiter
        finally:
            self._waiter = None
            self._limit_at = None

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _fail(self, error: Exception) -> None:
        if not self.is_done and self._error is None:
            self._error = error
        self._keep_alive = False
        self._wake()

    # limits: one timer, moved only where it would come too late

    def _arm(self, limit: float | None) -> None:
        at = None if limit is None else self._loop.time() + limit
        self._limit_at = at
        if self.deadline is not None:
            at = self.deadline if at is None else min(at, self.deadline)
        if at is None or (self._timer is not None and self._timer.when() <= at):
            return
        self._disarm()
        self._timer = self._loop.call_at(at, self._check)

    def _disarm(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _check(self) -> None:
        self._timer = None
        waits = [at for at in (self._limit_at, self.deadline) if at is not None]
        if not waits:
            return
        if min(waits) <= self._loop.time():
            self._fail(LateError())
            self.close()
        else:
            self._timer = self._loop.call_at(min(waits), self._check)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self.is_done:  # nobody asked for anything
            self._keep_alive = False
            self.close()
            return
        if not self._head_seen:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(GarbledError())
            self.close()
            return
        if not self._head_seen and self._head_size > MAX_HEAD:
            self._fail(GarbledError())
            self.close()
            return
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""
        self.is_closed = True
        self._disarm()
        self._transport = None
        if not self.is_done and self._head_seen and exc is None and self._error is None and self._ends_with_close():
            self.is_done = True
        self._fail(ConnectionResetError("the connection was closed"))

    def _ends_with_close(self) -> bool:
        return not any(name in ("content-length", "transfer-encoding") for name, _ in self.headers)

    # httptools

    def on_message_begin(self) -> None:
        """A response begins; after the end of the last one it is one too many."""
        if self.is_done:
            self._keep_alive = False
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which is passed over."""
        if not self._head_seen:
            self.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """The head is whole; that of an interim response is passed over."""
        if self.is_done:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self._interim = True
            self.headers = []
            return
        self.status = status
        self._head_seen = True

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self.is_done:
            return
        self._pieces.append(body)
        self._held += len(body)
        if self._held > HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """The end of a response."""
        if self._interim:
            self._interim = False
            return
        if not self.is_done:
            self._keep_alive = self._parser.should_keep_alive()
            self.is_done = True
