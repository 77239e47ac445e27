"""Whose words an error has: a caller's own API, on paths that are there, that are not, and that are passed on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest

from aigateway import APIKeyAuthenticator, Gateway, Provider
from aigateway.formats import CALLER_CODECS, FORMATS, spoken
from aigateway.surface import GENERATED, OPERATIONS
from aigateway.surface.routes import unknown
from aigateway.testing import Script, ScriptedUpstream
from tests.answers import path_of
from tests.serving import served

KEY = "sk-caller"
OPENAI = {"authorization": f"Bearer {KEY}"}
ANTHROPIC = {"anthropic-version": "2023-06-01", "x-api-key": KEY}
BEARING = {"anthropic-version": "2023-06-01", **OPENAI}
GOOGLE = {"x-goog-api-key": KEY}
HEADERS = {"openai": OPENAI, "messages": ANTHROPIC, "generate_content": GOOGLE}


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as upstream:
        upstream.script(Script.of_json({"error": {"message": "no such file", "code": "not_here"}}, status=404))
        yield upstream


@pytest.fixture
async def url(upstream: ScriptedUpstream) -> AsyncIterator[str]:
    provider = Provider("acme", upstream.base_url, "none", apis=["chat", "files", "batches"])
    gateway = Gateway(models={"gpt": provider}, hooks=[APIKeyAuthenticator({KEY: "team"})])
    async with served(gateway) as url:
        yield url


async def told(url: str, method: str, headers: dict[str, str], body: Any = None) -> tuple[int, str, Any, Any]:
    """The status, whose form the error has, its body, and the headers."""
    async with aiohttp.ClientSession() as session, session.request(method, url, headers=headers, json=body) as reply:
        said = msgspec.json.decode(await reply.read())
        return reply.status, form_of(said), said, reply.headers


def form_of(body: Any) -> str:
    """The API whose errors look so."""
    if body.get("type") == "error" and {"type", "message"} <= body["error"].keys():
        return "messages"
    if body["error"].keys() == {"code", "message", "status", "details"}:
        return "generate_content"
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"message", "type", "param", "code"}
    return "openai"


NOWHERE = [
    ("GET", "/v1/nowhere", 404),
    ("POST", "/v1/complete", 404),
    ("GET", "/v1/organizations/me", 404),
    ("GET", "/nowhere", 404),
    ("GET", "/", 404),
    ("PUT", "/v1/models", 405),
    ("PATCH", "/v1/models/gpt", 405),
    ("PUT", "/v1/files", 405),
    ("GET", "/v1/models/nobody", 404),
    ("GET", "/v1/files", 404),
    ("DELETE", "/v1/files/file-1", 404),
    ("GET", "/v1/skills", 404),
]


@pytest.mark.parametrize(("method", "path", "status"), NOWHERE, ids=[f"{method} {path}" for method, path, _ in NOWHERE])
@pytest.mark.parametrize("caller", HEADERS)
async def test_on_a_path_of_nobodys_or_of_all_the_callers_headers_say_it(
    url: str, caller: str, method: str, path: str, status: int
) -> None:
    got, form, body, headers = await told(url + path, method, HEADERS[caller])
    assert (got, form) == (status, caller)
    assert (headers.get("request-id") is not None) == (caller == "messages")
    assert caller != "messages" or body["request_id"] == headers["x-request-id"]


UNDER = [
    ("messages", "GET", "/v1/messages", 405),
    ("messages", "GET", "/v1/messages/nowhere", 404),
    ("messages", "POST", "/v1/messages/batches/b/nowhere", 404),
    ("messages", "PUT", "/v1/messages/batches", 405),
    ("generate_content", "GET", "/v1beta", 404),
    ("generate_content", "GET", "/v1beta/", 404),
    ("generate_content", "GET", "/v1beta/nowhere", 404),
    ("generate_content", "POST", "/v1beta/cachedContents", 404),
    ("generate_content", "POST", "/v1beta/models/gpt:nowhere", 405),
    ("generate_content", "GET", "/v1beta/models/gpt:generateContent", 405),
    ("generate_content", "DELETE", "/v1beta/models", 405),
    ("generate_content", "POST", "/upload/v1beta/files", 404),
    ("generate_content", "GET", "/v1/models/gpt:generateContent", 405),
    ("openai", "GET", "/v1betamax", 404),
    ("openai", "GET", "/v1/messagesque", 404),
    ("openai", "GET", "/v1/threads/t/messages/nowhere/x", 404),
    ("openai", "GET", "/v2/nowhere", 404),
]


@pytest.mark.parametrize(
    ("form", "method", "path", "status"), UNDER, ids=[f"{method} {path}" for _, method, path, _ in UNDER]
)
async def test_a_path_that_is_one_apis_says_it_without_headers(
    url: str, form: str, method: str, path: str, status: int
) -> None:
    assert (await told(url + path, method, OPENAI))[:2] == (status, form)
    assert (await told(url + path, method, {}))[:2] == (401, form)


@pytest.mark.parametrize("headers", [ANTHROPIC, BEARING, GOOGLE], ids=["x-api-key", "bearer", "x-goog-api-key"])
async def test_the_callers_own_header_of_the_key_counts_on_every_path(url: str, headers: dict[str, str]) -> None:
    assert (await told(f"{url}/v1/files", "GET", headers))[2]["error"]["message"].endswith("no such file")
    name = next(name for name in ("x-api-key", "x-goog-api-key", "authorization") if name in headers)
    wrong = headers | {name: headers[name].replace(KEY, "sk-wrong")}
    status, form, _, _ = await told(f"{url}/v1/files", "GET", wrong)
    assert (status, form) == (401, "generate_content" if headers is GOOGLE else "messages")


@pytest.mark.parametrize("api", [*CALLER_CODECS, "embeddings"])
@pytest.mark.parametrize("caller", HEADERS)
async def test_on_a_path_that_is_understood_its_own_api_counts(url: str, api: str, caller: str) -> None:
    _, form, _, _ = await told(url + path_of(api, stream=False), "POST", HEADERS[caller] | OPENAI, {"model": 1})
    assert form == (api if api in ("messages", "generate_content") else "openai")


@pytest.mark.parametrize("path", ["/v1/nowhere", "/v1/messages", "/v1beta/models"])
async def test_a_handshake_that_nobody_takes_is_refused_so(path: str) -> None:
    handshake = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    handshake["sec-websocket-key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    expected = {"/v1/messages": "messages", "/v1beta/models": "generate_content"}.get(path, "messages")
    async with served(Gateway(), http="httptools") as url:
        assert (await told(url + path, "GET", BEARING | handshake if path == "/v1/nowhere" else handshake))[:2] == (
            426,
            expected,
        )


def test_each_header_of_a_caller_is_one_apis() -> None:
    marks = [header for row in FORMATS.values() for header in row.callers_send]
    assert len(marks) == len(set(marks))
    for api in {row.api for row in OPERATIONS.values()}:
        for header in marks:
            assert (spoken(api, {header: "x"}) == api) == (api in GENERATED)


def test_what_stands_for_no_path_has_none() -> None:
    for row in map(unknown, ("/messages/x", "/?/v1beta/x", "/x")):
        assert (row.path, row.kind) == ("", "served")
