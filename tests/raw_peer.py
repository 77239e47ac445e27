"""A peer on a raw socket that does on each connection what a function says, and what the transport makes of it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from aigateway.transport.pool import PooledTransport
from aigateway.transport.protocol import HTTPRequest, Timeout

Conduct = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
LIMITS = Timeout(connect=10, first_byte=10, idle=10)
PEER = "Provider 'p'"


class RawPeer:
    """Where it listens, and the connections that it had."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Of an operation there."""
        return f"http://127.0.0.1:{self.port}/v1/x"


@asynccontextmanager
async def raw_peer(conduct: Conduct, *, tls: ssl.SSLContext | None = None, path: str = "") -> AsyncIterator[RawPeer]:
    """A peer that acts so on each connection, which ends with the function. path: of a Unix socket to listen on."""
    peer = RawPeer()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        peer.tasks.add(task)
        peer.connections += 1
        try:
            await conduct(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = (
        await asyncio.start_unix_server(accept, path)
        if path
        else await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    )
    if not path:
        peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        for task in peer.tasks:
            task.cancel()
        await asyncio.gather(*peer.tasks, return_exceptions=True)


async def head_in(reader: asyncio.StreamReader) -> bytes:
    """A request's head."""
    return await reader.readuntil(b"\r\n\r\n")


async def request_in(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """A whole request: its head and, decoded, its body."""
    head = await head_in(reader)
    low = head.lower()
    if b"transfer-encoding: chunked" in low:
        body = b""
        while size := int((await reader.readline()).strip(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        while (await reader.readline()).strip():
            pass
        return head, body
    length = int(low.split(b"content-length:")[1].split(b"\r\n")[0]) if b"content-length:" in low else 0
    return head, await reader.readexactly(length)


def answering(*pieces: bytes, close: bool = False) -> Conduct:
    """Answer every request with these pieces; close after the first if asked."""

    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request_in(reader)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if close:
                return

    return conduct


async def fetch(
    transport: PooledTransport,
    url: str,
    *,
    method: str = "POST",
    headers: Sequence[tuple[str, str]] = (),
    body: bytes | AsyncIterator[bytes] = b"{}",
    limits: Timeout = LIMITS,
    trailers: Sequence[tuple[str, str]] = (),
) -> tuple[int, bytes]:
    """Status and body of one request."""
    response = await transport.send(
        HTTPRequest(method=method, url=url, headers=headers, body=body, timeout=limits, peer=PEER, trailers=trailers)
    )
    try:
        return response.status, await response.read()
    finally:
        await response.aclose()


@asynccontextmanager
async def pooled(transport: PooledTransport | None = None) -> AsyncIterator[PooledTransport]:
    """A transport, closed in the end, which must have no connection in use then."""
    transport = transport or PooledTransport()
    try:
        yield transport
        assert not transport.connections()["busy"]
    finally:
        await transport.aclose()
