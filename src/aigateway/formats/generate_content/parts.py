"""The parts of a candidate as events: the one reader of what the model said, whole or in pieces."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from aigateway.canonical.accumulator import Accumulator
from aigateway.canonical.events import StreamEvent, SummaryText
from aigateway.canonical.types import Message, Opaque, Part, Reasoning, Text, ToolCall
from aigateway.formats.call_ids import made_call_id
from aigateway.formats.generate_content.grounding import decode_citations
from aigateway.formats.generate_content.media import decode_media
from aigateway.formats.generate_content.wire import FORMAT, ORIGIN, SIGNATURE, json_text, word

_Tokens = tuple[dict[str, Any], ...]
_MEDIA = frozenset({"inlineData", "fileData"})
_SIGNED = frozenset({"thought", SIGNATURE})


class Parts:
    """State of one candidate. Every method gives the events that follow, in order.

    A text and a thought stay open until something else comes: neither its signature nor the sources it cites need come
    with its words.
    """

    def __init__(self, accumulator: Accumulator) -> None:
        self.reply_id = ""
        self.sources: dict[str, Any] = {}
        self.is_empty = True
        self._acc = accumulator
        self._calls = 0
        self._item = -1
        self._holder: type[Message | Reasoning] | None = None
        self._part = 0
        self._has_part = False
        self._signature = ""
        self._media: list[Part] = []

    def feed(self, part: dict[str, Any], tokens: _Tokens) -> list[StreamEvent]:
        """One part, in camelCase."""
        if "functionCall" in part:
            return self._call(part)
        if "text" in part:
            return self._text(part, tokens)
        if not _MEDIA.isdisjoint(part):
            return self._see(part)
        if part.keys() <= _SIGNED:
            return self._text({"text": "", **part}, tokens) if part else []
        events = self.close()
        return events + self._whole(Opaque(format=FORMAT, raw=part))

    def close(self) -> list[StreamEvent]:
        """End the open text or thought; a text's signature follows it as reasoning of its own."""
        events: list[StreamEvent] = []
        signature, self._signature = self._signature, ""
        if self._holder is Message:
            events += self._end_message()
            if signature:
                events += self._whole(Reasoning(signature=signature, origin=ORIGIN))
        elif self._holder is Reasoning:
            item = Reasoning(signature=signature or UNSET, origin=ORIGIN)
            self._acc.update_item(self._item, item)
            events += self._acc.end_item(self._item)
        self._holder = None
        return events

    def _text(self, part: dict[str, Any], tokens: _Tokens) -> list[StreamEvent]:
        text, signature = word(part["text"]), word(part.get(SIGNATURE))
        kind = Reasoning if part.get("thought") is True else Message
        if not text and not signature and not tokens:
            return []
        events: list[StreamEvent] = []
        if not text and not tokens and kind is Message and self._holder is not Message:
            events += self.close()
            return events + self._whole(Reasoning(signature=signature, origin=ORIGIN))
        if self._holder is not kind or (self._signature and text):
            events += self._open(kind)
        if text or tokens:
            events += self._say(text, tokens if kind is Message else ())
        self._signature = signature or self._signature
        return events

    def _open(self, kind: type[Message | Reasoning]) -> list[StreamEvent]:
        events = self.close()
        item = Message(role="assistant") if kind is Message else Reasoning(origin=ORIGIN)
        self._item, started = self._acc.start_item(item)
        self._holder, self._has_part, self.is_empty = kind, False, False
        return events + started

    def _say(self, text: str, tokens: _Tokens) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        if not self._has_part:
            self._part, events = self._acc.start_part(self._item, Text if self._holder is Message else SummaryText)
            self._has_part = True
        return events + self._acc.delta(self._item, self._part, text, tokens)

    def _see(self, part: dict[str, Any]) -> list[StreamEvent]:
        """Images and the like come whole, and stand in the message that is open."""
        events: list[StreamEvent] = []
        if part.get("thought") is True:
            return self.close() + self._whole(Opaque(format=FORMAT, raw=part))
        if self._holder is not Message or self._signature:
            events += self._open(Message)
        self._media.append(decode_media({key: value for key, value in part.items() if key != SIGNATURE}))
        self._signature = word(part.get(SIGNATURE)) or self._signature
        return events

    def _call(self, part: dict[str, Any]) -> list[StreamEvent]:
        events = self.close()
        raw = part["functionCall"] if isinstance(part["functionCall"], dict) else {}
        args = raw.get("args")
        call = ToolCall(
            call_id=word(raw.get("id")) or made_call_id(self.reply_id, self._calls),
            name=word(raw.get("name")),
            signature=word(part.get(SIGNATURE)) or UNSET,
        )
        self._calls += 1
        self.is_empty = False
        index, started = self._acc.start_item(call)
        events += started
        events += self._acc.delta(index, 0, json_text(args if isinstance(args, dict) else {}))
        return events + self._acc.end_item(index)

    def _whole(self, item: Reasoning | Opaque) -> list[StreamEvent]:
        index, events = self._acc.start_item(item)
        self.is_empty = False
        return events + self._acc.end_item(index)

    def _end_message(self) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        if self._media:
            open_item = self._acc.item_of(self._item)
            if isinstance(open_item, Message):
                self._acc.update_item(self._item, msgspec.structs.replace(open_item, content=tuple(self._media)))
            self._media = []
        if self.sources and self._has_part:
            for citation in decode_citations(self.sources, self._acc.text_of(self._item, self._part)):
                events += self._acc.annotate(self._item, self._part, citation)
            self.sources = {}
        return events + self._acc.end_item(self._item)
