"""A compaction that was made on the way to an answer, told in front of its output: in the response, and in its stream.

What the summary cost counts as part of the answer's usage.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from aigateway import _json, _sse
from aigateway.canonical.types import Usage
from aigateway.formats.protocol import WireEvent
from aigateway.formats.relay import events_in, frames_in
from aigateway.formats.responses.resource import encode_usage
from aigateway.state.items import listed

_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_OPENING: Final = frozenset({"response.created", "response.queued", "response.in_progress"})
_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_EVENTS: Final = ("response.output_item.added", "response.output_item.done")


def with_spent(usage: Usage | None, spent: Usage) -> Usage:
    """Tokens of two calls together."""
    if usage is None:
        return spent
    both = {name: getattr(usage, name) + getattr(spent, name) for name in Usage.__struct_fields__}
    total = sum(one.total_tokens or one.input_tokens + one.output_tokens for one in (usage, spent))
    return Usage(**both | {"total_tokens": total})


class Announcement:
    """One answer on its way.

    item   the compaction item, as JSON. spent: what the call that made it used.
    begun  whether anything was told already.
    """

    def __init__(self, item: bytes, spent: Usage | None) -> None:
        self._item = item
        self._spent = None if spent is None else encode_usage(spent)
        self._is_told = False
        self.begun = False

    def document(self, body: bytes) -> bytes:
        """A response with the item in front of its output."""
        self.begun = True
        try:
            return _json.encode(self._whole(_OBJECT.decode(body)))
        except (msgspec.DecodeError, RecursionError):
            return body

    def _whole(self, response: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
        output = _ITEMS.decode(response.get("output") or b"[]")
        told = response | {"output": msgspec.Raw(listed([self._item, *(bytes(one) for one in output)]))}
        if self._spent is not None:
            usage = _json.decode(bytes(response.get("usage") or b"null"))
            told["usage"] = msgspec.Raw(_json.encode(_sum(usage, self._spent)))
        return told

    def frames(self, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The frames of a stream in which the item is the first one of the output; what comes behind it moves on."""
        self.begun = True
        return self._frames(frames)

    async def _frames(self, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        try:
            async for data in frames:
                yield b"".join(self._told(frame) for frame in frames_in(data))
        finally:
            await frames.aclose()  # type: ignore[attr-defined]  # a generator of the exchange's own

    def ending(self, events: list[WireEvent]) -> list[WireEvent]:
        """The same of events that end a broken stream."""
        told = [events_in(self._told(_sse.encode(_json.encode(event.data), event.name))) for event in events]
        return [WireEvent(event.event, _json.decode(event.data)) for some in told for event in some]

    def _told(self, frame: bytes) -> bytes:
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
            value["response"] = msgspec.Raw(_json.encode(self._whole(_OBJECT.decode(value["response"]))))
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


def _sum(usage: Any, spent: dict[str, Any]) -> dict[str, Any]:
    """Two usage objects together; what only the first one has stays as it is."""
    if not isinstance(usage, dict):
        return spent
    told = dict(usage)
    for name, more in spent.items():
        known = usage.get(name)
        if isinstance(more, dict):
            told[name] = _sum(known, more)
        else:
            told[name] = more + (known if isinstance(known, int) else 0)
    return told
