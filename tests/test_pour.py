"""A body poured into a sink in the turn in which it is read: whole, in order, with room to wait, and with every fault told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aigateway.errors import UpstreamConnectionError, UpstreamProtocolError, UpstreamTimeoutError
from aigateway.transport.pool import PooledTransport
from aigateway.transport.protocol import HTTPRequest, Timeout
from aigateway.transport.response import Response
from tests.test_wire import Answerer, raw_server, saying

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def framed(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


@asynccontextmanager
async def opened(answer: Answerer, limits: Timeout | None = None) -> AsyncIterator[tuple[Response, PooledTransport]]:
    transport = PooledTransport()
    async with raw_server(answer) as (url, _):
        request = HTTPRequest(method="POST", url=url, headers=[], body=b"{}", timeout=limits or Timeout())
        response = await transport.send(request)
        assert isinstance(response, Response)
        assert response.pours
        try:
            yield response, transport
        finally:
            await response.aclose()
            await transport.aclose()


@settings(max_examples=25)
@given(pieces=st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=8), cuts=st.data())
async def test_all_of_a_body_arrives_in_order_however_it_is_cut(pieces: list[bytes], cuts: st.DataObject) -> None:
    body = HEAD + b"".join(map(framed, pieces)) + END
    places = sorted(cuts.draw(st.sets(st.integers(1, len(body) - 1), max_size=6)))
    parts = [body[start:end] for start, end in zip([0, *places], [*places, len(body)], strict=True)]
    seen: list[bytes] = []

    def sink(piece: bytes) -> bool:
        seen.append(piece)
        return True

    async with opened(saying(*parts)) as (response, _):
        await response.pour(sink)
        await response.pour(sink)  # at the end there is nothing more
    assert b"".join(seen) == b"".join(pieces)


async def test_a_sink_without_room_is_given_nothing_until_it_has_some() -> None:
    total = 4_000_000

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        for _count in range(total // 1000):
            writer.write(framed(b"x" * 1000))
            await writer.drain()
        writer.write(END)

    async with opened(answer, Timeout(idle=0.2)) as (response, _):
        seen: list[int] = []

        def sink(piece: bytes) -> bool:
            seen.append(len(piece))
            return False

        pouring = asyncio.create_task(response.pour(sink))
        rounds = 0
        while not pouring.done():
            before = len(seen)
            await asyncio.sleep(0.3 if rounds == 3 else 0.001)  # no limit runs while the caller is the slow one
            assert len(seen) - before <= 1
            response.resume()
            rounds += 1
        await pouring
        assert sum(seen) == total
        assert max(seen) < 600_000


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (saying(HEAD, framed(b"a"), close=True), UpstreamConnectionError),
        (saying(HEAD, framed(b"a"), b"zz\r\n"), UpstreamProtocolError),
        (saying(HEAD, framed(b"a")), UpstreamTimeoutError),
    ],
    ids=["cut", "garbled", "silent"],
)
async def test_what_goes_wrong_is_raised_after_what_came(answer: Answerer, error: type[Exception]) -> None:
    seen: list[bytes] = []

    def sink(piece: bytes) -> bool:
        seen.append(piece)
        return True

    async with opened(answer, Timeout(idle=0.2)) as (response, _):
        with pytest.raises(error):
            await response.pour(sink)
    assert seen == [b"a"]


def refusing(error: BaseException) -> Callable[[bytes], bool]:
    def sink(_: bytes) -> bool:
        raise error

    return sink


async def test_what_the_sink_raises_is_raised_and_the_connection_is_not_used_again() -> None:
    async with opened(saying(HEAD, framed(b"a"), framed(b"b"))) as (response, transport):
        with pytest.raises(KeyError, match="mine"):
            await response.pour(refusing(KeyError("mine")))
        await response.aclose()
        await response.pour(refusing(KeyError("never")))  # a closed response has nothing more
        assert [origin.idle for origin in transport._origins.values()] == [[]]


async def test_a_pour_that_is_cancelled_lets_go_of_its_sink() -> None:
    async with opened(saying(HEAD, framed(b"a"))) as (response, _):
        arrived = asyncio.Event()

        def sink(_: bytes) -> bool:
            arrived.set()
            return True

        pouring = asyncio.create_task(response.pour(sink))
        await arrived.wait()
        pouring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pouring
        response.resume()  # somebody may say so late
