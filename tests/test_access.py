"""Who may call: one check, before anything else, on every path that is not public."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

import aiohttp
import msgspec
import pytest

from aigateway import APIKeyAuthenticator, Gateway, Limits, Provider
from aigateway.testing import ScriptedUpstream
from tests.answers import CHAT_REQUEST, REQUESTS, whole
from tests.faults import ERROR_KEYS, PATHS, Outcomes
from tests.serving import served

KEY = "sk-team-a-0123456789"
OTHER = "sk-team-b-0123456789"


class House(NamedTuple):
    """A gateway with two keys."""

    url: str
    upstream: ScriptedUpstream
    outcomes: Outcomes

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@pytest.fixture
async def house() -> AsyncIterator[House]:
    outcomes = Outcomes()
    async with ScriptedUpstream() as upstream:
        upstream.script(whole("chat"))
        gateway = Gateway(
            providers=[Provider("acme", upstream.base_url, "sk-upstream", apis=["chat"])],
            hooks=[APIKeyAuthenticator({KEY: "team-a", OTHER: "team-b"}), outcomes],
            limits=Limits(max_body=2000),
        )
        async with served(gateway) as url:
            yield House(url, upstream, outcomes)


async def raw(house: House, head: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """One request whose every byte is ours."""
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    lines = f"{head}\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(lines.encode("latin-1") + body)
    answer = await asyncio.wait_for(reader.read(), 2)
    writer.close()
    top, _, rest = answer.partition(b"\r\n\r\n")
    first, *lines_back = top.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines_back)}
    return int(first.split(" ")[1]), headers, rest


async def chat(house: House, *authorization: str) -> tuple[int, dict[str, str], bytes]:
    lines = "".join(f"\r\n{line}" for line in authorization)
    return await raw(house, f"POST {PATHS['chat']} HTTP/1.1{lines}", msgspec.json.encode(CHAT_REQUEST))


ACCEPTED: Mapping[str, str] = {
    "as written": f"Authorization: Bearer {KEY}",
    "lower case scheme": f"authorization: bearer {KEY}",
    "upper case scheme": f"AUTHORIZATION: BEARER {KEY}",
    "many spaces": f"Authorization: Bearer    {KEY}  ",
}


@pytest.mark.parametrize("line", ACCEPTED.values(), ids=ACCEPTED.keys())
async def test_good_key_is_let_in(house: House, line: str) -> None:
    status, _, _ = await chat(house, line)
    assert status == 200
    assert [call.tenant for call in house.outcomes.calls] == ["team-a"]
    assert house.upstream.requests[0].headers["authorization"] == "Bearer sk-upstream"


async def test_each_key_has_its_own_tenant(house: House) -> None:
    for key in (KEY, OTHER):
        await chat(house, f"Authorization: Bearer {key}")
    assert [call.tenant for call in house.outcomes.calls] == ["team-a", "team-b"]


REFUSED: Mapping[str, list[str]] = {
    "none": [],
    "empty": ["Authorization:"],
    "scheme alone": ["Authorization: Bearer"],
    "scheme and blanks": ["Authorization: Bearer    "],
    "unknown key": ["Authorization: Bearer sk-team-c-0123456789"],
    "beginning of a key": [f"Authorization: Bearer {KEY[:-1]}"],
    "more than a key": [f"Authorization: Bearer {KEY}0"],
    "other case": [f"Authorization: Bearer {KEY.upper()}"],
    "no scheme": [f"Authorization: {KEY}"],
    "Basic": ["Authorization: Basic c2stdGVhbS1hOg=="],
    "Token": [f"Authorization: Token {KEY}"],
    "Bearer with a colon": [f"Authorization: Bearer: {KEY}"],
    "two keys in one": [f"Authorization: Bearer {KEY}, Bearer {KEY}"],
    "two good keys": [f"Authorization: Bearer {KEY}", f"Authorization: Bearer {OTHER}"],
    "a bad key before a good one": ["Authorization: Bearer nobody", f"Authorization: Bearer {KEY}"],
    "a bad key after a good one": [f"Authorization: Bearer {KEY}", "Authorization: Bearer nobody"],
    "bytes that are no ASCII": ["Authorization: Bearer sk-\xff\xfe\xe4"],
    "very long": ["Authorization: Bearer " + "k" * 8000],
    "another header": [f"x-api-key: {KEY}"],
}


@pytest.mark.parametrize("lines", REFUSED.values(), ids=REFUSED.keys())
async def test_everything_else_is_a_401(house: House, lines: list[str]) -> None:
    status, headers, body = await chat(house, *lines)
    assert status == 401
    assert headers["www-authenticate"] == "Bearer"
    assert "x-request-id" in headers
    error = msgspec.json.decode(body)["error"]
    assert set(error) == ERROR_KEYS
    assert (error["type"], error["param"], error["code"]) == ("authentication_error", None, "invalid_api_key")
    assert b"sk-" not in body
    assert house.upstream.requests == []
    assert [(call.outcome, call.status, call.tenant) for call in house.outcomes.calls] == [("refused", 401, None)]


EVERYWHERE = [
    *(("POST", path) for path in PATHS.values()),
    ("POST", "/v1/images/edits"),
    ("POST", "/v1/images/variations"),
    ("GET", "/v1/models"),
    ("HEAD", "/v1/models"),
    ("GET", "/v1/models/gpt"),
    ("GET", "/v1/chat/completions"),
    ("GET", "/metrics"),
    ("POST", "/v1/nothing"),
    ("OPTIONS", "/v1/chat/completions"),
]


@pytest.mark.parametrize(("method", "path"), EVERYWHERE, ids=[f"{method} {path}" for method, path in EVERYWHERE])
async def test_every_path_asks_for_a_key_before_anything_else(house: House, method: str, path: str) -> None:
    """Not even whether a path or a model exists, or a body is right, is told to strangers."""
    status, _, _ = await raw(house, f"{method} {path} HTTP/1.1", b"{" * 3000)
    assert status == 401


async def test_health_asks_for_no_key(house: House) -> None:
    status, _, body = await raw(house, "GET /health HTTP/1.1")
    assert (status, body) == (200, b'{"status":"ok"}')
    assert house.outcomes.calls == []


async def test_stranger_is_refused_before_the_body_is_read(house: House) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    writer.write(f"POST {PATHS['chat']} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n".encode())
    assert (await asyncio.wait_for(reader.readline(), 2)).startswith(b"HTTP/1.1 401 ")
    writer.close()


async def test_keys_of_callers_go_no_further(house: House) -> None:
    headers = {"authorization": f"Bearer {KEY}", "x-api-key": KEY, "cookie": f"key={KEY}", "openai-organization": "org"}
    url = house.url + PATHS["responses"]
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, json=REQUESTS["responses"]) as reply,
    ):
        assert reply.status == 200
    (request,) = house.upstream.requests
    assert KEY not in str(request.headers)
    assert KEY.encode() not in request.body
    assert not {"cookie", "x-api-key", "openai-organization"} & set(request.headers)


def test_empty_key_cannot_be_configured() -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        APIKeyAuthenticator({"": "anybody"})
