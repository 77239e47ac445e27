"""The list of models, page by page: as Anthropic's and Google's clients turn the pages, and what is no page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import anthropic
import httpx
import pytest
from anthropic import AsyncAnthropic
from google import genai
from google.genai import types

from aigateway import FunctionProvider, Gateway, Models
from tests.serving import served

NAMES = [f"model-{number:04}" for number in range(1203)]
ANTHROPIC = {"anthropic-version": "2023-06-01"}


@pytest.fixture
def gateway() -> Gateway:
    provider = FunctionProvider("f", lambda body: "")
    models = Models(dict.fromkeys(reversed(NAMES), provider) | {"pattern-*": provider})
    models.register("hidden", provider, tenants=["others"])
    return Gateway(models=models)


@pytest.fixture
async def url(gateway: Gateway) -> AsyncIterator[str]:
    async with served(gateway) as url:
        yield url


async def page(url: str, query: str, path: str = "/v1/models", **headers: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}{path}?{query}", headers=headers) as reply:
        return reply.status, await reply.json()


def ids(body: Any) -> list[str]:
    return [model["id"] for model in body["data"]]


# Anthropic


@pytest.mark.parametrize("asked", [{}, {"limit": 7}, {"limit": 1000}], ids=["20", "7", "1000"])
async def test_anthropics_client_turns_all_pages(url: str, asked: Any) -> None:
    async with AsyncAnthropic(base_url=url, api_key="k", max_retries=0) as client:
        assert [model.id async for model in client.models.list(**asked)] == NAMES


async def test_anthropics_client_turns_pages_backwards(url: str) -> None:
    async with AsyncAnthropic(base_url=url, api_key="k", max_retries=0) as client:
        found = await client.models.list(before_id=NAMES[50], limit=20)
        assert [model.id for model in found.data] == NAMES[30:50]
        found = await found.get_next_page()
        assert [model.id for model in found.data] == NAMES[10:30]
        found = await found.get_next_page()
        assert [model.id for model in found.data] == NAMES[:10]
        assert not found.has_next_page()


@pytest.mark.parametrize(
    ("query", "expected", "has_more"),
    [
        ("", NAMES[:20], True),
        ("limit=1", NAMES[:1], True),
        ("limit=1000", NAMES[:1000], True),
        (f"after_id={NAMES[1182]}", NAMES[1183:], False),
        (f"after_id={NAMES[1181]}", NAMES[1182:1202], True),
        (f"after_id={NAMES[-1]}", [], False),
        (f"before_id={NAMES[20]}", NAMES[:20], False),
        (f"before_id={NAMES[21]}", NAMES[1:21], True),
        (f"before_id={NAMES[0]}", [], False),
        ("after_id=&before_id=", NAMES[:20], True),
        ("beta=true", NAMES[:20], True),
    ],
)
async def test_a_page_of_anthropics(url: str, query: str, expected: list[str], has_more: bool) -> None:
    status, body = await page(url, query, **ANTHROPIC)
    assert (status, ids(body), body["has_more"]) == (200, expected, has_more)
    assert (body["first_id"], body["last_id"]) == ((expected[0], expected[-1]) if expected else (None, None))


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=9999999999999999999", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=", "limit"),
        ("limit=²", "limit"),
        ("after_id=nobody", "after_id"),
        ("before_id=nobody", "before_id"),
        ("after_id=hidden", "after_id"),
        ("after_id=pattern-*", "after_id"),
        (f"after_id={NAMES[0]}&before_id={NAMES[9]}", "before_id"),
    ],
)
async def test_what_is_no_page_of_anthropics_is_refused_in_its_form(url: str, query: str, param: str) -> None:
    status, body = await page(url, query, **ANTHROPIC)
    assert (status, body["type"], body["error"]["type"]) == (400, "error", "invalid_request_error")
    assert body["error"]["details"]["param"] == param
    assert body["request_id"]


async def test_anthropics_client_raises_for_what_is_no_page(url: str) -> None:
    async with AsyncAnthropic(base_url=url, api_key="k", max_retries=0) as client:
        with pytest.raises(anthropic.BadRequestError, match="'limit'") as caught:
            await client.models.list(limit=0)
    assert caught.value.request_id


async def test_openais_list_has_no_pages(url: str) -> None:
    status, body = await page(url, "limit=1")
    assert (status, ids(body)) == (200, NAMES)


# Google


@pytest.mark.parametrize("size", [None, 7, 1000], ids=["50", "7", "1000"])
async def test_googles_client_turns_all_pages(url: str, size: int | None) -> None:
    async with httpx.AsyncClient() as session:
        options = types.HttpOptions(base_url=url, api_version="v1beta", httpx_async_client=session)
        client = genai.Client(api_key="k", http_options=options).aio
        pager = await client.models.list(config={"page_size": size} if size else None)
        assert len(pager.page) == (size or 50)
        assert [model.name async for model in pager] == [f"models/{name}" for name in NAMES]


@pytest.mark.parametrize(("query", "count"), [("", 50), ("pageSize=0", 50), ("pageSize=3", 3), ("pageSize=5000", 1000)])
async def test_a_page_of_googles(url: str, query: str, count: int) -> None:
    status, body = await page(url, query, "/v1beta/models")
    assert (status, [model["name"] for model in body["models"]]) == (200, [f"models/{name}" for name in NAMES[:count]])
    _, rest = await page(url, f"pageSize=1&pageToken={body['nextPageToken']}", "/v1beta/models")
    assert rest["models"][0]["name"] == f"models/{NAMES[count]}"


async def test_googles_last_page_has_no_token(url: str) -> None:
    _, body = await page(url, "pageSize=1000", "/v1beta/models")
    _, rest = await page(url, f"pageSize=203&pageToken={body['nextPageToken']}", "/v1beta/models")
    assert len(rest["models"]) == 203
    assert "nextPageToken" not in rest


async def test_a_token_of_googles_holds_when_its_model_is_gone(url: str, gateway: Gateway) -> None:
    _, body = await page(url, "pageSize=2", "/v1beta/models")
    gateway.models.unregister(NAMES[1])
    _, rest = await page(url, f"pageSize=2&pageToken={body['nextPageToken']}", "/v1beta/models")
    assert [model["name"] for model in rest["models"]] == [f"models/{name}" for name in NAMES[2:4]]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("pageSize=-1", "pageSize"),
        ("pageSize=many", "pageSize"),
        ("pageSize=1.5", "pageSize"),
        ("pageToken=!", "pageToken"),
        ("pageToken=a", "pageToken"),
        ("pageToken=_w", "pageToken"),
        ("pageToken=größe", "pageToken"),
    ],
)
async def test_what_is_no_page_of_googles_is_refused_in_its_form(url: str, query: str, field: str) -> None:
    status, body = await page(url, query, "/v1beta/models")
    assert (status, body["error"]["code"], body["error"]["status"]) == (400, 400, "INVALID_ARGUMENT")
    assert body["error"]["details"][1]["fieldViolations"][0]["field"] == field
