"""How sessions are opened, and what a caller is told where they cannot be."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from aigateway import FunctionProvider, Gateway, Provider, Target, Timeout
from aigateway.app.protocol import HeadFirstProtocol
from aigateway.testing import Script, ScriptedWebSocket
from tests.ports import free_port
from tests.realtime import KEY, PATIENCE, SERVERS, error_of, event, staged
from tests.serving import served

HASTY = Timeout(connect=PATIENCE, first_byte=0.2)


@asynccontextmanager
async def listening(answer: bytes) -> AsyncIterator[str]:
    """A server that answers any request with these bytes and closes, or with silence where there are none."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            if not answer:
                await reader.read(1)
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    server.close()


def to(url: str, timeout: Timeout | None = None) -> dict[str, Target]:
    return {"gpt": Target(Provider("up", url, KEY, apis={"realtime"}, timeout=timeout))}


# refusals of the upstream


def refusal(status: int, message: str = "that is why", **headers: str) -> Script:
    error = {"message": message, "type": "its_type", "param": None, "code": "its_code"}
    return Script.of_json({"error": error}, status, headers)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429])
async def test_refusal_of_the_upstream_keeps_its_status_and_words(status: int, server: str) -> None:
    async with staged(server=server) as stage:
        told = refusal(status, f"not {KEY}", **{"retry-after": "7", "x-ratelimit-limit-requests": "9", "x-its": "1"})
        stage.upstream.refuse(told)
        answer = await stage.refused(headers={"x-request-id": "mine"})
        call = await stage.kept.one()
    got, error = error_of(answer)
    assert got == status
    assert error == {"message": "not ***", "type": "its_type", "param": None, "code": "its_code"}
    assert answer.response.headers["retry-after"] == "7"
    assert answer.response.headers["x-ratelimit-limit-requests"] == "9"
    assert answer.response.headers["x-request-id"] == "mine"
    assert "x-its" not in answer.response.headers
    assert (call.outcome, call.status, call.attempts[0].status) == ("failed", status, status)


@pytest.mark.parametrize("status", [200, 302, 500, 503])
async def test_other_answers_are_a_502_that_tells_nothing(status: int) -> None:
    async with ScriptedWebSocket() as elsewhere, staged() as stage:
        stage.upstream.refuse(refusal(status, "secret", location=f"{elsewhere.base_url}/realtime"))
        answer = await stage.refused()
        call = await stage.kept.one()
        assert (elsewhere.handshakes, stage.upstream.handshakes) == (0, 1)
    got, error = error_of(answer)
    assert (got, error["code"]) == (502, "upstream_error")
    assert "up" in error["message"]
    assert b"secret" not in answer.response.body
    assert call.attempts[0].status == status


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (b"", 504, "did not answer in time"),
        (b"garbage\r\n\r\n", 502, "closed the connection without a valid answer"),
        (b"HTTP/1.1 101 Fine\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", 502, "handshake"),
    ],
    ids=["silence", "garbage", "no handshake"],
)
async def test_upstream_that_does_not_speak_websocket(answer: bytes, status: int, words: str) -> None:
    async with listening(answer) as url, staged(models=to(url, HASTY if not answer else None)) as stage:
        got, error = error_of(await stage.refused())
        call = await stage.kept.one()
    assert got == status
    assert error["message"].startswith("Provider 'up'")
    assert words in error["message"]
    assert "127.0.0.1" not in error["message"]
    assert (call.outcome, call.attempts[0].status) == ("failed", None)


async def test_upstream_that_cannot_be_reached_is_a_502() -> None:
    async with staged(models=to(f"http://127.0.0.1:{free_port()}")) as stage:
        got, error = error_of(await stage.refused())
    assert (got, error["code"]) == (502, "upstream_connection_error")
    assert error["message"] == "Provider 'up' could not be reached."


async def test_upstream_that_breaks_off_the_handshake_is_a_502() -> None:
    async with staged() as stage:
        stage.upstream.refuse(Script(fault="reset"))
        got, error = error_of(await stage.refused())
    assert (got, error["code"]) == (502, "upstream_connection_error")


async def test_next_target_is_tried_before_the_caller_is_answered() -> None:
    async with ScriptedWebSocket() as first, ScriptedWebSocket() as second:
        first.refuse(refusal(429))
        down = Provider("down", f"http://127.0.0.1:{free_port()}", apis={"realtime"})
        one, two = (Provider(name, up.base_url, apis={"realtime"}) for name, up in (("a", first), ("b", second)))
        targets = [Target(down), Target(one, "gpt-a"), Target(two, "gpt-b")]
        async with staged(models={"gpt": targets}) as stage:
            async with stage.client() as client:
                assert (await event(client))["session"] == {"model": "gpt"}
            call = await stage.kept.one()
    assert [attempt.provider for attempt in call.attempts] == ["down", "a", "b"]
    assert [attempt.status for attempt in call.attempts] == [None, 429, 101]
    assert second.sessions[0].query == {"model": "gpt-b"}


async def test_request_at_fault_is_not_tried_elsewhere() -> None:
    async with ScriptedWebSocket() as first, ScriptedWebSocket() as second:
        first.refuse(refusal(400))
        models = {
            "gpt": [Provider(str(number), up.base_url, apis={"realtime"}) for number, up in enumerate((first, second))]
        }
        async with staged(models=models) as stage:
            assert error_of(await stage.refused())[0] == 400
        assert second.handshakes == 0


# models and providers


@pytest.mark.parametrize(
    ("query", "status", "code", "param"),
    [
        ("model=other", 404, "model_not_found", "model"),
        ("", 400, "missing_required_parameter", "model"),
        ("model=", 400, "missing_required_parameter", "model"),
        ("model=gpt&model=gpt", 400, "missing_required_parameter", "model"),
        ("intent=transcription", 400, "missing_required_parameter", "model"),
    ],
)
async def test_session_without_a_model_is_refused(query: str, status: int, code: str, param: str) -> None:
    async with staged() as stage:
        got, error = error_of(await stage.refused(query))
        call = await stage.kept.one()
        assert stage.upstream.handshakes == 0
    assert (got, error["code"], error["param"]) == (status, code, param)
    assert (call.outcome, call.status) == ("refused", status)


@pytest.mark.parametrize("query", ["intent=transcription", "call_id=rtc_1"])
async def test_session_that_needs_no_model_goes_to_the_default_target(query: str) -> None:
    async with ScriptedWebSocket() as upstream:
        models = {"*": Target(Provider("up", upstream.base_url, apis={"realtime"}), "gpt-up")}
        async with staged(models=models) as stage, stage.client(query) as client:
            assert (await event(client))["type"] == "session.created"
            await client.send('{"type":"session.update","session":{"model":"any"}}')
        await asyncio.wait_for(upstream.sessions[0].closed.wait(), PATIENCE)
    name, value = query.split("=")
    assert upstream.sessions[0].query == {name: value}
    assert upstream.sessions[0].received == [{"type": "session.update", "session": {"model": "any"}}]


async def test_provider_that_lacks_the_api_is_named() -> None:
    for provider in (
        Provider("up", "http://127.0.0.1:1", apis={"chat"}),
        FunctionProvider("up", lambda body: "text", apis=("realtime",)),
    ):
        async with staged(models={"gpt": provider}) as stage:
            got, error = error_of(await stage.refused())
        assert (got, error["code"], error["param"]) == (400, "unsupported_api", "model")
        assert "'up'" in error["message"]


# subprotocols


@pytest.mark.parametrize(
    ("offered", "passed", "chosen"),
    [
        ([], [], None),
        (["realtime"], ["realtime"], "realtime"),
        (["realtime", "openai-beta.realtime-v1"], ["realtime", "openai-beta.realtime-v1"], "realtime"),
        (["openai-beta.realtime-v1"], ["openai-beta.realtime-v1"], "openai-beta.realtime-v1"),
        (["realtime", "openai-insecure-api-key.sk-1", "openai-organization.o", "other"], ["realtime"], "realtime"),
    ],
)
async def test_subprotocols_pass_but_not_secrets(offered: list[str], passed: list[str], chosen: str | None) -> None:
    async with staged() as stage:
        async with stage.client(subprotocols=offered) as client:
            assert client.subprotocol == chosen
            assert client.response is not None
            assert client.response.headers["x-request-id"].startswith("req_")
        assert stage.upstream.sessions[0].offered == passed
        call = await stage.kept.one()
    assert call.headers.get("sec-websocket-protocol", "") == ", ".join(passed)


# TLS, proxies


async def test_tls_is_spoken_with_the_certificates_that_the_machine_trusts(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(__file__).parent / "fixtures" / "tls"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")

    async with serve(lambda socket: socket.send('"hello"'), "127.0.0.1", 0, ssl=context) as server:
        url = f"https://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        async with staged(models=to(url)) as stage:
            got, error = error_of(await stage.refused())
            assert (got, error["message"]) == (502, "Provider 'up' failed the TLS handshake.")
        monkeypatch.setenv("SSL_CERT_FILE", str(folder / "cert.pem"))
        async with staged(models=to(url)) as stage, stage.client() as client:
            assert await event(client) == "hello"


async def test_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    proxy = await asyncio.start_server(refuse, "127.0.0.1", 0)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
    monkeypatch.setenv("no_proxy", "localhost")
    async with staged(models=to("http://upstream.test:81")) as stage:
        got, error = error_of(await stage.refused())
    assert asked[0].startswith(b"CONNECT upstream.test:81 ")
    assert (got, error["message"]) == (502, "The proxy on the way to provider 'up' failed.")
    proxy.close()


# paths and handshakes


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/chat/completions", "/v1/nothing", "/realtime"])
async def test_paths_without_websocket_are_a_426(path: str, server: str) -> None:
    async with staged(server=server) as stage:
        got, error = error_of(await stage.refused(path=path, headers={"x-request-id": "mine"}))
        assert stage.kept.calls == []
    assert (got, error["code"]) == (426, "upgrade_required")


@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("/v1/realtime", {"sec-websocket-version": "12", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}),
        ("/v1/realtime", {"sec-websocket-version": "13", "sec-websocket-key": "x"}),
        ("/v1/realtime", {}),
        ("/v1/responses", {"sec-websocket-version": "13"}),
    ],
)
async def test_handshake_that_is_none_is_a_426(path: str, given: dict[str, str]) -> None:
    upgrade = {"connection": "Upgrade", "upgrade": "websocket"}
    async with served(Gateway(), HeadFirstProtocol) as url, aiohttp.ClientSession() as session:
        for method in ("GET", "POST"):
            async with session.request(method, f"{url}{path}", headers=upgrade | given) as reply:
                assert reply.status == 426
                assert (await reply.json())["error"]["code"] == "upgrade_required"


async def test_plain_request_for_a_session_says_what_is_wanted() -> None:
    async with (
        served(Gateway(), HeadFirstProtocol) as url,
        aiohttp.ClientSession() as session,
        session.get(f"{url}/v1/realtime?model=gpt") as reply,
    ):
        assert reply.status == 426
        assert reply.headers["upgrade"] == "websocket"
        assert "WebSocket" in (await reply.json())["error"]["message"]


async def test_connection_may_serve_requests_before_it_is_upgraded() -> None:
    async with staged() as stage:
        port = int(stage.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.readuntil(b'{"status":"ok"}')
        async with connect(
            f"{stage.url}/v1/realtime?model=gpt", sock=writer.get_extra_info("socket").dup(), proxy=None
        ) as client:
            assert (await event(client))["type"] == "session.created"
        writer.close()


async def test_mounted_gateway_speaks_websocket_below_its_prefix() -> None:
    async with ScriptedWebSocket() as upstream:
        gateway = Gateway(models=to(upstream.base_url))
        async with (
            served(Starlette(routes=[Mount("/ai", gateway)]), ws="websockets-sansio") as url,
            connect(f"ws{url[4:]}/ai/v1/realtime?model=gpt", proxy=None) as client,
        ):
            assert msgspec.json.decode(await client.recv())["type"] == "session.created"
        await gateway.aclose()
