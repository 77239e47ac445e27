"""The transport: connections kept per origin and used again, limits, and errors that name the provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final, cast
from weakref import WeakSet

from msgspec import structs

from aigateway.errors import UpstreamConnectionError, UpstreamTimeoutError, UpstreamUnavailableError
from aigateway.transport.body import Upload, close, trailer_lines
from aigateway.transport.connect import Connector, refusal
from aigateway.transport.head import head_of, length_of
from aigateway.transport.place import Place, Places
from aigateway.transport.protocol import TLS, HTTPRequest, Pool
from aigateway.transport.proxy import NONE, Proxies, parse_proxy
from aigateway.transport.response import FAULTS, Response, Whole, failure
from aigateway.transport.wire import MAX_JOINED, Owner, Wire

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
_DOUBTFUL = 0.5  # seconds idle after which a connection is looked at once more before it is used
_MARGIN = 1.0  # seconds by which a connection is given up before the upstream would


class PooledTransport:
    """HTTP/1.1 with keep-alive, bound to the event loop of its first request (and to a new one after that has closed).

    tls     for https URLs.
    proxy   the URL of a proxy for every request, or "none"; None = as the environment says.
    socket  the path of a Unix socket that everything goes to, whatever host the URL names; no proxy then.

    Raises ValueError for what is no proxy's URL, and for a proxy with a socket.
    """

    def __init__(
        self, pool: Pool | None = None, *, tls: TLS | None = None, proxy: str | None = None, socket: str | None = None
    ) -> None:
        self._pool = pool or Pool()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._origins: dict[tuple[bool, str, int], _Origin] = {}
        self._wires: set[Wire] = set()
        self._connector = Connector(tls)
        fixed = None if proxy in (None, NONE) else parse_proxy(proxy)
        if fixed is not None and socket is not None:
            raise ValueError("a socket is reached through no proxy")
        _POOLS.add(self)
        self._places = Places(fixed, Proxies() if proxy is None and socket is None else None, socket)

    async def send(self, request: HTTPRequest) -> Response:
        """As Transport.send."""
        place = self._places.known.get(request.url) or self._place(request)
        loop = self._loop
        if loop is None or loop.is_closed():
            loop = self._loop = asyncio.get_running_loop()
            self._origins.clear()
            self._wires.clear()
        origin = self._origins.get(place.key)
        if origin is None:
            origin = self._origins[place.key] = _Origin(place.key, self._pool, self._wires)
        timeout = request.timeout
        deadline = None if timeout.total is None else loop.time() + timeout.total
        body = request.body
        if not isinstance(body, bytes):
            return await self._upload(origin, place, request, deadline)
        head = head_of(request, place.target, place.host_header, place.extra)
        wire = origin.take() if origin.slots is None else None
        if wire is None:
            wire = await self._connection(origin, place, request, deadline)
        while True:
            response = Response(origin, wire, request)
            reused = wire.uses > 0
            try:
                wire.begin(head, body, deadline, request.method == "HEAD")
                await wire.head(timeout.first_byte)
                response.learn()
            except BaseException as error:
                may_repeat = reused and wire.is_silent  # asked here, for what is given back knows nothing anymore
                await response.aclose()
                if not (may_repeat and isinstance(error, ConnectionError) and _is_safe(request)):
                    if isinstance(error, FAULTS):
                        raise failure(error, request.peer, begun=False) from error
                    raise
            else:
                if place.proxy is not None and response.status == 407 and not place.secure:
                    await _refuse(response, place, request)
                return response
            wire = await self._connection(origin, place, request, deadline, fresh=True)

    def line(self, request: HTTPRequest) -> Line:
        """A line for requests that are this one, but for their bodies. Its headers are a tuple."""
        return Line(self, request)

    def _place(self, request: HTTPRequest) -> Place:
        try:
            return self._places.find(request.url)
        except ValueError as error:
            who = f"{request.peer[:1].lower()}{request.peer[1:]}"
            raise UpstreamConnectionError(f"The proxy on the way to {who} cannot be used: {error}.") from error

    async def _upload(self, origin: _Origin, place: Place, request: HTTPRequest, deadline: float | None) -> Response:
        """As send(), for a body that comes in pieces."""
        pieces = cast("AsyncIterator[bytes]", request.body)
        try:
            head = head_of(request, place.target, place.host_header, place.extra)
            trailers = trailer_lines(request.trailers)
            wire = await self._connection(origin, place, request, deadline)
        except BaseException:
            await close(pieces)
            raise
        response = Response(origin, wire, request)
        try:
            response.upload = Upload(wire, pieces, length_of(request), trailers, request.timeout.idle)
            wire.begin(head, None, deadline, bodiless=request.method == "HEAD")
            await wire.head(request.timeout.first_byte)
            response.learn()
            if response.status >= 300:
                await response.upload.aclose()
        except BaseException as error:
            await response.aclose()
            if isinstance(error, FAULTS):
                raise failure(error, request.peer, begun=False) from error
            raise
        if response.status == 407 and place.proxy is not None and not place.secure:
            await _refuse(response, place, request)
        return response

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that its connections belong to."""
        return self._loop

    def drop_idle(self) -> int:
        """Close the connections that nobody uses; how many those were."""
        idle = [wire for origin in self._origins.values() for wire in origin.idle]
        for origin in self._origins.values():
            origin.idle.clear()
        for wire in idle:
            wire.close()
        return len(idle)

    def connections(self) -> dict[str, int]:
        """How many are `busy` and `idle`, and the bytes `sent` and `received` so far."""
        origins = self._origins.values()
        idle = [wire for origin in origins for wire in origin.idle if not wire.is_closed]
        return {
            "busy": len(self._wires) - len(idle),
            "idle": sum(wire.is_reusable for wire in idle),
            "sent": sum(one.bytes_out for one in origins),
            "received": sum(one.bytes_in for one in origins),
        }

    async def aclose(self) -> None:
        """Close every connection."""
        if self._loop is asyncio.get_running_loop():
            for wire in list(self._wires):
                wire.close()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        self._origins.clear()
        self._loop = None

    async def _connection(
        self, origin: _Origin, place: Place, request: HTTPRequest, deadline: float | None, *, fresh: bool = False
    ) -> Wire:
        connect = request.timeout.connect
        if origin.slots is not None:
            await _slot(origin.slots, request.peer, _sooner(connect, deadline))
        wire = None if fresh else origin.take()
        if wire is None:
            try:
                try:
                    wire = await self._connector.open(place, request.peer, _sooner(connect, deadline))
                except UpstreamUnavailableError:  # too many files are open
                    if not await _make_room():
                        raise
                    wire = await self._connector.open(place, request.peer, _sooner(connect, deadline))
            except BaseException:
                if origin.slots is not None:
                    origin.slots.release()
                raise
            origin.own(wire)
        return wire


class Line:
    """The way of requests that differ in nothing but their bodies, which are bytes: what is the same was settled once.

    Where no connection is idle, or anything else is special, it is the way of all other requests.
    """

    def __init__(self, transport: PooledTransport, request: HTTPRequest) -> None:
        self._transport = transport
        self._request = request
        self._start = b""
        self._origin: _Origin | None = None
        timeout = request.timeout
        self._is_plain = timeout.total is None and not _is_safe(request)
        self._first_byte = timeout.first_byte

    async def post(self, body: bytes) -> Response | Whole:
        """As Transport.send, of the line's request with this body."""
        origin, transport = self._origin, self._transport
        loop = transport._loop  # noqa: SLF001 - a part of it
        if origin is None or loop is None or loop.is_closed() or origin is not transport._origins.get(origin.key):  # noqa: SLF001
            return await self._send(body)
        wire = origin.take() if len(body) <= MAX_JOINED else None
        if wire is None:
            return await self._send(body)
        limit = self._first_byte
        try:
            await wire.ask(b"%bcontent-length: %d\r\n\r\n%b" % (self._start, len(body), body), limit)
            if not wire.is_answered:
                await wire.head(limit)
            if wire.is_done and not wire.is_special and not wire.trailers:  # as most are
                return Whole(wire.status, wire.headers, origin.taken_from(wire))
            wire.settle()
            response = Response(origin, wire, self._request)
            response.learn()
        except BaseException as error:
            origin.give_back(wire)
            if isinstance(error, FAULTS):
                raise failure(error, self._request.peer, begun=False) from error
            raise
        return response

    async def _send(self, body: bytes) -> Response:
        request, transport = structs.replace(self._request, body=body), self._transport
        response = await transport.send(request)
        place = transport._places.known.get(request.url)  # noqa: SLF001
        if self._is_plain and body and place is not None and place.proxy is None:
            origin = transport._origins.get(place.key)  # noqa: SLF001
            if origin is not None and origin.slots is None:
                head = head_of(request, place.target, place.host_header, place.extra)
                self._start = head.replace(b"\r\ncontent-length: %d\r\n" % len(body), b"\r\n")[:-2]
                self._origin = origin
        return response


_POOLS: Final[WeakSet[PooledTransport]] = WeakSet()
"""Of all gateways: file descriptors belong to the process."""


async def _make_room() -> bool:
    """Close every connection that nobody uses; whether there were any."""
    loop = asyncio.get_running_loop()
    closed = sum(pool.drop_idle() for pool in list(_POOLS) if pool.loop is loop)
    for _ in range(2):  # the event loop closes a socket in its next turn
        await asyncio.sleep(0)
    return closed > 0


class _Origin(Owner):
    """The connections of one origin: those that are idle, and how many there may be."""

    __slots__ = ("_keepalive", "_wires", "idle", "key", "slots")

    def __init__(self, key: tuple[bool, str, int], pool: Pool, wires: set[Wire]) -> None:
        super().__init__()
        self.key = key
        self.idle: list[Wire] = []
        self.slots = None if pool.max_connections is None else asyncio.Semaphore(pool.max_connections)
        self._keepalive = pool.keepalive
        self._wires = wires

    def own(self, wire: Wire) -> None:
        """A new connection."""
        wire.owner = self
        if not wire.is_closed:
            self._wires.add(wire)

    def lost(self, wire: Wire) -> None:
        """A connection is over."""
        self._wires.discard(wire)

    def take(self) -> Wire | None:
        """An idle connection, the one used last first; None if there is none."""
        idle = self.idle
        while idle:
            wire = idle.pop()
            if wire.is_ready(_DOUBTFUL):
                return wire
            self._cut(wire)
        return None

    def taken_from(self, wire: Wire) -> bytes:
        """The body of an exchange that is over; its connection is given back."""
        body = wire.taken()
        self.give_back(wire)
        return body

    def give_back(self, wire: Wire) -> None:
        """An exchange is over."""
        keepalive, idle = self._keepalive, self.idle
        if wire.keepalive is not None:
            keepalive = min(keepalive, wire.keepalive - _MARGIN)
        if wire.rest(keepalive):
            while idle and idle[0].is_closed:
                del idle[0]
            idle.append(wire)
        else:
            self._cut(wire)
        if self.slots is not None:
            self.slots.release()

    def _cut(self, wire: Wire) -> None:
        self._wires.discard(wire)
        wire.close()


def _sooner(limit: float | None, deadline: float | None) -> float | None:
    """A limit in seconds, or what is left until a deadline where that comes first."""
    if deadline is None:
        return limit
    left = max(0.0, deadline - asyncio.get_running_loop().time())
    return left if limit is None else min(limit, left)


async def _slot(slots: asyncio.Semaphore, peer: str, limit: float | None) -> None:
    if not slots.locked():
        await slots.acquire()
        return
    try:
        async with asyncio.timeout(limit):
            await slots.acquire()
    except TimeoutError as error:
        raise UpstreamTimeoutError(f"{peer} had no free connection in time.") from error


def _is_safe(request: HTTPRequest) -> bool:
    """Whether a request may be sent again where nobody knows if the first one was read (RFC 9110, 9.2.2)."""
    return request.method in _IDEMPOTENT or any(name.lower() == "idempotency-key" for name, _ in request.headers)


async def _refuse(response: Response, place: Place, request: HTTPRequest) -> None:
    """A 407 on the way of a plain request is the proxy's own."""
    await response.aclose()
    who = f"The proxy on the way to {request.peer[:1].lower()}{request.peer[1:]}"
    raise refusal(407, who, known=bool(place.extra))
