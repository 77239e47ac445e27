"""uvicorn's WebSocket protocol, which tells at once when a connection is lost. Loaded at the first upgrade."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from aigateway.app.delivery import LEAVING, Leaving


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """What a connection of HeadFirstProtocol becomes by an upgrade."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._leaving = Leaving(self.loop)

    def handle_connect(self, event: Request) -> None:
        """A handshake."""
        super().handle_connect(event)
        if not self.handshake_complete:
            self.scope["extensions"] = {**(self.scope["extensions"] or {}), LEAVING: cast("Any", self._leaving)}

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller has left."""
        super().connection_lost(exc)
        self._leaving.tell()

    def send_500_response(self) -> None:
        """No answer to the handshake: the application failed, or the server stops before it could give one."""
        if self.initial_response is None and not self.handshake_complete:
            self.conn.send_response(self.conn.reject(HTTPStatus.SERVICE_UNAVAILABLE, "The server stops.\n"))
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()
