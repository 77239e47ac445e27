"""A real WebSocket server on a loopback port that converses as a script says, faults included."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from aigateway import _json
from aigateway.testing.upstream import Script


class ScriptedSession:
    """One connection that a client has opened.

    path, query, headers   of the handshake; names of headers are lower-case, of repeated parameters the last counts.
    offered      the subprotocols that the client offered.
    received     every message so far, text decoded from JSON where it is JSON.
    closed       set once the client has closed or is gone; then close_code and close_reason tell how (1006 = gone).
    """

    def __init__(self, connection: ServerConnection, request: Request) -> None:
        parts = urlsplit(request.path)
        self.path = parts.path
        self.query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        self.headers = {name.lower(): value for name, value in request.headers.raw_items()}
        offered = self.headers.get("sec-websocket-protocol", "")
        self.offered = [name.strip() for name in offered.split(",") if name.strip()]
        self.received: list[Any] = []
        self.closed = asyncio.Event()
        self._connection = connection

    @property
    def close_code(self) -> int | None:
        """The code of the client's close."""
        return self._connection.close_code

    @property
    def close_reason(self) -> str | None:
        """Its reason."""
        return self._connection.close_reason

    async def receive(self) -> Any:
        """The next message. Raises EOFError where the client has closed."""
        try:
            message = await self._connection.recv()
        except ConnectionClosed as error:
            self.closed.set()
            raise EOFError from error
        value = message
        if isinstance(message, str):
            try:
                value = _json.decode(message.encode())
            except _json.DecodeError:
                value = message
        self.received.append(value)
        return value

    async def send(self, message: Any) -> None:
        """Send a text, bytes, or anything else as JSON."""
        await self._connection.send(message if isinstance(message, str | bytes) else _json.encode(message).decode())

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the session."""
        await self._connection.close(code, reason)

    def reset(self) -> None:
        """Break the connection off."""
        self._connection.transport.abort()


Conversation = Callable[[ScriptedSession], Awaitable[None]]


async def listen(session: ScriptedSession) -> None:
    """Greet as a realtime server does, then take whatever comes."""
    greeting = {"type": "session.created", "event_id": "event_1", "session": {"model": session.query.get("model")}}
    await session.send(greeting)
    while True:
        await session.receive()


class ScriptedWebSocket:
    """Use: `async with ScriptedWebSocket() as upstream`, then `upstream.base_url` for a Provider.

    `converse(function)` says what a session does: a coroutine function of a ScriptedSession, which may end with the
    EOFError of a client that left. `refuse(...)` answers handshakes with HTTP: one Script each, then sessions again.
    `sessions` holds those that were opened, `hold` is an event that handshakes wait for, `arrived` is set by the first.
    subprotocols: which of the offered ones it takes.
    """

    def __init__(self, subprotocols: Sequence[str] = ("realtime",)) -> None:
        self.sessions: list[ScriptedSession] = []
        self.handshakes = 0
        self.arrived = asyncio.Event()
        self.hold: asyncio.Event | None = None
        self._conversation: Conversation = listen
        self._refusals: list[Script] = []
        self._subprotocols = subprotocols
        self._server: Server | None = None

    def converse(self, conversation: Conversation) -> None:
        """What every coming session does."""
        self._conversation = conversation

    def refuse(self, *answers: Script) -> None:
        """Answer the coming handshakes with these."""
        self._refusals = list(answers)

    @property
    def base_url(self) -> str:
        """For a Provider."""
        assert self._server is not None
        port: int = next(iter(self._server.sockets)).getsockname()[1]
        return f"http://127.0.0.1:{port}/v1"

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._session,
            "127.0.0.1",
            0,
            process_request=self._handshake,
            select_subprotocol=self._subprotocol,
            compression=None,
            max_size=None,
            ping_interval=None,
            close_timeout=1,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        for session in self.sessions:
            session.reset()
        self._server.close()
        await self._server.wait_closed()

    async def _handshake(self, connection: ServerConnection, _: Request) -> Response | None:
        self.handshakes += 1
        self.arrived.set()
        if self.hold is not None:
            held = asyncio.create_task(self.hold.wait())
            await asyncio.wait((held, connection.connection_lost_waiter), return_when=asyncio.FIRST_COMPLETED)
            held.cancel()
        if not self._refusals:
            return None
        script = self._refusals.pop(0)
        if script.fault is not None:
            connection.transport.abort()
        headers = Headers([*script.headers.items(), ("content-length", str(len(script.body)))])
        return Response(script.status, HTTPStatus(script.status).phrase, headers, script.body)

    def _subprotocol(self, _: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        return next((name for name in offered if name in self._subprotocols), None)

    async def _session(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        session = ScriptedSession(connection, connection.request)
        self.sessions.append(session)
        try:
            await self._conversation(session)
        except EOFError:
            pass
        except ConnectionClosed:
            session.closed.set()
        finally:
            if connection.close_code is not None:
                session.closed.set()
