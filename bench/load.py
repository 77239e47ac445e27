"""The load generator: keep-alive connections, each sending its next request when the last answer is whole."""

import asyncio
import time
from dataclasses import dataclass
from typing import cast

import httptools

_DONE = b"data: [DONE]\n\n"


@dataclass(slots=True)
class Counts:
    """What a run of load saw."""

    completed: int = 0  # answers with status 200 and a whole body
    events: int = 0  # SSE events in them, `[DONE]` too
    chunks: int = 0  # HTTP chunks they came in: fewer than the events when somebody joined events
    seconds: float = 0.0
    failures: int = 0
    first_failure: str = ""


class _Tally:
    """What the connections of one run share."""

    def __init__(self, requests: int) -> None:
        self.unsent = requests
        self.counts = Counts()

    def fail(self, reason: str) -> None:
        self.counts.failures += 1
        self.counts.first_failure = self.counts.first_failure or reason


class _Connection(asyncio.Protocol):
    """One keep-alive connection; `closed` is done when it has no more to send or was lost."""

    _transport: asyncio.Transport

    def __init__(self, tally: _Tally, request: bytes) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tally = tally
        self._request = request
        self._parser = httptools.HttpResponseParser(self)
        self._waiting = False
        self._streamed = False
        self._chunks = 0
        self._body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one without being a subclass
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting:
            self._tally.fail(f"connection lost in an answer: {exc!r}")
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def _send(self) -> None:
        self._waiting = self._tally.unsent > 0
        if not self._waiting:
            self._transport.close()
            return
        self._tally.unsent -= 1
        self._streamed = False
        self._chunks = 0
        self._body.clear()
        self._transport.write(self._request)

    # What follows is called by httptools.

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type":
            self._streamed = value.startswith(b"text/event-stream")

    def on_chunk_header(self) -> None:
        self._chunks += 1

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status != 200 or not self._body.endswith(_DONE if self._streamed else b"}"):
            self._tally.fail(f"status {status}, body ends with {bytes(self._body[-200:])!r}")
        else:
            counts = self._tally.counts
            counts.completed += 1
            if self._streamed:
                counts.events += sum(event.startswith(b"data:") for event in self._body.split(b"\n\n"))
                counts.chunks += self._chunks - 1  # the last chunk is the empty one
        self._send()


async def load(port: int, request: bytes, *, requests: int, connections: int) -> Counts:
    """Send `request` to 127.0.0.1:`port` `requests` times over `connections` connections.

    A wrong answer or a lost connection is counted, never raised. OSError when a connection cannot be made.
    """
    loop = asyncio.get_running_loop()
    tally = _Tally(requests)
    started = time.perf_counter()
    opened = [
        await loop.create_connection(lambda: _Connection(tally, request), "127.0.0.1", port)
        for _ in range(min(connections, requests))
    ]
    try:
        await asyncio.gather(*(connection.closed for _, connection in opened))
    finally:
        for transport, _ in opened:
            transport.abort()
    tally.counts.seconds = time.perf_counter() - started
    return tally.counts
