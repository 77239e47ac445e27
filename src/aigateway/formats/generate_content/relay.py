"""Streams of generateContent relayed."""

from __future__ import annotations

from typing import ClassVar

from aigateway.canonical.types import Usage
from aigateway.errors import GatewayError
from aigateway.formats.generate_content.errors import error_body
from aigateway.formats.generate_content.usage import decode_usage
from aigateway.formats.protocol import WireEvent
from aigateway.formats.relay import StreamRelay, Terminal, events_in, object_in

_USAGE = b'"usageMetadata"'
_FINISH = Terminal((b'"finishReason"', b'"blockReason"'))


class GenerateContentRelay(StreamRelay):
    """Every piece tells the usage so far: only the last one is read, and only when somebody asks."""

    path: ClassVar[tuple[str, ...]] = ("modelVersion",)
    model_key: ClassVar[bytes] = b'"modelVersion"'
    always_finished: ClassVar[bool] = False
    _telling = b""

    @property
    def usage(self) -> Usage | None:
        """The tokens, as the last piece tells them."""
        for event in reversed(events_in(self._telling)):
            body = object_in(event.data)
            usage = decode_usage(body.get("usageMetadata")) if body is not None else None
            if usage is not None:
                return usage
        return None

    @usage.setter
    def usage(self, value: Usage | None) -> None:
        """The base begins with none."""

    def fail(self, error: GatewayError) -> list[WireEvent]:
        """The error in the place of a piece."""
        return [WireEvent("", error_body(error))]

    def _tap(self, data: bytes) -> bytes:
        if not self.finished:
            self.finished = _FINISH.within(data)
        if data.find(_USAGE) >= 0:
            self._telling = data
        return data
