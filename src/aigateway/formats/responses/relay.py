"""Responses streams relayed: the tap that watches for the terminal event, the usage, and errors."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from aigateway import _json
from aigateway.errors import GatewayError
from aigateway.formats.protocol import WireEvent
from aigateway.formats.relay import StreamRelay, Terminal, events_in, object_in
from aigateway.formats.responses.encoder import failure_events
from aigateway.formats.responses.resource import empty_resource
from aigateway.formats.usage import responses_usage

_TERMINAL = Terminal((b"response.completed", b"response.incomplete", b"response.failed"))


class _Sequence(msgspec.Struct):
    sequence_number: int = -1


_SEQUENCE: msgspec.json.Decoder[_Sequence] = msgspec.json.Decoder(_Sequence)


class ResponsesRelay(StreamRelay):
    """Remembers the first snapshot and the last event, so that a stream that was cut still ends lawfully."""

    path: ClassVar[tuple[str, ...]] = ("response", "model")
    always_finished: ClassVar[bool] = False

    def __init__(self, model: str, *, hide_usage: bool = False) -> None:
        super().__init__(model, hide_usage=hide_usage)
        self._snapshot: dict[str, Any] | None = None
        self._last = b""

    def fail(self, error: GatewayError) -> list[WireEvent]:
        """An `error` event and `response.failed`, numbered on from the last event that went out."""
        snapshot = empty_resource() | (self._snapshot or {}) | {"model": self.model}
        return failure_events(error, response=snapshot, sequence_number=self._last_number() + 1)

    def _check_first(self, body: dict[str, Any]) -> None:
        super()._check_first(body)
        if isinstance(body.get("response"), dict):
            self._snapshot = body["response"]

    def _failure_in(self, data: bytes) -> GatewayError | None:
        failure = super()._failure_in(data)
        body = object_in(data) if failure is not None else None
        if body is not None and isinstance(body.get("response"), dict):
            self._snapshot = (self._snapshot or {}) | body["response"]
            self.usage = responses_usage(body["response"].get("usage")) or self.usage
        return failure

    def _tap(self, data: bytes) -> bytes:
        if data.find(b'"sequence_number"') >= 0:
            self._last = data
        if not self.finished and _TERMINAL.within(data):
            for event in events_in(data):
                self._note_terminal(event.data)
        return data

    def _note_terminal(self, data: bytes) -> None:
        if not _TERMINAL.within(data):
            return
        try:
            body = _json.decode(data)
        except (_json.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if isinstance(body, dict) and str(body.get("type")).encode() in _TERMINAL.marks:
            self.finished = True
            response = body.get("response")
            if isinstance(response, dict):
                self.usage = responses_usage(response.get("usage"))

    def _last_number(self) -> int:
        for event in reversed(events_in(self._last)):
            try:
                number = _SEQUENCE.decode(event.data).sequence_number
            except (msgspec.DecodeError, RecursionError):
                continue
            if number >= 0:
                return number
        return -1
