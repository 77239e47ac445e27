"""Events -> pieces of a reply, each of them a reply."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aigateway.canonical.events import (
    Delta,
    Failed,
    Finished,
    ItemEnded,
    PartEnded,
    PartStarted,
    Started,
    StreamEvent,
    SummaryText,
    UsageReported,
)
from aigateway.canonical.types import Message, Reasoning, Refusal, Text, ToolCall, Usage
from aigateway.canonical.uncarried import note_lost
from aigateway.errors import GatewayError
from aigateway.formats.generate_content.errors import error_body
from aigateway.formats.generate_content.finish import encode_finish_reason
from aigateway.formats.generate_content.grounding import Citations
from aigateway.formats.generate_content.logprobs import encode_logprobs
from aigateway.formats.generate_content.parts_out import (
    LACKING,
    call_part,
    opaque_parts,
    seen_parts,
    without_signatures,
)
from aigateway.formats.generate_content.usage import encode_usage
from aigateway.formats.generate_content.wire import FORMAT, SIGNATURE, signature_of
from aigateway.formats.protocol import ReplyContext, WireEvent

_Part = dict[str, Any]


class GenerateContentStreamEncoder:
    """State of one stream that goes to a caller. Calls come whole, as the host gives them."""

    def __init__(self, context: ReplyContext) -> None:
        self._context = context
        self._id = ""
        self._usage: Usage | None = None
        self._kinds: dict[tuple[int, int], type] = {}
        self._thought: dict[int, type] = {}
        self._last_thought: tuple[int, int] | None = None
        self._citations = Citations()
        self._malformed = False
        self._feeds: dict[type, Callable[[Any], list[WireEvent]]] = {
            Delta: self._delta,
            Started: self._started,
            PartStarted: self._part_started,
            PartEnded: self._part_ended,
            ItemEnded: self._item_ended,
            UsageReported: self._usage_reported,
            Finished: self._finished,
            Failed: lambda event: self.fail(event.error),
        }

    def feed(self, event: StreamEvent) -> list[WireEvent]:
        """What the caller gets for one event."""
        feed = self._feeds.get(type(event))
        return feed(event) if feed else []

    def fail(self, error: GatewayError) -> list[WireEvent]:
        """The error in the place of a piece."""
        return [WireEvent("", error_body(error))]

    def _piece(self, parts: list[_Part], more: dict[str, Any] | None = None) -> list[WireEvent]:
        candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0, **(more or {})}
        body: dict[str, Any] = {"candidates": [candidate]}
        if self._usage is not None:
            body["usageMetadata"] = encode_usage(self._usage)
        return [WireEvent("", {**body, "modelVersion": self._context.model, "responseId": self._id})]

    def _started(self, event: Started) -> list[WireEvent]:
        self._id = event.id or self._context.new_id("resp")
        return []

    def _part_started(self, event: PartStarted) -> list[WireEvent]:
        self._kinds[event.index, event.part] = type(event.content)
        return []

    def _delta(self, event: Delta) -> list[WireEvent]:
        kind = self._kinds.get((event.index, event.part))
        if kind is None:
            return []
        if kind is Text or kind is Refusal:
            return self._piece([{"text": event.text}], encode_logprobs(event.logprobs) if event.logprobs else None)
        if self._thought.setdefault(event.index, kind) is not kind:  # of a thought what comes first is told
            return []
        return self._piece([{"text": self._separator(event, kind) + event.text, "thought": True}])

    def _separator(self, event: Delta, kind: type) -> str:
        """A blank line between summaries, and between thoughts."""
        last, self._last_thought = self._last_thought, (event.index, event.part)
        if last is None or last == self._last_thought:
            return ""
        return "\n\n" if kind is SummaryText and last[0] == event.index else ""

    def _part_ended(self, event: PartEnded) -> list[WireEvent]:
        if isinstance(event.content, Text):
            self._citations.add(event.content)
        elif isinstance(event.content, Refusal):
            self._citations.pass_over(event.content.text)
        return []

    def _item_ended(self, event: ItemEnded) -> list[WireEvent]:
        item = event.item
        note_lost(without_signatures(item), FORMAT, LACKING, self._context.changes)
        if isinstance(item, ToolCall):
            part = call_part(item)
            self._malformed = self._malformed or part is None
            parts = [part] if part is not None else []
        elif isinstance(item, Reasoning):
            parts = self._signature(event.index, item)
        else:
            parts = seen_parts(item) if isinstance(item, Message) else opaque_parts(item)
        return self._piece(parts) if parts else []

    def _signature(self, index: int, item: Reasoning) -> list[_Part]:
        signature = signature_of(item)
        if not signature:
            return []
        part: _Part = {"text": "", SIGNATURE: signature}
        return [{**part, "thought": True} if index in self._thought else part]

    def _usage_reported(self, event: UsageReported) -> list[WireEvent]:
        self._usage = event.usage
        return []

    def _finished(self, event: Finished) -> list[WireEvent]:
        reason = encode_finish_reason(event.reason)
        if self._malformed and reason == "STOP":
            reason = "MALFORMED_FUNCTION_CALL"
        return self._piece([{"text": ""}], {"finishReason": reason, **self._citations.encoded()})
