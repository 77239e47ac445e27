"""Responses events of an upstream -> canonical events.

Lenient: hosts leave out the start of items and parts, give a whole item at once, tell of items only in the last event,
change ids between events. What was not announced is made up for, and the whole item at its end counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from aigateway import _json, _sse
from aigateway._sse import SSEEvent
from aigateway.canonical.accumulator import Accumulator
from aigateway.canonical.events import (
    Failed,
    ItemEnded,
    ReasoningText,
    Started,
    StreamEvent,
    StreamPart,
    SummaryText,
    UsageReported,
)
from aigateway.canonical.types import Annotation, Item, Message, Reasoning, Refusal, Text, ToolCall
from aigateway.errors import InvalidRequestError, UpstreamError, UpstreamProtocolError
from aigateway.formats.relay import stream_error
from aigateway.formats.responses.items import decode_annotation
from aigateway.formats.responses.reply import (
    decode_output_item,
    finish_reason,
    service_tier,
    text_or_empty,
    unix_seconds,
)
from aigateway.formats.usage import responses_usage

_DELTAS: dict[str, type[StreamPart]] = {
    "response.output_text.delta": Text,
    "response.refusal.delta": Refusal,
    "response.reasoning_text.delta": ReasoningText,
    "response.reasoning.delta": ReasoningText,
    "response.reasoning_summary_text.delta": SummaryText,
}
_DONE: dict[str, tuple[type[StreamPart], str]] = {
    "response.output_text.done": (Text, "text"),
    "response.refusal.done": (Refusal, "refusal"),
    "response.reasoning_text.done": (ReasoningText, "text"),
    "response.reasoning.done": (ReasoningText, "text"),
    "response.reasoning_summary_text.done": (SummaryText, "text"),
}
_PART_TYPES: dict[str, type[StreamPart]] = {
    "output_text": Text,
    "text": Text,
    "refusal": Refusal,
    "reasoning_text": ReasoningText,
    "summary_text": SummaryText,
}
_CALL_DELTAS = frozenset({"response.function_call_arguments.delta", "response.custom_tool_call_input.delta"})


class _Followed:
    """One item of the upstream's output."""

    __slots__ = ("annotated", "ended", "id", "index", "kind", "output_index", "parts", "parts_ended")

    def __init__(self, index: int, kind: type[Item], id: str, output_index: int) -> None:
        self.index = index
        self.kind = kind
        self.id = id
        self.output_index = output_index
        self.parts: dict[tuple[type[StreamPart], int], int] = {}
        self.parts_ended: set[int] = set()
        self.annotated: dict[int, int] = {}
        self.ended = False


class ResponsesStreamDecoder:
    """State of one stream of an upstream."""

    def __init__(self) -> None:
        self._parts = Accumulator()
        self._by_id: dict[str, _Followed] = {}
        self._by_place: dict[int, _Followed] = {}
        self._started = False
        self._over = False

    def feed(self, event: SSEEvent) -> list[StreamEvent]:
        """What follows from one event; after `Failed` or `Finished` nothing."""
        if self._over or not event.data.strip():
            return []
        if event.data == _sse.DONE:
            return self.flush()
        try:
            data = _json.decode(event.data)
        except (_json.DecodeError, UnicodeDecodeError, RecursionError):
            return self._fail(UpstreamProtocolError("The upstream sent an event that is not JSON."))
        if not isinstance(data, dict):
            return self._fail(UpstreamProtocolError("The upstream sent an event that is not a JSON object."))
        try:
            return self._read(text_or_empty(data.get("type")) or event.event, data)
        except (UpstreamError, InvalidRequestError) as error:
            message = f"The upstream sent an event that cannot be read: {error.message}"
            return self._fail(error if isinstance(error, UpstreamError) else UpstreamProtocolError(message))

    def flush(self) -> list[StreamEvent]:
        """The end of the bytes: an error if the stream was not finished."""
        if self._over:
            return []
        return self._fail(UpstreamProtocolError("The upstream ended its stream before the answer was complete."))

    def _fail(self, error: UpstreamError) -> list[StreamEvent]:
        self._over = True
        return [Failed(error)]

    def _read(self, name: str, data: dict[str, Any]) -> list[StreamEvent]:
        if name == "error" or (not name and data.get("error") is not None):
            facts = {key: value for key, value in data.items() if key != "type"}
            return self._fail(stream_error(data.get("error") or facts))
        kind = _DELTAS.get(name)
        if kind is not None:
            return self._begin() + self._part_delta(kind, data)
        if name in _CALL_DELTAS:
            return self._call_delta(data)
        if name in _DONE:
            return self._begin() + self._part_text(*_DONE[name], data)
        read = _READERS.get(name)
        return [] if read is None else read(self, data)

    def _begin(self, response: dict[str, Any] | None = None) -> list[StreamEvent]:
        """`Started`, once."""
        if self._started:
            return []
        self._started = True
        facts = response or {}
        return [
            Started(
                text_or_empty(facts.get("id")),
                text_or_empty(facts.get("model")),
                unix_seconds(facts.get("created_at")),
                service_tier(facts),
            )
        ]

    # --- the response ---

    def read_response(self, data: dict[str, Any]) -> list[StreamEvent]:
        """response.created, response.queued, response.in_progress."""
        response = data.get("response")
        return self._begin(response if isinstance(response, dict) else None)

    def read_failure(self, data: dict[str, Any]) -> list[StreamEvent]:
        """response.failed, response.cancelled."""
        response = data.get("response")
        error = response.get("error") if isinstance(response, dict) else None
        return self._fail(stream_error(error or {}))

    def read_end(self, data: dict[str, Any]) -> list[StreamEvent]:
        """response.completed, response.incomplete: what was never announced is made up for, and all is closed."""
        value = data.get("response")
        response: dict[str, Any] = value if isinstance(value, dict) else {}
        if response.get("status") == "failed":
            return self.read_failure(data)
        events = self._begin(response)
        output = response.get("output")
        for place, raw in enumerate(output if isinstance(output, list) else []):
            events += self._whole_item(raw, place, last=True)
        usage = responses_usage(response.get("usage"))
        if usage is not None:
            events.append(UsageReported(usage))
        if data.get("type") == "response.incomplete":
            response = {**response, "status": "incomplete"}
        reason = finish_reason(response, has_tool_calls=self._parts.has_tool_calls)
        self._over = True
        return events + self._parts.finish(reason, service_tier(response))

    # --- items ---

    def read_item_added(self, data: dict[str, Any]) -> list[StreamEvent]:
        """response.output_item.added."""
        raw = data.get("item")
        if not isinstance(raw, dict) or text_or_empty(raw.get("id")) in self._by_id:
            return []
        _, events = self._follow(decode_output_item(raw, 0), text_or_empty(raw.get("id")), data.get("output_index"))
        return events

    def read_item_done(self, data: dict[str, Any]) -> list[StreamEvent]:
        """response.output_item.done."""
        return self._whole_item(data.get("item"), data.get("output_index"), last=False)

    def _whole_item(self, raw: Any, place: Any, *, last: bool) -> list[StreamEvent]:
        """A whole item: what is missing of it is given, then it ends. `last`: from the terminal event."""
        if not isinstance(raw, dict):
            return []
        item = decode_output_item(raw, 0)
        item_id = text_or_empty(raw.get("id"))
        followed = self._find(item_id, place, type(item))
        if followed is not None and followed.ended:
            if last or not item_id or followed.id in ("", item_id):
                return []
            followed = None
        events: list[StreamEvent] = []
        if followed is None:
            followed, events = self._follow(item, item_id, place)
        return events + self._end(followed, item)

    def _follow(self, item: Item, item_id: str, place: Any) -> tuple[_Followed, list[StreamEvent]]:
        """Start an item, empty."""
        events = self._begin()
        index, started = self._parts.start_item(_emptied(item))
        followed = _Followed(index, type(item), item_id, place if isinstance(place, int) else -1)
        if item_id:
            self._by_id[item_id] = followed
        self._by_place[followed.output_index] = followed
        return followed, events + started

    def _find(self, item_id: Any, place: Any, kind: type[Item]) -> _Followed | None:
        """The item of that id, else the latest one at that place; only of that kind."""
        followed = self._by_id.get(item_id) if isinstance(item_id, str) else None
        if followed is None and isinstance(place, int):
            followed = self._by_place.get(place)
        return followed if followed is not None and followed.kind is kind else None

    def _end(self, followed: _Followed, item: Item) -> list[StreamEvent]:
        """Give what was not streamed of an item, and end it as it came at last."""
        events = self._rest_of(followed, item)
        followed.ended = True
        begun = self._parts.item_of(followed.index)
        if isinstance(item, ToolCall) and isinstance(begun, ToolCall) and begun.call_id:
            item = msgspec.structs.replace(item, call_id=begun.call_id)  # it has been told
        self._parts.update_item(followed.index, item)
        for event in self._parts.end_item(followed.index):
            if isinstance(event, ItemEnded):
                events.append(ItemEnded(event.index, _merged(item, event.item)))
            else:
                events.append(event)
        return events

    def _rest_of(self, followed: _Followed, item: Item) -> list[StreamEvent]:
        if isinstance(item, ToolCall):
            streamed = self._parts.item_of(followed.index)
            arguments = streamed.arguments if isinstance(streamed, ToolCall) else ""
            return self._parts.delta(followed.index, 0, _tail(arguments, item.arguments))
        events: list[StreamEvent] = []
        if isinstance(item, Message):
            for place, part in enumerate(item.content):
                if isinstance(part, Text | Refusal):
                    events += self._rest_of_part(followed, type(part), place, part.text)
                    if isinstance(part, Text):
                        events += self._annotations(followed, place, part.annotations)
        elif isinstance(item, Reasoning):
            for place, text in enumerate(item.summary):
                events += self._rest_of_part(followed, SummaryText, place, text)
            for place, text in enumerate(item.content):
                events += self._rest_of_part(followed, ReasoningText, place, text)
        return events

    # --- parts ---

    def read_part_added(self, data: dict[str, Any]) -> list[StreamEvent]:
        """response.content_part.added, response.reasoning_summary_part.added."""
        kind = _part_kind(data)
        if kind is None:
            return []
        found = self._part(kind, data)
        return self._begin() if found is None else found[2]

    def read_part_done(self, data: dict[str, Any]) -> list[StreamEvent]:
        """response.content_part.done, response.reasoning_summary_part.done."""
        kind = _part_kind(data)
        if kind is None:
            return []
        part = data["part"]
        events = self._part_text(kind, "refusal" if kind is Refusal else "text", data | part)
        found = self._part(kind, data)
        if found is None:
            return events
        followed, number, _ = found
        if kind is Text and isinstance(part.get("annotations"), list):
            annotations = tuple(decode_annotation(raw, "annotation") for raw in part["annotations"])
            events += self._annotations(followed, _place_of(kind, data), annotations)
        followed.parts_ended.add(number)
        return events + self._parts.end_part(followed.index, number)

    def read_annotation(self, data: dict[str, Any]) -> list[StreamEvent]:
        """response.output_text.annotation.added."""
        found = self._part(Text, data)
        if found is None or not isinstance(data.get("annotation"), dict):
            return []
        followed, number, events = found
        followed.annotated[number] = followed.annotated.get(number, 0) + 1
        annotation = decode_annotation(data["annotation"], "annotation")
        return events + self._parts.annotate(followed.index, number, annotation)

    def _part_delta(self, kind: type[StreamPart], data: dict[str, Any]) -> list[StreamEvent]:
        delta = data.get("delta")
        found = self._part(kind, data)
        if found is None or not isinstance(delta, str):
            return []
        followed, number, events = found
        given = data.get("logprobs")
        logprobs = (
            tuple(token for token in given if isinstance(token, dict)) if given and isinstance(given, list) else ()
        )
        return events + self._parts.delta(followed.index, number, delta, logprobs)

    def _part_text(self, kind: type[StreamPart], field: str, data: dict[str, Any]) -> list[StreamEvent]:
        """The whole text of a part: what was not streamed of it."""
        found = self._part(kind, data)
        text = data.get(field)
        if found is None or not isinstance(text, str):
            return []
        followed, number, events = found
        tail = _tail(self._parts.text_of(followed.index, number), text)
        return events + self._parts.delta(followed.index, number, tail)

    def _call_delta(self, data: dict[str, Any]) -> list[StreamEvent]:
        followed = self._find(data.get("item_id"), data.get("output_index"), ToolCall)
        delta = data.get("delta")
        if followed is None or followed.ended or not isinstance(delta, str):
            return []
        return self._parts.delta(followed.index, 0, delta)

    def _part(self, kind: type[StreamPart], data: dict[str, Any]) -> tuple[_Followed, int, list[StreamEvent]] | None:
        """The open part that an event is about, and the events of opening it and its item; None if it has ended."""
        owner: type[Item] = Message if kind in (Text, Refusal) else Reasoning
        followed = self._find(data.get("item_id"), data.get("output_index"), owner)
        events: list[StreamEvent] = []
        if followed is None:
            item_id = text_or_empty(data.get("item_id"))
            item: Item = Message(role="assistant") if owner is Message else Reasoning()
            followed, events = self._follow(item, item_id, data.get("output_index"))
        if followed.ended:
            return None
        key = kind, _place_of(kind, data)
        number = followed.parts.get(key)
        if number is None:
            number, opened = self._parts.start_part(followed.index, kind)
            followed.parts[key] = number
            events = events + opened
        elif number in followed.parts_ended:
            return None
        return followed, number, events

    def _rest_of_part(self, followed: _Followed, kind: type[StreamPart], place: int, text: str) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        number = followed.parts.get((kind, place))
        if number is None:
            number, events = self._parts.start_part(followed.index, kind)
            followed.parts[kind, place] = number
        if number in followed.parts_ended:
            return events
        tail = _tail(self._parts.text_of(followed.index, number), text)
        return events + self._parts.delta(followed.index, number, tail)

    def _annotations(self, followed: _Followed, place: int, known: tuple[Annotation, ...]) -> list[StreamEvent]:
        """The annotations of a text that had no event of their own."""
        number = followed.parts[Text, place]
        if number in followed.parts_ended:
            return []
        fresh = known[followed.annotated.get(number, 0) :]
        followed.annotated[number] = followed.annotated.get(number, 0) + len(fresh)
        return [event for entry in fresh for event in self._parts.annotate(followed.index, number, entry)]


_READERS: dict[str, Callable[[ResponsesStreamDecoder, dict[str, Any]], list[StreamEvent]]] = {
    "response.created": ResponsesStreamDecoder.read_response,
    "response.queued": ResponsesStreamDecoder.read_response,
    "response.in_progress": ResponsesStreamDecoder.read_response,
    "response.output_item.added": ResponsesStreamDecoder.read_item_added,
    "response.output_item.done": ResponsesStreamDecoder.read_item_done,
    "response.content_part.added": ResponsesStreamDecoder.read_part_added,
    "response.content_part.done": ResponsesStreamDecoder.read_part_done,
    "response.reasoning_summary_part.added": ResponsesStreamDecoder.read_part_added,
    "response.reasoning_summary_part.done": ResponsesStreamDecoder.read_part_done,
    "response.output_text.annotation.added": ResponsesStreamDecoder.read_annotation,
    "response.completed": ResponsesStreamDecoder.read_end,
    "response.incomplete": ResponsesStreamDecoder.read_end,
    "response.failed": ResponsesStreamDecoder.read_failure,
    "response.cancelled": ResponsesStreamDecoder.read_failure,
}


def _part_kind(data: dict[str, Any]) -> type[StreamPart] | None:
    part = data.get("part")
    return _PART_TYPES.get(text_or_empty(part.get("type"))) if isinstance(part, dict) else None


def _place_of(kind: type[StreamPart], data: dict[str, Any]) -> int:
    place = data.get("summary_index" if kind is SummaryText else "content_index")
    return place if isinstance(place, int) else 0


def _tail(streamed: str, whole: str) -> str:
    """What of a text has not been streamed; nothing if it is another text."""
    return whole[len(streamed) :] if whole.startswith(streamed) else ""


def _emptied(item: Item) -> Item:
    if isinstance(item, Message):
        return msgspec.structs.replace(item, content=())
    if isinstance(item, Reasoning):
        return msgspec.structs.replace(item, summary=(), content=())
    if isinstance(item, ToolCall):
        return msgspec.structs.replace(item, arguments="")
    return item


def _merged(item: Item, streamed: Item) -> Item:
    """The item as it came at last, but with what was streamed of it where that is something else: it has been told."""
    if isinstance(item, Message) and isinstance(streamed, Message):
        return item if _texts(item) == _texts(streamed) else msgspec.structs.replace(item, content=streamed.content)
    if isinstance(item, Reasoning) and isinstance(streamed, Reasoning):
        same = sorted(item.summary + item.content) == sorted(streamed.summary + streamed.content)
        return item if same else msgspec.structs.replace(item, summary=streamed.summary, content=streamed.content)
    if isinstance(item, ToolCall) and isinstance(streamed, ToolCall):
        return msgspec.structs.replace(item, arguments=streamed.arguments)
    return item


def _texts(message: Message) -> list[str]:
    return sorted(part.text for part in message.content if isinstance(part, Text | Refusal))
