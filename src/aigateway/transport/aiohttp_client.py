"""The transport on aiohttp: pooled connections, proxies from the environment, four separate timeouts."""

from __future__ import annotations

import asyncio
import socket
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence

import aiohttp
from aiohttp.abc import ResolveResult
from yarl import URL

from aigateway.errors import UpstreamConnectionError, UpstreamError, UpstreamTimeoutError
from aigateway.transport.protocol import HTTPRequest, HTTPResponse, Pool, Timeout

_URLS_KEPT = 256
_GONE_AFTER_DECODING = {"content-encoding", "content-length", "transfer-encoding", "connection", "keep-alive"}


class AiohttpTransport:
    """A pool of connections on aiohttp. Opened at the first request; bound to the event loop that made it."""

    def __init__(self, pool: Pool | None = None) -> None:
        self._pool = pool or Pool()
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._urls: dict[str, URL] = {}
        self._timeouts: dict[Timeout, aiohttp.ClientTimeout] = {}
        self._proxies = {
            scheme: url for scheme, url in urllib.request.getproxies().items() if scheme in ("http", "https", "all")
        }

    async def send(self, request: HTTPRequest) -> HTTPResponse:
        """Send, and wait for the response head. Raises UpstreamConnectionError or UpstreamTimeoutError."""
        session = self._session
        if session is None or session.closed or self._loop is None or self._loop.is_closed():
            session = await self._open()
        total = request.timeout.total
        if total is None:
            return _Response(await self._head(session, request), request, None)
        deadline = asyncio.get_running_loop().time() + total
        try:
            async with asyncio.timeout_at(deadline):
                return _Response(await self._head(session, request), request, deadline)
        except TimeoutError as error:
            raise UpstreamTimeoutError(f"{request.peer} did not answer in time.") from error

    async def _head(self, session: aiohttp.ClientSession, request: HTTPRequest) -> aiohttp.ClientResponse:
        url = self._urls.get(request.url) or self._url(request.url)
        try:
            response = await session.request(
                request.method,
                url,
                headers=request.headers,
                data=request.body or None,
                proxy=self._proxy(url) if self._proxies else None,
                allow_redirects=False,
                timeout=self._client_timeout(request.timeout),
            )
        except aiohttp.ConnectionTimeoutError as error:
            raise UpstreamTimeoutError(f"{request.peer} did not accept a connection in time.") from error
        except aiohttp.SocketTimeoutError as error:
            raise UpstreamTimeoutError(f"{request.peer} did not answer in time.") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _connection_error(error, request.peer) from error
        connection = response.connection
        if connection is not None and connection.protocol is not None:
            connection.protocol.read_timeout = request.timeout.idle
            connection.protocol.start_timeout()
        return response

    async def aclose(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None and self._loop is asyncio.get_running_loop():
            await session.close()

    async def _open(self) -> aiohttp.ClientSession:
        self._loop = asyncio.get_running_loop()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                limit_per_host=self._pool.max_connections or 0,
                keepalive_timeout=self._pool.keepalive,
                resolver=_Resolver(self._timeouts),
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=64 * 1024,
            max_line_size=64 * 1024,
            max_field_size=64 * 1024,
        )
        return self._session

    def _url(self, text: str) -> URL:
        url = URL(text, encoded=True)
        if len(self._urls) < _URLS_KEPT:
            self._urls[text] = url
        return url

    def _client_timeout(self, limits: Timeout) -> aiohttp.ClientTimeout:
        found = self._timeouts.get(limits)
        if found is None:
            # `connect` is kept by a timer at every request, `sock_connect` only where a connection is made
            waits = limits.connect if self._pool.max_connections is not None else None
            found = self._timeouts[limits] = aiohttp.ClientTimeout(
                connect=waits, sock_connect=limits.connect, sock_read=limits.first_byte
            )
        return found

    def _proxy(self, url: URL) -> str | None:
        host = url.host or ""
        if urllib.request.proxy_bypass(host) or urllib.request.proxy_bypass(f"{host}:{url.port}"):
            return None
        return self._proxies.get(url.scheme) or self._proxies.get("all")


def _connection_error(error: Exception, peer: str) -> UpstreamError:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return UpstreamConnectionError(f"The host name of {peer[0].lower()}{peer[1:]} could not be resolved.")
    if isinstance(error, aiohttp.ClientSSLError):
        return UpstreamConnectionError(f"{peer} failed the TLS handshake.")
    if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        return UpstreamConnectionError(f"The proxy on the way to {peer[0].lower()}{peer[1:]} failed.")
    if isinstance(error, aiohttp.ClientConnectorError):
        return UpstreamConnectionError(f"{peer} could not be reached.")
    if isinstance(error, aiohttp.ClientPayloadError):
        return UpstreamConnectionError(f"{peer} broke off its answer.")
    return UpstreamConnectionError(f"{peer} closed the connection without a valid answer.")


class _Resolver(aiohttp.ThreadedResolver):
    """Looks names up off the loop, for no longer than the longest connect limit of those who ask."""

    def __init__(self, timeouts: Mapping[Timeout, object]) -> None:
        super().__init__()
        self._timeouts = timeouts

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host. Raises OSError."""
        limits = [limits.connect for limits in self._timeouts]
        limit = None if None in limits else max((limit for limit in limits if limit is not None), default=None)
        try:
            async with asyncio.timeout(limit):
                return await super().resolve(host, port, family)
        except TimeoutError as error:
            raise OSError(f"the look-up of the host took longer than {limit} seconds") from error


class _Response:
    """An aiohttp response, with its total limit. The idle limit is aiohttp's own."""

    def __init__(self, response: aiohttp.ClientResponse, request: HTTPRequest, deadline: float | None) -> None:
        self.status = response.status
        self.headers: Sequence[tuple[str, str]] = [
            (name, value)
            for name, value in [(name.lower(), value) for name, value in response.headers.items()]
            if name not in _GONE_AFTER_DECODING
        ]
        if response.content_length is not None and "content-encoding" not in response.headers:
            self.headers = [*self.headers, ("content-length", str(response.content_length))]
        self._response = response
        self._peer = request.peer
        self._timed_out = False
        self._timer: asyncio.TimerHandle | None = None
        if deadline is not None:
            self._timer = asyncio.get_running_loop().call_at(deadline, self._out_of_time)

    async def read(self) -> bytes:
        """The whole body."""
        if self._response.content.is_eof():
            return self._response.content.read_nowait()
        return b"".join([piece async for piece in self.stream()])

    async def stream(self) -> AsyncIterator[bytes]:
        """The body in pieces as they arrive."""
        content = self._response.content
        try:
            while True:
                piece = await content.readany()
                if not piece:
                    return
                yield piece
        except (aiohttp.ClientError, OSError) as error:
            if self._timed_out or isinstance(error, TimeoutError):
                raise UpstreamTimeoutError(f"{self._peer} stopped sending in the middle of its answer.") from error
            raise _connection_error(error, self._peer) from error

    async def aclose(self) -> None:
        """Give the connection back, or cut it where the body was not read to its end."""
        if self._timer is not None:
            self._timer.cancel()
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()

    def _out_of_time(self) -> None:
        self._timed_out = True
        self._response.close()
