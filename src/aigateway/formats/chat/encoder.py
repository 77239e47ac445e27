"""Streams of chat: events -> chunks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET

from aigateway.canonical.events import (
    Annotated,
    Delta,
    Failed,
    Finished,
    ItemEnded,
    ItemStarted,
    PartStarted,
    ReasoningText,
    Started,
    StreamEvent,
    SummaryText,
    UsageReported,
)
from aigateway.canonical.types import Audio, Message, Reasoning, Refusal, Text, ToolCall, Usage
from aigateway.canonical.uncarried import note_lost
from aigateway.errors import GatewayError
from aigateway.formats.chat.wire import (
    FORMAT,
    LACKING,
    encode_annotation,
    encode_audio,
    encode_reasoning_details,
    signature_fields,
)
from aigateway.formats.protocol import ReplyContext, WireEvent
from aigateway.formats.relay import error_object
from aigateway.formats.usage import encode_chat_usage

_FIELDS: dict[type, str] = {
    Text: "content",
    Refusal: "refusal",
    SummaryText: "reasoning_content",
    ReasoningText: "reasoning_content",
}


class ChatStreamEncoder:
    """Events -> chunks for one caller. Every chunk carries the same id, time and model.

    The usage chunk is sent only to a caller who asked for it: the others read `choices[0]` of every chunk.
    """

    def __init__(self, context: ReplyContext) -> None:
        self._context = context
        self._wants_usage = context.request.include_usage is True
        self._head: dict[str, Any] = {}
        self._usage: Usage | None = None
        self._calls: dict[int, tuple[int, str]] = {}
        self._parts: dict[tuple[int, int], type] = {}
        self._offsets: dict[tuple[int, int], int] = {}
        self._written = 0
        # Of a reasoning item either the reasoning or its summaries are sent, whichever comes first.
        self._thought: dict[int, type] = {}
        self._last_thought: tuple[int, int] | None = None
        self._feeds: dict[type, Callable[[Any], list[WireEvent]]] = {
            Delta: self._delta,
            Started: self._started,
            ItemStarted: self._item_started,
            PartStarted: self._part_started,
            Annotated: self._annotated,
            ItemEnded: self._item_ended,
            UsageReported: self._usage_reported,
            Finished: self._finished,
            Failed: self._failed,
        }

    def feed(self, event: StreamEvent) -> list[WireEvent]:
        """The chunks of one event."""
        feed = self._feeds.get(type(event))
        return feed(event) if feed else []

    def fail(self, error: GatewayError) -> list[WireEvent]:
        """The error as OpenAI's clients look for it in a stream."""
        return [WireEvent("", {"error": error_object(error)})]

    def _chunk(
        self, delta: dict[str, Any], finish_reason: str | None = None, logprobs: dict[str, Any] | None = None
    ) -> list[WireEvent]:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return [WireEvent("", {**self._head, "choices": [choice]})]

    def _started(self, event: Started) -> list[WireEvent]:
        self._head = {
            "id": event.id if event.id.startswith("chatcmpl") else self._context.new_id("chatcmpl"),
            "object": "chat.completion.chunk",
            "created": event.created_at or self._context.now(),
            "model": self._context.model,
            "choices": [],
        }
        if event.service_tier is not UNSET:
            self._head["service_tier"] = event.service_tier
        if event.system_fingerprint is not UNSET:
            self._head["system_fingerprint"] = event.system_fingerprint
        if self._wants_usage:
            self._head["usage"] = None
        return self._chunk({"role": "assistant", "content": None, "refusal": None})  # null: there may be only calls

    def _item_started(self, event: ItemStarted) -> list[WireEvent]:
        call = event.item
        if not isinstance(call, ToolCall):
            return []
        number = len(self._calls)
        self._calls[event.index] = number, call.kind
        if call.kind == "custom":
            body = {"name": call.name, "input": call.arguments}
        else:
            body = {"name": call.name, "arguments": call.arguments}
        entry = {"index": number, "id": call.call_id, "type": call.kind, call.kind: body, **signature_fields(call)}
        return self._chunk({"tool_calls": [entry]})

    def _part_started(self, event: PartStarted) -> list[WireEvent]:
        place = event.index, event.part
        kind = type(event.content)
        self._parts[place] = kind
        if kind is Text:
            self._offsets[place] = self._written
        return []

    def _delta(self, event: Delta) -> list[WireEvent]:
        call = self._calls.get(event.index)
        if call is not None:
            number, call_kind = call
            body = {"input" if call_kind == "custom" else "arguments": event.text}
            return self._chunk({"tool_calls": [{"index": number, call_kind: body}]})
        kind = self._parts.get((event.index, event.part))
        if kind is None:
            return []
        text = event.text
        if kind is Text:
            self._written += len(text)
        elif kind is not Refusal:
            if self._thought.setdefault(event.index, kind) is not kind:
                return []
            text = self._separator(event, kind) + text
        if not event.logprobs:
            return self._chunk({_FIELDS[kind]: text})
        tokens = list(event.logprobs)
        logprobs = {"content": None, "refusal": tokens} if kind is Refusal else {"content": tokens, "refusal": None}
        return self._chunk({_FIELDS[kind]: text}, None, logprobs)

    def _separator(self, event: Delta, kind: type) -> str:
        """A blank line between summaries, and between reasoning items."""
        last, self._last_thought = self._last_thought, (event.index, event.part)
        if last is None or last == self._last_thought:
            return ""
        return "\n\n" if kind is SummaryText or last[0] != event.index else ""

    def _annotated(self, event: Annotated) -> list[WireEvent]:
        raw = encode_annotation(event.annotation, self._offsets.get((event.index, event.part), 0))
        return [] if raw is None else self._chunk({"annotations": [raw]})

    def _item_ended(self, event: ItemEnded) -> list[WireEvent]:
        note_lost(event.item, FORMAT, LACKING, self._context.changes)
        if isinstance(event.item, Reasoning):
            details = encode_reasoning_details(event.item, sealed=True)
            return self._chunk({"reasoning_details": details}) if details else []
        if isinstance(event.item, Message):
            audio = [part for part in event.item.content if isinstance(part, Audio)]
            return self._chunk({"audio": encode_audio(audio[0])}) if audio else []
        return []

    def _usage_reported(self, event: UsageReported) -> list[WireEvent]:
        self._usage = event.usage
        return []

    def _finished(self, event: Finished) -> list[WireEvent]:
        if event.service_tier is not UNSET:
            self._head["service_tier"] = event.service_tier
        events = self._chunk({}, event.reason)
        if self._wants_usage and self._usage is not None:
            events.append(WireEvent("", {**self._head, "usage": encode_chat_usage(self._usage)}))
        return events

    def _failed(self, event: Failed) -> list[WireEvent]:
        return self.fail(event.error)
