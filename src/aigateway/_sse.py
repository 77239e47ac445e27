"""Server-sent events to the WHATWG rules, sans I/O: bytes in, events out, and back.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

import msgspec

from aigateway.errors import UpstreamProtocolError

MAX_EVENT_BYTES = 256 * 1024 * 1024
"""An event larger than this ends the stream with an error: nothing that grows without end is held in memory."""

DONE = b"[DONE]"
_PLAIN = b"data: "
_BOM = b"\xef\xbb\xbf"


class SSEEvent(msgspec.Struct, frozen=True):
    """One dispatched event. `data` has its lines joined by LF; `event` is "" where the stream named none."""

    data: bytes
    event: str = ""


def encode(data: bytes, event: str = "") -> bytes:
    """One frame: an event line where there is a name, one data line per line of `data`, a blank line."""
    head = f"event: {event}\n".encode() if event else b""
    if data.find(b"\n") >= 0 or data.find(b"\r") >= 0:
        lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        return head + b"".join(b"data: " + line + b"\n" for line in lines) + b"\n"
    return head + b"data: " + data + b"\n\n"


DONE_FRAME = encode(DONE)


def _plain_events(chunk: bytes) -> list[SSEEvent] | None:
    """The events of bytes that are nothing but whole ones of one data line each, as most are; None for any others."""
    if chunk[-2:] != b"\n\n" or chunk.find(b"\r") >= 0 or len(chunk) > MAX_EVENT_BYTES:
        return None
    bodies = chunk[6:-2].split(b"\n\ndata: ")
    return [SSEEvent(body) for body in bodies] if chunk.count(b"\n") == 2 * len(bodies) else None


class SSEDecoder:
    """feed() bytes as they come, split anywhere; flush() at the end.

    Lines end in CR, LF or CRLF; a byte order mark at the start, comments and unknown fields are passed over; several
    data lines are one event. One step beyond the rules: an event whose closing blank line is missing at the end of
    the stream is still given, because hosts forget it (flush()).
    """

    __slots__ = ("_after_cr", "_buffer", "_data", "_data_bytes", "_event", "_has_data", "_scanned", "_started")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._after_cr = False
        self._started = False
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._has_data = False
        self._event = b""

    def feed(self, chunk: bytes) -> list[SSEEvent]:
        """The events that these bytes complete. Raises UpstreamProtocolError for an event that never ends."""
        if chunk[:6] == _PLAIN and not self._buffer and not self._has_data and not self._event:
            events = _plain_events(chunk)
            if events is not None:
                self._started = True
                self._after_cr = False
                return events
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk[:1] == b"\n":
                chunk = chunk[1:]
        self._buffer += chunk
        if not self._started and not self._skip_bom():
            return []
        if len(self._buffer) + self._data_bytes > MAX_EVENT_BYTES:
            raise UpstreamProtocolError("The upstream sent an event that is too large.")
        return self._lines()

    def flush(self) -> list[SSEEvent]:
        """The event left over at the end of the stream, if any."""
        events = self._lines()
        if self._buffer:
            self._field(bytes(self._buffer), events)
            self._buffer.clear()
        self._scanned = 0
        self._dispatch(events)
        return events

    def _skip_bom(self) -> bool:
        """Whether the start of the stream is settled."""
        if len(self._buffer) < len(_BOM) and _BOM.startswith(self._buffer):
            return False
        if self._buffer.startswith(_BOM):
            del self._buffer[: len(_BOM)]
        self._started = True
        return True

    def _lines(self) -> list[SSEEvent]:
        events: list[SSEEvent] = []
        buffer = self._buffer
        if buffer.find(b"\n", self._scanned) < 0 and buffer.find(b"\r", self._scanned) < 0:
            self._scanned = len(buffer)
            return events
        lines = self._split(bytes(buffer))
        self._buffer = bytearray(lines.pop())
        self._scanned = len(self._buffer)
        for line in lines:
            self._field(line, events)
        return events

    def _split(self, text: bytes) -> list[bytes]:
        if text.find(b"\r") >= 0:
            self._after_cr = text.endswith(b"\r")
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return text.split(b"\n")

    def _field(self, line: bytes, events: list[SSEEvent]) -> None:
        if not line:
            self._dispatch(events)
        elif line.startswith(b"data:"):
            self._has_data = True
            self._data_bytes += len(line)
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif line.startswith(b"event:"):
            self._event = line[7:] if line[6:7] == b" " else line[6:]
        elif line == b"data":
            self._has_data = True
            self._data_bytes += len(line)
            self._data.append(b"")
        elif line == b"event":
            self._event = b""

    def _dispatch(self, events: list[SSEEvent]) -> None:
        if self._has_data:
            data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
            events.append(SSEEvent(data, self._event.decode("utf-8", "replace")))
            self._data = []
            self._data_bytes = 0
            self._has_data = False
        self._event = b""
