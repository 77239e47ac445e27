"""Requests whose body comes in pieces, and requests without a body."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from aigateway.errors import ServerError, UpstreamConnectionError, UpstreamTimeoutError
from aigateway.transport.pool import PooledTransport
from aigateway.transport.protocol import HTTPRequest, Pool, Timeout
from tests.raw_peer import OK, answering, fetch, head_in, pooled, raw_peer, request_in


class Pieces:
    """An iterator of pieces that notes how many were asked for, and that it was closed."""

    def __init__(self, *pieces: bytes, error: Exception | None = None, hang: bool = False) -> None:
        self.pieces = list(pieces)
        self.error = error
        self.hang = hang
        self.given = 0
        self.closed = 0
        self.waiting = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self.given < len(self.pieces):
            self.given += 1
            return self.pieces[self.given - 1]
        self.waiting.set()
        if self.hang:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed += 1


class Seen:
    """A peer that notes each whole request, and answers it."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, body = await request_in(reader)
            self.heads.append(head)
            self.bodies.append(body)
            writer.write(OK)


async def test_without_a_length_pieces_go_out_as_chunks_and_the_connection_is_kept() -> None:
    seen = Seen()
    async with raw_peer(seen) as peer, pooled() as transport:
        for _ in range(2):
            pieces = Pieces(b"one", b"", b"two" * 50_000)
            assert await fetch(transport, peer.url, body=pieces) == (200, b"ok")
            assert pieces.closed == 1
        assert seen.bodies == [b"one" + b"two" * 50_000] * 2
        assert b"transfer-encoding: chunked\r\n" in seen.heads[0]
        assert b"content-length" not in seen.heads[0]
        assert peer.connections == 1


async def test_with_a_length_pieces_go_out_as_they_are() -> None:
    seen = Seen()
    async with raw_peer(seen) as peer, pooled() as transport:
        for method in ("POST", "PUT", "PATCH"):
            body = Pieces(b"ab", b"cde")
            assert (await fetch(transport, peer.url, method=method, headers=[("Content-Length", "5")], body=body))[
                0
            ] == 200
        assert seen.bodies == [b"abcde"] * 3
        assert all(head.lower().count(b"content-length: 5\r\n") == 1 for head in seen.heads)
        assert not any(b"transfer-encoding" in head for head in seen.heads)
        assert peer.connections == 1


async def test_trailers_end_a_chunked_body() -> None:
    raw: list[bytes] = []

    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_in(reader)
        raw.append(await reader.readuntil(b"x-sum: 1\r\n\r\n"))
        writer.write(OK)

    async with raw_peer(conduct) as peer, pooled() as transport:
        assert await fetch(transport, peer.url, body=Pieces(b"a"), trailers=[("x-sum", "1")]) == (200, b"ok")
        assert raw == [b"1\r\na\r\n0\r\nx-sum: 1\r\n\r\n"]
        body = Pieces(b"a")
        with pytest.raises(ServerError, match="trailer"):
            await fetch(transport, peer.url, body=body, trailers=[("x", "1\r\ny: 2")])
        assert body.closed == 1


@pytest.mark.parametrize(("length", "word"), [("4", "more"), ("6", "fewer")])
async def test_another_number_of_bytes_than_told_is_an_error_and_cuts_the_connection(length: str, word: str) -> None:
    ended = asyncio.Event()

    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        ended.set()

    async with raw_peer(conduct) as peer, pooled() as transport:
        body = Pieces(b"ab", b"cde")
        with pytest.raises(ServerError, match=f"{word} bytes than its Content-Length"):
            await fetch(transport, peer.url, headers=[("content-length", length)], body=body)
        assert body.closed == 1
        await asyncio.wait_for(ended.wait(), 5)


@pytest.mark.parametrize(
    "error", [ValueError("mine"), ConnectionResetError("mine")], ids=lambda error: type(error).__name__
)
async def test_what_the_iterator_raises_reaches_the_caller_as_it_is(error: Exception) -> None:
    async with raw_peer(Seen()) as peer, pooled() as transport:
        body = Pieces(b"ab", error=error)
        with pytest.raises(type(error), match="mine"):
            await fetch(transport, peer.url, body=body)
        assert body.closed == 1


async def test_a_length_that_is_no_number_is_refused_before_anything_is_sent() -> None:
    async with raw_peer(Seen()) as peer, pooled() as transport:
        body = Pieces(b"ab")
        with pytest.raises(ServerError, match="no number"):
            await fetch(transport, peer.url, headers=[("content-length", "+2")], body=body)
        assert (body.given, body.closed, peer.connections) == (0, 1, 0)


async def test_an_early_refusal_stops_the_sending_and_is_given_to_the_caller() -> None:
    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_in(reader)
        writer.write(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nbig")
        await reader.read()

    async with raw_peer(conduct) as peer, pooled() as transport:
        body = Pieces(b"first", hang=True)
        response = await transport.send(HTTPRequest(method="POST", url=peer.url, headers=[], body=body))
        assert body.closed == 1
        assert (response.status, await response.read()) == (413, b"big")
        await response.aclose()
        assert not any(origin.idle for origin in transport._origins.values())


async def test_an_early_answer_of_success_lets_the_sending_go_on() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_in(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n")
        writer.write(await reader.readexactly(8))
        await reader.read()

    async with raw_peer(echo) as peer, pooled() as transport:
        go_on = asyncio.Event()

        async def pieces() -> AsyncIterator[bytes]:
            yield b"1234"
            await go_on.wait()
            yield b"5678"

        response = await transport.send(
            HTTPRequest(method="POST", url=peer.url, headers=[("content-length", "8")], body=pieces())
        )
        assert response.status == 200
        go_on.set()
        assert await response.read() == b"12345678"
        await response.aclose()


async def test_a_large_body_that_is_refused_early_is_not_sent_to_its_end() -> None:
    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_in(reader)
        writer.write(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nbig")
        await asyncio.Event().wait()

    async with raw_peer(conduct) as peer, pooled() as transport:
        assert await fetch(transport, peer.url, body=bytes(30_000_000)) == (413, b"big")
        assert not any(origin.idle for origin in transport._origins.values())


async def test_an_upstream_that_reads_slowly_slows_the_iterator_down() -> None:
    gate = asyncio.Event()

    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_in(reader)
        await gate.wait()
        await reader.readuntil(b"0\r\n\r\n")
        writer.write(OK)

    async with raw_peer(conduct) as peer, pooled() as transport:
        body = Pieces(*[b"x" * 65_536] * 1000)
        asking = asyncio.ensure_future(fetch(transport, peer.url, body=body))
        stopped = -1
        while stopped != body.given or not body.given:
            stopped = body.given
            await asyncio.sleep(0.05)
        assert body.given < 500
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert body.closed == 1


async def test_an_upstream_that_stops_reading_is_a_timeout() -> None:
    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_in(reader)
        await asyncio.Event().wait()

    async with raw_peer(conduct) as peer, pooled() as transport:
        body = Pieces(*[b"x" * 65_536] * 1000)
        with pytest.raises(UpstreamTimeoutError, match="stopped reading the request"):
            await fetch(transport, peer.url, body=body, limits=Timeout(idle=0.1))
        assert body.closed == 1


async def test_the_wait_for_an_answer_counts_from_the_end_of_the_upload() -> None:
    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_in(reader)
        await asyncio.Event().wait()

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(5):
            await asyncio.sleep(0.05)
            yield b"x"
        ended.set()

    ended = asyncio.Event()
    async with raw_peer(conduct) as peer, pooled() as transport:
        with pytest.raises(UpstreamTimeoutError, match="did not answer in time"):
            await fetch(transport, peer.url, body=slow(), limits=Timeout(first_byte=0.1))
        assert ended.is_set()


async def test_the_time_that_a_connection_is_kept_idle_does_not_cut_an_upload_on_it() -> None:
    seen = Seen()
    async with raw_peer(seen) as peer, pooled(PooledTransport(Pool(keepalive=0.2))) as transport:

        async def slow() -> AsyncIterator[bytes]:
            yield b"x"
            await asyncio.sleep(0.4)
            yield b"y"

        for body in (b"first", slow()):
            assert await fetch(transport, peer.url, body=body) == (200, b"ok")
        assert (seen.bodies, peer.connections) == ([b"first", b"xy"], 1)


async def test_an_upstream_that_leaves_during_an_upload_is_a_connection_error() -> None:
    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_in(reader)

    async with raw_peer(conduct) as peer, pooled() as transport:
        body = Pieces(b"first", hang=True)
        with pytest.raises(UpstreamConnectionError, match="closed the connection without a valid answer"):
            await fetch(transport, peer.url, body=body)
        assert body.closed == 1


async def test_a_cancelled_upload_closes_its_iterator_and_the_connection() -> None:
    left = asyncio.Event()

    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        left.set()

    async with raw_peer(conduct) as peer, pooled() as transport:
        body = Pieces(b"first", hang=True)
        asking = asyncio.ensure_future(fetch(transport, peer.url, body=body))
        await body.waiting.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert body.closed == 1
        await asyncio.wait_for(left.wait(), 5)


async def test_nobody_there_closes_the_iterator_too() -> None:
    async with pooled() as transport:
        body = Pieces(b"first")
        with pytest.raises(UpstreamConnectionError):
            await fetch(transport, "http://127.0.0.1:9/", body=body)
        assert (body.given, body.closed) == (0, 1)


@pytest.mark.parametrize(("method", "length"), [("GET", None), ("DELETE", None), ("POST", b"0"), ("PUT", b"0")])
async def test_a_request_without_a_body_has_a_length_only_where_one_is_expected(
    method: str, length: bytes | None
) -> None:
    seen = Seen()
    async with raw_peer(seen) as peer, pooled() as transport:
        assert await fetch(transport, peer.url, method=method, body=b"") == (200, b"ok")
        (head,) = seen.heads
        assert head.startswith(method.encode() + b" /v1/x HTTP/1.1\r\n")
        assert (b"content-length: %b\r\n" % length in head) if length else b"content-length" not in head


async def test_the_answer_to_head_has_no_body_whatever_its_headers_say() -> None:
    async with raw_peer(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n")) as peer, pooled() as transport:
        for _ in range(3):
            assert await fetch(transport, peer.url, method="HEAD", body=b"") == (200, b"")
        assert peer.connections == 1
    async with raw_peer(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc")) as peer, pooled() as transport:
        for _ in range(2):
            assert await fetch(transport, peer.url, method="HEAD", body=b"") == (200, b"")
        assert peer.connections == 2


async def test_headers_that_frame_the_body_or_steer_the_connection_are_the_transport_s_own() -> None:
    seen = Seen()
    theirs = [
        ("Content-Length", "9"),
        ("transfer-encoding", "chunked"),
        ("Expect", "100-continue"),
        ("connection", "close"),
        ("upgrade", "h2c"),
        ("Host", "elsewhere.example"),
        ("x-kept", "1"),
    ]
    async with raw_peer(seen) as peer, pooled() as transport:
        assert await fetch(transport, peer.url, headers=theirs, body=b"four") == (200, b"ok")
    head = seen.heads[0].lower()
    assert seen.bodies == [b"four"]
    assert head.splitlines()[1:] == [b"host: elsewhere.example", b"x-kept: 1", b"content-length: 4", b""]


@pytest.mark.parametrize("pair", [("a b", "1"), ("", "1"), ("a:", "1"), ("x", "1\n2"), ("x", "1\r2"), ("x", "\0")])
async def test_a_header_that_cannot_be_sent_is_refused(pair: tuple[str, str]) -> None:
    async with raw_peer(Seen()) as peer, pooled() as transport:
        for body in (b"", Pieces(b"a")):
            with pytest.raises(ServerError) as caught:
                await fetch(transport, peer.url, headers=[pair], body=body)
            assert caught.value.code == "bad_header"
