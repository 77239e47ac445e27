"""How an answer is written to uvicorn's connection: past ASGI where that costs less.

`Turn` is a whole request of a gateway that serves for itself. It stands where uvicorn has its RequestResponseCycle, and
makes one where an answer is not just written at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from aigateway.answer import JSON_TYPE, CutShortError
from aigateway.app.delivery import Delivery, Leaving, id_headers
from aigateway.app.head import KnownHead
from aigateway.exchange import Exchange
from aigateway.intake import Limits
from aigateway.surface import Operation

if TYPE_CHECKING:
    from aigateway.app.protocol import HeadFirstProtocol

logger = logging.getLogger("aigateway")

_OK = STATUS_LINE[200]


class HeadFirstTransport:
    """A transport that keeps back the head of an answer until the next write, and sends both together.

    uvicorn writes the head and the body apart, and the event loop sends each write at once. The gateway always follows
    a head with a body message, an empty one where there is nothing to say yet.
    """

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        """Send, together with the head that was kept back."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1.") and not data.startswith(b"1", 9):
            self._head = data
            return
        self._transport.write(data)

    def flush(self) -> None:
        """Send a head that nothing follows: that of an answer to HEAD."""
        if self._head:
            self._transport.write(self._head)
            self._head = b""

    def is_closing(self) -> bool:
        """As the transport's own."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Close after what was written."""
        self.flush()
        self._transport.close()

    def unwrapped(self) -> asyncio.Transport:
        """The transport itself: what is not HTTP has no heads."""
        return self._transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Writing:
    """Writes the answer of one cycle. It is taken out of the scope by its reader, or it would hold the scope that holds it."""

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    def is_past(self, send: object) -> bool:
        """Whether this writes where that `send` would: no middleware stands between, which would miss what is written."""
        return getattr(send, "__self__", None) is self._cycle

    def pieces(self, delivery: Delivery, time: Callable[[], float]) -> Callable[[bytes], bool]:
        """What writes a piece of a chunked body whose head was sent. It gives whether there is room for more.

        When it was sent is noted in the delivery.
        """
        cycle = self._cycle
        flow, write = cycle.flow, cast("HeadFirstTransport", cycle.transport).unwrapped().write

        def piece(piece: bytes) -> bool:
            if cycle.disconnected:
                return True
            delivery.last_sent = time()
            write(b"%x\r\n%b\r\n" % (len(piece), piece))
            return not flow.write_paused

        return piece

    def whole(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """An answer in one write. As uvicorn's own `send` leaves the cycle, so does this."""
        cycle = self._cycle
        if cycle.response_started or cycle.flow.write_paused:
            return False
        if cycle.disconnected:
            return True
        parts = [STATUS_LINE[status]]
        for name, value in (*cycle.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
        parts.append(body)
        cast("HeadFirstTransport", cycle.transport).unwrapped().write(b"".join(parts))
        cycle.waiting_for_100_continue = False
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
        return True


class _NoEvent:
    """Nobody waits for a message of a turn: that the caller has left is told otherwise."""

    def set(self) -> None: ...


class Turn:
    """A request that came whole, and the way of its answer.

    What uvicorn asks of a cycle is here; from the moment that more is needed than one write, a cycle takes its place.
    """

    __slots__ = (
        "_cycle",
        "_gone",
        "_protocol",
        "_task",
        "body",
        "client",
        "disconnected",
        "head",
        "headers",
        "keep_alive",
        "leaving",
        "operation",
        "response_complete",
        "response_started",
    )
    more_body = False
    message_event = _NoEvent()

    def __init__(
        self,
        protocol: HeadFirstProtocol,
        operation: Operation,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        head: KnownHead | None,
    ) -> None:
        self.operation = operation
        self.headers = headers
        self.body = body
        self.head = head
        self.leaving: Leaving = protocol.leaving
        self.client = protocol.client
        self.response_started = self.response_complete = self.disconnected = self._gone = False
        self.keep_alive = True
        self._protocol = protocol
        self._cycle: RequestResponseCycle | None = None
        self._task: asyncio.Task[Any] | None = None

    async def run_asgi(self, gateway: Any) -> None:
        """Let the gateway answer. The caller leaving cancels it; a connection whose answer is not whole is closed."""
        leaving = self.leaving
        self._task = task = asyncio.current_task(leaving.loop)
        exchange: Exchange | None = None
        try:
            begun: Exchange = gateway.begun(self)
            exchange = begun
            call, limits, body = begun.call, gateway.limits, self.body
            leaving.callback = self._left
            if leaving.gone:
                self._left()
            if len(body) <= limits.max_body and "content-encoding" not in call.headers:
                answer = await begun.answer(_unread, None, body)
            else:
                answer = await begun.answer(self._delivery(limits, call.headers).read_body)
            answer.headers += id_headers(call)
            if answer.frames is not None or answer.status != 200 or not self.at_once(answer.headers, answer.body):
                await self._delivery(limits, call.headers).send(answer)
            begun.delivered()
        except asyncio.CancelledError:
            if not self._gone or task is None:
                raise
            task.uncancel()
        except (CutShortError, OSError):
            self._gone = True
        except Exception:
            logger.exception("a request failed in the server")
        finally:
            leaving.callback = self._task = None
            try:
                if exchange is not None:
                    await exchange.aclose()
            finally:
                self._end()
                self._protocol.tasks.discard(task)

    def _delivery(self, limits: Limits, headers: Mapping[str, str]) -> Delivery:
        return Delivery(
            self.receive,
            self.send,
            limits,
            headers,
            leaving=self.leaving,
            writing=self,
            body=self.body,
            task=self._task,
        )

    def _end(self) -> None:
        cycle = self._cycle
        protocol, was_left = self._protocol, (cycle or self).disconnected
        if was_left and protocol.cycle is cast("object", cycle or self):
            protocol.cycle = None  # type: ignore[assignment]  # as it was at first
        elif not was_left and not (cycle or self).response_complete:
            protocol.transport.close()
        if cycle is not None:
            cycle.on_response = _nothing

    def _left(self) -> None:
        self._gone = True
        if self._task is not None:
            self._task.cancel()

    def at_once(self, headers: Sequence[tuple[str, str]], body: bytes) -> bool:
        """An answer of status 200 in one write. False = it cannot, and wrote nothing."""
        protocol = self._protocol
        if self._cycle is not None or not self.keep_alive or protocol.flow.write_paused:
            return False
        if len(headers) == 2 and headers[0] is JSON_TYPE and headers[1][1].isprintable():  # as mostly
            text = f"content-type: application/json\r\n{headers[1][0]}: {headers[1][1]}"
        else:
            text = "\r\n".join([f"{name}: {value}" for name, value in headers])
            if text.count("\n") != len(headers) - 1 or not text.replace("\r\n", "").isprintable():
                return False
        if self.disconnected:
            return True
        given = protocol.server_state.default_headers
        start = _Defaults.lines if _Defaults.of is given else _default_lines(given)
        protocol.transport.unwrapped().write(  # type: ignore[attr-defined]  # it is a HeadFirstTransport
            b"%b%b\r\ncontent-length: %d\r\n\r\n%b" % (start, text.encode("latin-1", "replace"), len(body), body)
        )
        self.response_started = self.response_complete = True
        protocol.on_response_complete()
        return True

    def is_past(self, send: object) -> bool:
        """As Writing.is_past: nothing stands between."""
        return True

    def pieces(self, delivery: Delivery, time: Callable[[], float]) -> Callable[[bytes], bool]:
        """As Writing.pieces."""
        return Writing(self._as_cycle()).pieces(delivery, time)

    def whole(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """As Writing.whole."""
        return Writing(self._as_cycle()).whole(status, headers, body)

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """As ASGI's."""
        await self._as_cycle().send(cast("Any", message))

    async def receive(self) -> MutableMapping[str, Any]:
        """Nobody has to ask: the body is there, and `leaving` tells the rest."""
        raise RuntimeError("the request came whole")

    def _as_cycle(self) -> RequestResponseCycle:
        cycle = self._cycle
        if cycle is None:
            protocol = self._protocol
            scope: Mapping[str, Any] = {"type": "http", "method": "POST", "headers": self.headers}
            self._cycle = cycle = RequestResponseCycle(
                scope=cast("Any", scope),
                transport=protocol.transport,
                flow=protocol.flow,
                logger=protocol.logger,
                access_logger=protocol.access_logger,
                access_log=False,
                default_headers=protocol.server_state.default_headers,
                message_event=cast("asyncio.Event", self.message_event),
                expect_100_continue=False,
                keep_alive=self.keep_alive,
                on_response=protocol.on_response_complete,
            )
            cycle.more_body = False
            cycle.disconnected = self.disconnected
            if protocol.cycle is cast("object", self):
                protocol.cycle = cycle
        return cycle


def _nothing() -> None: ...


async def _unread() -> bytes:
    return b""


class _Defaults:
    """The headers that every answer begins with, as lines. uvicorn makes a new list of them every second."""

    of: object = None
    lines = b""


def _default_lines(headers: list[tuple[bytes, bytes]]) -> bytes:
    _Defaults.lines = _OK + b"".join([b"%b: %b\r\n" % pair for pair in headers])
    _Defaults.of = headers
    return _Defaults.lines
