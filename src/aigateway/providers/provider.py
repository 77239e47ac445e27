"""A provider over HTTP: where it is, how it is entered, which APIs it speaks, how long it may take."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, cast
from urllib.parse import urlencode, urlsplit

import msgspec

from aigateway.canonical.quirks import Quirks
from aigateway.errors import UpstreamError
from aigateway.policies import Breaker, Queue, Retry
from aigateway.providers.catalog import CATALOG, CatalogRow
from aigateway.providers.entry import ENTRIES, bearer
from aigateway.providers.keys import KeyRing
from aigateway.providers.protocol import ConnectRequest, PostedReply, ProviderReply, ProviderRequest
from aigateway.providers.secret import KeySource, Secret, reveal
from aigateway.surface import APIS
from aigateway.transport.protocol import (
    TLS,
    HandshakeRefusedError,
    HTTPRequest,
    Pool,
    Timeout,
    Transport,
    WebSocket,
    WebSocketOpener,
    WebSocketRequest,
)

if TYPE_CHECKING:
    from aigateway.providers.dialects import Dialect
    from aigateway.transport.pool import Line, PooledTransport

DEFAULT_APIS = APIS | {"rerank"}
"""Of a host that nobody knows: what it lacks it answers with a 404 of its own."""

USER_AGENT = "aigateway/0.1.0"
_KEY_MIN = 8  # shorter ones, as local servers have them (`none`, `EMPTY`), open nothing and may be any word
_OPERATIONS = (
    "/chat/completions",
    "/completions",
    "/responses",
    "/messages",
    "/embeddings",
    "/images/generations",
    "/realtime",
)
_KINDS = {
    "timeout": Timeout,
    "pool": Pool,
    "quirks": Quirks,
    "tls": TLS,
    "retry": Retry,
    "breaker": Breaker,
    "queue": Queue,
}


class Provider:
    """An OpenAI-compatible host.

    name       how the gateway calls it, in routes, logs and errors.
    base_url   `https://host/v1`, with or without `/v1` and a trailing slash. None = the catalog's, by `type` or `name`.
    api_key    a string, a Secret, or a function (async or not) asked at every request. None = no key is sent. Which
               header carries it is up to the API (providers/entry.py).
    type       a row of the provider catalog, which then gives the base URL, the APIs and the quirks not named here.
    apis       the APIs it speaks: chat, responses, messages, embeddings, images, ...
    timeout    connect, first byte, idle and total limits in seconds.
    headers    sent with every request; they win over what the provider would set.
    base_path  the path that operations stand under at this host (`/v1`, `/openai/v1`, ""), where base_url leaves it out.
    pool       connection reuse.
    quirks     where the host's dialect differs from OpenAI's own.
    dialects   API -> the form in which the host has it, where that is a form of its own: names of DIALECTS.
    tls        the CA, client certificate and trust of an https base_url.
    proxy      the URL of a proxy for every request, or "none"; None = HTTP(S)_PROXY, ALL_PROXY and NO_PROXY count.
    socket     the path of a Unix socket that the host is reached at; base_url then names it in headers only.
    transport  another HTTP client; several providers may share one. The default is a pool of its own.
    api_keys   several keys in place of one: each in turn; one that is refused or at its limit is left alone for a while.
    retry      when it is asked again for one call, for models that say nothing of it.
    breaker    when one of its models is left alone for a while; None = never.
    max_concurrent  how many requests may run there at once, streams until they end; None = any number.
    queue      who waits for a place where there is a `max_concurrent`.

    Raises ValueError for a base URL, a proxy or a dialect that cannot be one, for `api_keys` beside `api_key`, or a `max_concurrent`
    below 1.
    """

    relays = True
    _embeds_contents = True

    def __init__(
        self,
        name: str,
        base_url: str | None = None,
        api_key: KeySource | None = None,
        *,
        type: str | None = None,
        apis: Collection[str] | None = None,
        timeout: Timeout | None = None,
        headers: Mapping[str, str] | None = None,
        base_path: str | None = None,
        pool: Pool | None = None,
        quirks: Quirks | None = None,
        dialects: Mapping[str, str] | None = None,
        tls: TLS | None = None,
        proxy: str | None = None,
        socket: str | None = None,
        transport: Transport | None = None,
        api_keys: Sequence[str | Secret] | None = None,
        retry: Retry | None = None,
        breaker: Breaker | None = None,
        max_concurrent: int | None = None,
        queue: Queue | None = None,
    ) -> None:
        if api_keys is not None and api_key is not None:
            raise ValueError(f"provider {name!r}: give api_key or api_keys, not both")
        if max_concurrent is not None and max_concurrent < 1:
            raise ValueError("max_concurrent must be at least 1")
        _check_kinds(
            name, timeout=timeout, pool=pool, quirks=quirks, tls=tls, retry=retry, breaker=breaker, queue=queue
        )
        row = _catalog_row(name, type, base_url)
        self.name = name
        self.type = row.name if row is not None else None
        known = row.base_url if row is not None and not base_url else None
        self.base_url = join_base(known or base_url or "", "" if known and base_path is None else base_path)
        self.apis: frozenset[str] = frozenset(apis) if apis is not None else (row.apis if row else DEFAULT_APIS)
        self.timeout = timeout or Timeout()
        self.quirks = quirks or _quirks(row, self.base_url)
        spoken = dialects if dialects is not None else row.dialects if row else {}
        if self._embeds_contents and "generate_content" in self.apis and "embeddings" not in self.apis:
            self.apis |= {"embeddings"}  # Google's API has them, in its own form
            spoken = {"embeddings": "gemini", **spoken}
        self._dialects = _dialects(spoken)
        self.keys = KeyRing(api_keys) if api_keys is not None else None
        self.retry = retry
        self.breaker = breaker
        self.max_concurrent = max_concurrent
        self.queue = queue
        self._api_key = Secret(api_key) if isinstance(api_key, str) else api_key
        if self.keys is not None:
            self._api_key = self.keys.pick
        self._headers = {key.lower(): value for key, value in (headers or {}).items()}
        if proxy is not None and proxy != "none":
            # only who names a proxy pays for the import of what reads its URL
            from aigateway.transport.proxy import parse_proxy  # noqa: PLC0415

            parse_proxy(proxy)
            if socket is not None:
                raise ValueError("a provider with a socket is reached through no proxy")
        self._pool = pool
        self._tls = tls
        self._proxy = proxy
        self._socket = socket
        self._transport = transport
        self._owns_transport = transport is None
        self._sockets: WebSocketOpener | None = None
        self._peer = f"Provider '{name}'"
        if isinstance(self._api_key, Secret) and self._api_key.reveal() in ("", "none"):
            self._api_key = None
        has_fixed_key = self._api_key is None or isinstance(self._api_key, Secret)
        kind = self.__class__
        sends = kind.send is Provider.send and kind._located is Provider._located and transport is None  # noqa: SLF001 (its own)
        self._posts = sends and has_fixed_key and not self._dialects
        self._lines: tuple[dict[str, Line], dict[str, Line]] = {}, {}  # of whole answers, and of streams
        self._base = {"accept-encoding": "identity", "user-agent": USER_AGENT}

    def __repr__(self) -> str:
        return f"Provider({self.name!r}, {self.base_url!r})"

    @property
    def origin(self) -> str:
        """Whose encrypted reasoning its Responses hold: as `quirks` say, else made of its host; callers may see it."""
        if self.quirks.origin:
            return self.quirks.origin
        place = urlsplit(self.base_url)
        host = place.hostname or ""
        if host == "api.openai.com" or host.endswith(".api.openai.com"):
            return "openai"
        if self.type is not None and place.netloc == urlsplit(CATALOG[self.type].base_url or "").netloc:
            return self.type
        return "host-" + hashlib.sha256(place.netloc.encode()).hexdigest()[:12]

    def name_origin(self) -> None:
        """Tell its encrypted reasoning from that of other hosts: the registry of models asks for it where there are any."""
        self.quirks = msgspec.structs.replace(self.quirks, origin=self.origin)

    async def send(self, request: ProviderRequest) -> ProviderReply:
        """Send one request and wait for the head of the answer, whatever its status.

        Raises UpstreamConnectionError or UpstreamTimeoutError.
        """
        sent = self.prepared(request)
        key = request.api_key or await reveal(self._api_key)
        headers = self._headers_for(sent, key)
        try:
            reply = await self._open_transport().send(
                HTTPRequest(
                    method=request.method,
                    url=self._base_of(sent.api) + sent.path,
                    headers=headers,
                    body=sent.body if sent.upload is None else sent.upload,
                    timeout=self.timeout,
                    peer=self._peer,
                )
            )
        except UpstreamError as error:
            error.provider = self.name
            raise
        if reply.status >= 400:
            return reply if key is None else _Refusal(reply, key)
        dialect = self._dialects.get(request.api)
        return reply if dialect is None or reply.status >= 300 else dialect.reply(request, reply)

    def _headers_for(self, request: ProviderRequest, key: str | None) -> tuple[tuple[str, str], ...]:
        headers = self._base.copy()
        if request.content_type:
            headers["content-type"] = request.content_type
        headers["accept"] = "text/event-stream" if request.stream else "application/json"
        entry = ENTRIES.get(request.api)
        if entry is not None:
            headers.update(entry.headers)
        given = {} if key is None else self._key_headers(request.api, key)
        headers.update(given)
        headers.update(self._headers)
        if request.api_key is not None:
            headers.update(given)
        if request.headers:
            headers.update({name.lower(): value for name, value in request.headers.items()})
        return tuple(headers.items())

    def _base_of(self, api: str) -> str:
        """The base URL of one of its APIs."""
        entry = ENTRIES.get(api)
        return self.base_url if entry is None else entry.base(self.base_url)

    @property
    def posts(self) -> bool:
        """Whether `post` may take the place of `send`.

        Not where a subclass, a dialect, or a transport of the user's has its say, nor where the key may change.
        """
        return self._posts

    def post(self, api: str, path: str, body: bytes, *, stream: bool = False) -> Awaitable[PostedReply]:
        """See Posting."""
        line = self._lines[stream].get(path)
        return self._first_post(api, path, body, stream=stream) if line is None else line.post(body)

    async def _first_post(self, api: str, path: str, body: bytes, *, stream: bool) -> PostedReply:
        request = ProviderRequest(api=api, path=path, model="", body=b"", stream=stream)
        return await self._new_line(request, await reveal(self._api_key)).post(body)

    async def guarded(self, reply: ProviderReply) -> ProviderReply:
        """See Posting."""
        key = await reveal(self._api_key)
        return reply if key is None else _Refusal(reply, key)

    def _new_line(self, request: ProviderRequest, key: str | None) -> Line:
        url, headers = self._base_of(request.api) + request.path, self._headers_for(request, key)
        line = cast("PooledTransport", self._open_transport()).line(
            HTTPRequest(method="POST", url=url, headers=headers, timeout=self.timeout, peer=self._peer)
        )
        self._lines[request.stream][request.path] = line
        return line

    async def connect(self, request: ConnectRequest) -> WebSocket:
        """Open a WebSocket. Of the timeouts `connect` and `first_byte` count.

        Raises UpstreamConnectionError, -ProtocolError or -TimeoutError, and HandshakeRefusedError with what the upstream
        answered in its place.
        """
        key = request.api_key or await reveal(self._api_key)
        given = {} if key is None else self._key_headers(request.api, key)
        headers = {"user-agent": USER_AGENT} | given | self._headers
        if request.api_key is not None:
            headers |= given
        headers |= {name.lower(): value for name, value in request.headers.items()}
        try:
            return await self._open_sockets().connect(
                WebSocketRequest(
                    url=self.base_url + self._session_path(request),
                    headers=list(headers.items()),
                    subprotocols=request.subprotocols,
                    timeout=self.timeout,
                    max_message=request.max_message,
                    peer=self._peer,
                )
            )
        except HandshakeRefusedError as error:
            error.provider = self.name
            if key is not None:
                error.reply = _Refusal(error.reply, key)
            raise
        except UpstreamError as error:
            error.provider = self.name
            raise

    async def open(self) -> None:
        """Load what sends: a server that runs out of file descriptors before its first request could not do it then."""
        self._open_transport()

    def prepared(self, request: ProviderRequest) -> ProviderRequest:
        """The request as it is sent: its path below the base URL and its body in the host's own form.

        Raises InvalidRequestError or UnsupportedError for what the host cannot be told.
        """
        dialect = self._dialects.get(request.api)
        return self._located(request if dialect is None else dialect.request(request))

    def _located(self, request: ProviderRequest) -> ProviderRequest:
        """The request at the place where this host has it."""
        return request

    def _session_path(self, request: ConnectRequest) -> str:
        """Where a WebSocket is opened, below the base URL and with its query."""
        return request.path + (f"?{urlencode(request.query)}" if request.query else "")

    def _key_headers(self, api: str, key: str) -> dict[str, str]:
        """The headers that carry the key."""
        entry = ENTRIES.get(api)
        return bearer(key, "") if entry is None else entry.key_headers(key, self.base_url)

    async def aclose(self) -> None:
        """Close the connections of its own pool."""
        for lines in self._lines:
            lines.clear()
        if self._transport is not None and self._owns_transport:
            await self._transport.aclose()

    def connections(self) -> dict[str, int]:
        """How many connections of its own pool are `busy` and `idle`, and the bytes `sent` and `received` so far."""
        count = getattr(self._transport, "connections", None) if self._owns_transport else None
        return count() if count is not None else {}

    def _open_transport(self) -> Transport:
        if self._transport is None:
            # only who sends pays for the import of the wire
            from aigateway.transport.pool import PooledTransport  # noqa: PLC0415

            self._transport = PooledTransport(self._pool, tls=self._tls, proxy=self._proxy, socket=self._socket)
        return self._transport

    def _open_sockets(self) -> WebSocketOpener:
        if self._sockets is None:
            # only who opens a session pays for the import
            from aigateway.transport.websocket import WebSocketClient  # noqa: PLC0415

            self._sockets = WebSocketClient(tls=self._tls, proxy=self._proxy)
        return self._sockets


class _Refusal:
    """A refusal without the key that it may repeat: it is ours, and its reader is the caller."""

    def __init__(self, reply: ProviderReply, key: str) -> None:
        self.status = reply.status
        self.headers = reply.headers
        self._reply = reply
        self._key = key.encode() if len(key) >= _KEY_MIN else None

    async def read(self) -> bytes:
        body = await self._reply.read()
        return body if self._key is None else body.replace(self._key, b"***")

    def stream(self) -> AsyncIterator[bytes]:
        return self._reply.stream()

    async def aclose(self) -> None:
        await self._reply.aclose()


def _dialects(names: Mapping[str, str]) -> Mapping[str, Dialect]:
    if not names:
        return {}
    # only hosts with a form of their own pay for the import
    from aigateway.providers.dialects import dialects_named  # noqa: PLC0415

    return dialects_named(names)


def _check_kinds(provider: str, **options: object) -> None:
    """A dict, as a configuration file has it, would fail at the first request."""
    for option, value in options.items():
        kind = _KINDS[option]
        if value is not None and not isinstance(value, kind):
            raise TypeError(
                f"provider {provider!r}: {option} is a {kind.__name__}(...) of aigateway, not a {type(value).__name__}"
            )


def _catalog_row(name: str, type: str | None, base_url: str | None) -> CatalogRow | None:
    if type is not None:
        row = CATALOG.get(type)
        if row is None:
            raise ValueError(f"unknown provider type {type!r}; known: {', '.join(CATALOG)}")
    else:
        row = None if base_url else CATALOG.get(name)
    if base_url is None and (row is None or row.base_url is None):
        raise ValueError(f"provider {name!r} needs a base_url: the catalog has none for it")
    return row


def _quirks(row: CatalogRow | None, base_url: str) -> Quirks:
    """A hosted row's quirks are facts of its own host; another host behind the same type is one that nobody knows."""
    if row is not None and (row.base_url is None or row.base_url.startswith("http://")):
        return row.quirks
    host = urlsplit(base_url).hostname
    for known in CATALOG.values():
        if (
            known.base_url is not None
            and known.base_url.startswith("https")
            and urlsplit(known.base_url).hostname == host
        ):
            return known.quirks
    return row.quirks if row is not None and row.name != "openai" else Quirks()


def join_base(base_url: str, base_path: str | None) -> str:
    """The URL that operation paths are appended to, without a trailing slash.

    No path in it: `/v1` is added. `base_path` is added unless the URL ends in it already; "" adds nothing.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"base_url must be an http or https URL, not {base_url!r}")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("base_url must not carry credentials, a query or a fragment")
    if parts.port == 0:  # reading it raises ValueError for what is no port at all
        raise ValueError("base_url must not name port 0")
    path = parts.path.rstrip("/")
    for operation in _OPERATIONS:
        if path.endswith(operation):
            raise ValueError(f"base_url must end before the operation: leave out {operation!r}")
    wanted = base_path.strip("/") if base_path is not None else ("v1" if not path else "")
    if wanted and not path.endswith(f"/{wanted}"):
        path = f"{path}/{wanted}"
    return f"{parts.scheme}://{parts.netloc}{path}"
