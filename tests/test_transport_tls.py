"""TLS to upstreams: what is trusted, who we are, and each failure by its name."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import socket
import ssl
from pathlib import Path

import msgspec
import pytest

from aigateway.errors import ServerError, UpstreamConnectionError
from aigateway.transport.pool import PooledTransport
from aigateway.transport.protocol import TLS
from tests.raw_peer import answering, fetch, pooled, raw_peer, request_in

FILES = Path(__file__).parent / "fixtures" / "tls"
CA = str(FILES / "ca.pem")
CLIENT = str(FILES / "client.pem")
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def serving(certificate: str = "here") -> ssl.SSLContext:
    """What a server with this certificate speaks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FILES / f"{certificate}.pem")
    return context


def https(url: str) -> str:
    return url.replace("http:", "https:")


async def test_a_certificate_of_a_custom_ca_is_trusted_by_name_and_by_address() -> None:
    async with raw_peer(answering(OK), tls=serving()) as peer, pooled(PooledTransport(tls=TLS(ca=CA))) as transport:
        for host in ("127.0.0.1", "localhost"):
            for _ in range(2):
                assert await fetch(transport, https(peer.url).replace("127.0.0.1", host)) == (200, b"ok")
        assert peer.connections == 2


FAILURES = {
    "unknown issuer": (TLS(), "here", "from an issuer that is not trusted"),
    "self-signed": (TLS(ca=CA), "self", "self-signed and not trusted"),
    "expired": (TLS(ca=CA), "expired", "has expired"),
    "another host": (TLS(ca=CA), "elsewhere", "for another host"),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_a_certificate_that_is_not_trusted_is_an_error_that_says_why(name: str, tmp_path: Path) -> None:
    settings, certificate, why = FAILURES[name]
    if certificate == "self":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(FILES / "cert.pem", FILES / "key.pem")
    else:
        context = serving(certificate)
    async with raw_peer(answering(OK), tls=context) as peer, pooled(PooledTransport(tls=settings)) as transport:
        with pytest.raises(UpstreamConnectionError) as caught:
            await fetch(transport, https(peer.url))
        assert caught.value.message == f"Provider 'p' failed the TLS handshake: its certificate is {why}.".replace(
            "is has", "has"
        )


async def test_no_verification_believes_whoever_answers_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "aigateway")
    async with (
        raw_peer(answering(OK), tls=serving("elsewhere")) as peer,
        pooled(PooledTransport(tls=TLS(verify=False))) as transport,
    ):
        urls = [https(peer.url), https(peer.url).replace("127.0.0.1", "localhost")]
        assert await asyncio.gather(*(fetch(transport, url) for url in urls * 3)) == [(200, b"ok")] * 6
    told = [record.getMessage() for record in caplog.records]
    assert told == ["Provider 'p': its TLS certificate is not verified (tls.verify is false)"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
async def test_a_server_that_asks_for_a_client_certificate_gets_it(version: ssl.TLSVersion) -> None:
    context = serving()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(CA)
    context.minimum_version = context.maximum_version = version
    async with raw_peer(answering(OK), tls=context) as peer:
        async with pooled(PooledTransport(tls=TLS(ca=CA, cert=CLIENT))) as known:
            assert await fetch(known, https(peer.url)) == (200, b"ok")
        async with pooled(PooledTransport(tls=TLS(ca=CA))) as unknown:
            with pytest.raises(UpstreamConnectionError, match=r"TLS handshake|without a valid answer"):
                await fetch(unknown, https(peer.url))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
async def test_who_has_no_client_certificate_is_told_that_one_is_asked_for(version: ssl.TLSVersion) -> None:
    """On a thread: the event loop's own servers cut the connection before they have said why."""
    context = serving()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(CA)
    context.minimum_version = context.maximum_version = version

    def refuse(listener: socket.socket) -> None:
        accepted, _ = listener.accept()
        with context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False) as connection:
            with contextlib.suppress(ssl.SSLError):
                connection.do_handshake()
            with contextlib.suppress(OSError):
                while socket.socket.recv(connection, 65_536):  # what is unread at the end would be a reset
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        refusing = asyncio.create_task(asyncio.to_thread(refuse, listener))
        async with pooled(PooledTransport(tls=TLS(ca=CA))) as unknown:
            with pytest.raises(
                UpstreamConnectionError, match=r"failed the TLS handshake: .*asks for a client certificate"
            ):
                await fetch(unknown, f"https://127.0.0.1:{listener.getsockname()[1]}/")
        await refusing


@pytest.mark.parametrize("option", ["ca", "cert"])
@pytest.mark.parametrize("made", [True, False], ids=["not PEM", "missing"])
async def test_a_file_that_cannot_be_used_is_an_error_that_names_the_option(
    option: str, made: bool, tmp_path: Path
) -> None:
    file = tmp_path / "file.pem"
    if made:
        file.write_text("no certificate")
    async with pooled(PooledTransport(tls=msgspec.structs.replace(TLS(), **{option: str(file)}))) as transport:
        with pytest.raises(ServerError, match=f"`tls.{option}`") as caught:
            await fetch(transport, "https://127.0.0.1:9/")
        assert str(tmp_path) not in caught.value.message


async def test_a_file_that_has_changed_is_read_anew_by_the_next_transport(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    shutil.copy(FILES / "cert.pem", file)
    async with raw_peer(answering(OK), tls=serving()) as peer:
        async with pooled(PooledTransport(tls=TLS(ca=str(file)))) as before:
            with pytest.raises(UpstreamConnectionError, match="not trusted"):
                await fetch(before, https(peer.url))
        shutil.copy(CA, file)
        async with pooled(PooledTransport(tls=TLS(ca=str(file)))) as after:
            assert await fetch(after, https(peer.url)) == (200, b"ok")


async def test_the_name_and_http_1_1_are_told_in_the_handshake() -> None:
    told: list[tuple[str | None, str | None]] = []
    context = serving()
    context.set_alpn_protocols(["h2", "http/1.1"])
    names: list[str | None] = []
    context.sni_callback = lambda _, name, __: names.append(name)

    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told.append((names[-1], writer.get_extra_info("ssl_object").selected_alpn_protocol()))
        await request_in(reader)
        writer.write(OK)

    async with raw_peer(conduct, tls=context) as peer, pooled(PooledTransport(tls=TLS(ca=CA))) as transport:
        assert await fetch(transport, https(peer.url).replace("127.0.0.1", "localhost")) == (200, b"ok")
    assert told == [("localhost", "http/1.1")]


async def test_a_peer_that_closes_in_the_handshake_or_speaks_plain_http_is_told_apart() -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)

    async with raw_peer(leave) as peer, pooled() as transport:
        with pytest.raises(UpstreamConnectionError, match="TLS handshake: the connection was closed"):
            await fetch(transport, https(peer.url))

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read(1)

    async with raw_peer(plain) as peer, pooled() as transport:
        with pytest.raises(UpstreamConnectionError, match="TLS handshake: it does not speak TLS there"):
            await fetch(transport, https(peer.url))
