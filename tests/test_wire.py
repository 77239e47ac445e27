"""The wire to the upstreams against a raw socket that answers byte by byte, wrongly, or too much."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aigateway.errors import UpstreamConnectionError, UpstreamProtocolError, UpstreamTimeoutError
from aigateway.transport.pool import PooledTransport
from aigateway.transport.protocol import HTTPRequest, Timeout
from aigateway.transport.response import Response
from aigateway.transport.wire import HIGH_WATER, MAX_HEAD

Answerer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(answer: Answerer) -> AsyncIterator[tuple[str, list[int]]]:
    """A server that reads one request head and body, then does what `answer` says; and the list of its connections."""
    connections: list[int] = []
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        connections.append(1)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                await answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/x", connections
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def saying(*pieces: bytes, close: bool = False) -> Answerer:
    """Write the pieces one by one; close after them if asked."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if close:
            writer.close()

    return answer


async def fetch(transport: PooledTransport, url: str, limits: Timeout | None = None) -> tuple[int, bytes]:
    """Status and body of one request."""
    response = await transport.send(
        HTTPRequest(method="POST", url=url, headers=[("x-a", "b")], body=b"{}", timeout=limits or Timeout())
    )
    try:
        return response.status, await response.read()
    finally:
        await response.aclose()


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


HEAD = b"HTTP/1.1 200 OK\r\n"
LAWFUL = {
    "content-length": (HEAD + b"content-length: 5\r\n\r\nhello", b"hello"),
    "chunked": (HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunked(b"hel", b"lo"), b"hello"),
    "chunked with extensions and trailers": (
        HEAD + b"transfer-encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nx-t: 1\r\n\r\n",
        b"hello",
    ),
    "interim responses first": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
        + HEAD
        + b"content-length: 2\r\n\r\nok",
        b"ok",
    ),
    "empty": (HEAD + b"content-length: 0\r\n\r\n", b""),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
}


@pytest.mark.parametrize(("answer", "body"), LAWFUL.values(), ids=LAWFUL)
async def test_a_lawful_answer_is_read_at_once_and_byte_by_byte_on_one_connection(answer: bytes, body: bytes) -> None:
    transport = PooledTransport()
    async with raw_server(saying(answer)) as (url, connections):
        assert (await fetch(transport, url))[1] == body
        assert (await fetch(transport, url))[1] == body
        assert len(connections) == 1
        await transport.aclose()
    async with raw_server(saying(*[answer[at : at + 1] for at in range(len(answer))])) as (url, connections):
        assert (await fetch(transport, url))[1] == body
        assert (await fetch(transport, url))[1] == body
        assert len(connections) == 1
        await transport.aclose()


@settings(max_examples=20)
@given(pieces=st.lists(st.binary(min_size=1, max_size=300), max_size=8), data=st.data())
def test_any_split_of_a_chunked_answer_gives_the_same_body(pieces: list[bytes], data: st.DataObject) -> None:
    answer = HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunked(*pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=6)))
    parts = [answer[a:b] for a, b in zip([0, *cuts], [*cuts, len(answer)], strict=True)]

    async def check() -> None:
        transport = PooledTransport()
        async with raw_server(saying(*parts)) as (url, _):
            assert await fetch(transport, url) == (200, b"".join(pieces))
        await transport.aclose()

    asyncio.run(check())


async def test_a_body_without_a_length_ends_with_the_connection() -> None:
    transport = PooledTransport()
    async with raw_server(saying(HEAD + b"content-type: text/plain\r\n\r\n", b"all ", b"of it", close=True)) as (
        url,
        _,
    ):
        assert await fetch(transport, url) == (200, b"all of it")
    await transport.aclose()


UNLAWFUL = {
    "no HTTP": b"220 smtp ready\r\n\r\n",
    "both lengths": HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n" + chunked(b"hello"),
    "two lengths": HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
    "a chunk size that is none": HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    "a chunk longer than it says": HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n",
    "a head without end": HEAD + b"x-long: " + b"a" * (MAX_HEAD + 10),
    "a head of a megabyte that has an end": HEAD + b"x: y\r\n" * 170_000 + b"content-length: 0\r\n\r\n",
    "a line of a megabyte": HEAD + b"x: " + b"y" * 1_000_000 + b"\r\ncontent-length: 0\r\n\r\n",
    "a line of 100 KB": HEAD + b"x: " + b"y" * 100_000 + b"\r\ncontent-length: 0\r\n\r\n",
    "too many headers": HEAD + (b"x: " + b"y" * 64 + b"\r\n") * 1_100 + b"content-length: 0\r\n\r\n",
    "interim responses without end": b"HTTP/1.1 102 Processing\r\n\r\n" * 20_000,
    "a status line without end": b"HTTP/1.1 200 " + b"O" * 300_000,
    "a status below 100": b"HTTP/1.1 099 Odd\r\ncontent-length: 0\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 Odd\r\ncontent-length: 0\r\n\r\n",
    "a line folded": HEAD + b"a: b\r\n c\r\ncontent-length: 0\r\n\r\n",
    "a bare CR": HEAD + b"a: b\rc\r\ncontent-length: 0\r\n\r\n",
    "a bare LF": b"HTTP/1.1 200 OK\ncontent-length: 0\n\n",
    "a NUL": HEAD + b"a: b\0c\r\ncontent-length: 0\r\n\r\n",
    "a space before the colon": HEAD + b"content-length : 0\r\n\r\n",
    "a line without a colon": HEAD + b"abc\r\ncontent-length: 0\r\n\r\n",
    "a length with a sign": HEAD + b"content-length: +1\r\n\r\nx",
    "a negative length": HEAD + b"content-length: -1\r\n\r\nx",
    "a length beyond measure": HEAD + b"content-length: 99999999999999999999\r\n\r\nx",
    "a list of lengths": HEAD + b"content-length: 1, 1\r\n\r\nx",
    "the same length twice": HEAD + b"content-length: 1\r\ncontent-length: 1\r\n\r\nx",
    "chunked and a length": HEAD + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n" + chunked(b"hello"),
    "chunked twice": HEAD + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n" + chunked(b"hello"),
    "a coding before chunked": HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n" + chunked(b"hello"),
    "chunked not last": HEAD + b"transfer-encoding: chunked, gzip\r\n\r\nhello",
    "a coding that is none": HEAD + b"transfer-encoding: xchunked\r\n\r\nhello",
    "a chunk size in C": HEAD + b"transfer-encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
    "a chunk size with a sign": HEAD + b"transfer-encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n",
    "a chunk size beyond measure": HEAD + b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello",
    "no chunk size": HEAD + b"transfer-encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n",
    "a chunk line without CR": HEAD + b"transfer-encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
    "a chunk shorter than it says": HEAD + b"transfer-encoding: chunked\r\n\r\n7\r\nhello\r\n0\r\n\r\n",
    "a chunk extension without end": HEAD + b"transfer-encoding: chunked\r\n\r\n5;" + b"a" * 600_000,
    "trailers without end": HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 100_000,
    "a length among the trailers": HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\ncontent-length: 5\r\n\r\n",
    "an upgrade": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
}


@pytest.mark.parametrize("answer", UNLAWFUL.values(), ids=UNLAWFUL)
async def test_an_unlawful_answer_is_an_error_and_ends_the_connection(answer: bytes) -> None:
    transport = PooledTransport()
    async with raw_server(saying(answer)) as (url, connections):
        for _ in range(2):
            with pytest.raises(UpstreamProtocolError):
                await fetch(transport, url, Timeout(first_byte=5, idle=5))
        assert len(connections) == 2
    await transport.aclose()


async def test_bytes_after_the_end_of_an_answer_never_meet_the_next_request() -> None:
    transport = PooledTransport()
    extra = HEAD + b"content-length: 2\r\n\r\nok" + HEAD + b"content-length: 4\r\n\r\nevil"
    async with raw_server(saying(extra)) as (url, connections):
        for _ in range(3):
            assert await fetch(transport, url) == (200, b"ok")
        assert len(connections) == 3
    await transport.aclose()


async def test_bytes_on_an_idle_connection_end_it() -> None:
    transport = PooledTransport()
    late = asyncio.Event()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"content-length: 2\r\n\r\nok")
        await asyncio.sleep(0.02)
        writer.write(HEAD + b"content-length: 4\r\n\r\nevil")
        late.set()

    async with raw_server(answer) as (url, connections):
        assert await fetch(transport, url) == (200, b"ok")
        await late.wait()
        await asyncio.sleep(0.02)
        assert await fetch(transport, url) == (200, b"ok")
        assert len(connections) == 2
    await transport.aclose()


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(b"plain text " * 5000)),
        ("deflate", zlib.compress(b"plain text " * 5000)),
    ],
)
async def test_an_encoded_answer_is_decoded(encoding: str, packed: bytes) -> None:
    transport = PooledTransport()
    head = HEAD + f"content-encoding: {encoding}\r\ncontent-length: {len(packed)}\r\n\r\n".encode()
    async with raw_server(saying(head, packed[:50], packed[50:])) as (url, _):
        assert await fetch(transport, url) == (200, b"plain text " * 5000)
    await transport.aclose()


@pytest.mark.parametrize("encoding", ["br", "gzip"])
async def test_an_encoding_that_cannot_be_read_is_a_protocol_error(encoding: str) -> None:
    transport = PooledTransport()
    head = HEAD + f"content-encoding: {encoding}\r\ncontent-length: 5\r\n\r\nhello".encode()
    async with raw_server(saying(head)) as (url, _):
        with pytest.raises(UpstreamProtocolError):
            await fetch(transport, url)
    await transport.aclose()


async def test_a_reader_who_does_not_come_pauses_the_upstream() -> None:
    transport = PooledTransport()
    total = 40 * 1024 * 1024
    sent = 0

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(HEAD + b"content-length: %d\r\n\r\n" % total)
        while sent < total:
            writer.write(b"x" * HIGH_WATER)
            sent += HIGH_WATER
            await writer.drain()

    async with raw_server(answer) as (url, _):
        response = await transport.send(HTTPRequest(method="POST", url=url, headers=[], body=b"{}"))
        await asyncio.sleep(0.3)
        assert sent < total
        size = 0
        async for piece in response.stream():
            size += len(piece)
        await response.aclose()
        assert size == total
    await transport.aclose()


async def test_a_cut_body_is_no_body() -> None:
    transport = PooledTransport()
    for head in (b"content-length: 10\r\n\r\nhello", b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"):
        async with raw_server(saying(HEAD + head, close=True)) as (url, _):
            with pytest.raises(UpstreamConnectionError):
                await fetch(transport, url)
    await transport.aclose()


async def test_silence_in_the_middle_and_a_total_limit_are_told_apart_from_a_cut() -> None:
    transport = PooledTransport()
    async with raw_server(saying(HEAD + b"content-length: 10\r\n\r\nhello")) as (url, _):
        with pytest.raises(UpstreamTimeoutError):
            await fetch(transport, url, Timeout(idle=0.05))
        with pytest.raises(UpstreamTimeoutError):
            await fetch(transport, url, Timeout(total=0.05))
    async with raw_server(saying()) as (url, _):
        with pytest.raises(UpstreamTimeoutError):
            await fetch(transport, url, Timeout(first_byte=0.05))
    await transport.aclose()


async def test_a_cancelled_request_closes_its_connection_and_frees_its_place() -> None:
    transport = PooledTransport()
    asked = asyncio.Event()

    async def answer(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        asked.set()

    async with raw_server(answer) as (url, _):
        task = asyncio.ensure_future(fetch(transport, url))
        await asked.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not transport.connections()["busy"]
    await transport.aclose()


async def test_a_server_that_speaks_no_tls_fails_the_handshake() -> None:
    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    transport = PooledTransport()
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/x"
    with pytest.raises(UpstreamConnectionError, match="TLS handshake"):
        await fetch(transport, url, Timeout(connect=5))
    server.close()
    await transport.aclose()


async def test_tls_is_spoken_with_the_certificates_that_the_machine_trusts(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(__file__).parent / "fixtures" / "tls"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n{}")
                writer.write(HEAD + b"content-length: 2\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/x"
    stranger = PooledTransport()
    with pytest.raises(UpstreamConnectionError, match="TLS handshake"):
        await fetch(stranger, url)
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "cert.pem"))
    transport = PooledTransport()
    for _ in range(2):
        assert await fetch(transport, url) == (200, b"ok")
    await stranger.aclose()
    await transport.aclose()
    server.close()


async def test_pouring_goes_on_behind_more_than_is_held_at_once() -> None:
    """What came before the sink, and what one read brings, may be more than the high-water mark."""
    piece = b"x" * (3 * HIGH_WATER)
    poured = bytearray()

    def take(data: bytes) -> bool:
        poured.extend(data)
        return True

    answer = HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunked(*[piece] * 8)
    transport = PooledTransport()
    async with raw_server(saying(answer)) as (url, _):
        request = HTTPRequest(method="POST", url=url, headers=[], body=b"{}", timeout=Timeout(idle=5))
        response = await transport.send(request)
        assert isinstance(response, Response)
        await asyncio.sleep(0.05)  # so that the socket is paused when the pouring begins
        try:
            await response.pour(take)
        finally:
            await response.aclose()
            await transport.aclose()
    assert len(poured) == 8 * len(piece)
