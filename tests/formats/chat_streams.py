"""What the tests of the chat format share: chunks as an upstream sends them, and events as a reply makes them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import UNSET

from aigateway import _json, _sse
from aigateway.canonical.accumulator import Accumulator
from aigateway.canonical.events import ReasoningText, Started, StreamEvent, SummaryText, UsageReported
from aigateway.canonical.lens import Document
from aigateway.canonical.types import Message, Reasoning, Refusal, Reply, Request, Text, ToolCall
from aigateway.formats.chat.stream import ChatStreamDecoder, ChatStreamEncoder
from aigateway.formats.protocol import ReplyContext, WireEvent

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": "m"}
DONE = "[DONE]"


def context(*, include_usage: bool = False) -> ReplyContext:
    return ReplyContext(
        model="m",
        document=Document({}),
        request=Request(model="m", items=(), stream=True, include_usage=include_usage),
        new_id=lambda prefix: f"{prefix}-new",
        now=lambda: 1700000001,
    )


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    """One chunk of choice 0."""
    return {**HEAD, "choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}], **fields}


def calls(*entries: dict[str, Any]) -> dict[str, Any]:
    return chunk({"tool_calls": list(entries)})


def sse(chunks: Iterable[dict[str, Any] | str]) -> bytes:
    """Chunks, or raw data, as bytes on the wire."""
    return b"".join(_sse.encode(entry.encode() if isinstance(entry, str) else _json.encode(entry)) for entry in chunks)


def decode(stream: bytes, cuts: Iterable[int] = ()) -> list[StreamEvent]:
    """The events of a stream whose bytes come in pieces cut at these places."""
    places = sorted({place for place in cuts if 0 < place < len(stream)})
    wire, decoder = _sse.SSEDecoder(), ChatStreamDecoder()
    events: list[StreamEvent] = []
    for start, end in zip([0, *places], [*places, len(stream)], strict=True):
        for event in wire.feed(stream[start:end]):
            events += decoder.feed(event)
    for event in wire.flush():
        events += decoder.feed(event)
    return events + decoder.flush()


def decode_chunks(chunks: Iterable[dict[str, Any] | str]) -> list[StreamEvent]:
    return decode(sse(chunks))


def encode(events: Iterable[StreamEvent], *, include_usage: bool = False) -> list[dict[str, Any]]:
    """The chunks that a caller gets, as JSON would bring them."""
    encoder = ChatStreamEncoder(context(include_usage=include_usage))
    wire: list[WireEvent] = [out for event in events for out in encoder.feed(event)]
    assert all(out.name == "" for out in wire)
    return [json.loads(_json.encode(out.data)) for out in wire]


def events_of(reply: Reply, size: int = 3) -> list[StreamEvent]:
    """A reply as a stream of deltas of that many characters; the tool calls grow all at once, piece by piece."""
    acc = Accumulator()
    tier = reply.service_tier
    events: list[StreamEvent] = [Started(reply.id, reply.model, reply.created_at, tier, reply.system_fingerprint)]
    for item in reply.items:
        if isinstance(item, Reasoning):
            events += _reasoning(acc, item, size)
        elif isinstance(item, Message):
            events += _message(acc, item, size)
    events += _calls(acc, [item for item in reply.items if isinstance(item, ToolCall)], size)
    if reply.usage is not UNSET:
        events.append(UsageReported(reply.usage))
    return events + acc.finish(reply.finish_reason, tier)


def _pieces(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def _reasoning(acc: Accumulator, item: Reasoning, size: int) -> list[StreamEvent]:
    index, events = acc.start_item(msgspec.structs.replace(item, summary=(), content=()))
    kinds: tuple[tuple[type[SummaryText | ReasoningText], tuple[str, ...]], ...] = (
        (SummaryText, item.summary),
        (ReasoningText, item.content),
    )
    for kind, texts in kinds:
        for text in texts:
            part, new = acc.start_part(index, kind)
            events += new
            events += [event for piece in _pieces(text, size) for event in acc.delta(index, part, piece)]
            events += acc.end_part(index, part)
    return events + acc.end_item(index)


def _message(acc: Accumulator, item: Message, size: int) -> list[StreamEvent]:
    index, events = acc.start_item(Message(role="assistant"))
    for content in item.content:
        if not isinstance(content, Text | Refusal):
            continue
        part, new = acc.start_part(index, type(content))
        events += new
        tokens = content.logprobs if isinstance(content, Text) else ()
        for number, piece in enumerate(_pieces(content.text, size)):
            events += acc.delta(index, part, piece, tokens if number == 0 else ())
        for annotation in content.annotations if isinstance(content, Text) else ():
            events += acc.annotate(index, part, annotation)
        events += acc.end_part(index, part)
    return events + acc.end_item(index)


def _calls(acc: Accumulator, items: list[ToolCall], size: int) -> list[StreamEvent]:
    events: list[StreamEvent] = []
    rest: list[tuple[int, list[str]]] = []
    for item in items:
        index, new = acc.start_item(ToolCall(call_id=item.call_id, name=item.name, kind=item.kind))
        events += new
        rest.append((index, _pieces(item.arguments, size)))
    while any(pieces for _, pieces in rest):
        for index, pieces in rest:
            if pieces:
                events += acc.delta(index, 0, pieces.pop(0))
    return events
