"""One answer over ASGI: the body read within its limit, the caller watched for leaving, silence filled with comments."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, Protocol

from aigateway.answer import JSON_TYPE, STREAM_HEADERS, Answer, CutShortError
from aigateway.call import Call
from aigateway.errors import InvalidRequestError, PayloadTooLargeError
from aigateway.exchange import Exchange
from aigateway.intake import Limits

_BODILESS = (204, 304)
KEEPALIVE = b": keep-alive\n\n"
_ENCODED = {pair: (pair[0].encode(), pair[1].encode()) for pair in (JSON_TYPE, *STREAM_HEADERS)}


class Leaving:
    """Where a server says that a connection was lost: it calls `tell()`, and whoever set `callback` is called.

    A server of ours puts one into `scope["extensions"][LEAVING]`; it saves a task per request that waits for it.
    `loop` is the server's, so that it need not be looked up again. `room()` says whether its socket takes more, and
    `on_room` is told.
    """

    __slots__ = ("callback", "gone", "loop", "on_room")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.gone = False
        self.callback: Callable[[], None] | None = None
        self.on_room: Callable[[bool], None] | None = None

    def room(self, *, some: bool) -> None:
        """Whether the caller's connection has room, when that changes."""
        if self.on_room is not None:
            self.on_room(some)

    def tell(self) -> None:
        """The connection is lost."""
        self.gone = True
        callback, self.callback = self.callback, None
        if callback is not None:
            callback()


LEAVING = "aigateway.leaving"
WRITING = "aigateway.writing"
"""Where a server of ours puts its Writing."""


class Writing(Protocol):
    """Writes one answer past ASGI, which costs less."""

    def is_past(self, send: object) -> bool:
        """Whether this writes where that `send` would: no middleware stands between, which would miss what is written."""
        ...

    def pieces(self, delivery: Delivery, time: Callable[[], float]) -> Callable[[bytes], bool]:
        """What writes a piece of a body whose head was sent. False = the caller reads more slowly than this comes.

        It notes in `delivery.last_sent` when that was.
        """
        ...

    def whole(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """All of an answer. Names are lower-case, none of them `connection`. False = it cannot, and wrote nothing."""
        ...


class ClientGoneError(Exception):
    """The caller left before the answer was complete."""


def id_headers(call: Call, api: str = "") -> list[tuple[str, str]]:
    """The headers that name a request: Anthropic's clients look for theirs. api: the caller's, if not the operation's."""
    shown = [("x-request-id", call.id)]
    return [*shown, ("request-id", call.id)] if (api or call.api) == "messages" else shown


class Delivery:
    """One request of a caller, and its answer: over ASGI, or past it.

    head_only: the body is not sent. body: the request's, where it is known. task: the one that is cancelled when the
    caller leaves, where it is not that of `answer`.
    """

    _watcher: asyncio.Task[None] | None = None
    _gone = False
    _sending = False
    last_sent = 0.0
    _timer: asyncio.TimerHandle | None = None
    _comment: asyncio.Task[None] | None = None

    def __init__(
        self,
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
        limits: Limits,
        headers: Mapping[str, str],
        *,
        head_only: bool = False,
        leaving: Leaving | None = None,
        writing: Writing | None = None,
        body: bytes | None = None,
        task: asyncio.Task[Any] | None = None,
    ) -> None:
        self._receive = receive
        self._send = send
        self._limits = limits
        self._headers = headers
        self._head_only = head_only
        self._leaving = leaving
        self._writing = writing if writing is not None and writing.is_past(send) else None
        self._body = body
        if task is not None:
            self._task = task

    async def answer(
        self,
        exchange: Exchange,
        extra: list[tuple[str, str]],
        served: Callable[[], dict[str, Any] | Answer] | None = None,
    ) -> None:
        """Answer a call with these headers besides; the caller leaving cancels it. The exchange is closed in every case.

        An answer that was not completed is left so: a server cuts its connection. served: as `Exchange.answer`.
        """
        self._task = task = _current_task(self._leaving.loop if self._leaving is not None else None)
        try:
            answer = await exchange.answer(
                self.open_body if exchange.call.operation.uploads else self.read_body, served
            )
            answer.headers += extra
            await self.send(answer)
            exchange.delivered()
        except asyncio.CancelledError:
            if not self._gone:
                raise
            task.uncancel()
        except (CutShortError, OSError):
            self._gone = True
        finally:
            if self._leaving is not None:
                self._leaving.callback = None
            if self._watcher is not None:
                self._unwatch()
            await exchange.aclose()

    async def read_body(self) -> bytes:
        """The request's body. Raises PayloadTooLargeError or InvalidRequestError; is cancelled if the caller leaves."""
        headers = self._headers
        _check_announced(headers, self._limits.max_body)
        if headers.get("content-encoding", "identity") != "identity":
            raise InvalidRequestError(
                "Compressed request bodies are not read here; send the body without Content-Encoding.",
                status=415,
                code="unsupported_content_encoding",
            )
        message: MutableMapping[str, Any] = {"type": "http.request", "body": self._body}
        if self._body is None:
            message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            body: bytes = message.get("body", b"")
            if len(body) > self._limits.max_body:
                raise _too_large(self._limits.max_body)
            self._watch()
            return body
        whole = io.BytesIO()  # holds it once: joining pieces would hold it twice
        async for piece in self._pieces(message, self._limits.max_body):
            whole.write(piece)
        return whole.getvalue()

    async def open_body(self) -> AsyncIterator[bytes]:
        """The request's body as it arrives. Raises PayloadTooLargeError, also while it is read; see `read_body`."""
        _check_announced(self._headers, self._limits.max_upload)
        if self._leaving is not None:
            self._leaving.callback = self._left
        return self._pieces(await self._receive(), self._limits.max_upload)

    async def _pieces(self, message: MutableMapping[str, Any], limit: int) -> AsyncIterator[bytes]:
        size = 0
        while True:
            if message["type"] == "http.disconnect":
                self._gone = True
                if asyncio.current_task() is not self._task:  # who sends it on may read it in a task of its own
                    self._task.cancel()
                raise asyncio.CancelledError
            piece = message.get("body", b"")
            size += len(piece)
            if size > limit:
                raise _too_large(limit)
            if not message.get("more_body", False):
                self._watch()
                yield piece
                return
            yield piece
            message = await self._receive()

    async def send(self, answer: Answer) -> None:
        """The whole answer."""
        headers = [
            _ENCODED[pair] if pair in _ENCODED else (pair[0].encode("latin-1"), header_value(pair[1]))
            for pair in answer.headers
        ]
        if answer.frames is None:
            if answer.status not in _BODILESS:
                headers.append((b"content-length", b"%d" % len(answer.body)))
            writing = self._writing if answer.status == 200 and not self._head_only else None
            if writing is not None and writing.whole(200, headers, answer.body):
                return
            await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await self._send({"type": "http.response.body", "body": b"" if self._head_only else answer.body})
            return
        await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})
        if self._head_only:
            await self._send({"type": "http.response.body", "body": b""})
            return
        if not answer.ready:
            await self._send({"type": "http.response.body", "body": b"", "more_body": True})
        self.last_sent = self._task.get_loop().time()
        if answer.is_events:
            self._arm(self._limits.keepalive)
        if answer.pipe is not None and self._writing is not None and self._leaving is not None:
            answer.pipe.write = self._writing.pieces(self, self._leaving.loop.time)
            self._leaving.on_room = answer.pipe.room
        try:
            async for frame in answer.frames:
                await self._frame(frame)
        finally:
            if self._leaving is not None:
                self._leaving.on_room = None
            await self._disarm()
        await self._send({"type": "http.response.body", "body": b""})

    async def _frame(self, frame: bytes) -> None:
        if self._comment is not None:
            await self._comment
        self._sending = True
        await self._send({"type": "http.response.body", "body": frame, "more_body": True})
        self._sending = False
        self.last_sent = self._task.get_loop().time()

    # the caller leaving

    def _watch(self) -> None:
        if self._leaving is None:
            self._watcher = self._task.get_loop().create_task(self._watch_for_leaving())
        elif self._leaving.gone:
            self._left()
        else:
            self._leaving.callback = self._left

    async def _watch_for_leaving(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left()

    def _left(self) -> None:
        self._gone = True
        self._task.cancel()

    def _unwatch(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()

    # silence

    def _arm(self, delay: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay, self._check_silence)

    def _check_silence(self) -> None:
        silent = asyncio.get_running_loop().time() - self.last_sent
        if silent < self._limits.keepalive or self._sending:
            self._arm(max(self._limits.keepalive - silent, 0.05))
            return
        self._comment = asyncio.ensure_future(self._send_comment())

    async def _send_comment(self) -> None:
        await self._send({"type": "http.response.body", "body": KEEPALIVE, "more_body": True})
        self.last_sent = asyncio.get_running_loop().time()
        self._comment = None
        self._arm(self._limits.keepalive)

    async def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._comment is not None:
            self._comment.cancel()
            await asyncio.gather(self._comment, return_exceptions=True)


def _check_announced(headers: Mapping[str, str], limit: int) -> None:
    announced = headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(
        f"The request body is larger than {limit} bytes, the most that this gateway takes.",
        headers={"Connection": "close"},
    )


def header_value(value: str) -> bytes:
    """A header's value on the wire, without what no header may hold."""
    if not value.isprintable():
        value = "".join(char if char.isprintable() or char == "\t" else " " for char in value)
    return value.encode("latin-1", "replace")


def _current_task(loop: asyncio.AbstractEventLoop | None) -> asyncio.Task[Any]:
    task = asyncio.current_task(loop)
    if task is None:
        raise RuntimeError("a request is served in a task")
    return task
