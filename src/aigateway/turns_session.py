"""Responses over one WebSocket: each `response.create` frame is a call of its own, one after the other.

What a turn goes on from is remembered by the connection too, so that chains with `store: false` work on it. Open Responses,
"WebSocket transport".
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, cast

from aigateway import _json, _sse
from aigateway.answer import JSON_TYPE, Answer
from aigateway.call import Call
from aigateway.errors import GatewayError, InvalidRequestError, ServerError
from aigateway.formats import render_error
from aigateway.formats.responses.encoder import error_fields
from aigateway.hooks.chain import Chain
from aigateway.stateful import StatefulExchange
from aigateway.transport.protocol import WebSocket, WebSocketClosedError

logger = logging.getLogger("aigateway")

MAX_AGE: Final = 3600.0
"""Seconds that a connection lasts at most."""

_REMEMBERED: Final = 8  # responses that a connection can go on from, the most recent ones
_AHEAD: Final = 8  # frames that are read while a turn runs
_CREATE: Final = "response.create"
_ENDED_WELL: Final = frozenset({1000, 1001, 1005})

Local = OrderedDict[str, list[bytes] | None]
"""Id of a response -> all items of its conversation; None = the store has them."""


class TurnsSession:
    """Runs one connection. Use: `open()` once; where that gives no refusal accept, `run()` once; and always `aclose()`.

    call     that of the handshake. make: a new call for a turn.
    max_age  seconds after which the connection is closed.
    """

    subprotocol: str | None = None

    def __init__(
        self, call: Call, chain: Chain, make: Callable[[], StatefulExchange], *, max_age: float = MAX_AGE
    ) -> None:
        self.call = call
        self._chain = chain
        self._make = make
        self._max_age = max_age
        self._local: Local = OrderedDict()

    async def open(self) -> Answer | None:
        """Settle who calls: None, or the answer that refuses."""
        call = self.call
        try:
            await self._chain.authenticate(call, call._api_key)  # noqa: SLF001 - the key is nobody else's business
        except GatewayError as error:
            call.error, call.outcome, call.status = error, "refused", error.status
            _, body = render_error("responses", error)
            return Answer(error.status, [JSON_TYPE, *error.headers.items()], _json.encode(body))
        call.status = 101
        call.first_byte_at = time.monotonic()
        return None

    async def run(self, client: WebSocket) -> None:
        """Answer frames until the client leaves, or the connection is too old. Its leaving ends the turn that runs."""
        frames: asyncio.Queue[str | bytes] = asyncio.Queue(_AHEAD)
        reading = asyncio.create_task(_read(client, frames))
        answering = asyncio.create_task(self._answer_all(client, frames))
        try:
            await asyncio.wait((reading, answering), return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                answering.result()
        except WebSocketClosedError:
            pass
        finally:
            for task in (reading, answering):
                task.cancel()
            await asyncio.gather(reading, answering, return_exceptions=True)
        closed = None if reading.cancelled() else reading.exception()
        if isinstance(closed, WebSocketClosedError) and not (closed.clean and closed.code in _ENDED_WELL):
            self.call.outcome = "abandoned"

    async def _answer_all(self, client: WebSocket, frames: asyncio.Queue[str | bytes]) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._max_age
        while True:
            try:
                if loop.time() >= end:  # a timeout alone would never end a queue that is never empty
                    raise TimeoutError
                async with asyncio.timeout_at(end):
                    frame = await frames.get()
            except TimeoutError:
                error = InvalidRequestError(
                    f"This connection has lasted {self._max_age / 60:.0f} minutes, the longest that one may. Open a new one.",
                    code="websocket_connection_limit_reached",
                )
                await client.send(_text(envelope(error)))
                await client.close(1000, "websocket_connection_limit_reached")
                return
            await self._turn(client, frame)

    async def _turn(self, client: WebSocket, frame: str | bytes) -> None:
        """One frame answered: its events, or an error. The connection goes on either way."""
        try:
            body = _request_of(frame)
        except GatewayError as error:
            await client.send(_text(envelope(error)))
            return
        exchange = self._make()
        exchange.local = self._local
        previous_id = body.get("previous_response_id")

        async def read() -> bytes:
            return _json.encode(body)

        try:
            answer = await exchange.answer(read)
            if answer.frames is None:
                await client.send(_text(envelope(exchange.call.error or ServerError("The turn gave no stream."))))
            else:
                await _send_events(client, answer)
            exchange.delivered()
        finally:
            try:
                await exchange.aclose()
            finally:
                self._remember(exchange, previous_id)

    def _remember(self, exchange: StatefulExchange, previous_id: Any) -> None:
        remembered = exchange.conversation()
        if remembered is None:
            if isinstance(previous_id, str):
                self._local.pop(previous_id, None)  # of a turn that failed nothing can be gone on from
            return
        response_id, items = remembered
        self._local[response_id] = items
        while len(self._local) > _REMEMBERED:
            self._local.popitem(last=False)

    async def aclose(self) -> None:
        """End the call of the handshake, once."""
        call = self.call
        if call.ended_at is None:
            call.ended_at = time.monotonic()
            call.outcome = call.outcome or "completed"
            await self._chain.on_complete(call)


def envelope(error: GatewayError) -> dict[str, Any]:
    """A frame that tells of an error."""
    return {"type": "error", "status": error.status, **error_fields(error)}


def _request_of(frame: str | bytes) -> dict[str, Any]:
    """The body of a call. Raises InvalidRequestError."""
    body = _json.decode_object(frame if isinstance(frame, bytes) else frame.encode("utf-8", "replace"))
    kind = body.pop("type", None)
    if kind != _CREATE:
        raise InvalidRequestError(
            f"Unknown frame of type {kind!r}: expected '{_CREATE}'.", param="type", code="invalid_value"
        )
    if body.get("background"):
        raise InvalidRequestError(
            "No response is made in the background over a WebSocket: leave `background` out.",
            param="background",
            code="invalid_value",
        )
    for name in ("stream_options", "background", "stream_id"):
        body.pop(name, None)
    return body | {"stream": True}


async def _read(client: WebSocket, frames: asyncio.Queue[str | bytes]) -> None:
    while True:
        await frames.put(await client.receive())


async def _send_events(client: WebSocket, answer: Answer) -> None:
    """The events of a stream, each as a frame; the last one is terminal, and there is no other."""
    decoder = _sse.SSEDecoder()
    frames = answer.frames
    if frames is None:
        return
    async with contextlib.aclosing(cast("Any", frames)):
        async for data in frames:
            for event in decoder.feed(data):
                is_error = event.event == "error" or event.data.startswith(b'{"type":"error"')
                if (
                    event.data != _sse.DONE and not is_error
                ):  # after an error `response.failed` follows, and says the same
                    await client.send(event.data.decode())


def _text(value: dict[str, Any]) -> str:
    return _json.encode(value).decode()
