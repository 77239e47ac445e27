"""The load: keep-alive connections that send requests and look at the answers."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import httptools

from bench import payload

_ENDS = (b"data: [DONE]", b"event: response.completed")  # the last lines of a whole stream have one of them
_ANSWER = payload.ANSWER.encode()
_TAIL = 4096  # bytes at the end of a body in which its end is looked for
_OPENED_AT_ONCE = 100


@dataclass(slots=True)
class Counts:
    """What a run of load saw."""

    completed: int = 0  # answers with status 200 and a whole body
    events: int = 0  # SSE events in them, `[DONE]` too
    chunks: int = 0  # HTTP chunks they came in: fewer than the events when somebody joined events
    latencies: list[float] = field(default_factory=list)  # seconds from a request to the end of its answer
    failures: int = 0
    first_failure: str = ""

    def fail(self, reason: str) -> None:
        self.failures += 1
        self.first_failure = self.first_failure or reason

    def take(self, client: "Client") -> None:
        """Judge and count the answer that a client has got whole."""
        fault = client.fault()
        if fault is not None:
            self.fail(fault)
            return
        self.completed += 1
        self.latencies.append(time.perf_counter() - client.sent_at)
        if client.is_streamed:
            self.events += client.body.count(b"data:")
            self.chunks += client.chunks - 1  # the last chunk is the empty one


class Client(asyncio.Protocol):
    """One keep-alive connection, one request at a time.

    answered: called when an answer is whole; lost: when the connection is.
    """

    transport: asyncio.Transport

    def __init__(self, answered: Callable[["Client"], None], lost: Callable[["Client"], None]) -> None:
        self.is_waiting = False
        self.is_streamed = False
        self.sent_at = 0.0
        self.chunks = 0
        self.body = bytearray()
        self.has_body = asyncio.Event()
        self._answered = answered
        self._lost = lost
        self._parser = httptools.HttpResponseParser(self)

    def send(self, request: bytes) -> None:
        self.is_waiting = True
        self.is_streamed = False
        self.chunks = 0
        self.body.clear()
        self.has_body.clear()
        self.sent_at = time.perf_counter()
        self.transport.write(request)

    def fault(self) -> str | None:
        """What is wrong with the answer."""
        status = self._parser.get_status_code()
        if self.is_streamed:
            tail = bytes(self.body[-_TAIL:])
            is_whole = any(end in tail for end in _ENDS)
        else:
            is_whole = _ANSWER in self.body
        return None if status == 200 and is_whole else f"status {status}, body ends with {bytes(self.body[-200:])!r}"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is one without being a subclass

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    # What follows is called by httptools.

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type":
            self.is_streamed = value.startswith(b"text/event-stream")

    def on_chunk_header(self) -> None:
        self.chunks += 1

    def on_body(self, body: bytes) -> None:
        if not self.body:
            self.has_body.set()
        self.body += body

    def on_message_complete(self) -> None:
        self.is_waiting = False
        self.has_body.set()
        self._answered(self)


async def load(port: int, request: bytes, *, requests: int, connections: int) -> Counts:
    """Send `request` to 127.0.0.1:`port` `requests` times over `connections` connections, each busy all the time.

    A wrong answer or a lost connection is counted, never raised. OSError when a connection cannot be made.
    """
    loop = asyncio.get_running_loop()
    counts = Counts()
    unsent, open_clients = requests, 0
    over = loop.create_future()

    def send(client: Client) -> None:
        nonlocal unsent
        if unsent:
            unsent -= 1
            client.send(request)
        else:
            client.transport.close()

    def answered(client: Client) -> None:
        counts.take(client)
        send(client)

    def lost(client: Client) -> None:
        nonlocal open_clients
        open_clients -= 1
        if client.is_waiting:
            counts.fail("connection lost in an answer")
        if not open_clients and not over.done():
            over.set_result(None)

    clients: list[Client] = []
    try:
        for _ in range(min(connections, requests)):
            _, client = await loop.create_connection(lambda: Client(answered, lost), "127.0.0.1", port)
            clients.append(client)
        open_clients = len(clients)
        for client in clients:
            send(client)
        await over
    finally:
        for client in clients:
            client.transport.abort()
    return counts


class Crowd:
    """Many connections at once, each with at most one request in flight."""

    def __init__(self, port: int) -> None:
        self.clients: list[Client] = []
        self.counts = Counts()
        self._port = port
        self._waiting = 0
        self._all_answered = asyncio.Event()

    async def open(self, number: int) -> None:
        """Connect. OSError when that fails."""
        loop = asyncio.get_running_loop()
        while number > 0:
            batch = [
                loop.create_connection(lambda: Client(self._over, self._lost), "127.0.0.1", self._port)
                for _ in range(min(number, _OPENED_AT_ONCE))
            ]
            self.clients += [client for _, client in await asyncio.gather(*batch)]
            number -= len(batch)

    async def send(self, request: bytes) -> None:
        """Send it on every connection, and let the loop breathe in between."""
        self._all_answered.clear()
        self._waiting += len(self.clients)
        for number, client in enumerate(self.clients, 1):
            if client.transport.is_closing():
                self._missed("connection lost while it was idle")
            else:
                client.send(request)
            if number % _OPENED_AT_ONCE == 0:
                await asyncio.sleep(0.01)

    async def begun(self) -> None:
        """Wait until every client has got something of its answer's body, or its end."""
        for client in self.clients:
            if client.is_waiting and not client.body:
                await client.has_body.wait()

    async def answered(self) -> Counts:
        """Wait for the end of every answer."""
        if self._waiting:
            await self._all_answered.wait()
        return self.counts

    def close(self) -> None:
        for client in self.clients:
            client.transport.abort()

    def _over(self, client: Client) -> None:
        self.counts.take(client)
        self._settle()

    def _lost(self, client: Client) -> None:
        if client.is_waiting:
            client.is_waiting = False
            client.has_body.set()
            self._missed("connection lost in an answer")

    def _missed(self, reason: str) -> None:
        self.counts.fail(reason)
        self._settle()

    def _settle(self) -> None:
        self._waiting -= 1
        if not self._waiting:
            self._all_answered.set()
