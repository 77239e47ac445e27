"""The laws of a canonical stream, checked event by event: what debug builds assert between a decoder and an encoder.

Switched on by `AIGATEWAY_DEBUG=1` or Python's development mode (`python -X dev`); the checks cost CPU, and a stream that
breaks a law is a bug of the gateway, so it ends in an error instead of going on.
"""

from __future__ import annotations

import os
import sys

from aigateway.canonical.accumulator import fold
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


def debug_build() -> bool:
    """Whether laws are asserted in this process."""
    return sys.flags.dev_mode or os.environ.get("AIGATEWAY_DEBUG", "") not in ("", "0")


class LawError(AssertionError):
    """A law of the canonical form was broken: a bug of ours, wherever it came from."""


class StreamLaws:
    """State of one stream. `feed` every event; raises LawError at the first that breaks a law."""

    def __init__(self) -> None:
        self._events: list[StreamEvent] = []
        self._open: dict[int, _OpenItem] = {}
        self._count = 0
        self._ended = False

    def feed(self, event: StreamEvent) -> None:
        """One more event."""
        law(not self._ended, "nothing follows the end", event)
        if not isinstance(event, Failed):
            law(isinstance(event, Started) is not bool(self._events), "Started is first", event)
        self._events.append(event)
        if isinstance(event, ItemStarted):
            law(event.index == self._count, "items are numbered without holes", event)
            self._count += 1
            self._open[event.index] = _OpenItem(event.item)
        elif isinstance(event, PartStarted | Delta | Annotated | PartEnded | ItemEnded):
            law(event.index in self._open, "an item is open while it is told of", event)
            self._open[event.index].feed(event)
            if isinstance(event, ItemEnded):
                del self._open[event.index]
        elif isinstance(event, UsageReported):
            check_usage(event.usage)
        elif isinstance(event, Finished):
            law(not self._open, "items close before the finish", event)
            self._ended = True
            fold(self._events)
        elif isinstance(event, Failed):
            self._ended = True


class _OpenItem:
    def __init__(self, item: Item) -> None:
        self._kind = type(item)
        self._call_id = item.call_id if isinstance(item, ToolCall) else ""
        self._texts: dict[int, str] = {}
        self._arguments = item.arguments if isinstance(item, ToolCall) else ""
        self._done: list[Text | Refusal | SummaryText | ReasoningText] = []

    def feed(self, event: PartStarted | Delta | Annotated | PartEnded | ItemEnded) -> None:
        if isinstance(event, PartStarted):
            law(event.part == len(self._done) + len(self._texts), "parts are numbered without holes", event)
            self._texts[event.part] = event.content.text
        elif isinstance(event, Delta) and self._kind is ToolCall:
            self._arguments += event.text
        elif isinstance(event, Delta | Annotated):
            law(event.part in self._texts, "a part is open while it grows", event)
            self._texts[event.part] += event.text if isinstance(event, Delta) else ""
        elif isinstance(event, PartEnded):
            law(event.part in self._texts, "a part is open when it ends", event)
            law(self._texts.pop(event.part) == event.content.text, "the deltas of a part are its text", event)
            self._done.append(event.content)
        else:
            law(not self._texts, "parts close before their item", event)
            self._whole(event)

    def _whole(self, event: ItemEnded) -> None:
        item = event.item
        law(type(item) is self._kind, "an item stays what it is", event)
        if isinstance(item, ToolCall):
            law(item.arguments == self._arguments, "the deltas of a call are its arguments", event)
            law(not self._call_id or item.call_id == self._call_id, "a call keeps its id", event)
        elif isinstance(item, Message):
            told = [part.text for part in item.content if isinstance(part, Text | Refusal)]
            law(
                sorted(told) == sorted(part.text for part in self._done),
                "the parts of a message are its content",
                event,
            )
        elif isinstance(item, Reasoning) and self._done:
            thought = sorted((*item.summary, *item.content))
            law(thought == sorted(part.text for part in self._done), "the parts of reasoning are its content", event)


def check_usage(usage: Usage) -> None:
    """Raise LawError unless the counts add up: details are parts of their totals, the total is their sum."""
    within = (
        usage.total_tokens == usage.input_tokens + usage.output_tokens,
        max(usage.cached_tokens, usage.cache_write_tokens, usage.input_audio_tokens) <= usage.input_tokens,
        max(usage.reasoning_tokens, usage.output_audio_tokens) <= usage.output_tokens,
    )
    law(all(within), "usage adds up", usage)


def law(holds: bool, words: str, about: object) -> None:  # noqa: FBT001 - reads as `law(this holds, ...)`
    """Raise LawError unless it holds. The error names the kind of what broke it, never its content."""
    if not holds:
        raise LawError(f"{words}: broken by {type(about).__name__}")
