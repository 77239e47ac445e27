"""The server side of one WebSocket over ASGI: the handshake accepted or refused over HTTP, messages, the caller's leaving."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from aigateway.answer import Answer
from aigateway.app.delivery import ClientGoneError, Leaving, header_value
from aigateway.transport.protocol import WebSocketClosedError, closing

if TYPE_CHECKING:
    from aigateway.session import Session
    from aigateway.turns_session import TurnsSession

WEBSOCKETS: Final[Mapping[str, str]] = {"/realtime": "realtime", "/responses": "responses"}
"""Path below `/v1` -> operation."""

_KEY: Final = "openai-insecure-api-key."
_FLUSH: Final = 5.0  # seconds in which messages that came before the caller left are still passed on
_CUT = frozenset({1005, 1006, 1012})  # as servers tell of a connection that was lost, or that they closed themselves

_Result = TypeVar("_Result")


class Offer:
    """What a caller offers as subprotocols. Browsers cannot set headers: their key stands among these.

    key   the caller's key, None if there is none.
    kept  what may go on and be shown: `realtime` and the versions of the beta, nothing that may be a secret.
    """

    def __init__(self, subprotocols: Sequence[str]) -> None:
        keys = [name.removeprefix(_KEY) for name in subprotocols if name.startswith(_KEY)]
        self.key = (keys[0] or None) if len(keys) == 1 else None
        self.kept = [name for name in subprotocols if name == "realtime" or name.startswith("openai-beta.")]


def is_foreign(headers: Mapping[str, str]) -> bool:
    """Whether a page of another origin than this server's asks."""
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower()


class ClientSocket:
    """A WebSocket to a caller (see the WebSocket protocol). First `arrived()`, then `accept()` or `refuse()`."""

    def __init__(
        self,
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
        extensions: Mapping[Any, Any],
        leaving: Leaving | None = None,
    ) -> None:
        self.subprotocol: str | None = None
        self._receive = receive
        self._send = send
        self._speaks_http = "websocket.http.response" in extensions
        self._leaving = leaving
        self._ahead: asyncio.Task[MutableMapping[str, Any]] | None = None
        self._closed: WebSocketClosedError | None = None
        self._lost = False

    async def arrived(self) -> bool:
        """Wait for the handshake; whether the caller is still there."""
        return bool((await self._receive())["type"] == "websocket.connect")

    async def unless_gone(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Do what is to be done before the handshake is answered. Raises ClientGoneError, with the work cancelled."""
        working = asyncio.create_task(work)
        self._ahead = ahead = asyncio.ensure_future(self._receive())
        try:
            await asyncio.wait((working, ahead), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise ClientGoneError
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    async def accept(self, subprotocol: str | None, headers: Sequence[tuple[str, str]]) -> None:
        """Answer the handshake with yes."""
        self.subprotocol = subprotocol
        await self._tell({"type": "websocket.accept", "subprotocol": subprotocol, "headers": _encoded(headers)})

    async def refuse(self, answer: Answer) -> None:
        """Answer it over HTTP, where the server can; others answer with a bare 403."""
        if not self._speaks_http:
            await self._tell({"type": "websocket.close", "code": 1002 if answer.status == 426 else 1008})
            return
        headers = [*answer.headers, ("content-length", str(len(answer.body)))]
        await self._tell(
            {"type": "websocket.http.response.start", "status": answer.status, "headers": _encoded(headers)}
        )
        await self._tell({"type": "websocket.http.response.body", "body": answer.body})

    async def receive(self) -> str | bytes:
        """The next message. Raises WebSocketClosedError."""
        if self._closed is not None:
            raise self._closed
        ahead, self._ahead = self._ahead, None
        message = await (self._receive() if ahead is None else ahead)
        if message["type"] == "websocket.disconnect":
            code = message.get("code") or 1005
            clean = "reason" in message or code not in _CUT
            self._closed = WebSocketClosedError(code, message.get("reason") or "", clean=clean)
            raise self._closed
        text: str | None = message.get("text")
        return text if text is not None else message["bytes"]

    async def send(self, message: str | bytes) -> None:
        """Send one message. Raises WebSocketClosedError."""
        await self._tell({"type": "websocket.send", "text" if isinstance(message, str) else "bytes": message})

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye; the server does the rest."""
        if self._closed is None:
            code, reason = closing(code, reason)
            self._closed = WebSocketClosedError(code, reason)
            await self._last({"type": "websocket.close", "code": code, "reason": reason})

    async def until_lost(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work; where the connection is lost, it has a few seconds to end. Raises ClientGoneError."""
        task = asyncio.current_task()
        if self._leaving is None or task is None:
            await work
            return
        timer: asyncio.TimerHandle | None = None

        def lost() -> None:
            nonlocal timer
            timer = task.get_loop().call_later(_FLUSH, cut)

        def cut() -> None:
            self._lost = True
            task.cancel()

        if self._leaving.gone:
            lost()
        else:
            self._leaving.callback = lost
        try:
            await work
        except asyncio.CancelledError:
            if not self._lost:
                raise
            task.uncancel()
            raise ClientGoneError from None
        finally:
            self._leaving.callback = None
            if timer is not None:
                timer.cancel()

    async def release(self) -> None:
        """Leave nothing behind."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)

    async def _tell(self, message: MutableMapping[str, Any]) -> None:
        try:
            await self._send(message)
        except (OSError, RuntimeError) as error:  # servers differ in what they raise once the caller is gone
            raise WebSocketClosedError(1006, clean=False) from error

    async def _last(self, message: MutableMapping[str, Any]) -> None:
        try:
            await self._tell(message)
        except WebSocketClosedError:
            return


async def serve_session(socket: ClientSocket, session: Session | TurnsSession) -> None:
    """One session from its handshake to its end."""
    shown = [("x-request-id", session.call.id)]
    try:
        refusal = await socket.unless_gone(session.open())
        if refusal is not None:
            refusal.headers += shown
            await socket.refuse(refusal)
            return
        await socket.accept(session.subprotocol, shown)
        await socket.until_lost(session.run(socket))
    except (ClientGoneError, WebSocketClosedError):
        pass
    finally:
        await socket.release()
        await session.aclose()


def _encoded(headers: Sequence[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), header_value(value)) for name, value in headers]
