"""What is passed on without being understood: bodies and replies of any type, streams of any events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aigateway.canonical.lens import ReplyLens, RequestLens, TextEdit
from aigateway.canonical.types import Usage
from aigateway.formats.relay import StreamRelay, events_in, object_in
from aigateway.formats.usage import chat_usage, responses_usage

_USAGE = b'"usage"'


def any_usage(raw: Any) -> Usage | None:
    """A usage object in either spelling; None where it is none."""
    return chat_usage(raw) or responses_usage(raw) if isinstance(raw, dict) else None


class OpaqueRequest(RequestLens):
    """A body that is no JSON and no form, or has not arrived yet: `body` is empty, and edits of it do not count."""

    __slots__ = ("_bytes",)

    def __init__(self, raw: bytes = b"") -> None:
        super().__init__({})
        self._bytes = raw

    @property
    def raw(self) -> bytes:
        """The bytes as they came."""
        return self._bytes

    @property
    def touched(self) -> bool:
        """Nobody can look inside."""
        return False

    def replace_raw(self, raw: bytes) -> None:
        """Put other bytes in its place."""
        self._bytes = raw


class OpaqueReply(ReplyLens):
    """An answer whose bytes go on as they come: `body` is empty, and edits of it do not count."""

    __slots__ = ("content_type",)

    def __init__(self, content_type: str) -> None:
        super().__init__({})
        self.content_type = content_type


class TextReply(ReplyLens):
    """An answer in plain text, as transcripts may be: `texts()` is all of it."""

    __slots__ = ("_text",)

    def __init__(self, raw: bytes) -> None:
        super().__init__({})
        self._text = raw.decode("utf-8", "surrogateescape")

    def map_texts(self, edit: TextEdit) -> None:
        """Replace the text."""
        self._text = edit(self._text)

    @property
    def raw(self) -> bytes:
        """The text as bytes, with all edits so far."""
        return self._text.encode("utf-8", "surrogateescape")


class PassingRelay(StreamRelay):
    """A stream whose events may be any: the model is renamed where the caller named one.

    usage_of   reads the usage of its events; None = it is not this call's.
    terminals  what stands in the event that ends it; without any its end is not known.
    """

    def __init__(
        self, model: str, usage_of: Callable[[Any], Usage | None] | None, terminals: tuple[bytes, ...] = ()
    ) -> None:
        super().__init__(model)
        self._usage_of = usage_of
        self._terminals = terminals
        self.finished = not terminals

    def _first(self, data: bytes) -> None:
        events = [event for event in events_in(data) if event.data.strip()]
        if not events:
            return
        self.saw_event = True
        body = object_in(events[0].data)
        if body is not None:
            self._check_first(body)

    def _renamed(self, frame: bytes) -> bytes:
        return super()._renamed(frame) if self.model else frame

    def _tap(self, data: bytes) -> bytes:
        if not self.finished and any(mark in data for mark in self._terminals):
            self.finished = True
        if self._usage_of is not None and data.find(_USAGE) >= 0:
            for event in events_in(data):
                body = object_in(event.data) or {}
                response = body.get("response")
                holder = response if isinstance(response, dict) else body
                self.usage = self._usage_of(holder.get("usage")) or self.usage
        return data
