"""What a connection held is free once it has closed: the collector, which looks for rings seldom, is not needed."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import msgspec
import pytest

from aigateway import Gateway, Pool, Provider
from aigateway.app.protocol import HeadFirstProtocol
from aigateway.app.turn import Turn
from aigateway.testing import ReceivedRequest, Script, ScriptedUpstream
from aigateway.transport.wire import Wire
from tests.answers import CHAT_REQUEST, stream, whole
from tests.faults import gateway_is_idle
from tests.serving import served

HELD: Final = (HeadFirstProtocol, Turn, Wire)


def request(**fields: Any) -> bytes:
    body = msgspec.json.encode(CHAT_REQUEST | fields)
    return b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body


PLAIN, STREAMED = request(), request(stream=True)
CALLS = 8


def alive() -> dict[type, int]:
    """How many of each are there, with those that only the collector would find."""
    found = dict.fromkeys(HELD, 0)
    for one in gc.get_objects():  # a name for them all would be a ring
        if type(one) in found:
            found[type(one)] += 1
    return found


@contextmanager
def no_collector() -> Any:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@asynccontextmanager
async def gateway_before(answer: Callable[[], Script]) -> AsyncIterator[str]:
    async with ScriptedUpstream() as upstream:

        def answering(_: ReceivedRequest) -> Script:
            return answer()

        upstream.answer_with(answering)
        provider = Provider("up", upstream.base_url, "key", apis={"chat"}, pool=Pool(keepalive=0))
        async with served(Gateway(providers=[provider])) as url:
            yield url


async def ask(url: str, sent: bytes, until: bytes) -> None:
    """Ask on a connection of its own, read on to these bytes, and leave."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
    writer.write(sent)
    if until:
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        await reader.readuntil(until)
    else:
        await asyncio.sleep(0.02)
    writer.close()
    await writer.wait_closed()


async def left(expected: dict[type, int]) -> dict[type, int]:
    """What is left, once it is what is expected, or after a second."""
    for _ in range(100):
        await gateway_is_idle()
        if alive() == expected:
            break
        await asyncio.sleep(0.01)
    return alive()


@pytest.mark.parametrize(
    ("answer", "sent", "until"),
    [
        pytest.param(lambda: whole("chat"), PLAIN, b"}}", id="answered"),
        pytest.param(lambda: stream("chat"), STREAMED, b"\r\n0\r\n\r\n", id="streamed"),
        pytest.param(lambda: stream("chat", piece_delay=0.05), STREAMED, b"data: ", id="left in a stream"),
        pytest.param(lambda: whole("chat", delay=0.2), PLAIN, b"", id="left before the answer"),
        pytest.param(lambda: whole("chat", delay=0.2), PLAIN + PLAIN, b"", id="left with a request that waits"),
    ],
)
async def test_a_closed_connection_needs_no_collector(answer: Callable[[], Script], sent: bytes, until: bytes) -> None:
    async with gateway_before(answer) as url:
        with no_collector():
            before = alive()
            for _ in range(CALLS):
                await ask(url, sent, until)
            assert await left(before) == before
