"""Streams of ConverseStream: events -> canonical ones."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from aigateway import _json
from aigateway._sse import SSEEvent
from aigateway.canonical.accumulator import Accumulator, is_json
from aigateway.canonical.events import Failed, ReasoningText, Started, StreamEvent, UsageReported
from aigateway.canonical.types import Item, Message, Reasoning, Text, ToolCall, Usage
from aigateway.errors import GatewayError, UpstreamProtocolError
from aigateway.formats.call_ids import made_call_id
from aigateway.formats.converse.reply import seen
from aigateway.formats.converse.wire import (
    ANTHROPIC,
    broken_stop,
    decode_citation,
    decode_finish_reason,
    decode_service_tier,
    decode_usage,
    exception_error,
)

_SAID = frozenset({"text", "thought", "call", ""})


class _Block:
    """One content block as it grows. item: its index among the items, -1 before anything of it was told."""

    __slots__ = ("citations", "item", "kind", "part", "redacted", "seen", "text")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.item = -1
        self.part = -1
        self.text: list[str] = []
        self.redacted: list[str] = []
        self.citations: list[dict[str, Any]] = []
        self.seen: dict[str, Any] = {}


class ConverseStreamDecoder:
    """Events of one upstream -> canonical ones. A stream without `messageStop` was cut.

    Usage comes in `metadata`, behind the stop; a stream that ends without it is finished all the same.
    """

    def __init__(self) -> None:
        self._acc = Accumulator()
        self._blocks: dict[int, _Block] = {}
        self._message = -1
        self._told = False
        self._started = False
        self._over = False
        self._stop: Any = None
        self._tier: str | UnsetType = UNSET
        self._usage: Usage | None = None

    def feed(self, event: SSEEvent) -> list[StreamEvent]:
        """What follows from one event."""
        if self._over:
            return []
        try:
            body = _json.decode(event.data)
        except (_json.DecodeError, UnicodeDecodeError, RecursionError):
            body = None
        if event.event == "error" or event.event.endswith("Exception"):
            return self._fail(exception_error(event.event, body.get("message") if isinstance(body, dict) else None))
        if not isinstance(body, dict):
            return self._fail(UpstreamProtocolError("The upstream sent an event that is no JSON object."))
        events: list[StreamEvent] = []
        if not self._started:
            self._started = True
            events.append(Started("", "", 0))
        if event.event == "contentBlockDelta":
            self._delta(_index_of(body), body.get("delta"), events)
        elif event.event == "contentBlockStart":
            self._start(_index_of(body), body.get("start"), events)
        elif event.event == "contentBlockStop":
            self._end_block(_index_of(body), events)
        elif event.event == "messageStop":
            self._stop = body.get("stopReason")
            broken = broken_stop(self._stop)
            if broken is not None:
                return events + self._fail(broken)
        elif event.event == "metadata":
            self._note(body, events)
        return events

    def flush(self) -> list[StreamEvent]:
        """The end of the bytes."""
        if self._over:
            return []
        if self._stop is None:
            return self._fail(UpstreamProtocolError("The upstream's stream was cut before it was finished."))
        return self._finish()

    def _note(self, body: dict[str, Any], events: list[StreamEvent]) -> None:
        self._usage = decode_usage(body.get("usage")) or self._usage
        tier = decode_service_tier(body.get("serviceTier"))
        if tier is not None:
            self._tier = tier
        if self._stop is not None:
            events += self._finish()

    def _finish(self) -> list[StreamEvent]:
        self._over = True
        events: list[StreamEvent] = []
        for index in list(self._blocks):
            self._end_block(index, events)
        if not self._told:
            self._open_text(_Block("text"), events)
        if self._usage is not None:
            self._close_message(events)
            events.append(UsageReported(self._usage))
        reason = decode_finish_reason(self._stop, has_tool_calls=self._acc.has_tool_calls)
        return events + self._acc.finish(reason, self._tier)

    def _fail(self, error: GatewayError) -> list[StreamEvent]:
        self._over = True
        return [Failed(error)]

    # blocks

    def _start(self, index: int, start: Any, events: list[StreamEvent]) -> None:
        call = start.get("toolUse") if isinstance(start, dict) else None
        if not isinstance(call, dict) or call.get("type") == "server_tool_use":
            self._blocks[index] = block = _Block("" if isinstance(start, dict) and start else "text")
            for kind, held in start.items() if isinstance(start, dict) else ():
                if isinstance(held, dict):
                    block.kind, block.seen = kind, dict(held)
            return
        block = self._blocks[index] = _Block("call")
        call_id, name = call.get("toolUseId"), call.get("name")
        self._open_item(
            block,
            ToolCall(
                call_id=call_id if isinstance(call_id, str) and call_id else made_call_id("", index),
                name=name if isinstance(name, str) else "",
            ),
            events,
        )

    def _delta(self, index: int, delta: Any, events: list[StreamEvent]) -> None:
        if not isinstance(delta, dict):
            return
        block = self._blocks.get(index)
        if block is None:
            block = self._blocks[index] = _Block(_kind_of(delta))
        text, citation, thought, call = (delta.get(key) for key in ("text", "citation", "reasoningContent", "toolUse"))
        if block.kind == "text" and isinstance(text, str):
            self._write(block, text, events)
        elif block.kind == "text" and isinstance(citation, dict):
            block.citations.append(citation)
        elif block.kind == "thought" and isinstance(thought, dict):
            self._think(block, thought, events)
        elif block.kind == "call" and isinstance(call, dict) and isinstance(call.get("input"), str):
            block.text.append(call["input"])
            events += self._acc.delta(block.item, 0, call["input"])
        elif isinstance(delta.get(block.kind), dict) and block.kind not in _SAID:
            _see(block.seen, delta[block.kind])

    def _write(self, block: _Block, text: str, events: list[StreamEvent]) -> None:
        if not text:
            return
        if block.part < 0:
            self._open_text(block, events)
        block.text.append(text)
        events += self._acc.delta(block.item, block.part, text)

    def _think(self, block: _Block, thought: dict[str, Any], events: list[StreamEvent]) -> None:
        text, signature, redacted = (thought.get(key) for key in ("text", "signature", "redactedContent"))
        if isinstance(text, str) and text:
            if block.item < 0:
                self._open_item(block, Reasoning(), events)
            if block.part < 0:
                block.part, started = self._acc.start_part(block.item, ReasoningText)
                events += started
            block.text.append(text)
            events += self._acc.delta(block.item, block.part, text)
        if isinstance(signature, str) and signature:
            self._seal(block, "signature", signature, events)
        if isinstance(redacted, str) and redacted:
            block.redacted.append(redacted)
            self._seal(block, "encrypted", _joined(block.redacted), events)

    def _seal(self, block: _Block, field: str, value: str, events: list[StreamEvent]) -> None:
        if block.item < 0:
            self._open_item(block, Reasoning(), events)
        known = self._acc.item_of(block.item)
        self._acc.update_item(block.item, msgspec.structs.replace(known, **{field: value, "origin": ANTHROPIC}))

    def _end_block(self, index: int, events: list[StreamEvent]) -> None:
        block = self._blocks.pop(index, None)
        if block is not None and block.kind not in _SAID:
            self._whole(seen(block.kind, block.seen), events)
        if block is None or block.item < 0:
            return
        if block.kind == "text":
            for citation in block.citations:
                annotation = decode_citation(citation, "".join(block.text))
                events += self._acc.annotate(block.item, block.part, annotation)
            events += self._acc.end_part(block.item, block.part)
            return
        if block.kind == "call":
            arguments = "".join(block.text)
            if not arguments:
                events += self._acc.delta(block.item, 0, "{}")
            elif not is_json(arguments):
                known = self._acc.item_of(block.item)
                self._acc.update_item(block.item, msgspec.structs.replace(known, status="incomplete"))
        events += self._acc.end_item(block.item)

    # items

    def _open_text(self, block: _Block, events: list[StreamEvent]) -> None:
        """A text block is a part of the message that is open."""
        if self._message < 0:
            self._message, started = self._acc.start_item(Message(role="assistant"))
            events += started
        self._told = True
        block.item = self._message
        block.part, started = self._acc.start_part(self._message, Text)
        events += started

    def _open_item(self, block: _Block, item: Reasoning | ToolCall, events: list[StreamEvent]) -> None:
        self._close_message(events)
        self._told = True
        block.item, started = self._acc.start_item(item)
        events += started

    def _whole(self, item: Item | None, events: list[StreamEvent]) -> None:
        """What nobody streams on."""
        if item is None:
            return
        self._close_message(events)
        self._told = self._told or isinstance(item, Message)
        index, started = self._acc.start_item(item)
        events += started + self._acc.end_item(index)

    def _close_message(self, events: list[StreamEvent]) -> None:
        if self._message >= 0:
            for block in self._blocks.values():
                if block.item == self._message:
                    block.item = block.part = -1
            events += self._acc.end_item(self._message)
            self._message = -1


def _kind_of(delta: dict[str, Any]) -> str:
    """The kind of a block that nobody announced."""
    if "reasoningContent" in delta:
        return "thought"
    return "image" if "image" in delta else "text"


def _see(known: dict[str, Any], delta: dict[str, Any]) -> None:
    """Put together what comes of an image: its bytes may come in pieces."""
    for key, value in delta.items():
        before, more = known.get(key), value.get("bytes") if isinstance(value, dict) else None
        if isinstance(before, dict) and isinstance(before.get("bytes"), str) and isinstance(more, str):
            known[key] = {"bytes": _joined([before["bytes"], more])}
        else:
            known[key] = value


def _index_of(body: dict[str, Any]) -> int:
    index = body.get("contentBlockIndex")
    return index if isinstance(index, int) else -1


def _joined(pieces: list[str]) -> str:
    """Base64 in pieces, each encoded alone, as one."""
    if len(pieces) == 1:
        return pieces[0]
    try:
        return base64.b64encode(b"".join(base64.b64decode(piece) for piece in pieces)).decode()
    except (binascii.Error, ValueError):
        return "".join(pieces)
