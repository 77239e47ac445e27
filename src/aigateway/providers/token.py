"""Access tokens that expire: renewed in time, one renewal at a time, and the request to a token server."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from aigateway import _json
from aigateway.errors import UpstreamError
from aigateway.providers.secret import Secret
from aigateway.transport.protocol import HTTPRequest, Timeout

logger = logging.getLogger("aigateway")

MARGIN = 300.0
"""Seconds before its end at which a token is renewed: Google and Microsoft give out new ones from five minutes on."""

_RETRY = 10.0
_TIMEOUT = Timeout(connect=10.0, first_byte=30.0, idle=30.0, total=60.0)
_WORDS = 100


class Token(msgspec.Struct, frozen=True):
    """An access token, and for how many seconds it is good."""

    value: Secret
    expires_in: float


class TokenError(UpstreamError):
    """No access token could be had. Its words name the server's error code, and nothing that was sent to it."""

    code = "upstream_token_error"


class TokenSource:
    """A key source: asked for a token at every request, it asks `fetch` for a new one only when the old one ends soon.

    Requests that come while one is fetched go on with the old one as long as that is good. Where renewing fails in that
    time it is tried again after ten seconds, and later raises TokenError.
    """

    def __init__(self, fetch: Callable[[], Awaitable[Token]], clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._value: Secret | None = None
        self._ends = 0.0
        self._renews = 0.0
        self._lock = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return "TokenSource('***')"

    async def __call__(self) -> Secret:
        """The token. Raises TokenError, UpstreamConnectionError or UpstreamTimeoutError."""
        now = self._clock()
        if self._value is not None and (now < self._renews or (self._lock.locked() and now < self._ends)):
            return self._value
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # a lock belongs to one
            self._loop, self._lock = loop, asyncio.Lock()
        async with self._lock:
            now = self._clock()
            if self._value is None or now >= self._renews:
                await self._renew(now)
            assert self._value is not None  # noqa: S101 - renewed, or raised
            return self._value

    async def _renew(self, now: float) -> None:
        try:
            token = await self._fetch()
        except UpstreamError as error:
            if now >= self._ends:
                raise
            logger.warning("an access token could not be renewed, and is used until it ends: %s", error.message)
            self._renews = min(now + _RETRY, self._ends)
            return
        self._value = token.value
        self._ends = now + token.expires_in
        self._renews = self._ends - min(MARGIN, token.expires_in / 2)


async def ask_token_server(
    url: str,
    server: str,
    form: Mapping[str, str] | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    proxy: str | None = None,
) -> Token:
    """The token of an OAuth 2.0 server (RFC 6749, section 5): a form is posted; without one it is a GET.

    server: what messages call it. proxy: as a Provider's. Raises TokenError, UpstreamConnectionError or UpstreamTimeoutError.
    """
    # only who needs a token pays for the import of the wire
    from aigateway.transport.pool import PooledTransport  # noqa: PLC0415

    sent = {"accept": "application/json", "accept-encoding": "identity"} | dict(headers or {})
    if form is not None:
        sent["content-type"] = "application/x-www-form-urlencoded"
    transport = PooledTransport(proxy=proxy)  # tokens live for an hour: a connection is not worth keeping
    try:
        reply = await transport.send(
            HTTPRequest(
                method="GET" if form is None else "POST",
                url=url,
                headers=list(sent.items()),
                body=b"" if form is None else urlencode(form).encode(),
                timeout=_TIMEOUT,
                peer=server,
            )
        )
        try:
            return _token(await reply.read(), reply.status, server)
        finally:
            await reply.aclose()
    finally:
        await transport.aclose()


def _token(body: bytes, status: int, server: str) -> Token:
    try:
        answer = _json.decode(body)
    except (_json.DecodeError, UnicodeDecodeError, RecursionError):
        answer = None
    facts: dict[str, Any] = answer if isinstance(answer, dict) else {}
    value, seconds = facts.get("access_token"), facts.get("expires_in", 0)
    if status == 200 and isinstance(value, str) and value and value.isascii() and value.isprintable():
        try:
            return Token(Secret(value), max(0.0, float(seconds)))
        except (TypeError, ValueError):
            return Token(Secret(value), 0.0)
    code = facts.get("error")
    said = f" ({code[:_WORDS]})" if isinstance(code, str) and code.isprintable() else ""
    if status == 200:
        raise TokenError(f"{server} gave no access token.")
    logger.error("%s answered with HTTP %d%s: %s", server, status, said, _detail(facts))
    raise TokenError(f"{server} answered with HTTP {status}{said}: the gateway's credentials for it do not work.")


def _detail(facts: Mapping[str, Any]) -> str:
    """What the server says for the operator, in the gateway's own log: its first line."""
    text = facts.get("error_description")
    return text.partition("\n")[0][:500] if isinstance(text, str) else "no reason given"
