"""The short way of requests that differ in nothing but their bodies: on a kept connection, every fault is what it is on a new one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from aigateway.errors import UpstreamConnectionError, UpstreamProtocolError, UpstreamTimeoutError
from aigateway.transport.head import head_of
from aigateway.transport.pool import Line, PooledTransport
from aigateway.transport.protocol import HTTPRequest, Timeout
from aigateway.transport.response import Response
from aigateway.transport.wire import HIGH_WATER
from tests.raw_peer import LIMITS, OK, PEER, Conduct, RawPeer, fetch, head_in, pooled, raw_peer, request_in
from tests.test_transport_faults import BROKEN
from tests.test_wire import LAWFUL, UNLAWFUL

ONE_READ = 256 * 1024  # bytes that an event loop reads at once, and cannot give back
HEADERS = (("x-content-length", "2"), ("x-a", "b"))


def warm(then: Conduct) -> Conduct:
    """Answer the first request of a connection, and act so from the second on."""

    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_in(reader)
        writer.write(OK)
        await then(reader, writer)

    return conduct


def saying(answer: bytes, *, step: int) -> Conduct:
    """Answer every request so, `step` bytes at a time."""

    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request_in(reader)
            for at in range(0, len(answer), step):
                writer.write(answer[at : at + step])
                await writer.drain()
                await asyncio.sleep(0)

    return conduct


@asynccontextmanager
async def warmed(conduct: Conduct, limits: Timeout = LIMITS) -> AsyncIterator[tuple[RawPeer, Line, PooledTransport]]:
    """A line whose first request was answered; what the peer does with the next is to be seen."""
    async with raw_peer(warm(conduct)) as peer, pooled() as transport:
        line = transport.line(
            HTTPRequest(method="POST", url=peer.url, headers=HEADERS, body=b"{}", timeout=limits, peer=PEER)
        )
        assert await ask(line) == (200, b"ok")
        yield peer, line, transport
        assert not transport.connections()["busy"]


async def ask(line: Line, body: bytes = b"{}") -> tuple[int, bytes]:
    response = await line.post(body)
    try:
        return response.status, await response.read()
    finally:
        await response.aclose()


@pytest.mark.parametrize("name", [name for name in BROKEN if name != "reset at once"])
async def test_a_connection_that_breaks_is_an_error_of_the_phase_it_broke_in(name: str) -> None:
    conduct, words = BROKEN[name]
    async with warmed(conduct) as (peer, line, transport):
        with pytest.raises(UpstreamConnectionError) as caught:
            await ask(line)
        assert (caught.value.message, caught.value.status, caught.value.retryable) == (words, 502, True)
        assert peer.connections == 1
        assert transport.connections()["idle"] == 0


@pytest.mark.parametrize("answer", UNLAWFUL.values(), ids=UNLAWFUL)
async def test_an_unlawful_answer_is_an_error_and_ends_the_connection(answer: bytes) -> None:
    async with warmed(saying(answer, step=len(answer))) as (peer, line, _):
        with pytest.raises(UpstreamProtocolError):
            await ask(line)
        assert await ask(line) == (200, b"ok")
        assert peer.connections == 2


@pytest.mark.parametrize(("answer", "body"), LAWFUL.values(), ids=LAWFUL)
@pytest.mark.parametrize("step", [1, 1_000_000], ids=["byte by byte", "at once"])
async def test_a_lawful_answer_is_read_in_any_split_on_one_connection(answer: bytes, body: bytes, step: int) -> None:
    async with warmed(saying(answer, step=step)) as (peer, line, _):
        for _ in range(3):
            assert (await ask(line))[1] == body
        assert peer.connections == 1


async def test_an_answer_too_many_is_no_part_of_the_one_before_and_ends_the_connection() -> None:
    evil = b"HTTP/1.1 200 OK\r\nx-evil: 1\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nevil"
    async with warmed(saying(OK + evil, step=1_000)) as (peer, line, _):
        response = await line.post(b"{}")
        assert await response.read() == b"ok"
        assert not getattr(response, "trailers", ())
        assert list(response.headers) == [("content-length", "2")]
        await response.aclose()
        assert await ask(line) == (200, b"ok")
        assert peer.connections == 2


async def by_line(_: PooledTransport, line: Line, __: str) -> object:
    return await ask(line)


async def by_transport(transport: PooledTransport, _: Line, url: str) -> object:
    return await fetch(transport, url, limits=Timeout(first_byte=0.2))


@pytest.mark.parametrize("way", [by_line, by_transport])
@pytest.mark.parametrize(
    "piece", [b"x", b"HTTP/1.1 102 Processing\r\n\r\n"], ids=["a header that drips", "interim answers"]
)
async def test_a_head_that_never_ends_does_not_put_the_limit_for_it_off(
    way: Callable[[PooledTransport, Line, str], Awaitable[object]], piece: bytes
) -> None:
    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_in(reader)
        if piece == b"x":
            writer.write(b"HTTP/1.1 200 OK\r\nx: ")
        while not writer.is_closing():
            writer.write(piece)
            await asyncio.sleep(0.02)

    async with warmed(conduct, Timeout(first_byte=0.2)) as (peer, line, transport):
        with pytest.raises(UpstreamTimeoutError, match="did not answer in time"):
            await asyncio.wait_for(way(transport, line, peer.url), 10)


async def test_only_the_length_of_the_body_changes_from_one_head_to_the_next() -> None:
    heads: list[bytes] = []

    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append(await head_in(reader))
            size = int(heads[-1].split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(size)
            writer.write(OK)

    async with raw_peer(conduct) as peer, pooled() as transport:
        line = transport.line(HTTPRequest(method="POST", url=peer.url, headers=HEADERS, peer=PEER))
        for body in (b"{}", b"{}", b"x" * 40_000, b"y"):
            assert await ask(line, body) == (200, b"ok")
        assert peer.connections == 1
    assert [int(head.split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0]) for head in heads] == [2, 2, 40_000, 1]
    rest = {frozenset(one for one in head.split(b"\r\n") if not one.startswith(b"content-length")) for head in heads}
    assert len(rest) == 1
    assert b"x-content-length: 2" in next(iter(rest))


async def test_the_head_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[HTTPRequest] = []

    def counted(request: HTTPRequest, *rest: str) -> bytes:
        built.append(request)
        return head_of(request, *rest)

    monkeypatch.setattr("aigateway.transport.pool.head_of", counted)
    async with warmed(saying(OK, step=1_000)) as (_, line, __):
        first = len(built)
        for _ in range(5):
            assert await ask(line) == (200, b"ok")
        assert len(built) == first


@pytest.mark.parametrize("poured", [False, True], ids=["read", "poured"])
async def test_who_does_not_read_makes_the_gateway_hold_little(poured: bool) -> None:
    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_in(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    async with warmed(conduct) as (_, line, transport):
        before = transport.connections()["received"]
        response = await line.post(b"{}")
        assert isinstance(response, Response)
        pouring = asyncio.create_task(response.pour(lambda _: False)) if poured else None
        held = -1
        while held != transport.connections()["received"]:  # until nothing more comes
            held = transport.connections()["received"]
            await asyncio.sleep(0.1)
        assert 0 < held - before <= HIGH_WATER + 2 * ONE_READ
        if pouring is not None:
            pouring.cancel()
            await asyncio.gather(pouring, return_exceptions=True)
        await response.aclose()
