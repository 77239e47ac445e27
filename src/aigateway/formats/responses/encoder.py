"""Canonical events -> Responses events: the one state machine that produces them.

Items go out one after another: what comes for a later item waits until the one before is closed, because clients
follow one item at a time. The `output_item.done` of an item waits for what comes next, since only then it is known
whether the item is complete or was cut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET, UnsetType

from aigateway import _json, _sse
from aigateway.canonical.events import (
    Annotated,
    Delta,
    Failed,
    Finished,
    ItemEnded,
    ItemStarted,
    PartEnded,
    PartStarted,
    Started,
    StreamEvent,
    UsageReported,
)
from aigateway.canonical.types import Item, Text, ToolCall, Usage
from aigateway.canonical.uncarried import note_lost
from aigateway.errors import GatewayError
from aigateway.formats.protocol import ReplyContext, WireEvent
from aigateway.formats.responses.events import (
    CALLS,
    NAMES,
    DeltaFrame,
    OpenItem,
    OpenPart,
    bare,
    content_of,
    not_streamed,
    part_object,
    place_of,
)
from aigateway.formats.responses.fields import FORMAT
from aigateway.formats.responses.items import encode_annotation
from aigateway.formats.responses.open_responses import EVENTS, adapt_event
from aigateway.formats.responses.resource import (
    LACKING,
    ItemIds,
    ResourceWriter,
    copied,
    empty_resource,
    encode_logprobs,
    ending,
    is_ours,
    output_item,
    seal_of,
    whole_item,
)


class ResponsesStreamEncoder:
    """State of one stream that goes to a caller. Nothing comes after the terminal event."""

    def __init__(self, context: ReplyContext) -> None:
        self._ids = ItemIds(context)
        self._changes = context.changes
        self._writer = ResourceWriter(context)
        self._adapts = context.profile == "open_responses"
        self._seal = seal_of(context)
        self._announced = False
        self._sequence = 0
        self._output: list[dict[str, Any]] = []
        self._current: OpenItem | None = None
        self._closing: tuple[OpenItem, Item] | None = None
        self._held: dict[int, list[StreamEvent]] = {}
        self._usage: Usage | UnsetType = UNSET
        self._over = False

    def feed(self, event: StreamEvent) -> list[WireEvent]:
        """What the caller gets for one canonical event."""
        current = self._current
        if type(event) is Delta and current is not None and event.index == current.index:
            return self._delta(current, event)
        if self._over:
            return []
        if isinstance(event, Started):
            return self._start(event)
        if isinstance(event, UsageReported):
            self._usage = event.usage
            return []
        if isinstance(event, Finished):
            return self._finish(event)
        if isinstance(event, Failed):
            return self.fail(event.error)
        return self._start() + self._in_order(event)

    def delta_frame(self, event: Delta) -> bytes | None:
        """The frame of a delta, made quickly; None where it takes more: then `feed` makes its event."""
        opened = self._current
        if opened is None or event.index != opened.index or event.logprobs:
            return None
        open_part = opened.parts.get(event.part)
        owner = opened if open_part is None else open_part
        frame = owner.frame
        if frame is None:
            return self._first_delta_frame(opened, owner, event)
        sequence = self._sequence
        self._sequence = sequence + 1
        owner.pieces.append(event.text)
        return frame.write(sequence, event.text)

    def _first_delta_frame(self, opened: OpenItem, owner: OpenItem | OpenPart, event: Delta) -> bytes | None:
        made = self._delta(opened, event)
        if not made:
            return b""
        owner.frame = DeltaFrame(made[0])
        return _sse.encode(_json.encode(made[0].data), made[0].name)

    def fail(self, error: GatewayError) -> list[WireEvent]:
        """`error`, then `response.failed` with what there is so far.

        Open items are not closed by events: a client would take a call for whole, and run it.
        """
        if self._over:
            return []
        events = self._start() + self._settle("completed")
        self._over = True
        output = list(self._output)
        if self._current is not None:
            output.append(output_item(self._current.so_far(), self._current.id, "incomplete"))
            self._current = None
        snapshot = self._writer.write("failed", output, usage=self._usage, error=response_error(error))
        return [
            *events,
            self._event("error", error_fields(error)),
            self._event("response.failed", {"response": snapshot}),
        ]

    # --- the response ---

    def _start(self, started: Started | None = None) -> list[WireEvent]:
        """`response.created` and `response.in_progress`, once."""
        if self._announced:
            return []
        self._announced = True
        if started is not None:
            self._writer.service_tier = started.service_tier
        return [
            self._event("response.created", {"response": self._writer.write("in_progress", [])}),
            self._event("response.in_progress", {"response": self._writer.write("in_progress", [])}),
        ]

    def _finish(self, finished: Finished) -> list[WireEvent]:
        events = self._start()
        status, reason = ending(finished.reason)
        events += self._settle(status)
        self._over = True
        self._current = None
        if finished.service_tier is not UNSET:
            self._writer.service_tier = finished.service_tier
        snapshot = self._writer.write(status, self._output, usage=self._usage, reason=reason)
        return [*events, self._event(f"response.{status}", {"response": snapshot})]

    # --- items ---

    def _in_order(self, event: Any) -> list[WireEvent]:
        """Events of the current item at once, those of later ones when their turn comes."""
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
        if self._current is None:
            return []
        return _APPLY[type(event)](self, self._current, event)

    def _start_item(self, event: ItemStarted) -> list[WireEvent]:
        if not is_ours(event.item):  # nor are the events that follow on it
            note_lost(event.item, FORMAT, LACKING, self._changes)
            return []
        events = self._settle("completed")
        place = len(self._output)
        opened = OpenItem(event.index, event.item, self._ids.take(event.item), place)
        self._current = opened
        fields = {"output_index": place, "item": output_item(bare(event.item), opened.id, "in_progress")}
        return [*events, self._event("response.output_item.added", fields)]

    def _end_item(self, opened: OpenItem, event: ItemEnded) -> list[WireEvent]:
        note_lost(event.item, FORMAT, LACKING, self._changes)
        events: list[WireEvent] = []
        for number, part in sorted(opened.parts.items()):
            events += self._end_part(
                opened, PartEnded(opened.index, number, content_of(part.kind, "".join(part.pieces)))
            )
        item = whole_item(event.item, self._seal)
        if isinstance(item, ToolCall):
            events += self._end_call(opened, item)
        for content in not_streamed(opened, item):
            events += self._whole_part(opened, content)
        self._current = None
        self._closing = opened, item
        return events

    def _settle(self, status: str) -> list[WireEvent]:
        """`output_item.done` of the item that ended last, now that its status is known."""
        if self._closing is None:
            return []
        opened, item = self._closing
        self._closing = None
        done = output_item(item, opened.id, status)
        self._output.append(done)
        return [self._event("response.output_item.done", {"output_index": opened.output_index, "item": copied(done)})]

    def _end_call(self, opened: OpenItem, call: ToolCall) -> list[WireEvent]:
        """The arguments that were not streamed, then all of them."""
        name, field = CALLS[call.kind]
        streamed, whole = "".join(opened.pieces), call.arguments
        events = []
        if len(whole) > len(streamed) and whole.startswith(streamed):
            events += self._delta(opened, Delta(opened.index, 0, whole[len(streamed) :]))
        fields = {"item_id": opened.id, "output_index": opened.output_index, field: whole}
        if call.kind == "function":
            fields["name"] = call.name
        return [*events, self._event(f"{name}.done", fields)]

    # --- parts ---

    def _start_part(self, opened: OpenItem, event: PartStarted) -> list[WireEvent]:
        kind = type(event.content)
        names = NAMES[kind]
        part = OpenPart(kind, opened.counts[names.position])
        opened.counts[names.position] += 1
        opened.parts[event.part] = part
        fields = place_of(opened, part) | {"part": part_object(content_of(kind, ""))}
        return [self._event(names.added, fields)]

    def _delta(self, opened: OpenItem, event: Delta) -> list[WireEvent]:
        sequence = self._sequence
        part = opened.parts.get(event.part)
        if part is None:
            if not isinstance(opened.item, ToolCall):
                return []
            self._sequence = sequence + 1
            opened.pieces.append(event.text)
            name = f"{CALLS[opened.item.kind][0]}.delta"
            if self._adapts:
                name = EVENTS.get(name, name)
            data = {
                "type": name,
                "sequence_number": sequence,
                "item_id": opened.id,
                "output_index": opened.output_index,
                "delta": event.text,
            }
            return [WireEvent(name, data)]
        self._sequence = sequence + 1
        part.pieces.append(event.text)
        names = part.names
        name = EVENTS.get(names.delta, names.delta) if self._adapts else names.delta
        data = {
            "type": name,
            "sequence_number": sequence,
            "item_id": opened.id,
            "output_index": opened.output_index,
            names.position: part.index,
            "delta": event.text,
        }
        if part.logprobs:
            data["logprobs"] = encode_logprobs(event.logprobs) if event.logprobs else []
        return [WireEvent(name, data)]

    def _annotate(self, opened: OpenItem, event: Annotated) -> list[WireEvent]:
        part = opened.parts.get(event.part)
        if part is None or not is_ours(event.annotation):
            return []
        fields = place_of(opened, part) | {
            "annotation_index": part.annotations,
            "annotation": copied(encode_annotation(event.annotation)),
        }
        part.annotations += 1
        return [self._event("response.output_text.annotation.added", fields)]

    def _end_part(self, opened: OpenItem, event: PartEnded) -> list[WireEvent]:
        part = opened.parts.get(event.part)
        if part is None:
            return []
        streamed, text = "".join(part.pieces), event.content.text
        events = []
        if len(text) > len(streamed) and text.startswith(streamed):
            events += self._delta(opened, Delta(opened.index, event.part, text[len(streamed) :]))
        del opened.parts[event.part]
        opened.contents[event.part] = event.content
        place, raw = place_of(opened, part), part_object(event.content)
        done = place | {part.names.field: text}
        if part.logprobs:
            done["logprobs"] = copied(raw["logprobs"])
        return [*events, self._event(part.names.done, done), self._event(part.names.part_done, place | {"part": raw})]

    def _whole_part(self, opened: OpenItem, content: Any) -> list[WireEvent]:
        """All events of a part that nobody streamed."""
        if type(content) not in NAMES:
            fields = {
                "item_id": opened.id,
                "output_index": opened.output_index,
                "content_index": opened.counts["content_index"],
            }
            opened.counts["content_index"] += 1
            names = ("response.content_part.added", "response.content_part.done")
            return [self._event(name, fields | {"part": part_object(content)}) for name in names]
        number = 1 + max([*opened.contents, *opened.parts], default=-1)
        events = self._start_part(opened, PartStarted(opened.index, number, content))
        if isinstance(content, Text):
            if content.text:
                events += self._delta(opened, Delta(opened.index, number, content.text, content.logprobs))
            for annotation in content.annotations:
                events += self._annotate(opened, Annotated(opened.index, number, annotation))
        return events + self._end_part(opened, PartEnded(opened.index, number, content))

    def _event(self, name: str, fields: dict[str, Any]) -> WireEvent:
        data: dict[str, Any] = {"type": name, "sequence_number": self._sequence}
        data |= fields
        self._sequence += 1
        if self._adapts:
            adapt_event(data)
        return WireEvent(data["type"], data)


_APPLY: dict[type, Callable[[ResponsesStreamEncoder, OpenItem, Any], list[WireEvent]]] = {
    PartStarted: ResponsesStreamEncoder._start_part,  # noqa: SLF001 (its own table)
    Delta: ResponsesStreamEncoder._delta,  # noqa: SLF001
    Annotated: ResponsesStreamEncoder._annotate,  # noqa: SLF001
    PartEnded: ResponsesStreamEncoder._end_part,  # noqa: SLF001
    ItemEnded: ResponsesStreamEncoder._end_item,  # noqa: SLF001
}


def failure_events(error: GatewayError, *, response: dict[str, Any] | None, sequence_number: int) -> list[WireEvent]:
    """How a native stream that was cut ends: `error`, then `response.failed` with the last snapshot that was seen."""
    snapshot = copied(response) if response is not None else empty_resource()
    snapshot |= {"status": "failed", "error": response_error(error), "completed_at": None, "incomplete_details": None}
    error_data = {"type": "error", "sequence_number": sequence_number} | error_fields(error)
    failed_data = {"type": "response.failed", "sequence_number": sequence_number + 1, "response": snapshot}
    return [WireEvent("error", error_data), WireEvent("response.failed", failed_data)]


def error_fields(error: GatewayError) -> dict[str, Any]:
    """The keys of an `error` event: flat as OpenAI's, and nested as in Open Responses."""
    facts = {"code": error.code, "message": error.message, "param": error.param}
    return facts | {"error": {"type": error.type} | facts}


def response_error(error: GatewayError) -> dict[str, Any]:
    """The `error` of a response that failed."""
    return {"code": error.code or "server_error", "message": error.message}
