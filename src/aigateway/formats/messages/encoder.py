"""Streams of messages: canonical events -> events for one caller.

Blocks go out one after another: what comes for a later item waits until the one before is closed. A block opens with its
first text, so none is empty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET, UnsetType

from aigateway.canonical.events import (
    Annotated,
    Delta,
    Failed,
    Finished,
    ItemEnded,
    ItemStarted,
    PartEnded,
    PartStarted,
    ReasoningText,
    Started,
    StreamEvent,
    SummaryText,
    UsageReported,
)
from aigateway.canonical.types import Item, Message, Reasoning, Refusal, Text, ToolCall, Usage
from aigateway.canonical.uncarried import note_lost
from aigateway.errors import GatewayError
from aigateway.formats.messages.errors import error_object
from aigateway.formats.messages.reply import encode_item, encode_reasoning, message_head
from aigateway.formats.messages.wire import FORMAT, LACKING, encode_citation, encode_usage, signature_for, stop_reason
from aigateway.formats.protocol import ReplyContext, WireEvent

_Thought = type[SummaryText] | type[ReasoningText]


class _Open:
    """The item that is told now, and its open block: `block` is "" where there is none."""

    __slots__ = ("block", "index", "item", "kinds", "said", "shown", "thought")

    def __init__(self, index: int, item: Item) -> None:
        self.index = index
        self.item = item
        self.block = ""
        self.kinds: dict[int, type] = {}
        self.said: dict[int, list[str]] = {}
        self.shown = 0
        self.thought: tuple[_Thought, int] | None = None


class MessagesStreamEncoder:
    """State of one stream that goes to a caller."""

    def __init__(self, context: ReplyContext) -> None:
        self._context = context
        self._current: _Open | None = None
        self._held: dict[int, list[StreamEvent]] = {}
        self._count = 0
        self._usage: Usage | UnsetType = UNSET
        self._refused = False
        self._begun = False
        self._over = False

    def feed(self, event: StreamEvent) -> list[WireEvent]:
        """What the caller gets for one canonical event."""
        if self._over:
            return []
        if isinstance(event, Started):
            return self._begin(event.id, event.service_tier)
        if isinstance(event, UsageReported):
            self._usage = event.usage
            return []
        if isinstance(event, Finished):
            return self._finish(event)
        if isinstance(event, Failed):
            return self.fail(event.error)
        return self._begin("") + self._in_order(event)

    def fail(self, error: GatewayError) -> list[WireEvent]:
        """One `error` event."""
        self._over = True
        return [_event("error", error=error_object(error))]

    def _begin(self, reply_id: str, tier: str | UnsetType = UNSET) -> list[WireEvent]:
        if self._begun:
            return []
        self._begun = True
        empty: dict[str, Any] = {
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": encode_usage(UNSET, tier),
        }
        head = message_head(reply_id, self._context)
        return [_event("message_start", message={**head, **empty}), _event("ping")]

    def _finish(self, event: Finished) -> list[WireEvent]:
        events = self._begin("")
        self._over = True
        reason = "refusal" if self._refused and event.reason == "stop" else stop_reason(event.reason)
        delta = {"stop_reason": reason, "stop_sequence": None}
        ending = _event("message_delta", delta=delta, usage=encode_usage(self._usage, event.service_tier))
        return [*events, ending, _event("message_stop")]

    # items

    def _in_order(self, event: Any) -> list[WireEvent]:
        current = self._current
        if current is not None and event.index != current.index:
            if isinstance(event, ItemStarted):
                self._held[event.index] = []
            if event.index in self._held:
                self._held[event.index].append(event)
            return []
        events = self._apply(event)
        while self._current is None and self._held:
            for held in self._held.pop(next(iter(self._held))):
                events += self._apply(held)
        return events

    def _apply(self, event: Any) -> list[WireEvent]:
        if isinstance(event, ItemStarted):
            return self._start_item(event)
        current = self._current
        return [] if current is None else _APPLY[type(event)](self, current, event)

    def _start_item(self, event: ItemStarted) -> list[WireEvent]:
        self._current = opened = _Open(event.index, event.item)
        call = event.item
        if not isinstance(call, ToolCall):
            return []
        block = {"type": "tool_use", "id": call.call_id, "name": call.name, "input": {}}
        return self._open_block(opened, block) + self._arguments(opened, call.arguments)

    def _end_item(self, opened: _Open, event: ItemEnded) -> list[WireEvent]:
        note_lost(event.item, FORMAT, LACKING, self._context.changes)
        events: list[WireEvent] = []
        item = event.item
        if isinstance(item, ToolCall):
            events = self._arguments(opened, item.arguments[opened.shown :])
        elif isinstance(item, Reasoning) and opened.block:
            delta = {"type": "signature_delta", "signature": signature_for(item)}
            events = [_event("content_block_delta", index=self._count, delta=delta)]
        elif isinstance(item, Reasoning):
            events = self._whole(opened, encode_reasoning(item))
        elif isinstance(item, Message):
            rest = tuple(part for part in item.content if not isinstance(part, Text | Refusal))
            events = self._close_block(opened) + self._whole(
                opened, encode_item(Message(role="assistant", content=rest))
            )
        else:
            events = self._whole(opened, encode_item(item))
        events += self._close_block(opened)
        self._current = None
        return events

    def _arguments(self, opened: _Open, piece: str) -> list[WireEvent]:
        if not piece:
            return []
        opened.shown += len(piece)
        delta = {"type": "input_json_delta", "partial_json": piece}
        return [_event("content_block_delta", index=self._count, delta=delta)]

    def _whole(self, opened: _Open, blocks: list[dict[str, Any]]) -> list[WireEvent]:
        """Blocks that nobody streamed."""
        events: list[WireEvent] = []
        for block in blocks:
            text, signature = block.get("text") or block.get("thinking"), block.get("signature")
            empty = {key: "" if key in ("text", "thinking", "signature") else value for key, value in block.items()}
            events += self._open_block(opened, empty)
            if text:
                kind = str(block["type"])
                delta = {"type": f"{kind}_delta", kind: text}
                events.append(_event("content_block_delta", index=self._count, delta=delta))
            if signature:
                delta = {"type": "signature_delta", "signature": signature}
                events.append(_event("content_block_delta", index=self._count, delta=delta))
            events += self._close_block(opened)
        return events

    # parts

    def _start_part(self, opened: _Open, event: PartStarted) -> list[WireEvent]:
        opened.kinds[event.part] = type(event.content)
        self._refused = self._refused or isinstance(event.content, Refusal)
        return []

    def _delta(self, opened: _Open, event: Delta) -> list[WireEvent]:
        if isinstance(opened.item, ToolCall):
            return self._arguments(opened, event.text)
        kind, text = opened.kinds.get(event.part), event.text
        if kind is None or not text:
            return []
        if kind is SummaryText or kind is ReasoningText:
            return self._think(opened, event, kind)
        events = [] if opened.block else self._open_block(opened, {"type": "text", "text": ""})
        opened.said.setdefault(event.part, []).append(text)
        delta = {"type": "text_delta", "text": text}
        return [*events, WireEvent("content_block_delta", _delta_data(self._count, delta))]

    def _think(self, opened: _Open, event: Delta, kind: _Thought) -> list[WireEvent]:
        """More of a thought: either the reasoning or its summaries, whichever comes first."""
        last = opened.thought
        if last is not None and last[0] is not kind:
            return []
        opened.thought = kind, event.part
        text = event.text
        if kind is SummaryText and last is not None and last[1] != event.part:
            text = f"\n\n{text}"
        block = {"type": "thinking", "thinking": "", "signature": ""}
        events = [] if opened.block else self._open_block(opened, block)
        delta = {"type": "thinking_delta", "thinking": text}
        return [*events, WireEvent("content_block_delta", _delta_data(self._count, delta))]

    def _annotate(self, opened: _Open, event: Annotated) -> list[WireEvent]:
        raw = encode_citation(event.annotation, "".join(opened.said.get(event.part, ())))
        if raw is None or opened.block != "text":
            return []
        delta = {"type": "citations_delta", "citation": raw}
        return [_event("content_block_delta", index=self._count, delta=delta)]

    def _end_part(self, opened: _Open, event: PartEnded) -> list[WireEvent]:
        return self._close_block(opened) if opened.block == "text" else []

    def _open_block(self, opened: _Open, block: dict[str, Any]) -> list[WireEvent]:
        opened.block = str(block["type"])
        return [_event("content_block_start", index=self._count, content_block=block)]

    def _close_block(self, opened: _Open) -> list[WireEvent]:
        if not opened.block:
            return []
        opened.block = ""
        stopped = _event("content_block_stop", index=self._count)
        self._count += 1
        return [stopped]


_APPLY: dict[type, Callable[[MessagesStreamEncoder, _Open, Any], list[WireEvent]]] = {
    PartStarted: MessagesStreamEncoder._start_part,  # noqa: SLF001 (its own table)
    Delta: MessagesStreamEncoder._delta,  # noqa: SLF001
    Annotated: MessagesStreamEncoder._annotate,  # noqa: SLF001
    PartEnded: MessagesStreamEncoder._end_part,  # noqa: SLF001
    ItemEnded: MessagesStreamEncoder._end_item,  # noqa: SLF001
}


def _event(name: str, **fields: Any) -> WireEvent:
    return WireEvent(name, {"type": name, **fields})


def _delta_data(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}
