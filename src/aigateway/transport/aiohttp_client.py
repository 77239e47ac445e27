"""The transport on aiohttp: pooled connections, proxies from the environment, four separate timeouts."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Sequence

import aiohttp
from yarl import URL

from aigateway.errors import UpstreamConnectionError, UpstreamError, UpstreamTimeoutError
from aigateway.transport.protocol import HTTPRequest, HTTPResponse, Pool, Timeout

_SKIP_HEADERS = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")
_GONE_AFTER_DECODING = {"content-encoding", "content-length", "transfer-encoding", "connection", "keep-alive"}


class AiohttpTransport:
    """A pool of connections on aiohttp. Opened at the first request; bound to the event loop that made it."""

    def __init__(self, pool: Pool | None = None) -> None:
        self._pool = pool or Pool()
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timeouts: dict[Timeout, aiohttp.ClientTimeout] = {}
        self._proxies = {
            scheme: url for scheme, url in urllib.request.getproxies().items() if scheme in ("http", "https", "all")
        }

    async def send(self, request: HTTPRequest) -> HTTPResponse:
        """Send, and wait for the response head. Raises UpstreamConnectionError or UpstreamTimeoutError."""
        session = await self._open()
        limits = request.timeout
        url = URL(request.url, encoded=True)
        started = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(_head_limit(limits)):
                response = await session.request(
                    request.method,
                    url,
                    headers=request.headers,
                    data=request.body or None,
                    proxy=self._proxy(url),
                    allow_redirects=False,
                    timeout=self._client_timeout(limits),
                )
        except aiohttp.ConnectionTimeoutError as error:
            raise UpstreamTimeoutError(f"{request.peer} did not accept a connection in time.") from error
        except TimeoutError as error:
            raise UpstreamTimeoutError(f"{request.peer} did not answer in time.") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _connection_error(error, request.peer) from error
        return _Response(response, request, started)

    async def aclose(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None and self._loop is asyncio.get_running_loop():
            await session.close()

    async def _open(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._session is None or self._loop is not loop:
            self._loop = loop
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,
                    limit_per_host=self._pool.max_connections or 0,
                    keepalive_timeout=self._pool.keepalive,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=_SKIP_HEADERS,
                timeout=aiohttp.ClientTimeout(total=None),
                read_bufsize=64 * 1024,
                max_line_size=64 * 1024,
                max_field_size=64 * 1024,
            )
        return self._session

    def _client_timeout(self, limits: Timeout) -> aiohttp.ClientTimeout:
        found = self._timeouts.get(limits)
        if found is None:
            found = self._timeouts[limits] = aiohttp.ClientTimeout(connect=limits.connect)
        return found

    def _proxy(self, url: URL) -> str | None:
        if not self._proxies or urllib.request.proxy_bypass(url.host or ""):
            return None
        return self._proxies.get(url.scheme) or self._proxies.get("all")


def _head_limit(limits: Timeout) -> float | None:
    if limits.first_byte is None:
        return limits.total
    first = limits.first_byte + (limits.connect or 0.0)
    return first if limits.total is None else min(first, limits.total)


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


class _Response:
    """An aiohttp response under an idle limit and a total limit, which run only while somebody waits for bytes."""

    def __init__(self, response: aiohttp.ClientResponse, request: HTTPRequest, started: float) -> None:
        self.status = response.status
        self.headers: Sequence[tuple[str, str]] = [
            (name, value)
            for name, value in ((name.lower(), value) for name, value in response.headers.items())
            if name not in _GONE_AFTER_DECODING
        ]
        self._response = response
        self._peer = request.peer
        self._loop = asyncio.get_running_loop()
        self._idle = request.timeout.idle
        self._deadline = None if request.timeout.total is None else started + request.timeout.total
        self._waiting_since: float | None = None
        self._timed_out = False
        self._timer: asyncio.TimerHandle | None = None

    async def read(self) -> bytes:
        """The whole body."""
        if self._response.content.is_eof():
            return self._response.content.read_nowait()
        return b"".join([piece async for piece in self.stream()])

    async def stream(self) -> AsyncIterator[bytes]:
        """The body in pieces as they arrive."""
        content = self._response.content
        clock = self._loop.time
        self._arm()
        try:
            while True:
                self._waiting_since = clock()
                piece = await content.readany()
                self._waiting_since = None
                if not piece:
                    return
                yield piece
        except (aiohttp.ClientError, OSError) as error:
            if self._timed_out:
                raise UpstreamTimeoutError(f"{self._peer} stopped sending in the middle of its answer.") from error
            raise _connection_error(error, self._peer) from error
        finally:
            self._disarm()

    async def aclose(self) -> None:
        """Give the connection back, or cut it where the body was not read to its end."""
        self._disarm()
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()

    def _arm(self) -> None:
        limits = [limit for limit in (self._idle, self._remaining()) if limit is not None]
        if limits:
            self._timer = self._loop.call_later(max(min(limits), 0.001), self._check)

    def _remaining(self) -> float | None:
        return None if self._deadline is None else self._deadline - self._loop.time()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        now = self._loop.time()
        late = self._deadline is not None and now >= self._deadline
        since = self._waiting_since
        idle = self._idle is not None and since is not None and now - since >= self._idle
        if late or idle:
            self._timed_out = True
            self._response.close()
            return
        waits = [] if self._deadline is None else [self._deadline - now]
        if self._idle is not None:
            waits.append(self._idle if since is None else since + self._idle - now)
        self._timer = self._loop.call_later(max(min(waits), 0.001), self._check)
