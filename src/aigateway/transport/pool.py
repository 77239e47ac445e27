"""The transport: connections per origin kept and used again, DNS and TLS, limits, and errors that name the provider.

Requests that go through a proxy are aiohttp's (transport/aiohttp_client.py).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import urllib.request
import zlib
from collections.abc import AsyncIterator, Sequence
from urllib.parse import urlsplit

import msgspec

from aigateway.errors import (
    ServerError,
    UnreachableError,
    UpstreamConnectionError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
)
from aigateway.transport.protocol import HTTPRequest, HTTPResponse, Pool, Transport
from aigateway.transport.wire import GarbledError, LateError, Wire

_HIDDEN = frozenset({"content-encoding", "content-length", "transfer-encoding", "connection", "keep-alive"})
_URLS_KEPT = 256
_ENCODINGS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class _Place(msgspec.Struct, frozen=True):
    """Where a URL is: the origin, what the request line and the Host header say."""

    secure: bool
    host: str
    port: int
    target: str
    host_header: str
    proxied: bool


class _Origin:
    """The idle connections of one origin, and how many there may be."""

    def __init__(self, most: int | None) -> None:
        self.idle: list[Wire] = []
        self.slots = None if most is None else asyncio.Semaphore(most)


class PooledTransport:
    """HTTP/1.1 with keep-alive, bound to the event loop of its first request (and to a new one after that has closed)."""

    def __init__(self, pool: Pool | None = None) -> None:
        self._pool = pool or Pool()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._origins: dict[tuple[bool, str, int], _Origin] = {}
        self._busy: set[Wire] = set()
        self._places: dict[str, _Place] = {}
        self._tls: ssl.SSLContext | None = None
        self._proxied: Transport | None = None
        self._proxies = {
            scheme: url for scheme, url in urllib.request.getproxies().items() if scheme in ("http", "https", "all")
        }

    async def send(self, request: HTTPRequest) -> HTTPResponse:
        """Send, and wait for the response head. Raises UpstreamConnectionError, -ProtocolError or -TimeoutError."""
        place = self._places.get(request.url) or self._place(request.url)
        if place.proxied:
            return await self._through_proxy(request)
        loop = self._loop
        if loop is None or loop.is_closed():
            loop = self._loop = asyncio.get_running_loop()
            self._origins.clear()
        key = (place.secure, place.host, place.port)
        origin = self._origins.get(key)
        if origin is None:
            origin = self._origins[key] = _Origin(self._pool.max_connections)
        total = request.timeout.total
        deadline = None if total is None else loop.time() + total
        wire = await self._connection(origin, place, request, deadline)
        response = _Response(self, origin, wire, request)
        try:
            wire.begin(_head_of(request, place) + request.body, deadline)
            await wire.head(request.timeout.first_byte)
        except BaseException as error:
            await response.aclose()
            if isinstance(error, Exception):
                raise failure(error, request.peer, "did not answer in time") from error
            raise
        response.learn()
        return response

    async def aclose(self) -> None:
        """Close every connection."""
        if self._loop is asyncio.get_running_loop():
            for origin in self._origins.values():
                for wire in origin.idle:
                    wire.close()
            for wire in list(self._busy):
                wire.close()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        self._origins.clear()
        self._loop = None
        proxied, self._proxied = self._proxied, None
        if proxied is not None:
            await proxied.aclose()

    def give_back(self, origin: _Origin, wire: Wire) -> None:
        """A response is over."""
        self._busy.discard(wire)
        if wire.is_reusable and self._loop is not None:
            wire.expire_in(self._pool.keepalive)
            while origin.idle and not origin.idle[0].is_reusable:
                del origin.idle[0]
            origin.idle.append(wire)
        else:
            wire.close()
        if origin.slots is not None:
            origin.slots.release()

    async def _connection(self, origin: _Origin, place: _Place, request: HTTPRequest, deadline: float | None) -> Wire:
        if origin.slots is not None and origin.slots.locked():
            await self._slot(origin.slots, request)
        elif origin.slots is not None:
            await origin.slots.acquire()
        idle = origin.idle
        while idle:
            wire = idle.pop()
            if wire.is_reusable:
                self._busy.add(wire)
                return wire
        try:
            wire = await self._connect(place, request, deadline)
        except BaseException:
            if origin.slots is not None:
                origin.slots.release()
            raise
        self._busy.add(wire)
        return wire

    async def _slot(self, slots: asyncio.Semaphore, request: HTTPRequest) -> None:
        try:
            async with asyncio.timeout(request.timeout.connect):
                await slots.acquire()
        except TimeoutError as error:
            raise UpstreamTimeoutError(f"{request.peer} had no free connection in time.") from error

    async def _connect(self, place: _Place, request: HTTPRequest, deadline: float | None) -> Wire:
        loop = asyncio.get_running_loop()
        limit = request.timeout.connect
        if deadline is not None:
            left = max(0.0, deadline - loop.time())
            limit = left if limit is None else min(limit, left)
        try:
            async with asyncio.timeout(limit):
                _, wire = await loop.create_connection(
                    lambda: Wire(loop),
                    place.host,
                    place.port,
                    ssl=self._context() if place.secure else None,
                    server_hostname=place.host if place.secure else None,
                )
        except TimeoutError as error:
            raise UpstreamTimeoutError(f"{request.peer} did not accept a connection in time.") from error
        except socket.gaierror as error:
            raise UnreachableError(f"The host name of {_lower(request.peer)} could not be resolved.") from error
        except ssl.SSLError as error:
            raise UnreachableError(f"{request.peer} failed the TLS handshake.") from error
        except (OSError, ValueError) as error:
            what = "failed the TLS handshake" if place.secure and isinstance(error, ConnectionResetError) else ""
            raise UnreachableError(f"{request.peer} {what or 'could not be reached'}.") from error
        return wire

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls

    def _place(self, url: str) -> _Place:
        parts = urlsplit(url)
        host = parts.hostname or ""
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        place = _Place(secure, host, port, target, parts.netloc, self._is_proxied(parts.scheme, host, port))
        if len(self._places) < _URLS_KEPT:
            self._places[url] = place
        return place

    def _is_proxied(self, scheme: str, host: str, port: int) -> bool:
        if not (self._proxies.get(scheme) or self._proxies.get("all")):
            return False
        return not (urllib.request.proxy_bypass(host) or urllib.request.proxy_bypass(f"{host}:{port}"))

    async def _through_proxy(self, request: HTTPRequest) -> HTTPResponse:
        if self._proxied is None:
            # only who goes through a proxy pays for the import
            from aigateway.transport.aiohttp_client import AiohttpTransport  # noqa: PLC0415

            self._proxied = AiohttpTransport(self._pool)
        return await self._proxied.send(request)


class _Response:
    """A response head, and the body still to come."""

    def __init__(self, pool: PooledTransport, origin: _Origin, wire: Wire, request: HTTPRequest) -> None:
        self.status = 0
        self.headers: Sequence[tuple[str, str]] = ()
        self._pool = pool
        self._origin = origin
        self._wire: Wire | None = wire
        self._idle = request.timeout.idle
        self._peer = request.peer
        self._encoding = ""

    def learn(self) -> None:
        """Take over what the head says."""
        wire = self._wire
        if wire is None:
            return
        self.status = wire.status
        self.headers = [pair for pair in wire.headers if pair[0] not in _HIDDEN]
        if len(self.headers) != len(wire.headers):
            given = dict(wire.headers)
            self._encoding = given.get("content-encoding", "").lower()
            if not self._encoding and "content-length" in given:
                self.headers.append(("content-length", given["content-length"]))

    async def read(self) -> bytes:
        """The whole body."""
        wire = self._wire
        if wire is not None and not self._encoding:
            try:
                body = await wire.read(self._idle)
            except (OSError, GarbledError, LateError) as error:
                raise failure(error, self._peer, _STOPPED) from error
            if wire.is_done:
                return body
            return body + b"".join([piece async for piece in self.stream()])
        return b"".join([piece async for piece in self.stream()])

    async def stream(self) -> AsyncIterator[bytes]:
        """The body in pieces as they arrive."""
        decode = _decoder(self._encoding, self._peer)
        while self._wire is not None:
            try:
                piece = await self._wire.read(self._idle)
            except (OSError, GarbledError, LateError) as error:
                raise failure(error, self._peer, _STOPPED) from error
            if not piece:
                return
            if decode is None:
                yield piece
            else:
                for plain in _decoded(decode, piece, self._peer):
                    yield plain

    async def aclose(self) -> None:
        """Give the connection back, or cut it where the body was not read to its end."""
        wire, self._wire = self._wire, None
        if wire is not None:
            self._pool.give_back(self._origin, wire)


_STOPPED = "stopped sending in the middle of its answer"


def failure(error: Exception, peer: str, late: str) -> UpstreamError | ServerError:
    """What went wrong on the wire, in words that show no address."""
    if isinstance(error, UpstreamError | ServerError):
        return error
    if isinstance(error, LateError):
        return UpstreamTimeoutError(f"{peer} {late}.")
    if isinstance(error, GarbledError):
        return UpstreamProtocolError(f"{peer} answered with something that is not HTTP.")
    if late == _STOPPED:
        return UpstreamConnectionError(f"{peer} broke off its answer.")
    return UpstreamConnectionError(f"{peer} closed the connection without a valid answer.")


def _head_of(request: HTTPRequest, place: _Place) -> bytes:
    lines = [f"{request.method} {place.target} HTTP/1.1\r\nhost: {place.host_header}\r\n"]
    for name, value in request.headers:
        if "\n" in value or "\r" in value or "\n" in name or "\r" in name:
            raise ServerError(f"The header {name.split()[0]!r} for the upstream holds a line break.", code="bad_header")
        lines.append(f"{name}: {value}\r\n")
    lines.append(f"content-length: {len(request.body)}\r\n\r\n")
    return "".join(lines).encode("latin-1", "replace")


def _decoder(encoding: str, peer: str) -> zlib._Decompress | None:
    if encoding in ("", "identity"):
        return None
    if encoding not in _ENCODINGS:
        raise UpstreamProtocolError(f"{peer} answered in a content encoding that nobody asked for.")
    return zlib.decompressobj(_ENCODINGS[encoding])


def _decoded(decode: zlib._Decompress, piece: bytes, peer: str) -> list[bytes]:
    plain: list[bytes] = []
    try:
        while piece:
            plain.append(decode.decompress(piece, 64 * 1024))
            piece = decode.unconsumed_tail
    except zlib.error as error:
        raise UpstreamProtocolError(f"{peer} answered with a broken content encoding.") from error
    return [part for part in plain if part]


def _lower(peer: str) -> str:
    return peer[:1].lower() + peer[1:]
