"""Streams of the same format in and out: the bytes go on as they came, but for the model's name.

Sans I/O. What goes on are always whole frames, so that something may be put between them. On the way a tap notes what
the gateway must know: whether the stream was finished, the usage, and what it takes to end a broken one lawfully.
"""

from __future__ import annotations

import itertools
import re
from functools import lru_cache
from typing import Any, ClassVar

import msgspec

from aigateway import _json, _sse
from aigateway.canonical.types import Usage
from aigateway.errors import GatewayError, UpstreamError, UpstreamOverloadedError, UpstreamProtocolError
from aigateway.formats.protocol import WireEvent

_STATUS_OF_CODE = {
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "context_length_exceeded": 400,
    "invalid_prompt": 400,
    "invalid_request_error": 400,
    "content_policy_violation": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_OVERLOADED = 529
_IDENTIFIER = re.compile(r"[a-z][a-z_]{1,40}")
_TOO_LONG = re.compile(
    r"maximum context length|exceeds? the (?:available |model'?s? )?context|longer than the model's context"
    r"|prompt is too long|exceeds the maximum number of tokens|exceed_context_size"
    r"|input is too long|too many input tokens|exceeds? context limit",
    re.IGNORECASE,
)
_BLANK_AT_LAST = (b"\n\r", b"\r\r")
"""How a frame ends whose blank line is a CR: a LF may follow, so only the end of the stream shows that it is whole."""

_HELD_MAX = 64 * 1024 * 1024
_ERROR = b'"error"'
_MODEL = b'"model"'
_FRAME_END = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_BRACKET = re.compile(rb"[\[{]")
_BREAKS = re.compile(rb"[\r\n]")
_OBJECT = re.compile(rb"(?:\A|[\r\n])data:\s*(?={)")


class StreamRelay:
    """Base of the relays; alone it serves formats whose events name no model and have no known end.

    model       the name that the caller asked for.
    usage       the tokens, once the stream told them.
    finished    whether the stream has said that it is complete.
    failure     why the stream failed: the error that the upstream put into it, or its early end. What stood before it
                was given, nothing after it counts.
    """

    path: ClassVar[tuple[str, ...]] = ("model",)
    model_key: ClassVar[bytes] = _MODEL
    always_finished: ClassVar[bool] = True

    def __init__(self, model: str, *, hide_usage: bool = False) -> None:
        self.model = model
        self.usage: Usage | None = None
        self.finished = self.always_finished
        self.failure: GatewayError | None = None
        self.saw_event = False
        self._hide_usage = hide_usage
        self._held: list[bytes] = []
        self._held_size = 0
        self._edge = b""
        self._wanted = _json.encode(model)
        self._written_key = self._wanted_key = b""
        self._usual_start = self._shown_start = b""

    def feed(self, chunk: bytes) -> bytes:
        """What the caller gets now: the whole frames so far.

        Raises UpstreamError where the first event is an error, so that it can be answered with its HTTP status.
        """
        if not self._held:
            data = chunk
        elif not _whole(self._edge + chunk):  # so a large event is not put together again at every piece of it
            return self._hold(chunk)
        else:
            data = b"".join((*self._held, chunk))
            self._held, self._held_size = [], 0
        cut = _whole(data)
        if cut == len(data):
            return self._frames(data) if data else b""
        self._hold(data[cut:])
        return self._frames(data[:cut]) if cut else b""

    def _hold(self, piece: bytes) -> bytes:
        self._held.append(piece)
        self._held_size += len(piece)
        self._edge = (self._edge + piece)[-2:] if len(self._held) > 1 else piece[-2:]
        if self._held_size > _HELD_MAX:
            raise UpstreamProtocolError("The upstream sent an event that is too large.")
        return b""

    def flush(self) -> bytes:
        """What is left at the end. Notes a `failure` where the stream stopped early; raises it where nothing came at all."""
        rest, self._held = b"".join(self._held), []
        is_whole = rest.endswith(_BLANK_AT_LAST) or all(
            event.data == _sse.DONE or object_in(event.data) is not None for event in events_in(rest)
        )
        out = self._frames(rest + b"\n\n") if is_whole and rest.strip() else b""
        if not self.finished and self.failure is None:
            self.failure = UpstreamProtocolError("The upstream ended its stream before the answer was complete.")
            if not self.saw_event:
                raise self.failure
        return out

    def fail(self, error: GatewayError) -> list[WireEvent]:
        """How a stream that broke ends in this format."""
        return [WireEvent("error", {"type": "error", "error": error_object(error)})]

    def _frames(self, data: bytes) -> bytes:
        if not self.saw_event:
            self._first(data)
        mark = self.model_key
        if mark in data and not (self._wanted_key and data.count(mark) == data.count(self._wanted_key)):
            data = b"".join([self._renamed(frame) if mark in frame else frame for frame in frames_in(data)])
        if data.find(_ERROR) >= 0:
            data = self._before_failure(data)
        return self._tap(data)

    def _tap(self, data: bytes) -> bytes:
        """Note what these frames tell; give them back, or those of them that the caller shall see."""
        return data

    def _before_failure(self, data: bytes) -> bytes:
        """These frames up to one that says that the upstream failed."""
        start = 0
        for frame in frames_in(data):
            if frame.find(_ERROR) >= 0:
                for event in events_in(frame):
                    self.failure = self.failure or self._failure_in(event.data)
                if self.failure is not None:
                    return data[:start]
            start += len(frame)
        return data

    def _failure_in(self, data: bytes) -> GatewayError | None:
        """The error that an event tells of, whichever way its API puts it."""
        body = object_in(data)
        if body is None:
            return None
        kind, response = body.get("type"), body.get("response")
        if kind == "error" or (kind is None and body.get("error")):
            return stream_error(body.get("error") or body | {"type": None})
        if kind == "response.failed" and isinstance(response, dict):
            return stream_error(response.get("error") or {"message": "The upstream gave up on the response."})
        return None

    def _first(self, data: bytes) -> None:
        """Look at the first event: whether it is one, and no error."""
        events = [event for event in events_in(data) if event.data.strip()]
        if not events:
            return
        self.saw_event = True
        body = object_in(events[0].data)
        if body is None:
            raise UpstreamProtocolError("The upstream sent a stream that does not begin with a JSON object.")
        self._check_first(body)

    def _check_first(self, body: dict[str, Any]) -> None:
        """Raise where the first event is an error."""
        if body.get("type") == "error" or (body.get("error") and "type" not in body):
            raise stream_error(body.get("error") or body | {"type": None})

    def _renamed(self, frame: bytes) -> bytes:
        """One frame with the model's name as the caller knows it; quick where it is written as it was before."""
        at = frame.find(self._written_key) if self._written_key and len(self.path) == 1 else -1
        if at >= 0 and frame.startswith(b"data: {") and not _BRACKET.search(frame, 7, at):
            return frame[:at] + self._wanted_key + frame[at + len(self._written_key) :]
        span = self._found(frame)
        if span is None:
            return frame
        start, end = span
        if frame[start : start + 1] != b'"':
            return frame
        key = frame[frame.rfind(self.model_key, 0, start) : start]
        self._written_key, self._wanted_key = key + frame[start:end], key + self._wanted
        if frame.startswith(b"data: {") and not _BREAKS.search(frame, 0, end):
            self._usual_start, self._shown_start = frame[:end], frame[:start] + self._wanted
        return frame[:start] + self._wanted + frame[end:]

    def _found(self, frame: bytes) -> tuple[int, int] | None:
        """Where the model's name stands; quick where its key is there once, and nothing nested stands before it."""
        if len(self.path) == 1 and frame.count(self.model_key) == 1 and frame.find(b"\\u00") < 0:
            early = _early(self.model_key).match(frame)
            if early is not None:
                return early.span(1)
        head = _OBJECT.search(frame)
        span = None if head is None else _json.find_value(frame[head.end() :], *self.path)
        return None if head is None or span is None else (head.end() + span[0], head.end() + span[1])


@lru_cache(8)
def _early(key: bytes) -> re.Pattern[bytes]:
    """A frame in which this key of the object stands before anything nested; its group 1 is the text behind it."""
    return re.compile(rb"data: \{[^{}\[\]\r\n]*?" + key + rb'\s*:\s*("[^"\\\r\n]*")')


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
    """The error that an upstream put into its stream, with the HTTP status it would have had.

    As with statuses, only what is the request's fault shows the upstream's own words.
    """
    facts = raw if isinstance(raw, dict) else {"message": str(raw)}
    code = facts.get("code")
    status = _status_in(facts)
    if status >= 500:
        told = code if isinstance(code, str) and _IDENTIFIER.fullmatch(code) else None
        kind_of_error = UpstreamOverloadedError if status == _OVERLOADED else UpstreamError
        return kind_of_error("The upstream reported an error in its stream.", code=told)
    kind = facts.get("type")
    return UpstreamError(
        str(facts.get("message") or "The upstream reported an error."),
        status=status,
        type=kind if isinstance(kind, str) else None,
        code=code_of(facts, status),
        param=facts.get("param") if isinstance(facts.get("param"), str) else None,
        retryable=status not in (400, 413, 422),
    )


def code_of(facts: dict[str, Any], status: int) -> str | None:
    """The code of an error object. Where a host tells a prompt that is too long in words only, it gets OpenAI's code.

    Agents branch on `context_length_exceeded`: they shorten what they hold and go on.
    """
    code = facts.get("code")
    is_word = isinstance(code, str) and not code.isdigit()
    if not is_word and status in (400, 413) and _TOO_LONG.search(f"{facts.get('type')} {facts.get('message')}"):
        return "context_length_exceeded"
    return None if code in (None, "") else str(code)


def _status_in(facts: dict[str, Any]) -> int:
    """The HTTP status of an error object: named (as `code`, or Groq's `status_code`), or that of its code or type."""
    for key in ("code", "status_code", "status"):
        status = facts.get(key)
        if isinstance(status, int) and 400 <= status <= 599:
            return status
    by_type = _STATUS_OF_CODE.get(str(facts.get("type")), 502)
    return _STATUS_OF_CODE.get(str(facts.get("code")), by_type)


def object_in(data: bytes) -> dict[str, Any] | None:
    """The JSON object that an event holds; None where it holds something else."""
    try:
        body = _json.decode(data)
    except (_json.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _whole(data: bytes) -> int:
    """How many bytes of this are whole frames."""
    blanks = (b"\n\n",) if data.find(b"\r") < 0 else (b"\n\n", b"\n\r\n", b"\r\r")
    return max(at + len(blank) if (at := data.rfind(blank)) >= 0 else 0 for blank in blanks)


def frames_in(data: bytes) -> list[bytes]:
    """Whole frames, each with the blank line that ends it; put together they are the same bytes."""
    if data.find(b"\r") < 0:
        *whole, rest = data.split(b"\n\n")
        return [*(frame + b"\n\n" for frame in whole), rest] if rest else [frame + b"\n\n" for frame in whole]
    ends = [0, *(match.end() for match in _FRAME_END.finditer(data)), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(ends) if start < end]


def events_in(data: bytes) -> list[_sse.SSEEvent]:
    """The events of whole frames."""
    decoder = _sse.SSEDecoder()
    return decoder.feed(data) + decoder.flush()
