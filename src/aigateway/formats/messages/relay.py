"""Message streams relayed: the tap that watches for the end, the usage, and errors."""

from __future__ import annotations

from typing import Any, ClassVar

from aigateway.errors import GatewayError
from aigateway.formats.messages.errors import error_object
from aigateway.formats.messages.wire import merged_usage, messages_usage
from aigateway.formats.protocol import WireEvent
from aigateway.formats.relay import StreamRelay, events_in, object_in

_STOP = b"message_stop"
_USAGE = b'"usage"'


class MessagesRelay(StreamRelay):
    """Usage stands in the first event, and again, as far as it has grown, near the last."""

    path: ClassVar[tuple[str, ...]] = ("message", "model")
    always_finished: ClassVar[bool] = False

    def __init__(self, model: str, *, hide_usage: bool = False) -> None:
        super().__init__(model, hide_usage=hide_usage)
        self._told: dict[str, Any] = {}

    def fail(self, error: GatewayError) -> list[WireEvent]:
        """One `error` event."""
        return [WireEvent("error", {"type": "error", "error": error_object(error)})]

    def _tap(self, data: bytes) -> bytes:
        if data.find(_USAGE) >= 0 or (data.find(_STOP) >= 0 and not self.finished):
            for event in events_in(data):
                if _USAGE in event.data or _STOP in event.data:
                    self._note(object_in(event.data) or {})
        return data

    def _note(self, body: dict[str, Any]) -> None:
        kind = body.get("type")
        if kind == "message_stop":
            self.finished = True
        elif kind in ("message_start", "message_delta"):
            message = body.get("message")
            self._told = merged_usage(self._told, (message if isinstance(message, dict) else body).get("usage"))
            self.usage = messages_usage(self._told) or self.usage
