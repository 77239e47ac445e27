"""Proxies: which hosts go through one, what it is told, and each way in which it fails."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvloop

from aigateway import Provider
from aigateway.errors import UpstreamConnectionError, UpstreamError, UpstreamTimeoutError
from aigateway.transport.pool import PooledTransport
from aigateway.transport.protocol import TLS, Timeout
from aigateway.transport.proxy import Proxies, parse_proxy
from tests.raw_peer import OK, RawPeer, answering, fetch, head_in, pooled, raw_peer, request_in
from tests.test_transport_tls import CA, CLIENT, serving

SECRET = "p@ss:word/"
LOGIN = "me:p%40ss%3Aword%2F@"
BASIC = b"Basic " + b64encode(b"me:" + SECRET.encode())


class Forwarder:
    """A proxy that forwards tunnels and answers plain requests itself; it notes what it was asked."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.heads: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await head_in(reader)
            self.heads.append(head)
            if not head.startswith(b"CONNECT"):
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                writer.write(OK)
                continue
            upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(b"HTTP/1.1 200 Connection established\r\nvia: 1.1 p\r\n\r\n")
            there = asyncio.ensure_future(_pump(reader, upstream_writer))
            await _pump(upstream_reader, writer)
            await there
            return


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def proxy_and_upstream(*, secure_proxy: bool) -> AsyncIterator[tuple[Forwarder, str, str]]:
    """A forwarder, its URL with credentials, and that of a TLS upstream behind it."""
    async with raw_peer(answering(OK), tls=serving()) as upstream:
        forwarder = Forwarder(upstream.port)
        async with raw_peer(forwarder, tls=serving() if secure_proxy else None) as proxy:
            scheme = "https" if secure_proxy else "http"
            yield forwarder, f"{scheme}://{LOGIN}127.0.0.1:{proxy.port}", f"https://localhost:{upstream.port}/v1/x"


async def through_a_tunnel(*, secure_proxy: bool) -> None:
    """Two requests on one tunnel."""
    async with (
        proxy_and_upstream(secure_proxy=secure_proxy) as (forwarder, proxy, url),
        pooled(PooledTransport(tls=TLS(ca=CA), proxy=proxy)) as transport,
    ):
        for _ in range(2):
            assert await fetch(transport, url, headers=[("authorization", "Bearer k")]) == (200, b"ok")
    (head,) = forwarder.heads
    authority = url.split("/")[2].encode()
    assert head.split(b"\r\n") == [
        b"CONNECT " + authority + b" HTTP/1.1",
        b"host: " + authority,
        b"proxy-authorization: " + BASIC,
        b"",
        b"",
    ]


@pytest.mark.parametrize("secure_proxy", [False, True], ids=["plain proxy", "TLS to the proxy"])
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_https_goes_through_a_tunnel_that_is_kept(secure_proxy: bool, loop: object) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:  # type: ignore[arg-type]  # a function that makes a loop
        runner.run(through_a_tunnel(secure_proxy=secure_proxy))


@pytest.mark.parametrize("secure_proxy", [False, True], ids=["plain proxy", "TLS to the proxy"])
async def test_http_is_asked_of_the_proxy_by_its_whole_url(secure_proxy: bool) -> None:
    forwarder = Forwarder()
    async with raw_peer(forwarder, tls=serving() if secure_proxy else None) as proxy:
        url = f"{'https' if secure_proxy else 'http'}://{LOGIN}127.0.0.1:{proxy.port}"
        async with pooled(PooledTransport(tls=TLS(ca=CA), proxy=url)) as transport:
            for _ in range(2):
                assert await fetch(transport, "http://up.example:81/v1/x?a=1") == (200, b"ok")
        assert proxy.connections == 1
    lines = forwarder.heads[0].split(b"\r\n")
    assert lines[:2] == [b"POST http://up.example:81/v1/x?a=1 HTTP/1.1", b"host: up.example:81"]
    assert b"proxy-authorization: " + BASIC in lines


REFUSALS = {
    "asks who we are": (b"HTTP/1.1 407 Auth\r\ncontent-length: 0\r\n\r\n", "asks for credentials (407)"),
    "refuses": (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", "refused the connection (403)"),
    "cannot reach it": (b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n", "refused the connection (502)"),
    "no HTTP": (b"220 smtp\r\n\r\n", "answered with something that is not HTTP"),
    "says nothing": (b"", "closed the connection without an answer"),
    "endless": (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000, "sent more than its answer"),
    "more than its answer": (b"HTTP/1.1 200 OK\r\n\r\nextra", "sent more than its answer"),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_proxy_that_gives_no_tunnel_is_named_and_how(name: str) -> None:
    answer, words = REFUSALS[name]

    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_in(reader)
        writer.write(answer)
        await writer.drain()

    async with raw_peer(conduct) as proxy:
        await fails(f"http://127.0.0.1:{proxy.port}", "https://up.example/", words)


@pytest.mark.parametrize("url", ["http://up.example/", "https://up.example/"])
async def test_credentials_that_the_proxy_refuses_are_named_and_never_shown(url: str) -> None:
    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_in(reader)
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")

    async with raw_peer(conduct) as proxy:
        words = "refused the credentials that it was sent (407)"
        assert SECRET not in repr(await fails(f"http://{LOGIN}127.0.0.1:{proxy.port}", url, words))


@pytest.mark.parametrize("url", ["http://up.example/", "https://up.example/"])
async def test_a_proxy_that_is_not_there_is_named(url: str) -> None:
    await fails(f"http://{LOGIN}127.0.0.1:9", url, "could not be reached")
    error = await fails(f"http://{LOGIN}no-such-host.invalid", url, "")
    assert error.message == "The host name of the proxy on the way to provider 'p' could not be resolved."


async def test_a_proxy_s_own_certificate_counts() -> None:
    async with raw_peer(Forwarder(), tls=serving("elsewhere")) as proxy:
        words = "failed the TLS handshake: its certificate is from an issuer that is not trusted"
        await fails(f"https://127.0.0.1:{proxy.port}", "http://up.example/", words)


@pytest.mark.parametrize("url", ["http://up.example/", "https://up.example/"])
async def test_a_proxy_gets_no_client_certificate_and_is_verified_where_the_upstream_is_not(url: str) -> None:
    shown: list[object] = []

    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown.append(writer.get_extra_info("peercert"))
        await request_in(reader)
        writer.write(b"HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n")

    context = serving()
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(CA)
    async with raw_peer(conduct, tls=context) as proxy:
        way = f"https://127.0.0.1:{proxy.port}"
        async with pooled(PooledTransport(proxy=way, tls=TLS(ca=CA, cert=CLIENT))) as known:
            with pytest.raises(UpstreamConnectionError, match=r"asks for credentials \(407\)"):
                await fetch(known, url)
        assert shown in ([None], [{}])
        async with pooled(PooledTransport(proxy=way, tls=TLS(verify=False))) as careless:
            with pytest.raises(UpstreamConnectionError, match="an issuer that is not trusted"):
                await fetch(careless, url)
        assert len(shown) == 1


async def test_an_upstream_s_certificate_counts_inside_the_tunnel() -> None:
    async with (
        proxy_and_upstream(secure_proxy=False) as (_, proxy, url),
        pooled(PooledTransport(proxy=proxy)) as transport,
    ):
        with pytest.raises(UpstreamConnectionError, match="Provider 'p' failed the TLS handshake: its certificate"):
            await fetch(transport, url)


async def test_a_proxy_that_never_answers_is_a_timeout() -> None:
    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with raw_peer(conduct) as proxy, pooled(PooledTransport(proxy=f"127.0.0.1:{proxy.port}")) as transport:
        with pytest.raises(UpstreamTimeoutError, match="through its proxy in time"):
            await fetch(transport, "https://up.example/", limits=Timeout(connect=0.1))


async def fails(proxy: str, url: str, words: str) -> UpstreamError:
    """The error of one request, which names the proxy, and no address."""
    async with pooled(PooledTransport(proxy=proxy)) as transport:
        with pytest.raises(UpstreamConnectionError) as caught:
            await fetch(transport, url)
    message = caught.value.message
    assert "proxy on the way to provider 'p'" in message
    assert words in message
    assert not any(word in message for word in ("127.0.0.1", "up.example", "no-such-host", SECRET, "me:"))
    return caught.value


# which hosts


def proxied(host: str, port: int = 443, scheme: str = "https", **environ: str) -> str | None:
    found = Proxies(environ).find(scheme, host, port)
    return None if found is None else found.host


@pytest.mark.parametrize(
    ("entries", "host", "port", "direct"),
    [
        ("*", "a.example", 443, True),
        ("", "a.example", 443, False),
        ("example.com", "example.com", 443, True),
        ("example.com", "API.example.com.", 443, True),
        (".example.com", "api.example.com", 443, True),
        ("*.example.com", "api.example.com", 443, True),
        ("example.com", "badexample.com", 443, False),
        ("other, example.com:8443", "example.com", 8443, True),
        ("example.com:8443", "example.com", 443, False),
        ("localhost 10.0.0.0/8", "10.2.3.4", 80, True),
        ("10.0.0.0/8", "11.2.3.4", 80, False),
        ("10.0.0.0/8", "ten.example", 80, False),
        ("127.0.0.1", "127.0.0.1", 80, True),
        ("fd00::/8", "fd12::1", 80, True),
        ("::1", "::1", 80, True),
        ("[::1]", "::1", 80, True),
        ("[::1]:80", "::1", 81, False),
        ("[::1]:80", "::1", 80, True),
    ],
)
def test_no_proxy_names_domains_addresses_networks_and_ports(entries: str, host: str, port: int, direct: bool) -> None:
    found = proxied(host, port, HTTPS_PROXY="http://proxy:1", NO_PROXY=entries)
    assert (found is None) is direct


def test_the_scheme_s_own_proxy_and_lower_case_come_first() -> None:
    assert proxied("a", HTTPS_PROXY="http://upper", https_proxy="http://lower") == "lower"
    assert proxied("a", HTTPS_PROXY="http://upper", https_proxy="") is None
    assert proxied("a", ALL_PROXY="http://all", HTTP_PROXY="http://plain") == "all"
    assert proxied("a", 80, "http", ALL_PROXY="http://all", HTTP_PROXY="http://plain") == "plain"
    assert proxied("a", 80, "http", HTTP_PROXY="http://plain", REQUEST_METHOD="GET") is None
    assert proxied("a", 80, "http") is None


def test_a_proxy_s_url_may_leave_out_what_goes_without_saying() -> None:
    found = parse_proxy("proxy.example")
    assert (found.host, found.port, found.secure, found.header) == ("proxy.example", 80, False, "")
    found = parse_proxy("https://proxy.example")
    assert (found.port, found.secure) == (443, True)
    found = parse_proxy("http://[::1]:3128/")
    assert (found.host, found.port) == ("::1", 3128)


BAD = ["socks5://h:1", "http://", "http://h:0", "http://h:x", "http://h\r\nx:1", ""]


@pytest.mark.parametrize("url", BAD)
def test_what_is_no_proxy_is_refused_where_it_is_given_and_not_shown(url: str) -> None:
    for make in (lambda: PooledTransport(proxy=url), lambda: Provider("p", "http://h", proxy=url)):
        with pytest.raises(ValueError, match="must be the http:// or https:// URL of a proxy") as caught:
            make()
        assert url in ("", "http://") or url not in str(caught.value)


async def test_what_is_no_proxy_in_the_environment_is_an_error_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clear(monkeypatch)
    monkeypatch.setenv("ALL_PROXY", "socks5://me:pw@h:1")
    async with pooled(PooledTransport()) as transport:
        with pytest.raises(UpstreamConnectionError, match="cannot be used: ALL_PROXY must be the") as caught:
            await fetch(transport, "https://up.example/")
        assert "pw" not in caught.value.message


async def test_none_ignores_the_environment_and_an_option_ignores_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    clear(monkeypatch)
    async with raw_peer(answering(OK)) as upstream, raw_peer(answering(OK)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        assert await counted(PooledTransport(proxy="none"), upstream, proxy) == (1, 0)
        monkeypatch.setenv("NO_PROXY", "*")
        assert await counted(PooledTransport(), upstream, proxy) == (2, 0)
        assert await counted(PooledTransport(proxy=f"http://127.0.0.1:{proxy.port}"), upstream, proxy) == (2, 1)


async def counted(transport: PooledTransport, *peers: RawPeer) -> tuple[int, ...]:
    """The connections that the peers have had after one request to the first."""
    async with pooled(transport):
        assert await fetch(transport, peers[0].url) == (200, b"ok")
    return tuple(peer.connections for peer in peers)


def clear(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
