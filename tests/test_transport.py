"""The wire to the upstreams: timeouts, proxies, pooled connections, encodings."""

from __future__ import annotations

import asyncio
import gc
import gzip
import socket
import warnings
import zlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest

from aigateway import Pool, Provider, ProviderReply, ProviderRequest, Timeout
from aigateway.errors import ServerError, UpstreamConnectionError, UpstreamTimeoutError
from aigateway.testing import Script, ScriptedUpstream

OK = Script.of_json({"ok": True})
REQUEST = ProviderRequest(api="chat", path="/chat/completions", model="m", body=b'{"a":1}')


@asynccontextmanager
async def upstream_of(*scripts: Script) -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as upstream:
        upstream.script(*scripts)
        yield upstream


@asynccontextmanager
async def provider_for(
    base_url: str, limits: Timeout | None = None, pool: Pool | None = None
) -> AsyncIterator[Provider]:
    provider = Provider("up", base_url, "sk-1", timeout=limits, pool=pool)
    try:
        yield provider
    finally:
        await provider.aclose()


async def read(provider: Provider) -> bytes:
    """One whole exchange."""
    reply = await provider.send(REQUEST)
    try:
        return await reply.read()
    finally:
        await reply.aclose()


async def pieces_of(reply: ProviderReply) -> list[bytes]:
    try:
        return [piece async for piece in reply.stream()]
    finally:
        await reply.aclose()


# timeouts


async def test_no_first_byte_in_time_is_a_timeout_that_names_the_provider() -> None:
    async with (
        upstream_of(Script(body=b"{}", delay=5)) as upstream,
        provider_for(upstream.base_url, Timeout(first_byte=0.1)) as provider,
    ):
        with pytest.raises(UpstreamTimeoutError, match="Provider 'up' did not answer in time") as caught:
            await asyncio.wait_for(provider.send(REQUEST), 2)
        assert (caught.value.status, caught.value.provider) == (504, "up")
        await asyncio.wait_for(upstream.left.wait(), 2)


async def test_the_wait_for_a_first_byte_does_not_limit_what_comes_later() -> None:
    slow = Script(pieces=[b"a", b"b", b"c"], piece_delay=0.08)
    async with (
        upstream_of(slow) as upstream,
        provider_for(upstream.base_url, Timeout(first_byte=0.05)) as provider,
    ):
        assert await read(provider) == b"abc"


async def test_a_host_that_takes_no_connection_is_a_timeout() -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as listener,
        socket.socket() as first,
        socket.socket() as second,
    ):
        for filler in (first, second):  # the queue of connections that nobody accepts is full then
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with provider_for(url, Timeout(connect=0.1, first_byte=5)) as provider:
            with pytest.raises(UpstreamTimeoutError, match="did not accept a connection in time"):
                await asyncio.wait_for(provider.send(REQUEST), 2)


@pytest.mark.parametrize("sent", [0, 2], ids=["before the first piece", "between two pieces"])
async def test_silence_in_mid_stream_is_a_timeout(sent: int) -> None:
    silent = Script(pieces=[b"a", b"b", b"c"], hold_after=(sent, asyncio.Event()))
    async with (
        upstream_of(silent) as upstream,
        provider_for(upstream.base_url, Timeout(idle=0.15)) as provider,
    ):
        reply = await provider.send(REQUEST)
        with pytest.raises(UpstreamTimeoutError, match="stopped sending in the middle"):
            await asyncio.wait_for(reply.read(), 2)
        await reply.aclose()
        await asyncio.wait_for(upstream.left.wait(), 2)


async def test_a_healthy_stream_much_longer_than_each_limit_is_not_cut() -> None:
    healthy = Script(pieces=[b"x"] * 40, piece_delay=0.02)
    timeout = Timeout(connect=0.2, first_byte=0.2, idle=0.2)
    async with upstream_of(healthy) as upstream, provider_for(upstream.base_url, timeout) as provider:
        started = asyncio.get_running_loop().time()
        assert b"".join(await pieces_of(await provider.send(REQUEST))) == b"x" * 40
        assert asyncio.get_running_loop().time() - started > 0.6


async def test_the_total_time_cuts_even_a_healthy_stream() -> None:
    healthy = Script(pieces=[b"x"] * 200, piece_delay=0.02)
    async with upstream_of(healthy) as upstream, provider_for(upstream.base_url, Timeout(total=0.3)) as provider:
        started = asyncio.get_running_loop().time()
        reply = await provider.send(REQUEST)
        with pytest.raises(UpstreamTimeoutError):
            await pieces_of(reply)
        assert 0.25 < asyncio.get_running_loop().time() - started < 2


async def test_a_reader_that_takes_its_time_is_not_the_upstream_s_silence() -> None:
    async with (
        upstream_of(Script(pieces=[b"a", b"b"])) as upstream,
        provider_for(upstream.base_url, Timeout(idle=0.05)) as provider,
    ):
        reply = await provider.send(REQUEST)
        seen = b""
        async for piece in reply.stream():
            seen += piece
            await asyncio.sleep(0.2)
        await reply.aclose()
        assert seen == b"ab"


# broken connections


@pytest.mark.parametrize("fault", ["refuse", "reset"])
async def test_a_connection_closed_without_an_answer_is_a_connection_error(fault: str) -> None:
    async with upstream_of(Script(fault=fault)) as upstream, provider_for(upstream.base_url) as provider:
        with pytest.raises(UpstreamConnectionError, match="Provider 'up'") as caught:
            await provider.send(REQUEST)
        assert (caught.value.status, str(upstream.port) in str(caught.value)) == (502, False)


async def test_nobody_there_is_a_connection_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with provider_for(f"http://127.0.0.1:{port}") as provider:
        with pytest.raises(UpstreamConnectionError, match="Provider 'up' could not be reached"):
            await provider.send(REQUEST)


async def test_a_name_that_stands_for_no_host_is_a_connection_error() -> None:
    async with provider_for("http://no-such-host.invalid") as provider:
        with pytest.raises(UpstreamConnectionError) as caught:
            await provider.send(REQUEST)
        assert "no-such-host" not in str(caught.value)


@pytest.mark.parametrize("fault", ["cut", "reset_body"])
@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "with a length"])
async def test_a_body_that_breaks_off_is_a_connection_error(fault: str, chunked: bool) -> None:
    script = Script(pieces=[b"a"], fault=fault) if chunked else Script(body=b"a" * 100, fault=fault)
    async with upstream_of(script) as upstream, provider_for(upstream.base_url) as provider:
        reply = await provider.send(REQUEST)
        await asyncio.sleep(0.05)
        with pytest.raises(UpstreamConnectionError, match="Provider 'up'"):
            await reply.read()
        await reply.aclose()


async def test_redirects_are_not_followed() -> None:
    async with upstream_of(OK) as target:
        away = Script(status=307, headers={"location": f"{target.base_url}/chat/completions"})
        async with upstream_of(away) as upstream, provider_for(upstream.base_url) as provider:
            reply = await provider.send(REQUEST)
            assert reply.status == 307
            await reply.aclose()
        assert target.requests == []


# connections


async def arrived(upstream: ScriptedUpstream, count: int) -> None:
    """Wait until so many requests have reached the upstream."""
    while len(upstream.requests) < count:
        upstream.arrived.clear()
        await upstream.arrived.wait()


async def test_many_slow_requests_are_all_under_way_at_once() -> None:
    gate = asyncio.Event()
    async with (
        upstream_of(Script(body=b"{}", hold=gate)) as upstream,
        provider_for(upstream.base_url) as provider,
    ):
        asking = [asyncio.ensure_future(read(provider)) for _ in range(200)]
        await asyncio.wait_for(arrived(upstream, 200), 5)
        gate.set()
        assert await asyncio.gather(*asking) == [b"{}"] * 200


async def test_max_connections_is_kept_to() -> None:
    gate = asyncio.Event()
    async with (
        upstream_of(Script(body=b"{}", hold=gate)) as upstream,
        provider_for(upstream.base_url, pool=Pool(max_connections=3)) as provider,
    ):
        asking = [asyncio.ensure_future(read(provider)) for _ in range(10)]
        await asyncio.wait_for(arrived(upstream, 3), 5)
        await asyncio.sleep(0.1)
        assert len(upstream.requests) == 3
        gate.set()
        assert await asyncio.gather(*asking) == [b"{}"] * 10
        assert len(upstream.requests) == 10


async def test_a_connection_is_used_again_once_its_answer_was_read() -> None:
    async with counting_connections() as (url, connections), provider_for(url) as provider:
        for _ in range(5):
            assert await read(provider) == b"ok"
        assert len(connections) == 1
        reply = await provider.send(REQUEST)
        await reply.aclose()  # without reading: what is left of the answer must not meet the next one
        assert await read(provider) == b"ok"
        assert len(connections) <= 2


async def test_idle_connections_are_kept_no_longer_than_said() -> None:
    async with (
        counting_connections() as (url, connections),
        provider_for(url, pool=Pool(keepalive=0.05)) as provider,
    ):
        await read(provider)
        await asyncio.sleep(0.2)
        await read(provider)
        assert len(connections) == 2


async def test_a_provider_is_usable_again_after_closing() -> None:
    async with counting_connections() as (url, connections), provider_for(url) as provider:
        await provider.aclose()
        assert await read(provider) == b"ok"
        await provider.aclose()
        await provider.aclose()
        assert await read(provider) == b"ok"
        assert len(connections) == 2


async def test_closing_leaves_no_socket_open() -> None:
    async with counting_connections() as (url, connections):
        with warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)
            provider = Provider("up", url)
            assert await read(provider) == b"ok"
            await provider.aclose()
            (connection,) = connections
            async with asyncio.timeout(1):
                while not connection.at_eof():  # noqa: ASYNC110 - the host's own task waits for the same
                    await asyncio.sleep(0.01)
            del provider
            gc.collect()


@asynccontextmanager
async def counting_connections() -> AsyncIterator[tuple[str, list[asyncio.StreamReader]]]:
    """A host that answers `ok` and notes each connection."""
    connections: list[asyncio.StreamReader] = []
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(reader)
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while True:
                await reader.readuntil(b'{"a":1}')
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", connections
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# what is on the wire


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)], ids=["gzip", "deflate"]
)
async def test_encoded_answers_are_decoded_asked_for_or_not(encoding: str, pack: object) -> None:
    assert callable(pack)
    body = b'{"text":"' + b"hello " * 5000 + b'"}'
    script = Script(headers={"content-type": "application/json", "content-encoding": encoding}, body=pack(body))
    async with upstream_of(script) as upstream, provider_for(upstream.base_url) as provider:
        reply = await provider.send(REQUEST)
        assert await reply.read() == body
        assert not {"content-encoding", "content-length"} & dict(reply.headers).keys()
        await reply.aclose()


async def test_an_encoded_stream_is_decoded_as_it_comes() -> None:
    packer = zlib.compressobj(wbits=31)
    pieces = [packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH) for part in (b"data: 1\n\n", b"data: 2\n\n")]
    gate = asyncio.Event()
    script = Script(
        headers={"content-type": "text/event-stream", "content-encoding": "gzip"},
        pieces=[*pieces, packer.flush()],
        hold_after=(1, gate),
    )
    async with upstream_of(script) as upstream, provider_for(upstream.base_url) as provider:
        reply = await provider.send(REQUEST)
        stream = reply.stream()
        assert await asyncio.wait_for(anext(aiter(stream)), 2) == b"data: 1\n\n"
        gate.set()
        assert b"".join([piece async for piece in stream]) == b"data: 2\n\n"
        await reply.aclose()


async def test_the_url_goes_out_as_it_is() -> None:
    async with upstream_of(OK) as upstream, provider_for(f"{upstream.base_url}/a%2Fb/%7Bc%7D") as provider:
        await read(provider)
        assert upstream.requests[0].path == "/v1/a%2Fb/%7Bc%7D/chat/completions"


async def test_headers_that_cannot_be_sent_are_an_error_and_nothing_is_sent() -> None:
    async with upstream_of(OK) as upstream, provider_for(upstream.base_url) as provider:
        bad = ProviderRequest(api="chat", path="/x", model="m", body=b"{}", headers={"x-a": "1\r\nx-b: 2"})
        with pytest.raises(ServerError):
            await provider.send(bad)
        assert upstream.requests == []


# proxies


def proxied(monkeypatch: pytest.MonkeyPatch, **names: str) -> None:
    """Set the proxies of the environment, and no others."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in names.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
async def test_the_proxy_of_the_environment_is_used(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with upstream_of(OK) as proxy:
        proxied(monkeypatch, **{name: f"http://me:pw@127.0.0.1:{proxy.port}"})
        async with provider_for("http://upstream.example/v1") as provider:
            assert await read(provider) == OK.body
        (request,) = proxy.requests
        assert (request.method, request.path) == ("POST", "http://upstream.example/v1/chat/completions")
        assert request.headers["host"] == "upstream.example"
        assert request.headers["proxy-authorization"] == "Basic bWU6cHc="


async def test_https_goes_through_a_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    async with upstream_of(Script(status=403, body=b"no")) as proxy:
        proxied(monkeypatch, HTTPS_PROXY=f"http://127.0.0.1:{proxy.port}")
        async with provider_for("https://upstream.example/v1") as provider:
            with pytest.raises(
                UpstreamConnectionError, match="proxy on the way to provider 'up' refused the connection"
            ):
                await provider.send(REQUEST)
        (request,) = proxy.requests
        assert (request.method, request.path) == ("CONNECT", "upstream.example:443")
        assert "authorization" not in request.headers


BYPASSES = ["127.0.0.1", "*", "example.com, 127.0.0.1", "127.0.0.1:{port}"]


@pytest.mark.parametrize("bypass", BYPASSES)
async def test_hosts_of_no_proxy_are_reached_directly(bypass: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with upstream_of(OK) as proxy, upstream_of(OK) as upstream:
        proxied(monkeypatch, HTTP_PROXY=f"http://127.0.0.1:{proxy.port}", NO_PROXY=bypass.format(port=upstream.port))
        async with provider_for(upstream.base_url) as provider:
            assert await read(provider) == OK.body
        assert (len(proxy.requests), len(upstream.requests)) == (0, 1)


@pytest.mark.parametrize(
    "others", [{"NO_PROXY": "example.com"}, {"NO_PROXY": ""}, {}], ids=["others", "empty", "unset"]
)
async def test_other_hosts_are_reached_through_the_proxy(
    others: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with upstream_of(OK) as proxy, upstream_of(OK) as upstream:
        proxied(monkeypatch, HTTP_PROXY=f"http://127.0.0.1:{proxy.port}", **others)
        async with provider_for(upstream.base_url) as provider:
            assert await read(provider) == OK.body
        assert (len(proxy.requests), len(upstream.requests)) == (1, 0)


async def test_a_proxy_that_is_not_there_is_a_connection_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    proxied(monkeypatch, HTTP_PROXY=f"http://me:secret@127.0.0.1:{port}")
    async with provider_for("http://upstream.example") as provider:
        with pytest.raises(
            UpstreamConnectionError, match="proxy on the way to provider 'up' could not be reached"
        ) as caught:
            await provider.send(REQUEST)
        assert "secret" not in str(caught.value)


def test_a_provider_goes_on_in_another_event_loop() -> None:
    """As when a library's user calls asyncio.run twice."""
    provider = Provider("up", "http://127.0.0.1:1")

    async def once(scripts: Iterable[Script]) -> bytes:
        async with upstream_of(*scripts) as upstream:
            provider.base_url = upstream.base_url
            try:
                return await read(provider)
            finally:
                await provider.aclose()

    assert [asyncio.run(once([OK])) for _ in range(2)] == [OK.body, OK.body]
