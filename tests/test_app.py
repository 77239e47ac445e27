"""The gateway as an ASGI application: where it is mounted, what it answers by itself, and the ids on every answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import msgspec
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import Mount

from aigateway import APIKeyAuthenticator, Gateway, Provider
from aigateway.testing import ScriptedUpstream
from tests.answers import CHAT_REQUEST, REQUESTS, stream, whole
from tests.faults import ERROR_KEYS, PATHS, Outcomes, plain_error
from tests.serving import served

Message = MutableMapping[str, Any]

PREFIXES = ["", "/", "/ai", "/v1", "/a/b"]
each_prefix = pytest.mark.parametrize("prefix", PREFIXES, ids=[prefix or "none" for prefix in PREFIXES])


class Got(NamedTuple):
    status: int
    headers: Any
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


async def ask(url: str, method: str = "GET", body: Any = None, **headers: str) -> Got:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    data = None if body is None else msgspec.json.encode(body)
    async with aiohttp.ClientSession() as session, session.request(method, url, data=data, headers=sent) as reply:
        return Got(reply.status, reply.headers, await reply.read())


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as upstream:
        upstream.script(whole("chat"))
        yield upstream


@pytest.fixture
def gateway(upstream: ScriptedUpstream) -> Gateway:
    return Gateway(models={"gpt": Provider("acme", upstream.base_url, apis=["chat"])})


@pytest.fixture
async def url(gateway: Gateway) -> AsyncIterator[str]:
    async with served(gateway) as url:
        yield url


# where it stands


def in_starlette(prefix: str, gateway: Gateway) -> Any:
    return Starlette(routes=[Mount(prefix, gateway)])


def in_fastapi(prefix: str, gateway: Gateway) -> Any:
    app = FastAPI()
    app.mount(prefix, gateway)
    return app


@each_prefix
@pytest.mark.parametrize("mounted", [in_starlette, in_fastapi])
async def test_mounted_under_any_prefix_and_without_lifespan_it_serves(
    gateway: Gateway, prefix: str, mounted: Callable[[str, Gateway], Any]
) -> None:
    async with served(_closing(mounted(prefix, gateway), gateway)) as base:
        root = base + prefix.rstrip("/")
        api = root if prefix == "/v1" else f"{root}/v1"
        reply = await ask(f"{api}/chat/completions", "POST", CHAT_REQUEST)
        assert (reply.status, reply.json()["model"]) == (200, "gpt")
        responded = await ask(f"{api}/responses", "POST", REQUESTS["responses"])
        assert responded.json()["output"][0]["content"][0]["text"] == "Hello there"
        assert (await ask(f"{root}/health")).json() == {"status": "ok"}
        assert (await ask(f"{api}/models/gpt")).json()["id"] == "gpt"
        assert (await ask(f"{api}/models")).json()["data"][0]["id"] == "gpt"
        unknown = await ask(f"{api}/nothing", "POST", {})
        assert (unknown.status, set(unknown.json()["error"])) == (404, ERROR_KEYS)
        assert (await ask(f"{api}/embeddings")).headers["allow"] == "POST"


def _closing(app: Any, gateway: Gateway) -> Any:
    """The application; a mounted gateway sees no lifespan, whoever mounts it closes it."""

    async def closing(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)
        if scope["type"] == "lifespan":
            await gateway.aclose()

    return closing


async def test_several_gateways_share_a_process_and_nothing_else(upstream: ScriptedUpstream) -> None:
    async with ScriptedUpstream() as other:
        other.script(whole("chat"))
        first = Gateway(models={"a": Provider("acme", upstream.base_url)}, hooks=[APIKeyAuthenticator({"key-1": "t"})])
        second = Gateway(models={"b": Provider("bmce", other.base_url)})

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            async with first, second:
                yield

        app = Starlette(routes=[Mount("/one", first), Mount("/two", second)], lifespan=lifespan)
        async with served(app) as base:
            assert (await ask(f"{base}/one/v1/chat/completions", "POST", {**CHAT_REQUEST, "model": "a"})).status == 401
            ask_a = await ask(
                f"{base}/one/v1/chat/completions", "POST", {**CHAT_REQUEST, "model": "a"}, authorization="Bearer key-1"
            )
            ask_b = await ask(f"{base}/two/v1/chat/completions", "POST", {**CHAT_REQUEST, "model": "b"})
            assert (ask_a.status, ask_b.status) == (200, 200)
            wrong = await ask(f"{base}/two/v1/chat/completions", "POST", {**CHAT_REQUEST, "model": "a"})
            assert wrong.json()["error"]["code"] == "model_not_found"
        assert (len(upstream.requests), len(other.requests)) == (1, 1)


async def test_middleware_around_it_changes_no_outcome(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    """Middleware that buffers takes its time with the last message, and the server then says that the caller has gone."""
    outcomes = Outcomes()
    gateway.add_hook(outcomes)

    async def passing(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    middleware = [Middleware(BaseHTTPMiddleware, dispatch=passing)] * 2
    app = Starlette(routes=[Mount("/", gateway)], middleware=middleware)
    async with served(_closing(app, gateway)) as base:
        for streams in (False, True) * 5:
            upstream.script(stream("chat") if streams else whole("chat"))
            reply = await ask(f"{base}/v1/chat/completions", "POST", {**CHAT_REQUEST, "stream": streams})
            assert reply.status == 200
    assert [call.outcome for call in outcomes.calls] == ["completed"] * 10


async def test_lifespan_closes_the_providers_and_only_then() -> None:
    closed: list[str] = []

    class Closing:
        name = "closing"
        apis = frozenset({"chat"})

        async def send(self, request: Any) -> Any:
            raise NotImplementedError

        async def aclose(self) -> None:
            closed.append("closed")

    async with served(Gateway(providers=[Closing()])) as base:
        assert (await ask(f"{base}/health")).status == 200
        assert closed == []
    assert closed == ["closed"]


async def test_lifespan_tells_that_closing_failed() -> None:
    class Failing:
        name = "failing"
        apis = frozenset({"chat"})

        async def send(self, request: Any) -> Any:
            raise NotImplementedError

        async def aclose(self) -> None:
            raise ValueError("secret")

    inbox = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[Message] = []

    async def receive() -> Message:
        return inbox.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    await Gateway(providers=[Failing()])({"type": "lifespan"}, receive, send)
    assert sent == [
        {"type": "lifespan.startup.complete"},
        {"type": "lifespan.shutdown.failed", "message": "ValueError"},
    ]


# what it answers by itself


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/health", "/v1/models", "/v1/models/gpt"])
async def test_head_is_get_without_the_body(url: str, path: str, method: str) -> None:
    reply = await ask(url + path, method)
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert int(reply.headers["content-length"]) > 10
    assert bool(reply.body) == (method == "GET")


METHODS = [
    *(
        (method, path, "GET, HEAD, POST" if "chat" in path else "POST")
        for path in PATHS.values()
        for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS")
        if "chat" not in path or method not in ("GET", "HEAD")
    ),
    *((method, "/v1/models", "GET, HEAD") for method in ("POST", "PUT", "DELETE")),
    *((method, "/v1/models/gpt", "DELETE, GET, HEAD") for method in ("POST", "PUT", "PATCH")),
    ("PUT", "/v1/files/file-1", "DELETE, GET, HEAD"),
    ("GET", "/v1/uploads/upload-1/parts", "POST"),
    ("POST", "/health", "GET, HEAD"),
]


@pytest.mark.parametrize(("method", "path", "allow"), METHODS, ids=[f"{method} {path}" for method, path, _ in METHODS])
async def test_wrong_method_is_a_405_that_names_the_right_ones(url: str, method: str, path: str, allow: str) -> None:
    reply = await ask(url + path, method)
    assert reply.status == 405
    assert reply.headers["allow"] == allow
    assert "x-request-id" in reply.headers
    if method != "HEAD":
        error = plain_error(reply.json()["error"])
        assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "method_not_allowed", None)
        assert set(error) == ERROR_KEYS


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/",
        "/v2/chat/completions",
        "/chat/completions",
        "/v1/chat",
        "/v1/responses/x/y",
        "/v1/files/",
        "/v1/files//content",
        "/v1/models/",
        "/favicon.ico",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_unknown_path_is_a_404(url: str, path: str, method: str) -> None:
    reply = await ask(url + path, method)
    assert reply.status == 404
    error = reply.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "not_found", None)
    assert set(error) == ERROR_KEYS


PLACES = [
    ("GET", "/health", 200),
    ("GET", "/v1/models", 200),
    ("GET", "/v1/models/none", 404),
    ("POST", "/v1/chat/completions", 400),
    ("GET", "/v1/embeddings", 405),
    ("POST", "/nowhere", 404),
]


@pytest.mark.parametrize(("method", "path", "status"), PLACES, ids=[f"{method} {path}" for method, path, _ in PLACES])
@pytest.mark.parametrize(
    ("sent", "echoed"),
    [
        ("abc-DEF_1.2:3", True),
        ("a" * 128, True),
        ("a" * 129, False),
        ("with space", False),
        ("<script>", False),
        ("naïve", False),
        ("", False),
    ],
    ids=["sane", "128 long", "129 long", "with a space", "markup", "not ASCII", "empty"],
)
async def test_request_id_is_the_callers_if_it_is_sane(
    url: str, method: str, path: str, status: int, sent: str, echoed: bool
) -> None:
    reply = await ask(url + path, method, {} if method == "POST" else None, x_request_id=sent)
    assert reply.status == status
    assert len(reply.headers.getall("x-request-id")) == 1
    got = reply.headers["x-request-id"]
    assert (got == sent) == echoed
    assert echoed or (got.startswith("req_") and len(got) == 36)


async def test_request_ids_of_ours_differ(url: str) -> None:
    assert len({(await ask(f"{url}/health")).headers["x-request-id"] for _ in range(5)}) == 5


# WebSocket


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/realtime", "/v1/nothing"])
async def test_websocket_upgrade_over_http_is_a_426(path: str) -> None:
    handshake = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec_websocket_version": "13",
        "sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ==",
        "x_request_id": "mine",
    }
    async with served(Gateway(), http="httptools") as url:  # a server that knows no WebSocket
        reply = await asyncio.wait_for(ask(url + path, **handshake), 2)
    assert reply.status == 426
    assert reply.headers["upgrade"]
    assert reply.headers["x-request-id"] == "mine"
    assert reply.json()["error"]["code"] == "upgrade_required"
    assert set(reply.json()["error"]) == ERROR_KEYS


async def websocket(gateway: Gateway, extensions: dict[str, Any] | None) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Message = {"type": "websocket", "path": "/v1/embeddings", "headers": [(b"x-request-id", b"mine")]}
    if extensions is not None:
        scope["extensions"] = extensions
    await gateway(scope, receive, send)
    return sent


async def test_websocket_scope_is_answered_426_where_the_server_can(gateway: Gateway) -> None:
    start, body = await websocket(gateway, {"websocket.http.response": {}})
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 426)
    assert dict(start["headers"])[b"x-request-id"] == b"mine"
    assert body["type"] == "websocket.http.response.body"
    assert msgspec.json.decode(body["body"])["error"]["code"] == "upgrade_required"


@pytest.mark.parametrize("extensions", [None, {}], ids=["no extensions", "other extensions"])
async def test_websocket_scope_is_refused_where_the_server_can_say_no_more(
    gateway: Gateway, extensions: dict[str, Any] | None
) -> None:
    assert [message["type"] for message in await websocket(gateway, extensions)] == ["websocket.close"]


# models


async def test_models_are_listed_with_a_stable_created(url: str, gateway: Gateway, upstream: ScriptedUpstream) -> None:
    gateway.models.register("claude", gateway.providers()[0], owned_by="them", created=12)
    gateway.models.register("ft-*", gateway.providers()[0])
    listed = await ask(f"{url}/v1/models")
    assert listed.json() == (await ask(f"{url}/v1/models")).json()
    claude, gpt = listed.json()["data"]
    assert listed.json()["object"] == "list"
    assert claude == {"id": "claude", "object": "model", "created": 12, "owned_by": "them"}
    assert (gpt["id"], gpt["object"]) == ("gpt", "model")
    assert (await ask(f"{url}/v1/models/gpt")).json() == gpt
    assert (await ask(f"{url}/v1/models/ft-mine")).json()["id"] == "ft-mine"
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("org/llama-3", "org/llama-3"),
        ("org/llama-3", "org%2Fllama-3"),
        ("a b", "a%20b"),
        ("größe", "gr%C3%B6%C3%9Fe"),
        ("50%41", "50%2541"),
        ("x:free", "x:free"),
    ],
    ids=["slash", "encoded slash", "space", "UTF-8", "percent", "colon"],
)
async def test_models_of_any_name_are_found(url: str, gateway: Gateway, name: str, path: str) -> None:
    gateway.models.register(name, gateway.providers()[0])
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET /v1/models/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.read(), 2)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert msgspec.json.decode(body)["id"] == name


async def test_model_that_is_not_there_is_a_404(url: str) -> None:
    reply = await ask(f"{url}/v1/models/none")
    assert reply.status == 404
    assert reply.json()["error"]["code"] == "model_not_found"
    assert "'none'" in reply.json()["error"]["message"]


async def test_tenants_see_and_use_only_their_models(gateway: Gateway, upstream: ScriptedUpstream) -> None:
    gateway.models.register("secret", gateway.providers()[0], tenants=["a"])
    gateway.add_hook(APIKeyAuthenticator({"key-a": "a", "key-b": "b"}))
    async with served(gateway) as url:
        for key, names in (("key-a", ["gpt", "secret"]), ("key-b", ["gpt"])):
            bearer = f"Bearer {key}"
            listed = (await ask(f"{url}/v1/models", authorization=bearer)).json()["data"]
            assert [model["id"] for model in listed] == names
            found = 200 if "secret" in names else 404
            assert (await ask(f"{url}/v1/models/secret", authorization=bearer)).status == found
            body = {**CHAT_REQUEST, "model": "secret"}
            assert (await ask(f"{url}/v1/chat/completions", "POST", body, authorization=bearer)).status == found
        assert (await ask(f"{url}/v1/models")).status == 401
    assert len(upstream.requests) == 1
