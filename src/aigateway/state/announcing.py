"""A compaction that was made on the way to an answer, told in front of its output: in the response, and in its stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from aigateway import _json, _sse
from aigateway.formats.relay import events_in, frames_in
from aigateway.state.items import listed

_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_OPENING: Final = frozenset({"response.created", "response.queued", "response.in_progress"})
_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_EVENTS: Final = ("response.output_item.added", "response.output_item.done")


def announced(body: bytes, item: bytes) -> bytes:
    """A response with this item in front of its output."""
    try:
        return _json.encode(_with_item(_OBJECT.decode(body), item))
    except (msgspec.DecodeError, RecursionError):
        return body


def _with_item(response: dict[str, msgspec.Raw], item: bytes) -> dict[str, msgspec.Raw]:
    output = _ITEMS.decode(response.get("output") or b"[]")
    return response | {"output": msgspec.Raw(listed([item, *(bytes(one) for one in output)]))}


async def announced_frames(frames: AsyncIterator[bytes], item: bytes) -> AsyncIterator[bytes]:
    """The frames of a stream in which this item is the first one of the output; what comes behind it moves on."""
    announcement = _Announcement(item)
    async for data in frames:
        told = [announcement.told(frame) for frame in frames_in(data)]
        yield b"".join(told)


class _Announcement:
    """One stream on its way."""

    def __init__(self, item: bytes) -> None:
        self._item = item
        self._is_told = False

    def told(self, frame: bytes) -> bytes:
        """What goes out for a frame."""
        events = events_in(frame)
        if len(events) != 1 or events[0].data == _sse.DONE:
            return frame
        try:
            value = _OBJECT.decode(events[0].data)
            return self._moved(value, events[0].event, frame)
        except (msgspec.DecodeError, RecursionError):
            return frame

    def _moved(self, value: dict[str, msgspec.Raw], name: str, frame: bytes) -> bytes:
        kind = _json.decode(bytes(value.get("type") or b'""'))
        if kind in _OPENING:
            return frame
        opening = b""
        if not self._is_told:
            self._is_told = True
            opening = b"".join(self._events(value.get("sequence_number"), named=bool(name)))
        if kind in _ENDS and "response" in value:
            value["response"] = msgspec.Raw(_json.encode(_with_item(_OBJECT.decode(value["response"]), self._item)))
        for field, places in (("sequence_number", len(_EVENTS)), ("output_index", 1)):
            if field in value:
                value[field] = msgspec.Raw(b"%d" % (int(bytes(value[field])) + places))
        return opening + _sse.encode(_json.encode(value), name)

    def _events(self, number: Any, *, named: bool) -> list[bytes]:
        """Those that tell of the item, in the place of the event with this number."""
        told = []
        for place, kind in enumerate(_EVENTS):
            event: dict[str, Any] = {"type": kind}
            if number is not None:
                event["sequence_number"] = int(bytes(number)) + place
            event |= {"output_index": 0, "item": msgspec.Raw(self._item)}
            told.append(_sse.encode(_json.encode(event), kind if named else ""))
        return told
