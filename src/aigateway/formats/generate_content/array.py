"""A stream as one JSON array: what a caller of streamGenerateContent gets who does not ask for `alt=sse`."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aigateway import _sse


class ArrayWriter:
    """Frames of events -> pieces of an array, one element an event. State of one stream."""

    def __init__(self) -> None:
        self._decoder = _sse.SSEDecoder()
        self._begun = False

    def feed(self, frames: bytes) -> bytes:
        """What follows from these bytes."""
        return b"".join([self._element(event.data) for event in self._decoder.feed(frames)])

    def flush(self) -> bytes:
        """The end of the array."""
        rest = b"".join([self._element(event.data) for event in self._decoder.flush()])
        return rest + (b"]" if self._begun else b"[]")

    def _element(self, data: bytes) -> bytes:
        if not data or data == _sse.DONE:
            return b""
        opening, self._begun = (b",\r\n" if self._begun else b"["), True
        return opening + data


async def as_array(frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The frames of a whole stream."""
    writer = ArrayWriter()
    try:
        async for frame in frames:
            piece = writer.feed(frame)
            if piece:
                yield piece
        yield writer.flush()
    finally:
        await frames.aclose()  # type: ignore[attr-defined]  # a generator of our own
