"""Streams of chunks with choices (chat, completions) relayed: the tap that watches for finish, usage and errors."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from aigateway import _json, _sse
from aigateway.errors import GatewayError
from aigateway.formats.protocol import WireEvent
from aigateway.formats.relay import StreamRelay, Terminal, error_object, events_in, frames_in, stream_error
from aigateway.formats.usage import chat_usage

_DONE = tuple(end + mark for end in (b"\n", b"\r") for mark in (b"data: [DONE]", b"data:[DONE]"))
_FINISH = Terminal((b'"finish_reason":"', b'"finish_reason": "', *_DONE))
_TEXT = re.compile(rb'"(?:content|reasoning_content|reasoning)":"([^"\\\r\n]*)"')
_USAGE_OBJECTS = (b'"usage":{', b'"usage": {')


class ChoicesRelay(StreamRelay):
    """With `hide_usage` the chunk that tells only the usage is kept back: the gateway asked for it, not the caller."""

    always_finished: ClassVar[bool] = False
    _text_start = _text_end = b"-"  # no frame is like that
    _shown_text = b""
    _text_at = _text_to = 0
    _lessons = 8

    is_plain: ClassVar[bool] = True
    """Whether nothing but the model's name is changed in a frame that tells neither usage nor the end."""

    def feed(self, chunk: bytes) -> bytes:
        """What the caller gets now; see the base class.

        Most chunks of a stream are one frame that is as the last one was, but for its text; or that begins so, up to
        the model's name. Those are not looked at any further.
        """
        if chunk.startswith(self._text_start) and chunk.endswith(self._text_end) and not self._held:
            text = chunk[self._text_at : self._text_to]
            if text.find(b'"') < 0 and text.find(b"\n") < 0 and text.find(b"\r") < 0:
                return self._shown_text + chunk[self._text_at :]
        start = self._usual_start
        if start and chunk.startswith(start) and not self._held and self.is_plain:
            rest = chunk[len(start) :]
            if (
                rest.find(b'"error"') < 0
                and rest.find(b'"finish_reason":"') < 0
                and rest.find(b'"finish_reason": "') < 0
                and rest.find(b'"usage":{') < 0
                and rest.find(b'"usage": {') < 0
                and rest.find(b"\r") < 0
                and rest.find(b"\n") == len(rest) - 2
                and rest[-1] == 10
            ):
                if self._lessons:
                    self._learn(start, rest)
                return self._shown_start + rest
        return super().feed(chunk)

    def _learn(self, start: bytes, rest: bytes) -> None:
        """Take a frame as the one that others will be like, but for the text in it."""
        self._lessons -= 1
        text = _TEXT.search(rest)
        if text is not None:
            at = text.start(1)
            self._text_at, self._text_start = len(start) + at, start + rest[:at]
            self._shown_text = self._shown_start + rest[:at]
            self._text_end = rest[text.end(1) :]
            self._text_to = -len(self._text_end)

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
