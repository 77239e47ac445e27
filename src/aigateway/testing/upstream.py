"""A real HTTP server on a loopback port that does what a script says, faults included."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, Self

import msgspec

from aigateway import _json, _sse


class ReceivedRequest(msgspec.Struct):
    """What arrived. `path` has its query behind it; header names are lower-case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body decoded."""
        return _json.decode_object(self.body)


class Script(msgspec.Struct, kw_only=True):
    """One answer.

    status, headers, body   of a whole answer.
    pieces     the body in pieces instead, each its own write; sent chunked.
    delay      seconds before the head; piece_delay: before each piece.
    hold       an event to wait for before the head; hold_after: (number of pieces, event) to wait for in the middle.
    fault      `refuse` (close before answering), `reset` (RST before answering), `cut` (close in mid-body),
               `reset_body` (RST in mid-body), None.
    """

    status: int = 200
    headers: Mapping[str, str] = msgspec.field(default_factory=lambda: {"content-type": "application/json"})
    body: bytes = b""
    pieces: Sequence[bytes] | None = None
    delay: float = 0.0
    piece_delay: float = 0.0
    hold: asyncio.Event | None = None
    hold_after: tuple[int, asyncio.Event] | None = None
    fault: str | None = None

    @classmethod
    def of_json(cls, value: Any, status: int = 200, headers: Mapping[str, str] | None = None, **more: Any) -> Script:
        """A JSON answer."""
        shown = {"content-type": "application/json", **(headers or {})}
        return cls(status=status, headers=shown, body=_json.encode(value), **more)

    @classmethod
    def of_bytes(cls, body: bytes, content_type: str, **headers: str) -> Script:
        """An answer of any type. headers: `content_range="..."` is Content-Range."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(headers={"content-type": content_type, **more}, body=body)

    @classmethod
    def of_events(cls, events: Iterable[Any], *, named: bool = False, done: bool = True, **more: Any) -> Script:
        """A stream of JSON events, each its own write. named: with an `event:` line of the event's `type`."""
        pieces = [
            event if isinstance(event, bytes) else _sse.encode(_json.encode(event), event["type"] if named else "")
            for event in events
        ]
        if done:
            pieces.append(_sse.DONE_FRAME)
        return cls(headers={"content-type": "text/event-stream"}, pieces=pieces, **more)


Answerer = Callable[[ReceivedRequest], Script]


class ScriptedUpstream:
    """Use: `async with ScriptedUpstream() as upstream`, then `upstream.base_url` for a Provider.

    `script(...)` adds answers, given in order; the last one goes on for ever. `answer_with(function)` decides by the
    request. `requests` holds what arrived, `gone` counts the clients that left before the answer was complete.
    """

    def __init__(self) -> None:
        self.requests: list[ReceivedRequest] = []
        self.gone = 0
        self.left = asyncio.Event()
        self.arrived = asyncio.Event()
        self._scripts: list[Script] = []
        self._answerer: Answerer | None = None
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._is_over = False

    def script(self, *answers: Script) -> None:
        """Answer the coming requests with these."""
        self._answerer = None
        self._scripts = list(answers)

    def answer_with(self, answerer: Answerer) -> None:
        """Answer each request as a function says."""
        self._answerer = answerer

    @property
    def port(self) -> int:
        """The port it listens on."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def base_url(self) -> str:
        """For a Provider."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> Self:
        self._is_over = False
        self._server = await asyncio.start_server(self._let_in, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self._is_over = True
        connections = dict(self._connections)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        for writer in connections.values():  # one that was cancelled before it began has closed nothing
            writer.close()
        await self._server.wait_closed()

    def _let_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_over:
            writer.close()
            return
        task = asyncio.ensure_future(self._accept(reader, writer))
        self._connections[task] = writer
        task.add_done_callback(self._connections.pop)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read_request(reader)) is not None:
                self.requests.append(request)
                self.arrived.set()
                if not await self._serve(self._next(request), reader, writer):
                    return
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    def _next(self, request: ReceivedRequest) -> Script:
        if self._answerer is not None:
            return self._answerer(request)
        if not self._scripts:
            return Script.of_json({"error": {"message": "nothing is scripted"}}, 500)
        return self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]

    async def _serve(self, script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer; whether the connection may be used again."""
        answering = asyncio.ensure_future(self._write(script, writer))
        watching = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait((answering, watching), return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                self.gone += 1
                self.left.set()
                return False
            return answering.result()
        except ConnectionError:
            self.gone += 1
            self.left.set()
            return False
        finally:
            for task in (answering, watching):
                task.cancel()
            await asyncio.gather(answering, watching, return_exceptions=True)

    async def _write(self, script: Script, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(script.delay)
        if script.hold is not None:
            await script.hold.wait()
        if script.fault in ("refuse", "reset"):
            _close(writer, reset=script.fault == "reset")
            return False
        length = (
            ["transfer-encoding: chunked"] if script.pieces is not None else [f"content-length: {len(script.body)}"]
        )
        if script.status in (204, 304):
            length = []
        lines = [f"HTTP/1.1 {script.status} Scripted", *(f"{k}: {v}" for k, v in script.headers.items()), *length]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        if script.pieces is None:
            return await self._write_whole(script, writer)
        for number, piece in enumerate(script.pieces):
            if script.hold_after is not None and script.hold_after[0] == number:
                await script.hold_after[1].wait()
            await asyncio.sleep(script.piece_delay)
            if writer.is_closing():  # uvloop would raise a RuntimeError
                raise ConnectionResetError
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
        if script.fault in ("cut", "reset_body"):
            await asyncio.sleep(0.01)
            _close(writer, reset=script.fault == "reset_body")
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _write_whole(self, script: Script, writer: asyncio.StreamWriter) -> bool:
        broken = script.fault in ("cut", "reset_body")
        writer.write(script.body[: len(script.body) // 2] if broken else script.body)
        await writer.drain()
        if broken:
            await asyncio.sleep(0.01)
            _close(writer, reset=script.fault == "reset_body")
        return not broken


def _close(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if reset:
        writer.transport.abort()
    else:
        writer.close()


async def _read_request(reader: asyncio.StreamReader) -> ReceivedRequest | None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    if headers.get("transfer-encoding") == "chunked":
        body = b"".join([chunk async for chunk in _chunks(reader)])
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return ReceivedRequest(method, path, headers, body)


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        yield (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\r\n")
