"""The gateway as an ASGI application: serve it, or mount it in another one under any prefix."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

from aigateway import _json
from aigateway.answer import JSON_TYPE, Answer
from aigateway.app.cors import CORS
from aigateway.app.delivery import LEAVING, WRITING, Delivery, id_headers
from aigateway.app.websocket import WEBSOCKETS, ClientSocket, Offer, is_foreign, serve_session
from aigateway.call import Call, OnUnsupported
from aigateway.errors import (
    GatewayError,
    MethodNotAllowedError,
    NotFoundError,
    PermissionDeniedError,
    UpgradeRequiredError,
)
from aigateway.exchange import Exchange
from aigateway.formats import FORMATS, KEY_HEADERS, render_error, spoken
from aigateway.formats.protocol import Profile
from aigateway.gateway import Journey
from aigateway.ids import request_id
from aigateway.intake import Limits
from aigateway.metrics import Metrics
from aigateway.models import Models, Resolver, Where
from aigateway.providers.protocol import ProviderLike
from aigateway.surface import OPERATIONS, Operation
from aigateway.surface.routes import EXACT, GENERATING, Methods, match, parameters_of, unknown

if TYPE_CHECKING:
    from aigateway.app.turn import Turn
    from aigateway.state.protocol import ResponseStore
    from aigateway.state.state import StateSettings

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

logger = logging.getLogger("aigateway")

_KEYS = ("authorization", *KEY_HEADERS["models"])
_NO_WEBSOCKET = UpgradeRequiredError("This path is served over HTTP only; no WebSocket is spoken here.")


_NO_HANDSHAKE = UpgradeRequiredError(
    "This path speaks WebSocket only: open it with a WebSocket handshake of version 13 (`ws://`, `wss://`), at a server "
    "that can do it.",
    headers={"Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
)


class Gateway(Journey):
    """A programmable gateway to language models, and an ASGI application.

    models     name -> provider, Target, or several in order; or a ready `Models`.
    providers  a shorthand: names that no entry of `models` matches go to the first of these.
    hooks      in order; each an object with some of the methods of `Hook`.
    resolver   chooses targets by anything in the call, before the registry is asked.
    limits     on what callers may send.
    on_unsupported  what becomes of a call that its target cannot be told in full, where neither the target nor the
                    call itself says: `warn`, `drop` or `reject`.
    profile    the dialect in which callers of Responses are answered by translation: `openai` or `open_responses`.
    default_provider  where calls go that name no model (files, batches, ...): one provider, or API -> provider (`"*"`
               for the others). None = the only provider that offers the API, if there is one.
    cors       lets pages in browsers call; None = no CORS headers.
    state      where responses, conversations and stored completions are kept; "memory" = in this process, bounded;
               None = nowhere, and what is asked of them is passed on.
    state_settings  for how long, and what becomes of calls while the store is down.
    metrics    counts the calls, and shows the numbers at `/metrics`; None = nobody does.

    Nothing is opened before the first request; `aclose()` (or `async with`, or the ASGI lifespan) closes everything.
    """

    def __init__(
        self,
        *,
        models: Models | Mapping[str, Where] | None = None,
        providers: Iterable[ProviderLike] = (),
        hooks: Iterable[object] = (),
        resolver: Resolver | None = None,
        limits: Limits | None = None,
        on_unsupported: OnUnsupported = "warn",
        profile: Profile = "openai",
        default_provider: ProviderLike | Mapping[str, ProviderLike] | None = None,
        cors: CORS | None = None,
        state: ResponseStore | Literal["memory"] | None = "memory",
        state_settings: StateSettings | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        super().__init__(
            models=models,
            providers=providers,
            hooks=hooks,
            resolver=resolver,
            limits=limits,
            on_unsupported=on_unsupported,
            profile=profile,
            default_provider=default_provider,
            state=state,
            state_settings=state_settings,
            metrics=metrics,
        )
        self.cors = cors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                try:
                    await self.aclose()
                except Exception as error:
                    logger.exception("closing the gateway failed")
                    await send({"type": "lifespan.shutdown.failed", "message": type(error).__name__})
                    return
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, extensions = _named(scope["headers"]), scope.get("extensions") or {}
        offer = Offer(scope.get("subprotocols") or ())
        if "sec-websocket-protocol" in headers:
            headers["sec-websocket-protocol"] = ", ".join(offer.kept)
        socket = ClientSocket(receive, send, extensions, extensions.get(LEAVING))
        if not await socket.arrived():
            return
        operation, origin = WEBSOCKETS.get(route_path(scope)), headers.get("origin", "")
        if operation == "responses" and not self.keeps_state:
            operation = None
        error: GatewayError | None = _NO_WEBSOCKET if operation is None else None
        if is_foreign(headers) and not self.authenticates and not (self.cors is not None and self.cors.allows(origin)):
            # nothing but CORS keeps pages from a gateway that asks nobody for a key, and it knows no WebSockets
            error = error or PermissionDeniedError("Pages of this origin may not open a WebSocket here (see `cors`).")
        if error is not None or operation is None:
            api = spoken(unknown(route_path(scope)).api, headers)
            body = _json.encode(render_error(api, error or _NO_WEBSOCKET)[1])
            shown = [JSON_TYPE, ("x-request-id", request_id(headers))]
            if operation is None:
                shown.append(("upgrade", "HTTP/1.1"))
            await socket.refuse(Answer((error or _NO_WEBSOCKET).status, shown, body))
            return
        client = scope.get("client")
        session = self.session(
            operation,
            headers,
            query=scope.get("query_string", b"").decode("latin-1"),
            subprotocols=offer.kept,
            api_key=_api_key(headers, "realtime") or offer.key,
            client=client[0] if client else "",
        )
        await serve_session(socket, session)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _named(scope["headers"])
        origin = headers.get("origin")
        cors = [] if self.cors is None else self.cors.response_headers(origin)
        extensions = scope.get("extensions") or {}
        delivery = Delivery(
            receive,
            send,
            self.limits,
            headers,
            head_only=scope["method"] == "HEAD",
            leaving=extensions.get(LEAVING),
            writing=extensions.pop(WRITING, None),
        )
        if self.cors is not None and origin is not None and _is_preflight(scope, headers):
            granted = self.cors.preflight(headers)
            await delivery.send(Answer(204, [("x-request-id", request_id(headers)), *granted]))
            return
        path, method = route_path(scope), "GET" if scope["method"] == "HEAD" else scope["method"]
        if path == "/health" and method == "GET" and not _asks_for_all(scope):
            shown = [JSON_TYPE, ("x-request-id", request_id(headers)), *cors]
            await delivery.send(Answer(200, shown, b'{"status":"ok"}'))
            return
        if headers.get("upgrade", "").lower() == "websocket":
            api, error = spoken(unknown(path).api, headers), _NO_HANDSHAKE if path in WEBSOCKETS else _NO_WEBSOCKET
            body = _json.encode(render_error(api, error)[1])
            shown = [JSON_TYPE, ("x-request-id", request_id(headers)), ("upgrade", "HTTP/1.1"), *cors]
            await delivery.send(Answer(426, shown, body))
            return
        operation, parameters, served = self._find(scope, path, method)
        client = scope.get("client")
        api = OPERATIONS[operation].api
        caller = spoken(api, headers)
        key_asked, query = _query(scope, caller)
        key = _api_key(headers, api if api in KEY_HEADERS else caller, *key_asked)
        exchange = self.exchange(operation, headers, api_key=key, client=client[0] if client else "")
        if parameters:
            exchange.call.parameters = parameters
        if query:
            exchange.call.query = query
        extra = [*id_headers(exchange.call, caller), *cors]
        await delivery.answer(exchange, extra, None if served is None else lambda: served(exchange.call))

    @property
    def direct(self) -> Mapping[bytes, Operation]:
        """The URLs whose requests `begun` takes: none where something of the caller's own stands around `__call__`."""
        return GENERATING if self.cors is None and type(self).__call__ is Gateway.__call__ else {}

    def begun(self, turn: Turn) -> Exchange:
        """The call of a request that came whole, past ASGI."""
        head, client = turn.head, turn.client
        if head is None or head.headers is None:
            headers = _named(turn.headers)
            key = _api_key(headers, turn.operation.api)
            if head is not None:
                head.headers, head.key = headers.copy(), key
        else:
            headers, key = head.headers.copy(), head.key
        name, address = turn.operation.name, client[0] if client else ""
        return self.exchange(name, headers, api_key=key, client=address, body=turn.body)

    def _find(
        self, scope: Scope, path: str, method: str
    ) -> tuple[str, dict[str, str], Callable[[Call], dict[str, Any] | Answer] | None]:
        """The operation of a path with the path's parameters, and what serves it where that is the gateway itself."""
        methods: Methods | None = EXACT.get(path)
        parameters: dict[str, str] = {}
        if methods is not None:
            operation = methods.get(method)
        else:
            segments = _segments(scope, path)
            methods = match(segments)
            operation = methods.get(method) if methods is not None else None
            parameters = parameters_of(operation, segments) if operation is not None else {}
        if operation is None:
            return _refusal(methods, path, method)
        if operation.kind == "session":
            return operation.name, parameters, _raising(_NO_HANDSHAKE)
        if operation.kind != "served":
            return operation.name, parameters, None
        if operation.name == "models":
            return operation.name, parameters, self.listed
        if operation.name == "health":
            return operation.name, parameters, self.health
        if operation.name == "metrics":
            return operation.name, parameters, self.scraped
        if operation.name == "generate_content.models":
            return operation.name, parameters, self.listed_for_google
        if operation.name == "generate_content.models.retrieve":
            return operation.name, parameters, lambda call: self.retrieved_for_google(call, parameters["model"])
        return operation.name, parameters, lambda call: self.retrieved(call, parameters["model"])


def _refusal(
    methods: Methods | None, path: str, method: str
) -> tuple[str, dict[str, str], Callable[[Call], dict[str, Any]]]:
    """A path that nobody knows, or not with this method."""
    if not methods:
        text = f"Not found: this gateway serves no {method} at this path."
        return unknown(path).name, {}, _raising(NotFoundError(text, code="not_found"))
    allowed = ", ".join(sorted({*methods, *(("HEAD",) if "GET" in methods else ())}))
    error = MethodNotAllowedError(
        f"The method {method} is not allowed here; use {allowed}.", headers={"Allow": allowed}
    )
    return next(iter(methods.values())).name, {}, _raising(error)


def _raising(error: GatewayError) -> Callable[[Call], dict[str, Any]]:
    def serve(_: Call) -> dict[str, Any]:
        raise error

    return serve


def route_path(scope: Scope) -> str:
    """The path below `/v1`, whatever prefix the gateway is mounted under; `/?` and the path for any other."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :]
    if path.startswith("/v1/"):
        return path[3:]
    if path in ("/health", "/metrics") or root.endswith("/v1"):
        return path
    return f"/?{path}"


def _segments(scope: Scope, path: str) -> list[str]:
    """The decoded segments of a path below `/v1`: cut where the caller wrote a slash, not where he encoded one."""
    raw: bytes | None = scope.get("raw_path")
    if raw is None:
        return path.split("/")[1:]
    segments = raw.partition(b"?")[0].decode("latin-1").split("/")
    mark, inner = ["?"] if path.startswith("/?/") else [], path.removeprefix("/?")
    below = scope["path"].count("/") - inner.count("/")  # what stands before it: the prefix of a mount, and `/v1`
    return mark + [unquote(segment) for segment in segments[1 + below :]]


def _named(pairs: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by name, in lower case. Of repeated ones the last counts, but none of several keys: who has read which?"""
    if not pairs:
        return {}
    names, values = zip(*pairs, strict=True)
    texts = b"\n".join(values).decode("latin-1").split("\n")
    keys = b"\n".join(names).decode("latin-1").lower().split("\n")
    headers = dict(zip(keys, texts, strict=False))
    if len(texts) != len(values):  # one has a line break in it
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in pairs}
    if len(headers) < len(pairs) and any(keys.count(name) > 1 for name in _KEYS):
        for name in _KEYS:
            headers.pop(name, None)
    return headers


def _asks_for_all(scope: Scope) -> bool:
    query: bytes = scope.get("query_string", b"")
    return bool(query) and any(part.partition(b"=")[0] == b"full" for part in query.split(b"&"))


def _is_preflight(scope: Scope, headers: Mapping[str, str]) -> bool:
    return bool(scope["method"] == "OPTIONS") and "access-control-request-method" in headers


def _query(scope: Scope, api: str) -> tuple[list[str], str]:
    """The keys that a caller of this API wrote into the query; and the query without them, for nobody else sees them."""
    raw: bytes = scope.get("query_string", b"")
    form = FORMATS.get(api) if raw else None
    query = raw.decode("latin-1")
    if form is None or not form.key_query:
        return [], query
    mark = f"{form.key_query}="
    pairs = query.split("&")
    keys = [unquote(pair[len(mark) :]) for pair in pairs if pair.startswith(mark)]
    return keys, "&".join(pair for pair in pairs if not pair.startswith(mark))


def _api_key(headers: Mapping[str, str], api: str, *asked: str) -> str | None:
    """The caller's key: `Authorization: Bearer KEY`, or what the API has in its place. Of several different ones none.

    asked: those that stood elsewhere.
    """
    scheme, _, key = headers.get("authorization", "").partition(" ")
    bearer = key.strip() or None if scheme.lower() == "bearer" else None
    own = KEY_HEADERS.get(api)
    if own is None:
        return bearer
    keys = {bearer, *(headers.get(name, "").strip() or None for name in own), *(key or None for key in asked)} - {None}
    return keys.pop() if len(keys) == 1 else None
