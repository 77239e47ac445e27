"""Lawful Responses streams for the linter, made by the gateway's own encoder, and the ways to break them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable
from typing import Any

from aigateway.canonical.accumulator import Accumulator
from aigateway.canonical.events import ReasoningText, Started, StreamEvent, StreamPart, SummaryText, UsageReported
from aigateway.canonical.types import (
    Item,
    Message,
    Opaque,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    UrlCitation,
    Usage,
)
from aigateway.errors import UpstreamConnectionError
from tests.formats.responses_streams import CODEC, context, data_of, encoded

Object = dict[str, Any]
Events = list[Object]
Break = Callable[[Events], Any]
"""Changes events where they are, or gives others."""

_CITATION = UrlCitation(url="https://x/y", title="y", start_index=0, end_index=2)
_USAGE = Usage(input_tokens=9, output_tokens=8, total_tokens=17, cached_tokens=4, reasoning_tokens=3)


class _Writer:
    def __init__(self) -> None:
        self.accumulator = Accumulator()
        self.events: list[StreamEvent] = [Started("up", "m", 1)]

    def item(self, item: Item, parts: Iterable[tuple[type[StreamPart], str]] = (), *, cut: bool = False) -> None:
        index, events = self.accumulator.start_item(item)
        self.events += events
        for kind, text in parts:
            number, events = self.accumulator.start_part(index, kind)
            self.events += events
            for piece in (text[:2], text[2:]):
                self.events += self.accumulator.delta(index, number, piece)
            if kind is Text:
                self.events += self.accumulator.annotate(index, number, _CITATION)
            if not cut:
                self.events += self.accumulator.end_part(index, number)
        if not cut:
            self.events += self.accumulator.end_item(index)

    def call(self, arguments: str, *, kind: Any = "function", number: int = 1) -> None:
        index, events = self.accumulator.start_item(ToolCall(call_id=f"call_{number}", name="look", kind=kind))
        self.events += events
        for piece in (arguments[:3], arguments[3:]):
            self.events += self.accumulator.delta(index, 0, piece)
        self.events += self.accumulator.end_item(index)

    def end(self, reason: str = "stop") -> Events:
        self.events.append(UsageReported(_USAGE))
        return encoded([*self.events, *self.accumulator.finish(reason, "default")])


def whole() -> Events:
    """A summary of reasoning, a message of two parts, two calls; lawful in both profiles.

    Items: 0 reasoning, 1 message (text with a citation, refusal), 2 and 3 calls.
    """
    writer = _Writer()
    writer.item(Reasoning(encrypted="sealed", origin="openai"), [(SummaryText, "short")])
    writer.item(Message(role="assistant"), [(Text, "Hello"), (Refusal, "never")])
    writer.call('{"a": 1}', number=1)
    writer.call('{"b": 2}', number=2)
    return writer.end("tool_calls")


def text(reason: str = "stop") -> Events:
    """One message."""
    writer = _Writer()
    writer.item(Message(role="assistant"), [(Text, "Hello there")])
    return writer.end(reason)


def refusal() -> Events:
    """One message that refuses."""
    writer = _Writer()
    writer.item(Message(role="assistant"), [(Refusal, "I will not")])
    return writer.end()


def calls() -> Events:
    """Two calls of functions."""
    writer = _Writer()
    writer.call('{"a": 1}', number=1)
    writer.call("{}", number=2)
    return writer.end("tool_calls")


def thoughts() -> Events:
    """The text of reasoning, for OpenAI's clients."""
    writer = _Writer()
    writer.item(Reasoning(), [(ReasoningText, "hm, so")])
    writer.item(Message(role="assistant"), [(Text, "So.")])
    return writer.end()


def custom_call() -> Events:
    """A call of a tool that takes free text."""
    writer = _Writer()
    writer.call("print(1)", kind="custom")
    return writer.end("tool_calls")


def hosted() -> Events:
    """A call of a hosted tool, which has no events of its own here."""
    writer = _Writer()
    raw = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}}
    writer.item(Opaque(format="responses", raw=raw))
    return writer.end()


def failed() -> Events:
    """A message that is cut by an error."""
    writer = _Writer()
    writer.item(Message(role="assistant"), [(Text, "Hello")], cut=True)
    encoder = CODEC.stream_encoder(context())
    sent = [wire for event in writer.events for wire in encoder.feed(event)]
    return data_of([*sent, *encoder.fail(UpstreamConnectionError("It broke.", provider="p"))])


# the ways to break them


def broken(events: Events, change: Break) -> Events:
    """A copy of the events that was changed, numbered anew where events came or went."""
    copied = copy.deepcopy(events)
    given = change(copied)
    changed = copied if given is None else given
    if len(changed) != len(events):
        changed = [{**event, "sequence_number": number} for number, event in enumerate(changed)]
    return changed


def sse(events: Iterable[Object]) -> bytes:
    """The events as the gateway writes them, with `[DONE]`."""
    frames = [f"event: {event['type']}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n" for event in events]
    return "".join([*frames, "data: [DONE]\n\n"]).encode()


def nth(events: Events, name: str, number: int = 0) -> Object:
    """An event by its type, with or without `response.` before it; negative numbers count from the end."""
    return [event for event in events if event["type"].removeprefix("response.") == name][number]


def without(name: str, number: int = 0) -> Break:
    """Leaves one event out."""

    def change(events: Events) -> Events:
        gone = nth(events, name, number)
        return [event for event in events if event is not gone]

    return change


def snapshots(events: Events) -> list[Object]:
    """The responses in the events."""
    return [event["response"] for event in events if "response" in event]


def items_of(events: Events, index: int) -> list[Object]:
    """An item as it is announced, done and in the end."""
    own = [event["item"] for event in events if "item" in event and event["output_index"] == index]
    return [*own, snapshots(events)[-1]["output"][index]]


def set_all(objects: Iterable[Object], **values: Any) -> None:
    """Set keys in each of some objects."""
    for found in objects:
        found.update(values)
