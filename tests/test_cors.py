"""Cross-origin requests: what a browser needs to see, and what it must not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest

from aigateway import CORS, APIKeyAuthenticator, Gateway, Provider
from aigateway.testing import Script, ScriptedUpstream
from tests.answers import CHAT_REQUEST, stream, whole
from tests.faults import PATHS
from tests.serving import served

PAGE = "https://app.example"
STRANGER = "https://evil.example"
OPEN = CORS()
NAMED = CORS(origins=(PAGE, "https://two.example"), headers=("authorization", "content-type"), max_age=60)
CREDENTIALS = CORS(origins=(PAGE,), credentials=True)

Ask = Callable[..., AbstractAsyncContextManager[aiohttp.ClientResponse]]


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as upstream:
        upstream.script(whole("chat"))
        yield upstream


@asynccontextmanager
async def asking(upstream: ScriptedUpstream, cors: CORS | None) -> AsyncIterator[Ask]:
    """How to ask a gateway that knows one key."""
    gateway = Gateway(
        models={"gpt": Provider("acme", upstream.base_url, apis=["chat"])},
        hooks=[APIKeyAuthenticator({"key": "t"})],
        cors=cors,
    )
    async with served(gateway) as url, aiohttp.ClientSession() as session:

        def ask(method: str, path: str, *, origin: str | None = None, body: Any = None, **headers: str) -> Any:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            if origin is not None:
                sent["origin"] = origin
            data = None if body is None else msgspec.json.encode(body)
            return session.request(method, url + path, headers=sent, data=data)

        yield ask


def granted(reply: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in reply.headers.items() if name.lower().startswith("access-control")}


async def test_without_cors_no_page_is_told_anything(upstream: ScriptedUpstream) -> None:
    async with asking(upstream, None) as ask:
        async with ask("GET", "/health", origin=PAGE) as reply:
            assert granted(reply) == {}
            assert "vary" not in reply.headers
        async with ask("OPTIONS", PATHS["chat"], origin=PAGE, access_control_request_method="POST") as reply:
            assert reply.status == 401
            assert granted(reply) == {}


@pytest.mark.parametrize("path", ["/health", "/v1/models", PATHS["chat"], "/v1/nothing", "/nowhere"])
@pytest.mark.parametrize("cors", [OPEN, NAMED, CREDENTIALS], ids=["any origin", "named", "credentials"])
async def test_preflight_is_answered_before_authentication(upstream: ScriptedUpstream, cors: CORS, path: str) -> None:
    asked = {"access_control_request_method": "POST", "access_control_request_headers": "authorization, x-stainless-os"}
    async with asking(upstream, cors) as ask, ask("OPTIONS", path, origin=PAGE, **asked) as reply:
        assert reply.status == 204
        assert await reply.read() == b""
        assert "content-length" not in reply.headers
        assert "x-request-id" in reply.headers
        shown = granted(reply)
        assert shown["access-control-allow-origin"] == ("*" if cors is OPEN else PAGE)
        assert "POST" in shown["access-control-allow-methods"].split(", ")
        wanted = "authorization, content-type" if cors is NAMED else "authorization, x-stainless-os"
        assert shown["access-control-allow-headers"] == wanted
        assert shown["access-control-max-age"] == str(cors.max_age)
        assert shown.get("access-control-allow-credentials") == ("true" if cors is CREDENTIALS else None)
        assert "access-control-expose-headers" not in shown, "means nothing on a preflight"
        assert "Origin" in reply.headers["vary"]
    assert upstream.requests == []


async def test_preflight_of_a_stranger_grants_nothing_and_runs_nothing(upstream: ScriptedUpstream) -> None:
    async with (
        asking(upstream, NAMED) as ask,
        ask("OPTIONS", PATHS["chat"], origin=STRANGER, access_control_request_method="POST") as reply,
    ):
        assert reply.status == 204
        assert granted(reply) == {}
        assert "Origin" in reply.headers["vary"]


async def test_options_that_is_no_preflight_is_an_ordinary_request(upstream: ScriptedUpstream) -> None:
    async with asking(upstream, OPEN) as ask:
        async with ask("OPTIONS", PATHS["chat"], origin=PAGE, authorization="Bearer key") as reply:
            assert reply.status == 405
            assert reply.headers["allow"] == "GET, HEAD, POST"
            assert granted(reply)["access-control-allow-origin"] == "*"
        async with ask("OPTIONS", PATHS["chat"], access_control_request_method="POST") as reply:
            assert reply.status == 401, "without an Origin no browser has asked"


ANSWERS: Mapping[str, tuple[str, str, Any, int, str]] = {
    "health": ("GET", "/health", None, 200, "key"),
    "models": ("GET", "/v1/models", None, 200, "key"),
    "reply": ("POST", PATHS["chat"], CHAT_REQUEST, 200, "key"),
    "stream": ("POST", PATHS["chat"], {**CHAT_REQUEST, "stream": True}, 200, "key"),
    "bad key": ("POST", PATHS["chat"], CHAT_REQUEST, 401, "nobody"),
    "bad body": ("POST", PATHS["chat"], {}, 400, "key"),
    "unknown model": ("POST", PATHS["chat"], {**CHAT_REQUEST, "model": "none"}, 404, "key"),
    "unsupported API": ("POST", PATHS["embeddings"], {"model": "gpt", "input": "x"}, 400, "key"),
    "wrong method": ("GET", PATHS["embeddings"], None, 405, "key"),
    "unknown path": ("GET", "/nowhere", None, 404, "key"),
}


@pytest.mark.parametrize(("method", "path", "body", "status", "key"), ANSWERS.values(), ids=ANSWERS.keys())
@pytest.mark.parametrize("cors", [OPEN, NAMED, CREDENTIALS], ids=["any origin", "named", "credentials"])
async def test_every_answer_to_a_page_may_be_read_by_it(
    upstream: ScriptedUpstream, cors: CORS, method: str, path: str, body: Any, status: int, key: str
) -> None:
    if body and body.get("stream"):
        upstream.script(stream("chat"))
    async with (
        asking(upstream, cors) as ask,
        ask(method, path, origin=PAGE, body=body, authorization=f"Bearer {key}") as reply,
    ):
        assert reply.status == status
        shown = granted(reply)
        assert shown.pop("access-control-allow-origin") == ("*" if cors is OPEN else PAGE)
        assert shown.pop("access-control-allow-credentials", None) == ("true" if cors is CREDENTIALS else None)
        assert {"x-request-id", "retry-after"} <= set(shown.pop("access-control-expose-headers").split(", "))
        assert shown == {}
        assert reply.headers["vary"] == "Origin"


async def test_errors_of_an_upstream_may_be_read_too(upstream: ScriptedUpstream) -> None:
    upstream.script(Script.of_json({"error": {"message": "slow down"}}, 429, {"retry-after": "3", "vary": "Cookie"}))
    async with (
        asking(upstream, NAMED) as ask,
        ask("POST", PATHS["chat"], origin=PAGE, body=CHAT_REQUEST, authorization="Bearer key") as reply,
    ):
        assert (reply.status, reply.headers["retry-after"]) == (429, "3")
        assert granted(reply)["access-control-allow-origin"] == PAGE
        assert reply.headers.getall("vary") == ["Origin"]


async def test_headers_of_an_upstream_grant_nothing(upstream: ScriptedUpstream) -> None:
    headers = {"access-control-allow-origin": "*", "access-control-allow-credentials": "true"}
    upstream.script(whole("chat", headers=headers))
    async with (
        asking(upstream, NAMED) as ask,
        ask("POST", PATHS["chat"], origin=STRANGER, body=CHAT_REQUEST, authorization="Bearer key") as reply,
    ):
        assert reply.status == 200
        assert granted(reply) == {}
        assert reply.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    "origin",
    [STRANGER, "null", "", f"{PAGE}.evil.example", PAGE.upper(), f"{PAGE}/"],
    ids=["stranger", "null", "empty", "longer", "upper case", "with a slash"],
)
async def test_other_origins_are_never_repeated(upstream: ScriptedUpstream, origin: str) -> None:
    async with asking(upstream, CREDENTIALS) as ask, ask("GET", "/health", origin=origin) as reply:
        assert reply.status == 200
        assert granted(reply) == {}
        assert reply.headers["vary"] == "Origin"


async def test_caller_that_is_no_page_is_granted_nothing_and_caches_know_why(upstream: ScriptedUpstream) -> None:
    async with asking(upstream, OPEN) as ask, ask("GET", "/health") as reply:
        assert granted(reply) == {}
        assert reply.headers["vary"] == "Origin"


async def test_upgrade_refused_to_a_page_may_be_read_by_it(upstream: ScriptedUpstream) -> None:
    async with (
        asking(upstream, NAMED) as ask,
        ask("GET", "/v1/responses", origin=PAGE, upgrade="websocket", connection="Upgrade") as reply,
    ):
        assert reply.status == 426
        assert granted(reply)["access-control-allow-origin"] == PAGE


def test_any_origin_with_credentials_is_refused() -> None:
    with pytest.raises(ValueError, match="must name its origins"):
        CORS(credentials=True)
    with pytest.raises(ValueError, match="must name its origins"):
        CORS(origins=(PAGE, "*"), credentials=True)
