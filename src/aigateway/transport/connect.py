"""Making a connection: over TCP or a Unix socket, through a proxy or a tunnel, with or without TLS.

Every fault is an UpstreamError that says which side failed and how, and shows no address and no credentials.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import TypeVar, cast

from aigateway.errors import UnreachableError, UpstreamError, UpstreamTimeoutError, UpstreamUnavailableError
from aigateway.transport import sockets, tls
from aigateway.transport.place import Place
from aigateway.transport.protocol import TLS
from aigateway.transport.proxy import Proxy
from aigateway.transport.wire import Wire

_MAX_ANSWER = 64 * 1024
_P = TypeVar("_P", bound=asyncio.Protocol)
logger = logging.getLogger("aigateway")


class Connector:
    """Makes connections with one provider's TLS settings."""

    def __init__(self, settings: TLS | None) -> None:
        self._settings = settings or TLS()
        self._contexts: dict[bool, ssl.SSLContext] = {}

    async def open(self, place: Place, peer: str, limit: float | None) -> Wire:
        """A new connection.

        Raises UnreachableError, UpstreamTimeoutError after `limit` seconds, or UpstreamUnavailableError where the process
        has too many files open.
        """
        try:
            async with asyncio.timeout(limit):
                if place.proxy is None:
                    return await self._direct(place, peer)
                return await self._proxied(place, place.proxy, peer)
        except TimeoutError as error:
            through = "" if place.proxy is None else " through its proxy"
            raise UpstreamTimeoutError(f"{peer} did not accept a connection{through} in time.") from error
        except OSError as error:  # of the files for TLS
            if error.errno not in sockets.SCARCE:
                raise
            raise no_files(peer) from error

    async def _direct(self, place: Place, peer: str) -> Wire:
        loop = asyncio.get_running_loop()
        context = await self._context(peer) if place.secure else None
        try:
            name = place.host if place.secure else None
            if place.path is not None:
                _, wire = await loop.create_unix_connection(
                    lambda: Wire(loop), place.path, ssl=context, server_hostname=name
                )
                return wire
            connection = await sockets.connected(place.host, place.port)
            return await _wrapped(lambda: Wire(loop), connection, context, name)
        except (OSError, ValueError) as error:
            raise _fault(error, peer, secure=place.secure) from error

    async def _proxied(self, place: Place, proxy: Proxy, peer: str) -> Wire:
        loop = asyncio.get_running_loop()
        who = f"The proxy on the way to {_lower(peer)}"
        context = await self._context(peer, of_proxy=True) if proxy.secure else None
        name = proxy.host if proxy.secure else None
        try:
            connection = await sockets.connected(proxy.host, proxy.port)
            if not place.secure:
                return await _wrapped(lambda: Wire(loop), connection, context, name)
            tunnel = await _wrapped(_Tunnel, connection, context, name)
        except (OSError, ValueError) as error:
            raise _fault(error, who, secure=proxy.secure) from error
        try:
            await _ask(tunnel, place, proxy, who)
            inner = await self._context(peer)
            try:
                wire = Wire(loop)
                through = await loop.start_tls(tunnel.transport, wire, inner, server_hostname=place.host)
            except (OSError, ValueError) as error:
                raise _fault(error, peer, secure=True) from error
            if through is None:
                raise UnreachableError(f"{peer} failed the TLS handshake: the connection was closed.")
        except BaseException:
            tunnel.transport.abort()
            raise
        wire.connection_made(through)
        return wire

    async def _context(self, peer: str, *, of_proxy: bool = False) -> ssl.SSLContext:
        context = self._contexts.get(of_proxy)
        if context is None:
            make = tls.proxy_context if of_proxy else tls.context_of
            context = await asyncio.get_running_loop().run_in_executor(None, make, self._settings)
            if not self._settings.verify and not of_proxy and of_proxy not in self._contexts:
                logger.warning("%s: its TLS certificate is not verified (tls.verify is false)", peer)
            self._contexts[of_proxy] = context
        return context


async def _wrapped(
    make: Callable[[], _P], connection: socket.socket, context: ssl.SSLContext | None, name: str | None
) -> _P:
    """A protocol on a connected socket, which the event loop closes from here on."""
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(make, sock=connection, ssl=context, server_hostname=name)
    return protocol


class _Tunnel(asyncio.Protocol):
    """The dialogue with a proxy up to the end of the head of its answer."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._seen += data
        if (b"\r\n\r\n" in self._seen or len(self._seen) > _MAX_ANSWER) and not self.answer.done():
            self.answer.set_result(self._seen)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_result(b"")


async def _ask(tunnel: _Tunnel, place: Place, proxy: Proxy, who: str) -> None:
    """Have the proxy open a way to the upstream."""
    host = f"[{place.host}]" if ":" in place.host else place.host
    authority = f"{host}:{place.port}"
    head = f"CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n{proxy.header}\r\n"
    tunnel.transport.write(head.encode("latin-1", "replace"))
    answer = await tunnel.answer
    version, _, rest = answer.partition(b" ")
    code = rest[:3]
    if not version.startswith(b"HTTP/1.") or not code.isdigit():
        what = "closed the connection without an answer" if not answer else "answered with something that is not HTTP"
        raise UnreachableError(f"{who} {what}.")
    if not code.startswith(b"2"):
        raise refusal(int(code), who, known=bool(proxy.authorization))
    if not answer.endswith(b"\r\n\r\n") or answer.count(b"\r\n\r\n") > 1:
        raise UnreachableError(f"{who} sent more than its answer.")


def refusal(status: int, who: str, *, known: bool) -> UnreachableError:
    """What a proxy's own answer means. known: whether credentials were sent."""
    if status == 407:
        what = "refused the credentials that it was sent" if known else "asks for credentials"
        return UnreachableError(f"{who} {what} (407).")
    return UnreachableError(f"{who} refused the connection ({status}).")


def no_files(who: str) -> UpstreamUnavailableError:
    """Too many files are open."""
    return UpstreamUnavailableError(
        f"The gateway has no file descriptor left for a connection to {_lower(who)}.",
        code="upstream_overloaded",
        headers={"retry-after": "1"},
    )


def _fault(error: OSError | ValueError, who: str, *, secure: bool) -> UpstreamError:
    is_unknown = isinstance(error, socket.gaierror)
    if (isinstance(error, OSError) and error.errno in sockets.SCARCE) or (is_unknown and sockets.out_of_files()):
        return no_files(who)
    if is_unknown:
        return UnreachableError(f"The host name of {_lower(who)} could not be resolved.")
    if isinstance(error, ssl.SSLError):
        return UnreachableError(f"{who} failed the TLS handshake: {tls.fault(error)}.")
    if secure and isinstance(error, ConnectionResetError | BrokenPipeError):
        return UnreachableError(f"{who} failed the TLS handshake: the connection was closed.")
    return UnreachableError(f"{who} could not be reached.")


def _lower(peer: str) -> str:
    return peer[:1].lower() + peer[1:]
