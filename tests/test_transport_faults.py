"""Peers that leave, stall or answer at the wrong time: each fault has one outcome, and no connection is used after it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

import pytest
import uvloop

from aigateway import Pool
from aigateway.errors import UpstreamConnectionError, UpstreamError, UpstreamTimeoutError
from aigateway.transport.pool import PooledTransport
from aigateway.transport.protocol import HTTPRequest, Timeout
from tests.raw_peer import LIMITS, OK, Conduct, answering, fetch, head_in, pooled, raw_peer, request_in

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"


def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with an RST."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def reset_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def reset_after_the_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await head_in(reader)
    reset(writer)


async def reset_in_the_status_line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_in(reader)
    writer.write(b"HTTP/1.1 2")
    await asyncio.sleep(0.02)
    reset(writer)


async def reset_before_the_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_in(reader)
    writer.write(HEAD)
    await asyncio.sleep(0.02)
    reset(writer)


async def reset_in_the_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_in(reader)
    writer.write(HEAD + b"hello")
    await asyncio.sleep(0.02)
    reset(writer)


async def reset_before_the_last_chunk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_in(reader)
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
    await asyncio.sleep(0.02)
    reset(writer)


async def close_without_an_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_in(reader)


async def reset_a_body_without_length(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_in(reader)
    writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
    await asyncio.sleep(0.02)
    reset(writer)


NO_ANSWER = "Provider 'p' closed the connection without a valid answer."
CUT = "Provider 'p' broke off its answer."
BROKEN: dict[str, tuple[Conduct, str]] = {
    "reset at once": (reset_at_once, NO_ANSWER),
    "reset after the request's head": (reset_after_the_head, NO_ANSWER),
    "closed without an answer": (close_without_an_answer, NO_ANSWER),
    "reset in the status line": (reset_in_the_status_line, NO_ANSWER),
    "reset before the body": (reset_before_the_body, CUT),
    "reset in the body": (reset_in_the_body, CUT),
    "reset before the last chunk": (reset_before_the_last_chunk, CUT),
    "reset in a body without a length": (reset_a_body_without_length, CUT),
}


async def breaks(conduct: Conduct, words: str) -> None:
    async with raw_peer(conduct) as peer, pooled() as transport:
        for _ in range(2):
            with pytest.raises(UpstreamConnectionError) as caught:
                await fetch(transport, peer.url)
            assert (caught.value.message, caught.value.status, caught.value.retryable) == (words, 502, True)
        assert peer.connections == 2
        assert not any(origin.idle for origin in transport._origins.values())


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_connection_that_breaks_is_an_error_of_the_phase_it_broke_in(name: str, loop: object) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:  # type: ignore[arg-type]  # a function that makes a loop
        runner.run(breaks(*BROKEN[name]))


# at the wrong time


async def test_a_peer_that_closes_its_side_after_its_answer_has_answered() -> None:
    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_in(reader)
        writer.write(OK)
        writer.write_eof()
        await reader.read()

    async with raw_peer(conduct) as peer, pooled() as transport:
        for _ in range(2):
            assert await fetch(transport, peer.url) == (200, b"ok")
            await asyncio.sleep(0.02)
        assert peer.connections == 2


async def test_an_answer_before_the_request_is_sent_is_no_answer_to_it() -> None:
    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_in(reader)
        writer.write(OK)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
        await reader.read()

    async with raw_peer(conduct) as peer, pooled() as transport:
        for _ in range(3):
            assert await fetch(transport, peer.url) == (200, b"ok")
        assert peer.connections == 3


async def test_an_answer_to_nobody_in_particular_waits_on_no_connection() -> None:
    """The peer speaks first: what it said before it was asked may be read as the first answer, and no second follows."""

    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        await reader.read()

    async with raw_peer(conduct) as peer, pooled() as transport:
        for count in (1, 2):
            with contextlib.suppress(UpstreamConnectionError):
                assert await fetch(transport, peer.url) == (408, b"")
            assert peer.connections == count


async def test_an_upstream_that_answers_after_the_caller_left_meets_a_closed_connection() -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_in(reader)
        asked.set()
        await reader.read()
        left.set()
        writer.write(OK)

    async with raw_peer(conduct) as peer, pooled() as transport:
        asking = asyncio.ensure_future(fetch(transport, peer.url))
        await asked.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.wait_for(left.wait(), 5)


async def test_whoever_leaves_in_the_body_closes_the_connection_at_once() -> None:
    left = asyncio.Event()

    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_in(reader)
        writer.write(HEAD + b"hello")
        await reader.read()
        left.set()

    async with raw_peer(conduct) as peer, pooled() as transport:
        response = await transport.send(HTTPRequest(method="POST", url=peer.url, headers=[], body=b"{}"))
        assert await anext(aiter(response.stream())) == b"hello"
        await response.aclose()
        await asyncio.wait_for(left.wait(), 5)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_an_upstream_that_never_answers_is_a_timeout(answer: bytes) -> None:
    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_in(reader)
        writer.write(answer)
        await reader.read()

    async with raw_peer(conduct) as peer, pooled() as transport:
        with pytest.raises(UpstreamTimeoutError, match="Provider 'p' did not answer in time") as caught:
            await fetch(transport, peer.url, limits=Timeout(first_byte=0.1))
        assert caught.value.status == 504


async def test_a_body_that_drips_is_no_silence_until_the_total_is_over() -> None:
    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_in(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.01)

    async with raw_peer(conduct) as peer, pooled() as transport:
        with pytest.raises(UpstreamTimeoutError):
            await fetch(transport, peer.url, limits=Timeout(idle=5, total=0.3))


# connections that went stale


class Stale:
    """Answers the first request of the first connection, and closes at the second without a byte."""

    def __init__(self) -> None:
        self.requests = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request_in(reader)
            self.requests += 1
            if self.requests == 2:
                return
            writer.write(OK)


@pytest.mark.parametrize(
    ("method", "headers", "again"),
    [
        ("GET", [], True),
        ("PUT", [], True),
        ("DELETE", [], True),
        ("POST", [("Idempotency-Key", "1")], True),
        ("POST", [], False),
        ("PATCH", [], False),
    ],
    ids=["GET", "PUT", "DELETE", "POST with a key", "POST", "PATCH"],
)
async def test_a_kept_connection_closed_under_a_request_is_tried_again_where_that_does_no_harm(
    method: str, headers: list[tuple[str, str]], again: bool
) -> None:
    stale = Stale()
    async with raw_peer(stale) as peer, pooled() as transport:
        assert await fetch(transport, peer.url, method=method, headers=headers) == (200, b"ok")
        if again:
            assert await fetch(transport, peer.url, method=method, headers=headers) == (200, b"ok")
        else:
            with pytest.raises(UpstreamConnectionError, match="without a valid answer"):
                await fetch(transport, peer.url, method=method, headers=headers)
        assert (stale.requests, peer.connections) == ((3, 2) if again else (2, 1))


async def test_a_new_connection_closed_under_a_request_is_not_tried_again() -> None:
    async with raw_peer(close_without_an_answer) as peer, pooled() as transport:
        with pytest.raises(UpstreamConnectionError):
            await fetch(transport, peer.url, method="GET")
        assert peer.connections == 1


async def test_a_request_that_got_a_byte_of_an_answer_is_not_tried_again() -> None:
    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_in(reader)
        writer.write(OK)
        await request_in(reader)
        writer.write(b"H")

    async with raw_peer(conduct) as peer, pooled() as transport:
        assert await fetch(transport, peer.url, method="GET") == (200, b"ok")
        with pytest.raises(UpstreamConnectionError):
            await fetch(transport, peer.url, method="GET")
        assert peer.connections == 1


async def test_a_connection_that_the_peer_closed_while_it_was_idle_is_never_used() -> None:
    closed = asyncio.Event()

    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_in(reader)
        writer.write(OK)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        closed.set()

    async with raw_peer(conduct) as peer, pooled() as transport:
        for count in (1, 2, 3):
            closed.clear()
            assert await fetch(transport, peer.url) == (200, b"ok")
            await closed.wait()
            await asyncio.sleep(0)
            assert peer.connections == count


async def test_a_close_that_the_event_loop_has_not_seen_yet_is_seen_before_a_request_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As after a pause of the whole process: the kernel knows, and nobody has asked it."""
    monkeypatch.setattr("aigateway.transport.pool._DOUBTFUL", 0.0)
    async with raw_peer(answering(OK)) as peer, pooled() as transport:
        assert await fetch(transport, peer.url) == (200, b"ok")
        (origin,) = transport._origins.values()
        (wire,) = origin.idle
        assert wire.is_ready(0.0)
        assert wire._transport is not None
        wire._transport.pause_reading()
        for task in peer.tasks:
            task.cancel()
        await asyncio.gather(*peer.tasks, return_exceptions=True)
        await asyncio.sleep(0.02)
        assert wire.is_reusable
        assert not wire.is_ready(0.0)
        assert await fetch(transport, peer.url) == (200, b"ok")
        assert peer.connections == 2


@pytest.mark.parametrize(("told", "connections"), [("timeout=1, max=9", 2), ("timeout=100", 1), ("max=9", 1)])
async def test_the_upstream_s_own_time_for_idle_connections_counts(told: str, connections: int) -> None:
    answer = f"HTTP/1.1 200 OK\r\nkeep-alive: {told}\r\ncontent-length: 2\r\n\r\nok".encode()
    async with raw_peer(answering(answer)) as peer, pooled() as transport:
        for _ in range(2):
            assert await fetch(transport, peer.url) == (200, b"ok")
        assert peer.connections == connections


async def test_a_connection_broken_under_a_request_frees_its_place() -> None:
    async with raw_peer(Stale()) as peer, pooled(PooledTransport(Pool(max_connections=1))) as transport:
        for _ in range(3):
            assert await fetch(transport, peer.url, method="GET", limits=LIMITS) == (200, b"ok")
        with pytest.raises(UpstreamError):
            await fetch(transport, "http://127.0.0.1:9/")


@pytest.mark.parametrize(
    "limits", [Timeout(connect=0.1), Timeout(connect=10, total=0.1), Timeout(connect=None, total=0.1)],
    ids=["connect", "total", "total alone"],
)  # fmt: skip
async def test_who_waits_for_a_free_connection_too_long_is_told_so_and_takes_none(limits: Timeout) -> None:
    asked = asyncio.Event()

    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_in(reader)
        asked.set()
        await reader.read()

    async with raw_peer(conduct) as peer, pooled(PooledTransport(Pool(max_connections=1))) as transport:
        first = asyncio.ensure_future(fetch(transport, peer.url))
        await asked.wait()
        with pytest.raises(UpstreamTimeoutError, match="Provider 'p' had no free connection in time") as caught:
            await asyncio.wait_for(fetch(transport, peer.url, limits=limits), 5)
        assert (caught.value.status, peer.connections) == (504, 1)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def test_trailers_are_kept_apart_from_the_headers() -> None:
    answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n"
    async with raw_peer(answering(answer)) as peer, pooled() as transport:
        for _ in range(2):
            response = await transport.send(HTTPRequest(method="POST", url=peer.url, headers=[], body=b"{}"))
            assert await response.read() == b"ok"
            assert list(response.headers) == []
            assert response.trailers == [("x-sum", "1")]
            await response.aclose()
        assert peer.connections == 1
