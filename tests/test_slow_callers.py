"""Callers that say nothing, or too little: their connections are closed in time; those that only wait are kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from aigateway import FunctionProvider, Gateway
from aigateway.app import protocol
from tests.serving import served

BODY = b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}'
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
REQUEST = HEAD % len(BODY) + BODY
PATIENCE = 20.0


class Caller:
    """A raw connection to a gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> bytes:
        """One answer, head and body."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE)
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return head + await self.reader.readexactly(int(length.partition(b":")[2]))

    async def is_cut(self) -> bool:
        """Wait for the end of the connection; whether it came without another byte."""
        return await asyncio.wait_for(self.reader.read(), PATIENCE) == b""


@pytest.fixture
async def caller(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Caller]:
    """A caller of a gateway whose patience is short."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(protocol, "BODY_SECONDS", 1.0)
    gateway = Gateway(models={"m": FunctionProvider("own", lambda _: "Hello")})
    async with served(gateway, timeout_keep_alive=2) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        yield Caller(reader, writer)
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("first", [False, True], ids=["first request", "second request"])
async def test_a_head_that_trickles_in_is_cut(caller: Caller, first: bool) -> None:
    if first:
        caller.writer.write(REQUEST)
        assert (await caller.answer()).startswith(b"HTTP/1.1 200")

    async def trickle() -> None:
        for byte in b"POST /v1/chat/completions HTTP/1.1\r\n" + b"x: y\r\n" * 10_000:
            caller.writer.write(bytes([byte]))
            await asyncio.sleep(0.05)

    trickling = asyncio.create_task(trickle())
    assert await caller.is_cut()
    trickling.cancel()


async def test_a_body_that_stops_is_cut(caller: Caller) -> None:
    caller.writer.write(HEAD % 1000 + BODY)
    assert await caller.is_cut()


async def test_a_body_that_goes_on_slowly_is_read(caller: Caller) -> None:
    caller.writer.write(HEAD % (len(BODY) + 5) + BODY)
    for _ in range(5):
        await asyncio.sleep(0.25)
        caller.writer.write(b" ")
    assert (await caller.answer()).startswith(b"HTTP/1.1 200")


async def test_a_connection_without_requests_is_closed_in_the_end(caller: Caller) -> None:
    assert await caller.is_cut()


async def test_a_connection_is_kept_between_requests(caller: Caller) -> None:
    for _ in range(4):
        caller.writer.write(REQUEST)
        answer = await caller.answer()
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"Hello" in answer
        await asyncio.sleep(0.6)  # longer than a head may take: nothing of one has come
    assert await caller.is_cut()


async def test_requests_that_come_together_are_answered_in_order(caller: Caller) -> None:
    unknown = BODY.replace(b'"m"', b'"x"')
    caller.writer.write(REQUEST + HEAD % len(unknown) + unknown + REQUEST)
    statuses = [(await caller.answer())[9:12] for _ in range(3)]
    assert statuses == [b"200", b"404", b"200"]


async def test_a_caller_that_wants_no_keep_alive_gets_none(caller: Caller) -> None:
    caller.writer.write(REQUEST.replace(b"host: x", b"host: x\r\nconnection: close"))
    answer = await caller.answer()
    assert b"\r\nconnection: close\r\n" in answer.lower()
    assert await caller.is_cut()


async def test_a_head_is_sent_at_once_where_no_body_follows(caller: Caller) -> None:
    caller.writer.write(b"HEAD /v1/models HTTP/1.1\r\nhost: x\r\n\r\n")
    head = await asyncio.wait_for(caller.reader.readuntil(b"\r\n\r\n"), PATIENCE)
    assert head.startswith(b"HTTP/1.1 200")
    caller.writer.write(REQUEST)  # the connection is still there: it was not its end that brought the head
    assert (await caller.answer()).startswith(b"HTTP/1.1 200")
