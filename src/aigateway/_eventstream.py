"""AWS's binary event stream, sans I/O: bytes in, messages out, and back.

One message is a prelude (total length, length of the headers, CRC32 of these eight bytes), headers, a payload, and the
CRC32 of all that stands before it; every number is big-endian.
https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html describes it byte by byte.
"""

from __future__ import annotations

import struct
from binascii import crc32
from collections.abc import Mapping
from typing import Final, NamedTuple

from aigateway import _json
from aigateway._sse import SSEEvent
from aigateway.errors import UpstreamProtocolError

MAX_MESSAGE_BYTES: Final = 24 * 1024 * 1024 + 128 * 1024
"""No service sends a longer one: its length is taken for what it is, broken."""

_PRELUDE: Final = struct.Struct(">III")
_CRC: Final = struct.Struct(">I")
_OVERHEAD: Final = _PRELUDE.size + _CRC.size
_LENGTH: Final = struct.Struct(">H")
_NUMBERS: Final = {2: struct.Struct(">b"), 3: struct.Struct(">h"), 4: struct.Struct(">i"), 5: struct.Struct(">q")}
_BOOLEANS: Final = {0: True, 1: False}
_BYTES, _STRING, _TIMESTAMP, _UUID = 6, 7, 8, 9
_FIXED: Final = {_TIMESTAMP: 8, _UUID: 16}

HeaderValue = bool | int | bytes | str
"""Timestamps and UUIDs stay bytes: nobody reads them."""


class EventStreamMessage(NamedTuple):
    """One message."""

    headers: Mapping[str, HeaderValue]
    payload: bytes


class _BrokenError(ValueError):
    """Bytes that are no message; says why."""


class MessageDecoder:
    """feed() bytes as they come, split anywhere; flush() at the end. Both raise UpstreamProtocolError.

    What came before a broken message is given first, wherever the bytes were split: the error is raised by the next call.
    """

    __slots__ = ("_block", "_broken", "_buffer", "_headers")

    def __init__(self) -> None:
        self._buffer = bytearray()
        # Of most messages of a stream the headers are those of the one before: they are read once.
        self._block = b""
        self._headers: Mapping[str, HeaderValue] = {}
        self._broken: UpstreamProtocolError | None = None

    def feed(self, chunk: bytes) -> list[EventStreamMessage]:
        """The messages that these bytes complete."""
        if self._broken is not None:
            raise self._broken
        buffer = self._buffer
        buffer += chunk
        messages: list[EventStreamMessage] = []
        at = 0
        try:
            while len(buffer) - at >= _PRELUDE.size:
                total = _total(buffer, at)
                if len(buffer) - at < total:
                    break
                messages.append(self._message(bytes(buffer[at : at + total])))
                at += total
        except _BrokenError as error:
            self._broken = UpstreamProtocolError(f"The upstream sent a broken event stream: {error}.")
            if not messages:
                raise self._broken from error
        del buffer[:at]
        return messages

    def flush(self) -> list[EventStreamMessage]:
        """Nothing: a message is known to be whole as soon as it is."""
        if self._broken is None and self._buffer:
            self._broken = UpstreamProtocolError("The upstream's event stream was cut in the middle of a message.")
        if self._broken is not None:
            raise self._broken
        return []

    def _message(self, raw: bytes) -> EventStreamMessage:
        if crc32(raw[:-4]) != _CRC.unpack_from(raw, len(raw) - 4)[0]:
            raise _BrokenError("the checksum of a message does not fit")
        end = _PRELUDE.size + int.from_bytes(raw[4:8], "big")
        block = raw[_PRELUDE.size : end]
        if block != self._block:
            self._headers = _headers(block)
            self._block = block
        return EventStreamMessage(self._headers, raw[end:-4])


class EventStreamDecoder:
    """The same with the messages as events: what is at fault has the exception's type for its name.

    An error that is no modelled exception is the event `error` with `{code, message}`.
    """

    __slots__ = ("_messages",)

    def __init__(self) -> None:
        self._messages = MessageDecoder()

    def feed(self, chunk: bytes) -> list[SSEEvent]:
        """The events that these bytes complete."""
        return [_event(message) for message in self._messages.feed(chunk)]

    def flush(self) -> list[SSEEvent]:
        """Nothing, or the error of a stream that was cut."""
        return [_event(message) for message in self._messages.flush()]


def encode(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message whose headers are strings."""
    block = b"".join(_encode_header(name.encode(), value.encode()) for name, value in headers.items())
    head = struct.pack(">II", _OVERHEAD + len(block) + len(payload), len(block))
    message = head + _CRC.pack(crc32(head)) + block + payload
    return message + _CRC.pack(crc32(message))


def _encode_header(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + bytes([_STRING]) + _LENGTH.pack(len(value)) + value


def _total(buffer: bytearray, at: int) -> int:
    total, headers, checksum = _PRELUDE.unpack_from(buffer, at)
    if crc32(buffer[at : at + 8]) != checksum:
        raise _BrokenError("the checksum of a prelude does not fit")
    if not _OVERHEAD + headers <= total <= MAX_MESSAGE_BYTES:
        raise _BrokenError("the lengths of a message cannot be")
    return int(total)


def _headers(block: bytes) -> dict[str, HeaderValue]:
    headers: dict[str, HeaderValue] = {}
    at = 0
    try:
        while at < len(block):
            start = at + 1
            at = start + block[at]
            name = block[start:at].decode()
            headers[name], at = _value(block, block[at], at + 1)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise _BrokenError("the headers of a message cannot be read") from error
    return headers


def _value(block: bytes, kind: int, at: int) -> tuple[HeaderValue, int]:
    """A header's value, and where the next header begins."""
    if kind in _BOOLEANS:
        return _BOOLEANS[kind], at
    number = _NUMBERS.get(kind)
    if number is not None:
        return int(number.unpack_from(block, at)[0]), at + number.size
    if kind in (_BYTES, _STRING):
        length = int(_LENGTH.unpack_from(block, at)[0])
        at += _LENGTH.size
    elif kind in _FIXED:
        length = _FIXED[kind]
    else:
        raise _BrokenError("a header is of an unknown type")
    value = block[at : at + length]
    if len(value) < length:
        raise _BrokenError("a header is longer than it can be")
    return value.decode() if kind == _STRING else value, at + length


def _event(message: EventStreamMessage) -> SSEEvent:
    headers = message.headers
    kind = headers.get(":message-type", "event")
    if kind == "error":
        facts = {"code": _text(headers, ":error-code"), "message": _text(headers, ":error-message")}
        return SSEEvent(_json.encode(facts), "error")
    name = _text(headers, ":exception-type") if kind == "exception" else _text(headers, ":event-type")
    return SSEEvent(message.payload, name or str(kind))


def _text(headers: Mapping[str, HeaderValue], name: str) -> str:
    value = headers.get(name)
    return value if isinstance(value, str) else ""
