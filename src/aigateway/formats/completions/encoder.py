"""Streams of completions: events -> chunks."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from aigateway.canonical.events import (
    Delta,
    Failed,
    Finished,
    PartStarted,
    Started,
    StreamEvent,
    UsageReported,
)
from aigateway.canonical.types import Refusal, Text, Usage
from aigateway.errors import GatewayError
from aigateway.formats.completions.wire import OBJECT, echoed, encode_finish_reason, encode_id, encode_logprobs
from aigateway.formats.protocol import ReplyContext, WireEvent
from aigateway.formats.relay import error_object
from aigateway.formats.usage import encode_chat_usage


class CompletionsStreamEncoder:
    """Events -> chunks for one caller. Every chunk carries the same id, time and model.

    The first one has no text but an echo of the prompt, where it is asked for. The usage chunk is sent only to a caller who asked for it.
    """

    def __init__(self, context: ReplyContext) -> None:
        self._context = context
        options = context.body.get("stream_options")
        self._wants_usage = isinstance(options, dict) and options.get("include_usage") is True
        self._head: dict[str, Any] = {}
        self._usage: Usage | None = None
        self._parts: set[tuple[int, int]] = set()
        self._written = 0

    def feed(self, event: StreamEvent) -> list[WireEvent]:
        """The chunks of one event."""
        if isinstance(event, Delta):
            return self._delta(event) if (event.index, event.part) in self._parts else []
        if isinstance(event, PartStarted):
            if isinstance(event.content, Text | Refusal):
                self._parts.add((event.index, event.part))
        elif isinstance(event, Started):
            return self._started(event)
        elif isinstance(event, UsageReported):
            self._usage = event.usage
        elif isinstance(event, Finished):
            return self._finished(event)
        elif isinstance(event, Failed):
            return self.fail(event.error)
        return []

    def fail(self, error: GatewayError) -> list[WireEvent]:
        """The error as OpenAI's clients look for it in a stream."""
        return [WireEvent("", {"error": error_object(error)})]

    def _started(self, event: Started) -> list[WireEvent]:
        self._head = {
            "id": encode_id(event.id, self._context),
            "object": OBJECT,
            "created": event.created_at or self._context.now(),
            "model": self._context.model,
            "choices": [],
        }
        if event.system_fingerprint is not UNSET:
            self._head["system_fingerprint"] = event.system_fingerprint
        if self._wants_usage:
            self._head["usage"] = None
        return [self._chunk(echoed(self._context), None)]

    def _delta(self, event: Delta) -> list[WireEvent]:
        return [self._chunk(event.text, None, encode_logprobs([(self._written, event.logprobs)]))]

    def _chunk(self, text: str, finish_reason: str | None, logprobs: dict[str, Any] | None = None) -> WireEvent:
        self._written += len(text)
        choice = {"text": text, "index": 0, "logprobs": logprobs, "finish_reason": finish_reason}
        return WireEvent("", {**self._head, "choices": [choice]})

    def _finished(self, event: Finished) -> list[WireEvent]:
        events = [self._chunk("", encode_finish_reason(event.reason))]
        if self._wants_usage and self._usage is not None:
            events.append(WireEvent("", {**self._head, "usage": encode_chat_usage(self._usage)}))
        return events
