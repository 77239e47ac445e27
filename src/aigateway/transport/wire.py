"""One HTTP/1.1 connection to an upstream: one request at a time, parsed by httptools."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable, Sequence
from typing import cast

import httptools

HIGH_WATER = 64 * 1024
"""Bytes of a body held for a reader who does not come; then the socket is not read any further."""

MAX_HEAD = 256 * 1024
"""Bytes of a response head, interim responses included, and of the framing between two pieces of a body."""

MAX_LINE = 64 * 1024
"""Bytes of one header."""

MAX_HEADERS = 1000
"""Headers of one response, and trailers."""

Sink = Callable[[bytes], bool]
"""Takes a piece of a body at once. False = it has no room for more."""

MAX_JOINED = 32 * 1024
"""Bytes of a body that are sent in one write with the head."""

SPECIAL = frozenset({"content-encoding", "transfer-encoding", "connection", "keep-alive"})
"""Headers that say more of the wire than a Content-Length does."""

_FRAMING = 16  # bytes around a chunk that was sent alone
_NAMES: dict[bytes, str] = {}


def _name(raw: bytes) -> str:
    """The name of a header, in lower case; some are remembered."""
    name = raw.decode("latin-1").lower()
    if len(_NAMES) < 512 and len(raw) < 64:
        _NAMES[raw] = name
    return name


class GarbledError(Exception):
    """The upstream wrote something that is no HTTP. The text goes on after `answered with`."""

    def __init__(self, what: str = "something that is not HTTP") -> None:
        super().__init__(what)


class LateError(Exception):
    """The upstream let a limit pass. The text goes on after its name, where the wait itself does not say it all."""


class Owner:
    """Whose a connection is: it counts the bytes that were sent and have come, and is told when the connection is over."""

    __slots__ = ("bytes_in", "bytes_out")

    def __init__(self) -> None:
        self.bytes_in = 0
        self.bytes_out = 0

    def lost(self, wire: Wire) -> None:
        """A connection is over."""


class Wire(asyncio.Protocol):
    """begin() a request, await head(), then read() pieces until b"".

    uses       requests that it has carried.
    is_special  whether a header of the answer says something of the wire besides its length.
    keepalive  seconds that the upstream keeps it while it is idle, where that was said.
    owner      who counts its bytes.
    is_answered  whether the head of an answer has come.

    Once `is_done`, the connection can carry another request if `is_reusable`. A limit in seconds guards each wait;
    `deadline` (on the loop's clock) guards all of them.
    """

    __slots__ = (
        "_bodiless",
        "_error",
        "_fault",
        "_full",
        "_held",
        "_idle_since",
        "_interim",
        "_keep_alive",
        "_limit_at",
        "_loop",
        "_overhead",
        "_parser",
        "_paused",
        "_pieces",
        "_room",
        "_sending",
        "_sink",
        "_sink_full",
        "_sink_limit",
        "_size",
        "_timer",
        "_timer_at",
        "_trailers",
        "_transport",
        "_waiter",
        "deadline",
        "headers",
        "is_answered",
        "is_closed",
        "is_done",
        "is_special",
        "keepalive",
        "owner",
        "status",
        "trailers",
        "uses",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.trailers: Sequence[tuple[str, str]] = ()
        self.is_done = True
        self.is_closed = False
        self.is_special = False
        self.uses = 0
        self.owner = Owner()
        self.keepalive: float | None = None
        self._idle_since = 0.0
        self.deadline: float | None = None
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self.is_answered = False
        self._trailers: list[tuple[str, str]] = []
        self._keep_alive = False
        self._interim = False
        self._bodiless = False
        self._overhead = self._size = 0
        self._pieces: list[bytes] = []
        self._held = 0
        self._paused = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._limit_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._sending = False
        self._full = False
        self._room: asyncio.Future[None] | None = None
        self._sink: Sink | None = None
        self._sink_limit: float | None = None
        self._sink_full = False
        self._fault: BaseException | None = None

    # one exchange

    @property
    def is_reusable(self) -> bool:
        """Whether another request may follow."""
        transport = self._transport
        return self.is_done and self._keep_alive and transport is not None and not transport.is_closing()

    @property
    def is_silent(self) -> bool:
        """Whether no byte has come yet of the exchange that runs."""
        return not self._size

    def begin(self, head: bytes, body: bytes | None, deadline: float | None, bodiless: bool = False) -> None:  # noqa: FBT001, FBT002 - called for every request
        """Send a request. Raises ConnectionResetError.

        body      None = it follows by write(), until sent().
        bodiless  its answer has none, whatever its headers say: the answer to HEAD.
        """
        self.status = 0
        self.headers = []
        if self.trailers:
            self.trailers, self._trailers = (), []
        self.is_special = False
        self.uses += 1
        self.is_done = self.is_answered = self._keep_alive = self._interim = False
        self._bodiless = bodiless
        self._overhead = self._size = self._held = 0
        self._pieces = []
        self._error = self._limit_at = None  # the limit was that of its rest
        self._sending = body is None
        self.deadline = deadline
        transport = self._transport
        if transport is None:
            raise ConnectionResetError("the connection is gone")
        if self._paused:
            self._paused = False
            transport.resume_reading()
        if not body:
            self.owner.bytes_out += len(head)
            transport.write(head)
            return
        self.owner.bytes_out += len(head) + len(body)
        if len(body) <= MAX_JOINED:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)

    def ask(self, request: bytes, limit: float | None) -> asyncio.Future[None]:
        """begin() a whole request that has no deadline, on a connection that rested; what is awaited for its head.

        Where it is not `is_answered` then, head() raises why.
        """
        transport = self._transport
        if transport is None:
            raise ConnectionResetError("the connection is gone")
        self.uses += 1
        self.headers = []
        self.is_special = self.is_done = self.is_answered = self._keep_alive = False
        self._overhead = self._size = 0
        self.owner.bytes_out += len(request)
        transport.write(request)
        loop = self._loop
        self._waiter = waiter = loop.create_future()
        if limit is None:
            self._limit_at = None
        else:
            self._limit_at = at = loop.time() + limit
            if self._timer_at is None or at < self._timer_at:
                self._arm(limit)
        return waiter

    def settle(self) -> None:
        """The head that was asked for has come: its limit is over."""
        self._waiter = self._limit_at = None

    async def write(self, piece: bytes, limit: float | None) -> None:
        """Send a piece of the body, and wait until there is room for another. Raises ConnectionError or LateError."""
        if self._transport is None:
            raise ConnectionResetError("the connection is gone")
        self._transport.write(piece)
        self.owner.bytes_out += len(piece)
        if not self._full:
            return
        self._room = self._loop.create_future()
        try:
            async with asyncio.timeout(limit):
                await self._room
        except TimeoutError as error:
            raise LateError("stopped reading the request") from error
        finally:
            self._room = None

    def sent(self, error: BaseException | None = None) -> None:
        """The body that followed is over; with an error it was never whole, and the connection is cut."""
        if error is None:
            self._sending = False
        elif isinstance(error, Exception):
            self._fail(error)
            self.close()
        self._wake()

    async def head(self, limit: float | None) -> None:
        """Wait for the response head, `limit` seconds from the end of the request. Raises as read() does."""
        while not self.is_answered:
            if self._error is not None:
                raise self._error
            loop = self._loop
            self._waiter = waiter = loop.create_future()
            if limit is not None and self._timer_at is not None and self.deadline is None and not self._sending:
                self._limit_at = at = loop.time() + limit
                if at < self._timer_at:
                    self._arm(limit)
            elif limit is not None or self.deadline is not None:
                self._arm(None if self._sending else limit)
            try:
                await waiter
            finally:
                self._waiter = self._limit_at = None

    async def read(self, limit: float | None) -> bytes:
        """What has come of the body; b"" at its end. Raises ConnectionError, GarbledError, LateError, or sent()'s."""
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self.is_done:
                return b""
            await self._wait(limit)
        return self.taken()

    def taken(self) -> bytes:
        """What has come of the body, without waiting."""
        pieces, self._pieces = self._pieces, []
        self._held = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def pour(self, sink: Sink, limit: float | None) -> None:
        """The rest of the body, every piece given to `sink` in the turn in which it was read. Raises as read() does.

        What the sink raises is raised here, and nothing more is read for it. A sink that gives False has no room: it is
        given nothing more until resume().
        """
        self._sink, self._sink_limit, self._sink_full, self._fault = sink, limit, False, None
        try:
            if self._pieces:
                self._give(sink)
            while True:
                if self._fault is not None:
                    raise self._fault
                if not self._pieces:
                    if self._error is not None:
                        raise self._error
                    if self.is_done:
                        return
                await self._wait(None if self._sink_full else limit)
        finally:
            self._sink = self._fault = None
            if self._paused and self._transport is not None:
                self._paused = False
                self._transport.resume_reading()

    def hold(self) -> None:
        """The sink has no room: nothing more is given to it, and no limit runs, until resume()."""
        if self._sink is None:
            return
        self._sink_full = True
        self._limit_at = None
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """The sink has room again."""
        self._sink_full = False
        if self._sink is None:
            return
        if self._pieces:
            self._give(self._sink)
        self._read_on()
        self._wake()

    def _read_on(self) -> None:
        """Read the socket again, where the sink has room."""
        if not self._sink_full and self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def _give(self, sink: Sink) -> None:
        pieces, self._pieces = self._pieces, []
        self._held = 0
        try:
            has_room = sink(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        except BaseException as error:  # noqa: BLE001 - it is raised where the pouring is awaited
            self._sink_failed(error)
            return
        self._given(has_room)

    def _given(self, has_room: bool) -> None:  # noqa: FBT001 - called for every piece
        if not has_room:
            self.hold()
            return
        if self._sink_full:
            return  # it was said meanwhile
        if self._paused:
            self._read_on()  # it was paused for what one read brought, or what came before the sink
        if self._sink_limit is not None:
            self._limit_at = self._loop.time() + self._sink_limit

    def _sink_failed(self, error: BaseException) -> None:
        self._sink = None
        self._fault = error
        self._wake()

    def close(self) -> None:
        """Cut the connection."""
        self._disarm()
        if self._transport is not None:
            self._transport.abort()

    def rest(self, seconds: float) -> bool:
        """Wait for another request, and close by itself if none comes for so long; False if none may come.

        None may where a part of the last one is still to be sent: its answer came early.
        """
        transport = self._transport
        if seconds <= 0 or transport is None or self._sending or not (self.is_done and self._keep_alive):
            return False
        if transport.is_closing() or transport.get_write_buffer_size():
            return False
        if self._pieces or self._paused or self._interim or self._bodiless or self.trailers:
            self._tidy(transport)
        self.deadline = None
        self._idle_since = now = self._loop.time()
        self._limit_at = at = now + seconds
        if self._timer_at is None or self._timer_at > at:
            self._arm(seconds)
        return True

    def _tidy(self, transport: asyncio.Transport) -> None:
        self._pieces, self._held = [], 0
        self._interim = self._bodiless = False
        self.trailers, self._trailers = (), []
        if self._paused:
            self._paused = False
            transport.resume_reading()

    def is_ready(self, doubtful: float) -> bool:
        """Whether it still can be used after a rest.

        After `doubtful` seconds the system is asked whether the upstream has closed it, or sent what nobody asked for,
        and the event loop does not know yet.
        """
        transport = self._transport
        if transport is None or not self._keep_alive or transport.is_closing():
            return False
        if self._loop.time() - self._idle_since < doubtful or not hasattr(select, "poll"):
            return True
        poll = select.poll()
        poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not poll.poll(0)

    async def _wait(self, limit: float | None) -> None:
        self._waiter = waiter = self._loop.create_future()
        if limit is not None or self.deadline is not None:
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

    def _garbled(self, *what: str) -> None:
        self._fail(GarbledError(*what))
        self.close()

    # limits: one timer, moved only where it would come too late

    def _arm(self, limit: float | None) -> float:
        deadline = self.deadline
        self._limit_at = at = None if limit is None else self._loop.time() + limit
        if deadline is not None:
            at = deadline if at is None else min(at, deadline)
        if at is None:
            return 0.0
        if self._timer_at is None or self._timer_at > at:
            self._disarm()
            self._timer_at = at
            self._timer = self._loop.call_at(at, self._check)
        return at

    def _disarm(self) -> None:
        timer, self._timer = self._timer, None
        self._timer_at = None
        if timer is not None:
            timer.cancel()

    def _check(self) -> None:
        self._timer = self._timer_at = None
        waits = [at for at in (self._limit_at, self.deadline) if at is not None]
        if not waits:
            return
        if min(waits) <= self._loop.time():
            self._fail(LateError())
            self.close()
        else:
            self._timer_at = min(waits)
            self._timer = self._loop.call_at(self._timer_at, self._check)

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
        self._size = size = len(data)
        self.owner.bytes_in += size
        self._overhead += size
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._pass_on()
            self._garbled()
            return
        if self._overhead > MAX_HEAD and not self.is_done:
            self._pass_on()
            self._garbled("too much framing around its body" if self.is_answered else "too large a head")
            return
        if self._bodiless and self.is_answered:  # the parser would wait for the body that the headers tell of
            self._parser = httptools.HttpResponseParser(self)
        sink = self._sink
        if sink is None:
            waiter = self._waiter
            if (
                waiter is not None and self.is_answered and not waiter.done()
            ):  # a part of a head does not put its limit off
                waiter.set_result(None)
            return
        if self._pieces or self.is_done:
            self._pass_on()

    def _pass_on(self) -> None:
        sink = self._sink
        if sink is not None and self._pieces and not self._sink_full:
            self._give(sink)
        if self.is_done:
            self._wake()

    def pause_writing(self) -> None:
        """The upstream takes less than it is sent."""
        self._full = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self._full = False
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""
        self.is_closed = True
        self.owner.lost(self)
        self._disarm()
        self._transport = None
        self._parser = None  # type: ignore[assignment]  # it knows us: as a ring we would wait for the collector
        if not self.is_done and self.is_answered and exc is None and self._error is None and self._ends_with_close():
            self.is_done = True
        self._fail(exc if isinstance(exc, OSError) else ConnectionResetError("the connection was closed"))
        if self._room is not None and not self._room.done():
            self._room.set_exception(ConnectionResetError("the connection was closed"))

    def _ends_with_close(self) -> bool:
        return not any(name in ("content-length", "transfer-encoding") for name, _ in self.headers)

    # httptools

    def on_message_begin(self) -> None:
        """A response begins; after the end of the last one it is one too many."""
        if self.is_done:
            self._keep_alive = False
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header or a trailer."""
        known = _NAMES.get(name) or _name(name)
        if known in SPECIAL:
            self.is_special = True
        if self.is_answered:
            if not self.is_done:  # else it is that of an answer too many
                self.trailers = self._trailers
                self._trailers.append((known, value.decode("latin-1")))
        else:
            self.headers.append((known, value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """The head is whole; that of an interim response is passed over."""
        if self.is_done:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self._interim = status >= 100
            self.headers = []
            if not self._interim:
                self._garbled("a status that is none")
            return
        if self._overhead > MAX_LINE or len(self.headers) > MAX_HEADERS:
            sizes = [len(name) + len(value) for name, value in self.headers]
            if max(sizes, default=0) > MAX_LINE or sum(sizes) > MAX_HEAD or len(sizes) > MAX_HEADERS:
                self._garbled("too large a head")
                return
        self.status = status
        self.is_answered = True
        self._overhead = 0
        if self._bodiless:
            self._keep_alive = self._parser.should_keep_alive()
            self.is_done = True

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self.is_done:
            self._keep_alive = False  # more than there may be
            return
        self._overhead = 0
        sink, size = self._sink, len(body)
        if sink is not None and self._size - size < _FRAMING and not self._pieces and not self._sink_full:
            try:  # all that one read brought, as mostly: several pieces go together, when it is over
                has_room = sink(body)
            except BaseException as error:  # noqa: BLE001 - it is raised where the pouring is awaited
                self._sink_failed(error)
                return
            if has_room and not self._paused and not self._sink_full and self._sink_limit is not None:
                self._limit_at = self._loop.time() + self._sink_limit
            else:
                self._given(has_room)
            return
        self._pieces.append(body)
        self._held = held = self._held + size
        if held > HIGH_WATER and not self._paused and self._transport is not None:
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
