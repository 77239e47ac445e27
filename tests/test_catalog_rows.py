"""Every row of the catalog over HTTP: where each of its APIs is asked, with which headers, and how a refusal comes back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
import pytest

from aigateway import Gateway, Provider, Target
from aigateway.assembly import build
from aigateway.config import Source, parse
from aigateway.formats import FORMATS
from aigateway.providers.azure import AzureProvider
from aigateway.providers.catalog import CATALOG, CatalogRow
from aigateway.providers.docs import document
from aigateway.providers.vertex import VertexProvider
from aigateway.surface import GENERATED, OPERATIONS, Operation
from aigateway.testing import Script, ScriptedUpstream
from aigateway.transport.pool import PooledTransport
from aigateway.transport.protocol import HTTPRequest, HTTPResponse
from tests.serving import served

KEY = "key-of-the-vendor"
OWN_TESTS = {"bedrock"}
"""Rows whose providers sign what they send, and are tested where that is."""

BODY: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "a"}],
    "input": "a",
    "prompt": "a",
    "query": "a",
    "documents": ["a"],
    "max_tokens": 5,
    "contents": [{"role": "user", "parts": [{"text": "a"}]}],
}
HOSTS = {
    "azure": "https://res.openai.azure.com/openai/v1",
    "cloudflare": "https://api.cloudflare.com/client/v4/accounts/acc/ai/v1",
    "databricks": "https://work.example/serving-endpoints",
    "heroku": "https://us.inference.heroku.com/v1",
    "vertex": "https://aiplatform.googleapis.com/v1/projects/proj/locations/global",
    "vertex-anthropic": "https://aiplatform.googleapis.com/v1/projects/proj/locations/global",
}
ELSEWHERE = {
    ("cohere", "embeddings"): "/embed",
    ("vertex", "chat"): "/endpoints/openapi/chat/completions",
    ("vertex", "generate_content"): "/publishers/google/models/m:generateContent",
    ("vertex-anthropic", "messages"): "/publishers/anthropic/models/m:rawPredict",
}
"""Where an API is not at its own path."""

REFUSAL = {"error": {"message": "no such luck", "type": "invalid_request_error", "code": "bad", "param": None}}


class Redirected:
    """A transport that notes where a request would go, and sends it to a server of ours."""

    def __init__(self, port: int) -> None:
        self.urls: list[str] = []
        self._port = port
        self._pool = PooledTransport(proxy="none")

    async def send(self, request: HTTPRequest) -> HTTPResponse:
        self.urls.append(request.url)
        parts = urlsplit(request.url)
        here = f"http://127.0.0.1:{self._port}{parts.path}?{parts.query}"
        return await self._pool.send(msgspec.structs.replace(request, url=here))

    async def aclose(self) -> None:
        await self._pool.aclose()


def provider_of(row: CatalogRow, transport: Redirected) -> Provider:
    if row.name == "azure":
        return AzureProvider("up", "https://res.openai.azure.com", KEY, transport=transport)
    if row.name.startswith("vertex"):
        return VertexProvider("up", "proj", "global", lambda: KEY, type=row.name, transport=transport)
    return Provider("up", None if row.base_url else HOSTS[row.name], KEY, type=row.name, transport=transport)


def operations_of(row: CatalogRow) -> list[Operation]:
    """The first operation of each of its APIs that takes a body in JSON and no parameters but the model, or none at all."""
    found: dict[str, Operation] = {}
    for operation in OPERATIONS.values():
        plain = operation.path and "{" not in operation.path.replace("{model}", "")
        asked = operation.method == "GET" if operation.form == "none" else operation.form == "json"
        understood = operation.kind in ("relay", "generate") and (
            operation.api in FORMATS or operation.api not in GENERATED
        )
        if operation.api in row.apis and plain and asked and understood:
            found.setdefault(operation.api, operation)
    return list(found.values())


def expected_url(row: CatalogRow, operation: Operation) -> str:
    base = row.base_url or HOSTS[row.name]
    if operation.api == "generate_content":  # beside the likeness of OpenAI's API
        base = base.removesuffix("/openai")
    return base + ELSEWHERE.get((row.name, operation.api), operation.path.replace("{model}", "m"))


def entered(headers: dict[str, str], row: CatalogRow, api: str) -> bool:
    """Whether the key came in the one header where the vendor reads it."""
    bearer = headers.get("authorization") == f"Bearer {KEY}"
    if row.name == "azure":
        return headers.get("api-key") == KEY and "authorization" not in headers
    if api == "messages" and row.name == "anthropic":
        return headers.get("x-api-key") == KEY and "authorization" not in headers
    if api == "generate_content" and row.name == "gemini":
        return headers.get("x-goog-api-key") == KEY and "authorization" not in headers
    return bearer and "api-key" not in headers


@pytest.mark.parametrize(
    "row", [row for row in CATALOG.values() if row.name not in OWN_TESTS], ids=lambda row: row.name
)
async def test_each_api_goes_to_its_url_with_the_key_and_a_refusal_comes_back_whole(row: CatalogRow) -> None:
    async with ScriptedUpstream() as upstream, aiohttp.ClientSession() as session:
        upstream.script(Script.of_json(REFUSAL, 422))
        transport = Redirected(upstream.port)
        provider = provider_of(row, transport)
        gateway = Gateway(models={"m": Target(provider, "m")}, default_provider=provider, state=None)
        async with served(gateway) as url:
            for operation in operations_of(row):
                version = getattr(operation, "version", "/v1")
                path = operation.path.replace("{model}", "m")
                body = None if operation.form == "none" else BODY
                async with session.request(operation.method, f"{url}{version}{path}", json=body) as response:
                    status, told = response.status, await response.json()
                assert transport.urls[-1:] == [expected_url(row, operation)], operation.name
                headers = upstream.requests[-1].headers
                assert entered(headers, row, operation.api), operation.name
                assert headers["accept-encoding"] == "identity"
                assert status == 422
                assert told["error"]["message"] == "no such luck"
                if FORMATS.get(operation.api, FORMATS["chat"]).render_error is FORMATS["chat"].render_error:
                    assert set(told["error"]) == {"message", "type", "param", "code"}
            await transport.aclose()


def test_each_row_is_asked_in_something() -> None:
    for row in CATALOG.values():
        assert row.name in OWN_TESTS or operations_of(row) or row.apis <= {"messages", "cohere_chat"}, row.name


def test_the_document_of_providers_is_that_of_the_catalog() -> None:
    written = Path("docs/providers.md").read_text(encoding="utf-8")
    assert written == document(), "write it anew: python -m aigateway.providers.docs > docs/providers.md"


def test_the_example_of_providers_is_right() -> None:
    [example] = re.findall(r"^```yaml\n(.*?)^```$", document(), re.MULTILINE | re.DOTALL)
    environ = dict.fromkeys(["TENANT", "CLIENT", "SECRET", "COHERE_API_KEY"], "x")
    gateway = build(parse(Source("gateway.yaml", example), environ), {})
    assert [provider.name for provider in gateway.providers()] == ["azure", "vertex", "claude", "cohere"]
