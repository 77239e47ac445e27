"""The names of the streamed events, and what is open while they are sent."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from aigateway import _json, _sse
from aigateway.canonical.events import ReasoningText, StreamPart, SummaryText
from aigateway.canonical.types import Item, Message, Reasoning, Refusal, Text, ToolCall
from aigateway.formats.protocol import WireEvent
from aigateway.formats.responses.items import OUTPUT_TEXT, encode_part
from aigateway.formats.responses.resource import copied, encode_logprobs, output_parts


class Names(NamedTuple):
    """How the events of one kind of part are called."""

    added: str
    delta: str
    done: str
    part_done: str
    position: str
    field: str


_TEXT = Names(
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "content_index",
    "text",
)
NAMES: dict[type, Names] = {
    Text: _TEXT,
    Refusal: _TEXT._replace(delta="response.refusal.delta", done="response.refusal.done", field="refusal"),
    ReasoningText: _TEXT._replace(delta="response.reasoning_text.delta", done="response.reasoning_text.done"),
    SummaryText: Names(
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "summary_index",
        "text",
    ),
}
CALLS = {
    "function": ("response.function_call_arguments", "arguments"),
    "custom": ("response.custom_tool_call_input", "input"),
}


class DeltaFrame:
    """The frames of the deltas of one part or call, which differ in their numbers and texts. `event` is one of them."""

    __slots__ = ("_before", "_between", "_end")

    def __init__(self, event: WireEvent) -> None:
        data = event.data | {"sequence_number": 0, "delta": ""}
        frame = _sse.encode(_json.encode(data), event.name)
        # within a string no such key can stand: its quotes would be escaped
        self._before, _, rest = frame.partition(b'"sequence_number":0')
        self._between, _, self._end = rest.partition(b'"delta":""')

    def write(self, sequence: int, text: str) -> bytes:
        """The frame of one delta."""
        return b'%b"sequence_number":%d%b"delta":%b%b' % (
            self._before,
            sequence,
            self._between,
            _json.encode(text),
            self._end,
        )


class OpenPart:
    """A part that is being streamed."""

    __slots__ = ("annotations", "frame", "index", "kind", "logprobs", "names", "pieces")

    def __init__(self, kind: type[StreamPart], index: int) -> None:
        self.kind = kind
        self.names = NAMES[kind]
        self.index = index
        self.pieces: list[str] = []
        self.logprobs = kind is Text
        self.annotations = 0
        self.frame: DeltaFrame | None = None


class OpenItem:
    """An item that is being streamed."""

    __slots__ = ("contents", "counts", "frame", "id", "index", "item", "output_index", "parts", "pieces")

    def __init__(self, index: int, item: Item, id: str, output_index: int) -> None:
        self.index = index
        self.item = item
        self.id = id
        self.output_index = output_index
        self.parts: dict[int, OpenPart] = {}
        self.contents: dict[int, StreamPart] = {}
        self.counts = {"content_index": 0, "summary_index": 0}
        self.pieces: list[str] = []
        self.frame: DeltaFrame | None = None

    def so_far(self) -> Item:
        """The item with what was streamed of it."""
        open_parts = {number: content_of(part.kind, "".join(part.pieces)) for number, part in self.parts.items()}
        parts = [part for _, part in sorted((self.contents | open_parts).items())]
        if isinstance(self.item, Message):
            content = tuple(part for part in parts if isinstance(part, Text | Refusal))
            return msgspec.structs.replace(self.item, content=content)
        if isinstance(self.item, Reasoning):
            return msgspec.structs.replace(
                self.item,
                summary=tuple(part.text for part in parts if isinstance(part, SummaryText)),
                content=tuple(part.text for part in parts if isinstance(part, ReasoningText)),
            )
        if isinstance(self.item, ToolCall):
            return msgspec.structs.replace(self.item, arguments="".join(self.pieces))
        return self.item


def content_of(kind: type[StreamPart], text: str) -> StreamPart:
    """A part of a kind with this text."""
    if kind is Text:
        return Text(text=text)
    if kind is Refusal:
        return Refusal(text=text)
    return SummaryText(text) if kind is SummaryText else ReasoningText(text)


def bare(item: Item) -> Item:
    """The item as it stands when it is announced: nothing in it yet."""
    if isinstance(item, Message):
        return msgspec.structs.replace(item, content=())
    if isinstance(item, Reasoning):
        return msgspec.structs.replace(item, summary=(), content=())
    if isinstance(item, ToolCall):
        return msgspec.structs.replace(item, arguments="")
    return item


def not_streamed(opened: OpenItem, item: Item) -> list[Any]:
    """The parts of a whole item that came without events of their own: content parts, summaries, reasoning texts."""
    contents = opened.counts["content_index"]
    if isinstance(item, Message):
        return list(output_parts(item)[contents:])
    if isinstance(item, Reasoning):
        summaries = item.summary[opened.counts["summary_index"] :]
        return [*map(SummaryText, summaries), *map(ReasoningText, item.content[contents:])]
    return []


def part_object(content: Any) -> dict[str, Any]:
    """The wire object of a part."""
    if isinstance(content, SummaryText):
        return {"type": "summary_text", "text": content.text}
    if isinstance(content, ReasoningText):
        return {"type": "reasoning_text", "text": content.text}
    raw: dict[str, Any] = copied(encode_part(content, OUTPUT_TEXT))
    if isinstance(content, Text):
        raw["logprobs"] = encode_logprobs(content.logprobs)
    return raw


def place_of(opened: OpenItem, part: OpenPart) -> dict[str, Any]:
    """Where a part stands: its item's id and index, and its own index within the item."""
    return {"item_id": opened.id, "output_index": opened.output_index, part.names.position: part.index}
