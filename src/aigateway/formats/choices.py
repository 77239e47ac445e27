"""Streams of chunks with choices (chat, completions) relayed: the tap that watches for finish, usage and errors."""

from __future__ import annotations

from typing import Any, ClassVar

from aigateway import _json, _sse
from aigateway.errors import GatewayError
from aigateway.formats.protocol import WireEvent
from aigateway.formats.relay import StreamRelay, Terminal, error_object, events_in, frames_in, stream_error
from aigateway.formats.usage import chat_usage

_DONE = tuple(end + mark for end in (b"\n", b"\r") for mark in (b"data: [DONE]", b"data:[DONE]"))
_FINISH = Terminal((b'"finish_reason":"', b'"finish_reason": "', *_DONE))
_USAGE_OBJECTS = (b'"usage":{', b'"usage": {')


class ChoicesRelay(StreamRelay):
    """With `hide_usage` the chunk that tells only the usage is kept back: the gateway asked for it, not the caller."""

    always_finished: ClassVar[bool] = False
    is_plain: ClassVar[bool] = True
    """Whether nothing but the model's name is changed in a frame that tells neither usage nor the end."""

    def feed(self, chunk: bytes) -> bytes:
        """What the caller gets now; see the base class.

        Most chunks of a stream are one frame that begins as the last one did, up to the model's name: those are not
        looked at any further.
        """
        start = self._usual_start
        if start and chunk.startswith(start) and not self._held and self.is_plain:
            rest = chunk[len(start) :]
            if not (
                b'"model"' in rest
                or b'"error"' in rest
                or b'"finish_reason":"' in rest
                or b'"finish_reason": "' in rest
                or b'"usage":{' in rest
                or b'"usage": {' in rest
                or b"\r" in rest
                or rest.find(b"\n") != len(rest) - 2
                or rest[-1] != 10
            ):
                return self._shown_start + rest
        return super().feed(chunk)

    def fail(self, error: GatewayError) -> list[WireEvent]:
        """One error object."""
        return [WireEvent("", {"error": error_object(error)})]

    def _check_first(self, body: dict[str, Any]) -> None:
        if body.get("error") and not body.get("choices"):
            raise stream_error(body["error"])

    def _tap(self, data: bytes) -> bytes:
        if not self.finished:
            self.finished = _FINISH.within(b"\n" + data)
        if any(mark in data for mark in _USAGE_OBJECTS):
            return self._usage_frames(data)
        return data

    def _usage_frames(self, data: bytes) -> bytes:
        shown: list[bytes] = []
        for frame in frames_in(data):
            if any(mark in frame for mark in _USAGE_OBJECTS) and self._told_usage_only(frame) and self._hide_usage:
                continue
            shown.append(frame)
        return b"".join(shown)

    def _told_usage_only(self, frame: bytes) -> bool:
        only = False
        for event in events_in(frame):
            if event.data == _sse.DONE:
                continue
            try:
                body = _json.decode(event.data)
            except (_json.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            if isinstance(body, dict):
                self.usage = chat_usage(body.get("usage")) or self.usage
                only = not body.get("choices")
        return only
