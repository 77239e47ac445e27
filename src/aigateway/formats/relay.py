"""Streams of the same format in and out: the bytes go on as they came, but for the model's name.

Sans I/O. What goes on are always whole frames, so that something may be put between them. On the way a tap notes what
the gateway must know: whether the stream was finished, the usage, and what it takes to end a broken one lawfully.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import msgspec

from aigateway import _json, _sse
from aigateway.canonical.types import Usage
from aigateway.errors import GatewayError, UpstreamError, UpstreamProtocolError
from aigateway.formats.protocol import WireEvent

_STATUS_OF_CODE = {
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "context_length_exceeded": 400,
    "invalid_prompt": 400,
    "invalid_request_error": 400,
    "content_policy_violation": 400,
}
_HELD_MAX = 64 * 1024 * 1024
_ERROR = b'"error"'
_FRAME_END = re.compile(rb"\n\n|\r\n\r\n")


class StreamRelay:
    """Base of the relays; alone it serves formats whose events name no model and have no known end.

    model       the name that the caller asked for.
    usage       the tokens, once the stream told them.
    finished    whether the stream has said that it is complete.
    failure     the error that the upstream put into its stream; what stood before it was given, nothing after it counts.
    """

    path: ClassVar[tuple[str, ...]] = ("model",)
    always_finished: ClassVar[bool] = True

    def __init__(self, model: str, *, hide_usage: bool = False) -> None:
        self.model = model
        self.usage: Usage | None = None
        self.finished = self.always_finished
        self.failure: GatewayError | None = None
        self.saw_event = False
        self._hide_usage = hide_usage
        self._held = b""
        self._rename: tuple[bytes, bytes] | None = None

    def feed(self, chunk: bytes) -> bytes:
        """What the caller gets now: the whole frames so far.

        Raises UpstreamError where the first event is an error, so that it can be answered with its HTTP status.
        """
        data = self._held + chunk if self._held else chunk
        cut = data.rfind(b"\n\n") + 2
        if cut == 1 or b"\r" in data:
            cut = max(cut if cut > 1 else 0, data.rfind(b"\r\n\r\n") + 4 if b"\r\n\r\n" in data else 0)
        if not cut:
            if len(data) > _HELD_MAX:
                raise UpstreamProtocolError("The upstream sent an event that is too large.")
            self._held = data
            return b""
        self._held = data[cut:]
        return self._frames(data[:cut] if self._held else data)

    def flush(self) -> bytes:
        """What is left at the end. Raises UpstreamProtocolError where the stream stopped before it was finished."""
        rest, self._held = self._held, b""
        out = self._frames(rest + b"\n\n") if rest.strip() else b""
        if not self.finished and self.failure is None:
            raise UpstreamProtocolError("The upstream ended its stream before the answer was complete.")
        return out

    def fail(self, error: GatewayError) -> list[WireEvent]:
        """How a stream that broke ends in this format."""
        return [WireEvent("error", {"type": "error", "error": error_object(error)})]

    def _frames(self, data: bytes) -> bytes:
        if not self.saw_event:
            self._first(data)
        if self._rename is not None and self._rename[0] in data:
            data = self._renamed(data, self._rename)
        if _ERROR in data:
            data = self._before_failure(data)
        return self._tap(data)

    def _tap(self, data: bytes) -> bytes:
        """Note what these frames tell; give them back, or those of them that the caller shall see."""
        return data

    def _before_failure(self, data: bytes) -> bytes:
        """These frames up to one that says that the upstream failed."""
        start = 0
        for end in _FRAME_END.finditer(data):
            frame = data[start : end.end()]
            if _ERROR in frame:
                for event in events_in(frame):
                    self.failure = self.failure or self._failure_in(event.data)
                if self.failure is not None:
                    return data[:start]
            start = end.end()
        return data

    def _failure_in(self, data: bytes) -> GatewayError | None:
        """The error that an event tells of, whichever way its API puts it."""
        try:
            body = _json.decode(data)
        except (_json.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        if not isinstance(body, dict):
            return None
        kind, response = body.get("type"), body.get("response")
        if kind == "error" or (kind is None and body.get("error")):
            return stream_error(body.get("error") or body)
        if kind == "response.failed" and isinstance(response, dict):
            return stream_error(response.get("error") or {"message": "The upstream gave up on the response."})
        return None

    def _first(self, data: bytes) -> None:
        """Learn from the first event how the upstream writes the model's name."""
        events = events_in(data)
        if not events:
            return
        self.saw_event = True
        if events[0].data == _sse.DONE:
            return
        try:
            body = _json.decode(events[0].data)
        except (_json.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UpstreamProtocolError("The upstream's stream does not begin with a JSON event.") from error
        self._check_first(body)
        span = _json.find_value(events[0].data, *self.path)
        if span is None:
            return
        written, wanted = events[0].data[span[0] : span[1]], _json.encode(self.model)
        if written != wanted:
            self._rename = (written, wanted)

    def _check_first(self, body: Any) -> None:
        """Raise where the first event is an error."""

    def _renamed(self, data: bytes, rename: tuple[bytes, bytes]) -> bytes:
        frames = data.split(b"\n\n")
        return b"\n\n".join([self._renamed_frame(frame, rename) for frame in frames])

    def _renamed_frame(self, frame: bytes, rename: tuple[bytes, bytes]) -> bytes:
        old, new = rename
        if old not in frame:
            return frame
        for name in (b'"model":', b'"model": '):
            if frame.count(name + old) == 1 and frame.count(b'"model"') == 1:
                return frame.replace(name + old, name + new)
        start = frame.find(b"{")
        if start < 0:
            return frame
        span = _json.find_value(frame[start:], *self.path)
        if span is None or frame[start + span[0] : start + span[1]] != old:
            return frame
        return frame[: start + span[0]] + new + frame[start + span[1] :]


class Terminal(msgspec.Struct, frozen=True):
    """Bytes that stand in the frame that ends a stream."""

    marks: tuple[bytes, ...]

    def within(self, data: bytes) -> bool:
        """Whether one of them is in these frames."""
        return any(mark in data for mark in self.marks)


def error_object(error: GatewayError) -> dict[str, Any]:
    """The OpenAI error object, all four keys always."""
    return {"message": error.message, "type": error.type, "param": error.param, "code": error.code}


def stream_error(raw: Any) -> UpstreamError:
    """The error that an upstream put into its stream, with the HTTP status it would have had."""
    facts = raw if isinstance(raw, dict) else {"message": str(raw)}
    code = facts.get("code")
    status = code if isinstance(code, int) and 400 <= code <= 599 else _STATUS_OF_CODE.get(str(code), 502)
    kind = facts.get("type")
    return UpstreamError(
        str(facts.get("message") or "The upstream reported an error."),
        status=502 if status >= 500 else status,
        type=kind if isinstance(kind, str) else None,
        code=None if code is None else str(code),
        param=facts.get("param") if isinstance(facts.get("param"), str) else None,
        retryable=status not in (400, 413, 422),
    )


def events_in(data: bytes) -> list[_sse.SSEEvent]:
    """The events of whole frames."""
    decoder = _sse.SSEDecoder()
    return decoder.feed(data) + decoder.flush()
