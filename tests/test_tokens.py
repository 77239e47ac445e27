"""Access tokens that expire: one fetch for many requests, renewed in time, errors that show no secret."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from aigateway import Secret, UpstreamConnectionError
from aigateway.providers.azure import entra_token
from aigateway.providers.secret import reveal
from aigateway.providers.token import MARGIN, Token, TokenError, TokenSource, ask_token_server
from aigateway.testing import Script
from tests.token_server import TokenServer, refused


class Fetches:
    """A fetch that waits for `go`, and can be told to fail; with a clock that stands still."""

    def __init__(self, expires_in: float = 3600) -> None:
        self.now = 1000.0
        self.made = 0
        self.expires_in = expires_in
        self.fails = False
        self.go = asyncio.Event()
        self.go.set()
        self.source = TokenSource(self.fetch, lambda: self.now)

    async def fetch(self) -> Token:
        self.made += 1
        number = self.made
        await self.go.wait()
        if self.fails:
            raise TokenError("no token today")
        return Token(Secret(f"token-{number}"), self.expires_in)

    async def token(self) -> str | None:
        return await reveal(self.source)


async def test_a_token_is_kept_until_shortly_before_its_end() -> None:
    fetches = Fetches()
    assert await fetches.token() == "token-1"
    fetches.now += 3600 - MARGIN - 1
    assert await fetches.token() == "token-1"
    fetches.now += 2
    assert await fetches.token() == "token-2"
    assert fetches.made == 2


async def test_a_token_that_is_short_lived_is_used_for_half_of_its_life() -> None:
    fetches = Fetches(expires_in=60)
    assert await fetches.token() == "token-1"
    fetches.now += 29
    assert await fetches.token() == "token-1"
    fetches.now += 2
    assert await fetches.token() == "token-2"


async def test_many_requests_at_once_make_one_fetch() -> None:
    fetches = Fetches()
    fetches.go.clear()
    asking = [asyncio.ensure_future(fetches.token()) for _ in range(20)]
    await asyncio.sleep(0)
    fetches.go.set()
    assert await asyncio.gather(*asking) == ["token-1"] * 20
    assert fetches.made == 1


async def test_while_one_renews_the_others_go_on_with_the_old_token() -> None:
    fetches = Fetches()
    await fetches.token()
    fetches.now += 3600 - MARGIN + 1
    fetches.go.clear()
    renewing = asyncio.ensure_future(fetches.token())
    await asyncio.sleep(0)
    assert await fetches.token() == "token-1"
    fetches.go.set()
    assert await renewing == "token-2"
    assert fetches.made == 2


async def test_a_renewal_that_fails_is_tried_again_while_the_old_token_lasts(caplog: pytest.LogCaptureFixture) -> None:
    fetches = Fetches()
    await fetches.token()
    fetches.now += 3600 - MARGIN + 1
    fetches.fails = True
    assert await fetches.token() == "token-1"
    assert await fetches.token() == "token-1"
    assert fetches.made == 2  # not at every request
    assert "no token today" in caplog.text
    fetches.now += 11
    assert await fetches.token() == "token-1"
    assert fetches.made == 3
    fetches.now += MARGIN
    with pytest.raises(TokenError):
        await fetches.token()
    fetches.fails = False
    assert await fetches.token() == "token-5"


def test_a_source_serves_one_event_loop_after_the_other() -> None:
    fetches = Fetches()

    async def contended() -> list[str | None]:
        fetches.go = asyncio.Event()
        asking = [asyncio.ensure_future(fetches.token()) for _ in range(3)]
        await asyncio.sleep(0)
        fetches.go.set()
        return list(await asyncio.gather(*asking))

    assert asyncio.run(contended()) == ["token-1"] * 3
    fetches.now += 4000
    assert asyncio.run(contended()) == ["token-2"] * 3


# over HTTP


@pytest.fixture
async def server() -> AsyncIterator[TokenServer]:
    async with TokenServer() as running:
        yield running


SECRET = "client-secret-1234"


async def test_an_application_of_entra_asks_for_its_token_as_oauth_has_it(server: TokenServer) -> None:
    source = entra_token("tenant 1", "client-1", SECRET, authority=server.url)
    assert await reveal(source) == "token-1"
    assert await reveal(source) == "token-1"
    assert len(server.requests) == 1
    request = server.requests[0]
    assert (request.method, request.path) == ("POST", "/tenant%201/oauth2/v2.0/token")
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert server.form() == {
        "grant_type": "client_credentials",
        "client_id": "client-1",
        "client_secret": SECRET,
        "scope": "https://cognitiveservices.azure.com/.default",
    }


REFUSALS = {
    "wrong secret": (refused(401, error="invalid_client", error_description="AADSTS7000215: no\nTrace"), "HTTP 401"),
    "no reason": (refused(400), "HTTP 400"),
    "down": (Script.of_json({"error": {"code": 1}}, 503), "HTTP 503"),
    "html": (Script.of_bytes(b"<html>", "text/html"), "gave no access token"),
    "empty token": (Script.of_json({"access_token": "", "expires_in": 10}), "gave no access token"),
    "a token that is no header": (Script.of_json({"access_token": "a\nb", "expires_in": 1}), "gave no access token"),
    "an array": (Script.of_json([1]), "gave no access token"),
}


@pytest.mark.parametrize(("script", "words"), REFUSALS.values(), ids=REFUSALS.keys())
async def test_a_token_server_that_gives_none_is_named_and_no_secret_shown(
    server: TokenServer, script: Script, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.script(script)
    source = entra_token("t", "c", SECRET, authority=server.url)
    with pytest.raises(TokenError, match=words) as caught:
        await reveal(source)
    assert caught.value.status == 502
    assert "Entra ID" in caught.value.message
    for text in (caught.value.message, caplog.text, repr(source)):
        assert SECRET not in text
    assert "AADSTS7000215" not in caught.value.message  # that is for the log, which the operator reads


async def test_the_log_says_why_credentials_are_refused(server: TokenServer, caplog: pytest.LogCaptureFixture) -> None:
    server.script(refused(401, error="invalid_client", error_description="AADSTS7000215: Invalid secret.\r\nTrace: 1"))
    with pytest.raises(TokenError, match="invalid_client"):
        await reveal(entra_token("t", "c", SECRET, authority=server.url))
    assert "AADSTS7000215: Invalid secret." in caplog.text
    assert "Trace" not in caplog.text


async def test_a_token_server_that_is_not_there_is_a_connection_error(server: TokenServer) -> None:
    url = server.url
    await server.__aexit__()
    with pytest.raises(UpstreamConnectionError, match="Entra ID"):
        await reveal(entra_token("t", "c", SECRET, authority=url))


@pytest.mark.parametrize("expires_in", ["3600", "soon", None], ids=str)
async def test_a_lifetime_that_is_no_number_counts_as_none(server: TokenServer, expires_in: str | None) -> None:
    server.script(Script.of_json({"access_token": "t", "expires_in": expires_in}))
    token = await ask_token_server(server.url, "The server", {})
    assert token.expires_in == (3600 if expires_in == "3600" else 0)


def test_what_cannot_be_an_application_is_refused() -> None:
    for tenant, client, authority in (("", "c", "https://h"), ("t", "", "https://h"), ("t", "c", "h")):
        with pytest.raises(ValueError, match="must"):
            entra_token(tenant, client, SECRET, authority=authority)
