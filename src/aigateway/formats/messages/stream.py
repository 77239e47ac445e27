"""Streams of messages: an upstream's events -> canonical events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aigateway import _json
from aigateway._sse import DONE, SSEEvent
from aigateway.canonical.accumulator import Accumulator
from aigateway.canonical.events import Failed, ReasoningText, Started, StreamEvent, UsageReported
from aigateway.canonical.types import Message, Opaque, Reasoning, Text, ToolCall
from aigateway.errors import GatewayError, UpstreamProtocolError
from aigateway.formats.call_ids import made_call_id
from aigateway.formats.messages.reply import annotations_of, decode_block
from aigateway.formats.messages.wire import (
    FORMAT,
    arguments_of,
    decode_thinking,
    finish_reason,
    merged_usage,
    messages_usage,
    served_tier,
)
from aigateway.formats.relay import stream_error

_CUT = "The upstream ended its stream before the answer was complete."


def _place(data: dict[str, Any]) -> int:
    """The index of a block; 0 where a host tells none."""
    index = data.get("index")
    return index if isinstance(index, int) else 0


def word(value: Any) -> str:
    """The value where it is a text."""
    return value if isinstance(value, str) else ""


class _Block:
    """One content block as it grows."""

    __slots__ = ("citations", "item", "kind", "part", "pieces", "raw", "signature")

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        self.kind = str(raw.get("type"))
        self.item = -1
        self.part = 0
        self.pieces: list[str] = []
        self.signature: str | None = raw.get("signature") if isinstance(raw.get("signature"), str) else None
        citations = raw.get("citations")
        self.citations: list[Any] = list(citations) if isinstance(citations, list) else []

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class MessagesStreamDecoder:
    """Events of one upstream -> canonical events. Neighbouring texts are parts of one message.

    Usage is told once, right before the end. Hosts that imitate the API forget `content_block_stop` and `message_stop`:
    a new block ends the one before, and an answer with a `stop_reason` is whole.
    """

    def __init__(self) -> None:
        self._acc = Accumulator()
        self._blocks: dict[int, _Block] = {}
        self._message = -1
        self._usage: dict[str, Any] = {}
        self._reason: Any = None
        self._began = False
        self._id = ""
        self._calls = 0
        self._over = False
        self._reads: dict[str, Callable[[dict[str, Any]], list[StreamEvent]]] = {
            "content_block_delta": self._delta,
            "content_block_start": self._start,
            "content_block_stop": self._stop,
            "message_start": self._begin,
            "message_delta": self._note,
            "message_stop": lambda _: self._end(),
        }

    def feed(self, event: SSEEvent) -> list[StreamEvent]:
        """What follows from one event."""
        if self._over or not event.data or event.data == DONE:
            return []
        try:
            data = _json.decode(event.data)
        except (_json.DecodeError, UnicodeDecodeError, RecursionError):
            data = None
        if not isinstance(data, dict):
            return self._fail(UpstreamProtocolError("The upstream sent an event that is no JSON object."))
        kind = data.get("type")
        if kind == "error" or (kind is None and data.get("error")):
            return self._fail(stream_error(data.get("error") or {}))
        read = self._reads.get(kind) if isinstance(kind, str) else None
        return read(data) if read is not None else []

    def flush(self) -> list[StreamEvent]:
        """The end of the bytes."""
        if self._over:
            return []
        return self._end() if self._reason is not None else self._fail(UpstreamProtocolError(_CUT))

    # the message

    def _begin(self, data: dict[str, Any]) -> list[StreamEvent]:
        raw = data.get("message")
        message: dict[str, Any] = raw if isinstance(raw, dict) else {}
        self._usage = merged_usage(self._usage, message.get("usage"))
        return self._opening(message)

    def _opening(self, message: dict[str, Any]) -> list[StreamEvent]:
        if self._began:
            return []
        self._began = True
        self._id = word(message.get("id"))
        return [Started(self._id, word(message.get("model")), 0, served_tier(self._usage))]

    def _note(self, data: dict[str, Any]) -> list[StreamEvent]:
        self._usage = merged_usage(self._usage, data.get("usage"))
        delta = data.get("delta")
        if isinstance(delta, dict) and delta.get("stop_reason") is not None:
            self._reason = delta["stop_reason"]
        return []

    def _end(self) -> list[StreamEvent]:
        if self._reason is None:
            return self._fail(UpstreamProtocolError(_CUT))
        events = self._opening({}) + self._stop_all() + self._close_message()
        self._over = True
        usage = messages_usage(self._usage)
        if usage is not None:
            events.append(UsageReported(usage))
        reason = finish_reason(self._reason, has_tool_calls=self._acc.has_tool_calls)
        return events + self._acc.finish(reason, served_tier(self._usage))

    def _fail(self, error: GatewayError) -> list[StreamEvent]:
        self._over = True
        usage = messages_usage(self._usage)
        told: list[StreamEvent] = [UsageReported(usage)] if self._began and usage is not None else []
        return [*told, Failed(error)]

    # its blocks

    def _start(self, data: dict[str, Any]) -> list[StreamEvent]:
        raw = data.get("content_block")
        block = _Block(raw if isinstance(raw, dict) else {})
        open_one = self._blocks.get(_place(data))
        if open_one is not None and open_one.raw == block.raw and not open_one.pieces:
            return []  # told twice
        events = self._opening({}) + self._stop_all()
        self._blocks[_place(data)] = block
        return events + self._open(block)

    def _open(self, block: _Block) -> list[StreamEvent]:
        if block.kind == "text":
            events: list[StreamEvent] = []
            if self._message < 0:
                self._message, events = self._acc.start_item(Message(role="assistant"))
            block.item = self._message
            block.part, opened = self._acc.start_part(block.item, Text)
            return events + opened + self._grow(block, block.raw.get("text"))
        events = self._close_message()
        if block.kind == "thinking":
            block.item, opened = self._acc.start_item(Reasoning())
            return events + opened + self._grow_thought(block, block.raw.get("thinking"))
        if block.kind == "tool_use":
            call = ToolCall(call_id=self._call_id(block), name=word(block.raw.get("name")))
            block.item, opened = self._acc.start_item(call)
            return events + opened
        return events

    def _call_id(self, block: _Block) -> str:
        self._calls += 1
        return word(block.raw.get("id")) or made_call_id(self._id, self._calls - 1)

    def _delta(self, data: dict[str, Any]) -> list[StreamEvent]:
        block, delta = self._blocks.get(_place(data)), data.get("delta")
        if not isinstance(delta, dict):
            return []
        kind = delta.get("type")
        if block is None or not block.raw:  # never announced
            made = {"text_delta": "text", "thinking_delta": "thinking"}.get(str(kind))
            if made is None:
                return []
            events = self._start({"index": data.get("index"), "content_block": {"type": made}})
            return events + self._delta(data)
        if kind == "text_delta":
            return self._grow(block, delta.get("text"))
        if kind == "thinking_delta":
            return self._grow_thought(block, delta.get("thinking"))
        if kind == "input_json_delta":
            return self._grow(block, delta.get("partial_json"))
        if kind == "signature_delta" and isinstance(delta.get("signature"), str):
            block.signature = (block.signature or "") + delta["signature"]
        elif kind == "citations_delta":
            block.citations.append(delta.get("citation"))
        return []

    def _grow(self, block: _Block, text: Any) -> list[StreamEvent]:
        if not isinstance(text, str) or not text:
            return []
        block.pieces.append(text)
        return self._acc.delta(block.item, block.part, text) if block.item >= 0 else []

    def _grow_thought(self, block: _Block, text: Any) -> list[StreamEvent]:
        if not isinstance(text, str) or not text:
            return []
        opened: list[StreamEvent] = []
        if not block.pieces and block.item >= 0:
            block.part, opened = self._acc.start_part(block.item, ReasoningText)
        return opened + self._grow(block, text)

    def _stop(self, data: dict[str, Any]) -> list[StreamEvent]:
        block = self._blocks.pop(_place(data), None)
        return [] if block is None else self._close(block)

    def _stop_all(self) -> list[StreamEvent]:
        blocks, self._blocks = list(self._blocks.values()), {}
        return [event for block in blocks for event in self._close(block)]

    def _close(self, block: _Block) -> list[StreamEvent]:
        if block.kind == "text":
            events: list[StreamEvent] = []
            for annotation in annotations_of(block.citations, block.text):
                events += self._acc.annotate(block.item, block.part, annotation)
            return events + self._acc.end_part(block.item, block.part)
        if block.kind == "thinking":
            whole = decode_thinking(block.text, block.signature)
            self._acc.update_item(block.item, whole)
            return self._acc.end_item(block.item)
        if block.kind == "tool_use":
            given = block.raw.get("input")
            rest = [] if block.pieces else self._grow(block, arguments_of({} if given is None else given))
            return rest + self._acc.end_item(block.item)
        index, events = self._acc.start_item(self._whole(block))
        return events + self._acc.end_item(index)

    @staticmethod
    def _whole(block: _Block) -> Any:
        """A block that came whole, but for the input of a server tool."""
        if block.kind == "redacted_thinking" or not block.pieces:
            return decode_block(block.raw)
        try:
            given = _json.decode(block.text.encode("utf-8", "replace"))
        except (_json.DecodeError, RecursionError):
            given = block.text
        return Opaque(format=FORMAT, raw={**block.raw, "input": given})

    def _close_message(self) -> list[StreamEvent]:
        if self._message < 0:
            return []
        index, self._message = self._message, -1
        return self._acc.end_item(index)
