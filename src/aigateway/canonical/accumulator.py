"""The one owner of deltas: it opens and closes items and parts, and knows every one of them whole.

Stream decoders call it with what they read and pass on the events it gives back; the rules of starting and ending
(a part opens before its deltas, parts close before their item, items close before the finish) stand only here.
`fold()` makes the unary reply of a finished stream.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from aigateway import _json
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
    StreamPart,
    SummaryText,
    UsageReported,
)
from aigateway.canonical.types import (
    Annotation,
    Item,
    Message,
    Reasoning,
    Refusal,
    Reply,
    Text,
    ToolCall,
    Usage,
)


class _OpenPart:
    __slots__ = ("annotations", "index", "kind", "logprobs", "pieces")

    def __init__(self, index: int, kind: type[StreamPart]) -> None:
        self.index = index
        self.kind = kind
        self.pieces: list[str] = []
        self.logprobs: list[dict[str, Any]] = []
        self.annotations: list[Annotation] = []

    def content(self) -> StreamPart:
        text = "".join(self.pieces)
        if self.kind is Text:
            return Text(text=text, annotations=tuple(self.annotations), logprobs=tuple(self.logprobs))
        if self.kind is Refusal:
            return Refusal(text=text)
        return SummaryText(text) if self.kind is SummaryText else ReasoningText(text)


class _OpenItem:
    __slots__ = ("arguments", "ended", "index", "item", "part_count", "parts")

    def __init__(self, index: int, item: Item) -> None:
        self.index = index
        self.item = item
        self.parts: dict[int, _OpenPart] = {}
        self.ended: dict[int, StreamPart] = {}
        self.part_count = 0
        self.arguments: list[str] = [item.arguments] if isinstance(item, ToolCall) and item.arguments else []

    def whole(self) -> Item:
        parts = [self.ended[number] for number in sorted(self.ended)]
        if isinstance(self.item, Message):
            streamed = tuple(part for part in parts if isinstance(part, Text | Refusal))
            rest = tuple(part for part in self.item.content if not isinstance(part, Text | Refusal))
            return msgspec.structs.replace(self.item, content=streamed + rest)
        if isinstance(self.item, Reasoning):
            return msgspec.structs.replace(
                self.item,
                summary=tuple(part.text for part in parts if isinstance(part, SummaryText)) or self.item.summary,
                content=tuple(part.text for part in parts if isinstance(part, ReasoningText)) or self.item.content,
            )
        if isinstance(self.item, ToolCall):
            return msgspec.structs.replace(self.item, arguments="".join(self.arguments))
        return self.item


class Accumulator:
    """State of one streamed reply. Every method gives the events that follow from the call, in order."""

    def __init__(self) -> None:
        self._count = 0
        self._open: dict[int, _OpenItem] = {}
        self.has_tool_calls = False
        self.finished = False

    @property
    def open_indexes(self) -> list[int]:
        """The items that have started and not ended."""
        return list(self._open)

    def item_of(self, index: int) -> Item:
        """An open item as far as it has come."""
        return self._open[index].whole()

    def text_of(self, index: int, part: int) -> str:
        """What has come of a part of an open item, be the part open or ended."""
        owner = self._open[index]
        ended = owner.ended.get(part)
        return "".join(owner.parts[part].pieces) if ended is None else ended.text

    def start_item(self, item: Item) -> tuple[int, list[StreamEvent]]:
        """Open an item. Gives its index too, by which the other calls name it."""
        index = self._count
        self._count += 1
        self._open[index] = _OpenItem(index, item)
        self.has_tool_calls = self.has_tool_calls or isinstance(item, ToolCall)
        return index, [ItemStarted(index, item)]

    def update_item(self, index: int, item: Item) -> None:
        """Replace what is known of an open item (its name or id came late); its parts and arguments stay."""
        self._open[index].item = item

    def start_part(self, index: int, kind: type[StreamPart]) -> tuple[int, list[StreamEvent]]:
        """Open a part of an open item. Gives its number within the item too."""
        owner = self._open[index]
        number = owner.part_count
        owner.part_count += 1
        part = _OpenPart(number, kind)
        owner.parts[number] = part
        return number, [PartStarted(index, number, part.content())]

    def delta(self, index: int, part: int, text: str, logprobs: Iterable[dict[str, Any]] = ()) -> list[StreamEvent]:
        """More text of a part, or more arguments of a tool call (part 0). Nothing for an empty text."""
        owner = self._open[index]
        tokens = tuple(logprobs)
        if isinstance(owner.item, ToolCall):
            owner.arguments.append(text)
        else:
            owner.parts[part].pieces.append(text)
            owner.parts[part].logprobs.extend(tokens)
        return [Delta(index, part, text, tokens)] if text or tokens else []

    def annotate(self, index: int, part: int, annotation: Annotation) -> list[StreamEvent]:
        """An annotation of an open text part."""
        self._open[index].parts[part].annotations.append(annotation)
        return [Annotated(index, part, annotation)]

    def end_part(self, index: int, part: int) -> list[StreamEvent]:
        """Close a part."""
        owner = self._open[index]
        content = owner.parts.pop(part).content()
        owner.ended[part] = content
        return [PartEnded(index, part, content)]

    def end_item(self, index: int) -> list[StreamEvent]:
        """Close an item and the parts of it that are still open."""
        owner = self._open[index]
        events: list[StreamEvent] = []
        for part in sorted(owner.parts):
            events += self.end_part(index, part)
        del self._open[index]
        events.append(ItemEnded(index, owner.whole()))
        return events

    def end_all(self) -> list[StreamEvent]:
        """Close every open item, in order."""
        return [event for index in sorted(self._open) for event in self.end_item(index)]

    def finish(self, reason: str, service_tier: str | UnsetType = UNSET) -> list[StreamEvent]:
        """Close everything and finish."""
        events = self.end_all()
        self.finished = True
        return [*events, Finished(reason, service_tier)]


def is_json(text: str) -> bool:
    """Whether a text is one whole JSON value."""
    try:
        _json.decode(text.encode("utf-8", "replace"))
    except (_json.DecodeError, RecursionError):
        return False
    return True


def fold(events: Iterable[StreamEvent]) -> Reply:
    """The unary reply of a finished stream. Raises the error of a failed one."""
    started: Started | None = None
    items: dict[int, Item] = {}
    usage: Usage | UnsetType = UNSET
    finish = Finished("stop")
    for event in events:
        if isinstance(event, Started):
            started = event
        elif isinstance(event, ItemEnded):
            items[event.index] = event.item
        elif isinstance(event, UsageReported):
            usage = event.usage
        elif isinstance(event, Finished):
            finish = event
        elif isinstance(event, Failed):
            raise event.error
    if started is None:
        raise ValueError("a stream begins with Started")
    return Reply(
        id=started.id,
        model=started.model,
        created_at=started.created_at,
        items=tuple(items[index] for index in sorted(items)),
        finish_reason=finish.reason,
        usage=usage,
        service_tier=started.service_tier if finish.service_tier is UNSET else finish.service_tier,
        system_fingerprint=started.system_fingerprint,
    )


def unfold(reply: Reply) -> list[StreamEvent]:
    """The events of a stream that tells a whole reply at once; `fold` of it is the reply."""
    accumulator = Accumulator()
    events: list[StreamEvent] = [
        Started(reply.id, reply.model, reply.created_at, reply.service_tier, reply.system_fingerprint)
    ]
    for item in reply.items:
        events += _unfold_item(accumulator, item)
    if reply.usage is not UNSET:
        events.append(UsageReported(reply.usage))
    return events + accumulator.finish(reply.finish_reason)


def _unfold_item(accumulator: Accumulator, item: Item) -> list[StreamEvent]:
    parts: list[tuple[type[StreamPart], str, Text | None]] = []
    empty = item
    if isinstance(item, Message):
        held = [part for part in item.content if isinstance(part, Text | Refusal)]
        parts = [(type(part), part.text, part if isinstance(part, Text) else None) for part in held]
        empty = msgspec.structs.replace(item, content=())
    elif isinstance(item, Reasoning):
        parts = [(SummaryText, text, None) for text in item.summary]
        parts += [(ReasoningText, text, None) for text in item.content]
        empty = msgspec.structs.replace(item, summary=(), content=())
    elif isinstance(item, ToolCall):
        empty = msgspec.structs.replace(item, arguments="")
    index, events = accumulator.start_item(empty)
    if isinstance(item, ToolCall):
        events += accumulator.delta(index, 0, item.arguments)
    for kind, text, source in parts:
        part, started = accumulator.start_part(index, kind)
        events += started
        events += accumulator.delta(index, part, text, source.logprobs if source else ())
        for annotation in source.annotations if source else ():
            events += accumulator.annotate(index, part, annotation)
        events += accumulator.end_part(index, part)
    if isinstance(item, Message) and len(parts) < len(item.content):  # images and the like come whole, with the end
        whole = tuple(part for part in item.content if not isinstance(part, Text | Refusal))
        accumulator.update_item(index, msgspec.structs.replace(item, content=whole))
    return events + accumulator.end_item(index)
