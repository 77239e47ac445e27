"""uvicorn's HTTP protocol, cheaper: a head waits for the body that follows it, and a lost connection is told at once.

The one saves a system call per answer, the other a task per request. An answer that is whole goes out in one write. A
plain request whose body has come with its head goes to a gateway as a `Turn`, without the ceremonies of ASGI. What it
takes to speak WebSocket is loaded at the first upgrade; a handshake that is none goes to the application as the HTTP
request that it is.
"""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from aigateway.app.delivery import LEAVING, WRITING, Leaving
from aigateway.app.head import KnownHead, known_head
from aigateway.app.refusal import refusal, refuse
from aigateway.app.turn import HeadFirstTransport, Turn, Writing
from aigateway.errors import GatewayError, InvalidRequestError
from aigateway.surface import Operation

HEAD_SECONDS: Final = 30.0
"""Seconds that a caller has for the head of a request."""

BODY_SECONDS: Final = 60.0
"""Seconds that may pass between two pieces of its body."""

MAX_HEAD: Final = 64 * 1024
"""Bytes of a head that has not come in one piece; such a piece has 256 KiB at most."""

LINGER: Final = 0.5
"""Seconds that an idle connection stays open when the server stops: a request may be on its way already."""

CHANCES: Final = 4
"""Heads of a connection that are remembered, each in the place of the last one: who never sends one twice pays no more."""

_NONE: Mapping[bytes, Operation] = {}
_NO_HTTP: Final = InvalidRequestError("This is no HTTP/1.1 request, or a broken one.", code="invalid_http")
_TOO_LARGE: Final = InvalidRequestError(
    f"The head of this request is larger than {MAX_HEAD >> 10} KiB.", status=431, code="request_head_too_large"
)


class _Waiting(list[Any]):
    """Requests that wait for the answer of the one before: what uvicorn has a deque for, which is large where it is empty."""

    def appendleft(self, item: Any) -> None:
        """The last one in the queue."""
        self.insert(0, item)


class _Flow(FlowControl):
    """uvicorn's, with an event only while somebody may wait for it: few callers ever fall behind, and an event is large."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.read_paused = False
        self.write_paused = False

    async def drain(self) -> None:
        """Wait until the caller has caught up."""
        if self.write_paused:
            await self._is_writable_event.wait()

    def pause_writing(self) -> None:
        """The caller has fallen behind."""
        if not self.write_paused:
            self._is_writable_event = asyncio.Event()
            self.write_paused = True

    def resume_writing(self) -> None:
        """It has caught up."""
        if self.write_paused:
            self.write_paused = False
            self._is_writable_event.set()


class HeadFirstProtocol(HttpToolsProtocol):
    """For `uvicorn.Config(http=...)`."""

    __slots__ = (
        "_begun",
        "_between",
        "_chances",
        "_ends",
        "_has_factory",
        "_has_unread_body",
        "_head_begun",
        "_head_begun_at",
        "_head_size",
        "_heard_at",
        "_known",
        "_operation",
        "_pieces",
        "_serves_plainly",
        "leaving",
    )  # beside the dict of the base class, which is shared by all connections only as long as it has few names

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it too
        """A new connection."""
        self.leaving = Leaving(self.loop)
        self._heard_at = self._head_begun_at = self.loop.time()
        self._head_begun = False
        self._operation: Operation | None = None
        self._known: KnownHead | None = None
        self._begun: Turn | None = None
        self._chances = CHANCES
        self._has_factory = self.loop.get_task_factory() is not None
        self._between = True
        self.pipeline = cast("deque[Any]", _Waiting())
        self._pieces: list[bytes] = []
        self._serves_plainly = not self.root_path and self.limit_concurrency is None
        self._ends = self._has_unread_body = False
        super().connection_made(cast("asyncio.Transport", HeadFirstTransport(transport)))
        self.flow = _Flow(self.transport)
        self._look_again_in(self.timeout_keep_alive)

    def on_message_begin(self) -> None:
        """A new request."""
        self._between = False
        self.url = b""
        self.headers = []
        self._head_begun, self._head_begun_at, self._head_size = True, self._heard_at, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head of a request is there. Where nothing but its body is special, the rest is waited for."""
        self._head_begun = False
        operation = getattr(self.app, "direct", _NONE).get(self.url)
        cycle, parser = self.cycle, self.parser
        if (
            operation is not None
            and (cycle is None or cycle.response_complete)
            and parser.get_method() == b"POST"
            and parser.should_keep_alive()
            and parser.get_http_version() == "1.1"
            and not parser.should_upgrade()
            and self._serves_plainly
        ):
            self._operation, self._pieces = operation, []
        elif parser.should_upgrade() and self._passes_a_body_over():
            self._has_unread_body = True
        else:
            self._begin_asgi()

    def _passes_a_body_over(self) -> bool:
        """Whether a request to upgrade to what nobody here speaks has a body: its parser takes it for that other protocol."""
        given = {name.lower(): value for name, value in self.headers}
        if b"upgrade" not in given or not (given.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in given):
            return False
        is_websocket = given[b"upgrade"].lower() == b"websocket" and self.parser.get_method() == b"GET"
        return not (is_websocket and is_handshake([*given.items()]))

    def _read_again(self, rest: bytes) -> None:
        """Take a request as if it had not asked to upgrade (RFC 9110, section 7.8). rest: what came behind its head."""
        self._has_unread_body = False
        lines = [b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b\r\n" % pair for pair in self.headers if pair[0].lower() != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"%b\r\n%b" % (b"".join(lines), rest))

    def _begin_asgi(self) -> None:
        """Let the application run, which reads the body as it comes. Its answer may be written past ASGI, which costs less."""
        self._operation = None
        url, headers = self.url, [(name.lower(), value) for name, value in self.headers]
        super().on_message_begin()
        self.url, self.headers = url, headers
        self.expect_100_continue = any(
            name == b"expect" and value.lower() == b"100-continue" for name, value in headers
        )
        self.scope["headers"] = headers
        self.scope["extensions"] = {LEAVING: cast("dict[object, object]", self.leaving)}
        super().on_headers_complete()
        cycle = self.cycle
        if cycle is not None and cycle.scope is self.scope:
            self.scope["extensions"][WRITING] = cast("dict[object, object]", Writing(cycle))

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._operation is not None:
            self._pieces.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The end of a request."""
        self._between = True
        operation = self._operation
        if operation is None:
            if not self._has_unread_body:
                super().on_message_complete()
            return
        self._operation = None
        pieces = self._pieces
        self._begun = self._begin(operation, self.headers, pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def _begin(
        self, operation: Operation, headers: Sequence[tuple[bytes, bytes]], body: bytes, head: KnownHead | None = None
    ) -> Turn:
        turn = Turn(self, operation, headers, body, head)
        self.cycle = turn  # type: ignore[assignment]  # it has all that is asked of one
        work = turn.run_asgi(self.app)
        # to number tasks costs as much as to make them
        task = self.loop.create_task(work) if self._has_factory else asyncio.Task(work, loop=self.loop, name="request")
        self.tasks.add(task)  # it takes itself away
        return turn

    def _is_known(self, data: bytes) -> bool:
        """Whether a request came whole under the head that the last one had, and goes the way that it went."""
        known, cycle = self._known, self.cycle
        if known is None or not self._between or not self._serves_plainly or not cycle.response_complete:
            return False
        body = known.body_of(data)
        if body is None or getattr(self.app, "direct", _NONE).get(known.url) is not known.operation:
            return False
        self._begin(known.operation, known.pairs, body, known)
        return True

    def _remember(self, data: bytes, turn: Turn) -> None:
        """From the second request on: most connections to a stream have one."""
        if self._chances != CHANCES:
            self._known = turn.head = known_head(data, turn.body, self.url, turn.operation, turn.headers)
        self._chances -= 1

    # who says nothing: one timer serves all requests of a connection, for few of its dates ever come

    def data_received(self, data: bytes) -> None:
        """Bytes of a request."""
        self._heard_at = self.loop.time()
        if self._known is not None and self._is_known(data):
            return
        begins = self._between
        rest = self._parse(data)
        if rest is not None:
            self._read_again(rest)
            return
        turn = self._begun
        if turn is not None:
            self._begun = None
            if begins and self._chances:
                self._remember(data, turn)
        if self._head_begun:
            self._head_size += len(data)
            if self._head_size > MAX_HEAD:
                self._refuse(_TOO_LARGE)
                return
        if self._operation is not None and not self.transport.is_closing():
            self._begin_asgi()  # more of its body is still to come
            for piece in self._pieces:
                super().on_body(piece)
        if self._waits_for_more() and self.timeout_keep_alive_task is None and not self.transport.is_closing():
            self._look_again_in(HEAD_SECONDS)

    def _parse(self, data: bytes) -> bytes | None:
        """Have these bytes read. Gives those that are left of a request which is to be read again."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("")
        except httptools.HttpParserUpgrade as upgrade:
            if self._has_unread_body:
                return data[upgrade.args[0] :]
            if self._should_upgrade():
                self.handle_websocket_upgrade()
        return None

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._refuse(_NO_HTTP)

    def _refuse(self, error: GatewayError) -> None:
        self._operation = None
        cycle = self.cycle
        transport = cast("HeadFirstTransport", self.transport).unwrapped()
        if cycle is None or cycle.response_complete:
            refuse(error, transport, self)
            return
        if not cycle.response_started:
            transport.write(refusal(error))
        self.transport.close()

    def _unset_keepalive_if_required(self) -> None:
        """Nothing: a timer that rings in the middle of a request is set anew."""

    def _waits_for_more(self) -> bool:
        """Whether a request has begun that is not whole."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return self._head_begun
        return cycle.more_body and not self.flow.read_paused

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that was idle for long, or that sends its request too slowly."""
        self.timeout_keep_alive_task = None
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if self._waits_for_more():
            left = self._heard_at + BODY_SECONDS - self.loop.time()
            if self._head_begun:
                left = self._head_begun_at + HEAD_SECONDS - self.loop.time()
        elif cycle is None or cycle.response_complete:
            left = self._heard_at + self.timeout_keep_alive - self.loop.time()
        else:
            return  # on_response_complete() sets it again
        if left <= 0:
            self.transport.close()
        else:
            self._look_again_in(left)

    def _look_again_in(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def on_response_complete(self) -> None:
        """An answer was written: the next request may come, for a while."""
        self.transport.flush()  # type: ignore[attr-defined]  # it is a HeadFirstTransport
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        self._heard_at = self.loop.time()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self._ends:  # nobody has told the caller: its head was sent before
            self.loop.call_later(LINGER, self._close_if_idle)
        elif self.timeout_keep_alive_task is None:
            self._look_again_in(self.timeout_keep_alive)

    # the server stops

    def shutdown(self) -> None:
        """Let what runs finish, and what is on its way. The caller is told in the next head that it is the last one."""
        self._ends = True
        self._serves_plainly = False
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self.loop.call_later(LINGER, self._close_if_idle)
        elif not cycle.response_started:
            cycle.keep_alive = False

    def _close_if_idle(self) -> None:
        if not self._head_begun and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self._ends:
            cycle.keep_alive = False
        super()._start_asgi_task(cycle, app)

    def resume_writing(self) -> None:
        """The caller has caught up."""
        super().resume_writing()
        self.leaving.room(some=True)

    def pause_writing(self) -> None:
        """The caller reads more slowly than it is written to."""
        super().pause_writing()
        self.leaving.room(some=False)

    def _should_upgrade_to_ws(self) -> bool:
        return self.scope["method"] == "GET" and is_handshake(self.headers)

    def handle_websocket_upgrade(self) -> None:
        """A WebSocket from here on."""
        from aigateway.app.upgrade import WebSocketProtocol  # noqa: PLC0415 - half of the clients never ask for it

        self.ws_protocol_class = WebSocketProtocol
        self.transport = cast("HeadFirstTransport", self.transport).unwrapped()
        super().handle_websocket_upgrade()

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller has left."""
        timer, self.timeout_keep_alive_task = self.timeout_keep_alive_task, None
        if timer is not None:
            timer.cancel()
        super().connection_lost(exc)
        self.leaving.tell()
        # a turn knows its protocol: as a ring they would wait, with all that they hold, for the collector
        self.pipeline.clear()
        cycle = self.cycle
        if cycle is not None and cycle.response_complete:
            self.cycle = None  # type: ignore[assignment]  # as it was at first


def is_handshake(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether a request to upgrade is a WebSocket handshake (RFC 6455, section 4.2.1). Names are lower-case."""
    given = dict(headers)
    try:
        key = base64.b64decode(given.get(b"sec-websocket-key", b""), validate=True)
    except ValueError:
        return False
    return len(key) == 16 and given.get(b"sec-websocket-version") == b"13"
