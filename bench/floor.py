"""The bare floor: uvicorn with an application that copies bytes through a thin httptools client, and does nothing else.

No authentication, no model names, no usage, no timeouts, no faults: what is left is what HTTP in Python costs.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast

import httptools
import uvicorn

Message = MutableMapping[str, Any]  # as ASGI has it; its scope has the same shape
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_KEPT = (b"content-type", b"content-length")


class Connection(asyncio.Protocol):
    """One keep-alive connection to the upstream; one request at a time."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self.is_done = True
        self.head: list[tuple[bytes, bytes]] = []
        self.status = 0
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._is_lost = False

    def send(self, request: bytes) -> None:
        self.is_done = False
        self.status = 0
        self.head = []
        self._transport.write(request)

    async def changed(self) -> bytes:
        """What has come of the body, once there is something new to tell."""
        if not self._pieces and not self.is_done:
            if self._is_lost:
                raise ConnectionResetError("the upstream has gone")
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        body = b"".join(self._pieces)
        self._pieces.clear()
        return body

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one without being a subclass

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ConnectionResetError("the upstream has gone"))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What follows is called by httptools.

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _KEPT:
            self.head.append((name, value))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        self.is_done = True


class Floor:
    """The application."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._idle: list[Connection] = []

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        message = await receive()
        body: bytes = message["body"]
        while message["more_body"]:
            message = await receive()
            body += message["body"]
        upstream = self._idle.pop() if self._idle else await self._connect()
        request = b"%b %b HTTP/1.1\r\nHost: upstream\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        upstream.send(request % (scope["method"].encode(), scope["raw_path"], len(body)) + body)
        piece = await upstream.changed()
        while not upstream.status:
            piece += await upstream.changed()
        await send({"type": "http.response.start", "status": upstream.status, "headers": upstream.head})
        while not upstream.is_done:
            if piece:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            piece = await upstream.changed()
        await send({"type": "http.response.body", "body": piece})
        self._idle.append(upstream)

    async def _connect(self) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(Connection, self._host, self._port)
        return connection


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.floor", description="Serve the bare floor.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", type=int, required=True, help="port of the upstream on 127.0.0.1")
    options = parser.parse_args()
    uvicorn.run(
        Floor("127.0.0.1", options.upstream),
        host="127.0.0.1",
        port=options.port,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=75,
    )


if __name__ == "__main__":
    main()
