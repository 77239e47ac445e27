"""Canonical streams made up by hypothesis, and what it takes to send them on as Responses."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import UNSET

from aigateway import _json, _sse
from aigateway._sse import SSEEvent
from aigateway.canonical.accumulator import Accumulator
from aigateway.canonical.events import (
    Delta,
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
from aigateway.canonical.lens import Document
from aigateway.canonical.types import (
    Annotation,
    Item,
    Message,
    Opaque,
    Reasoning,
    Refusal,
    Reply,
    Text,
    ToolCall,
    UrlCitation,
    Usage,
)
from aigateway.formats.protocol import Profile, ReplyContext, WireEvent
from aigateway.formats.responses.codec import ResponsesCodec

_MESSAGE_PARTS: list[type[StreamPart]] = [Text, Refusal]
_REASONING_PARTS: list[type[StreamPart]] = [SummaryText, ReasoningText]

CODEC = ResponsesCodec()
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ARGUMENTS = st.dictionaries(TEXTS, st.integers() | TEXTS, max_size=3).map(lambda value: _json.encode(value).decode())
ANNOTATIONS: st.SearchStrategy[Annotation] = st.one_of(
    st.builds(UrlCitation, url=TEXTS, title=TEXTS, start_index=st.integers(0, 9), end_index=st.integers(0, 9)),
    st.builds(
        Opaque,
        format=st.just("responses"),
        raw=st.just({"type": "file_citation", "file_id": "f", "filename": "f.txt", "index": 1}),
    ),
)
USAGES = st.builds(
    lambda spent, made: Usage(
        input_tokens=spent,
        output_tokens=made,
        total_tokens=spent + made,
        cached_tokens=spent // 2,
        reasoning_tokens=made // 3,
    ),
    st.integers(1, 999),
    st.integers(0, 999),
)


def context(body: dict[str, Any] | None = None, profile: Profile = "openai") -> ReplyContext:
    """A context with counted ids and a clock that stands."""
    body = {"model": "m", "input": "hi"} | (body or {})
    count = itertools.count()
    return ReplyContext(
        model="asked-for",
        document=Document(_json.encode(body)),
        request=CODEC.decode_request(body),
        new_id=lambda prefix: f"{prefix}_{next(count)}",
        now=lambda: 1_700_000_000,
        profile=profile,
    )


def encoded(
    events: Iterable[StreamEvent], body: dict[str, Any] | None = None, profile: Profile = "openai"
) -> list[dict[str, Any]]:
    """What a caller gets of a stream."""
    encoder = CODEC.stream_encoder(context(body, profile))
    return data_of([wire for event in events for wire in encoder.feed(event)])


def data_of(events: list[WireEvent]) -> list[dict[str, Any]]:
    """The objects of wire events, as the caller reads them."""
    assert all(event.name == event.data["type"] for event in events)
    return [_json.decode(_json.encode(event.data)) for event in events]


def decoded(events: Iterable[dict[str, Any]]) -> list[StreamEvent]:
    """A Responses stream in canonical events, to the end of the bytes."""
    decoder = CODEC.stream_decoder()
    found = [canonical for event in events for canonical in decoder.feed(SSEEvent(_json.encode(event), event["type"]))]
    return found + decoder.flush()


def decoded_bytes(chunks: Iterable[bytes]) -> list[StreamEvent]:
    """The same from bytes as they come."""
    sse, decoder = _sse.SSEDecoder(), CODEC.stream_decoder()
    found = [canonical for chunk in chunks for event in sse.feed(chunk) for canonical in decoder.feed(event)]
    found += [canonical for event in sse.flush() for canonical in decoder.feed(event)]
    return found + decoder.flush()


def plain_item(item: Item) -> Item:
    """An item without what a format gives of its own: ids and statuses; no arguments are `{}`."""
    if isinstance(item, Opaque):
        return msgspec.structs.replace(item, raw=item.raw | {"id": ""})
    item = msgspec.structs.replace(item, id="", status="")
    if isinstance(item, ToolCall) and item.kind == "function":
        return msgspec.structs.replace(item, arguments=item.arguments or "{}")
    return item


def plain(reply: Reply) -> Reply:
    """A reply up to ids, and to the tier that a resource must name."""
    reply = msgspec.structs.replace(reply, service_tier="default") if reply.service_tier is UNSET else reply
    return msgspec.structs.replace(
        reply, id="", model="", created_at=0, items=tuple(map(plain_item, reply.items)), system_fingerprint=""
    )


def alike(reply: Reply) -> Reply:
    """A reply up to ids and seals: OpenAI seals the same reasoning anew in every event."""
    reply = plain(reply)
    return msgspec.structs.replace(reply, items=tuple(map(_sealed_alike, reply.items)))


def _sealed_alike(item: Item) -> Item:
    if isinstance(item, Reasoning) and item.encrypted is not UNSET:
        return msgspec.structs.replace(item, encrypted="sealed", origin="openai")
    return item


def check_canonical(events: list[StreamEvent]) -> None:
    """Raise AssertionError where events are against the grammar of a finished canonical stream, or do not add up."""
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)
    texts: dict[int, dict[int, str]] = {}
    ended: set[int] = set()
    for event in events[1:-1]:
        assert getattr(event, "index", -1) not in ended, "an event for an item that has ended"
        if isinstance(event, ItemStarted):
            assert event.index == len(texts)
            texts[event.index] = {}
        elif isinstance(event, PartStarted):
            assert event.part == len(texts[event.index])
            texts[event.index][event.part] = ""
        elif isinstance(event, Delta):
            texts[event.index][event.part] = texts[event.index].get(event.part, "") + event.text
        elif isinstance(event, PartEnded):
            assert texts[event.index][event.part] == event.content.text
        elif isinstance(event, ItemEnded):
            ended.add(event.index)
    assert ended == set(texts)


@st.composite
def streams(draw: st.DrawFn, *, overlapping: bool = False) -> list[StreamEvent]:
    """A whole stream as a decoder gives it; `overlapping`: items begin while others are open."""
    accumulator = Accumulator()
    events: list[StreamEvent] = [Started("up_1", "upstream-model", 7)]
    writers = [draw(st.sampled_from(_WRITERS))(draw) for _ in range(draw(st.integers(0, 4)))]
    running = [writer(accumulator) for writer in writers]
    while running:
        place = draw(st.integers(0, len(running) - 1)) if overlapping else 0
        step = next(running[place], None)
        if step is None:
            running.pop(place)
        else:
            events += step
    if draw(st.booleans()):
        events.append(UsageReported(draw(USAGES)))
    reason = draw(st.sampled_from(["length", "content_filter", None]))
    return events + accumulator.finish(reason or ("tool_calls" if accumulator.has_tool_calls else "stop"), "default")


def _message(draw: st.DrawFn) -> Any:
    parts = draw(
        st.lists(
            st.tuples(st.sampled_from(_MESSAGE_PARTS), st.lists(TEXTS, max_size=3), st.lists(ANNOTATIONS, max_size=2)),
            max_size=3,
        )
    )
    item = Message(role="assistant", id=draw(st.sampled_from(["msg_own", "other"])))

    def write(accumulator: Accumulator) -> Any:
        index, events = accumulator.start_item(item)
        yield events
        for kind, pieces, citations in parts:
            number, events = accumulator.start_part(index, kind)
            yield events
            for piece in pieces:
                yield accumulator.delta(index, number, piece)
            for annotation in citations if kind is Text else ():
                yield accumulator.annotate(index, number, annotation)
            yield accumulator.end_part(index, number)
        yield accumulator.end_item(index)

    return write


def _reasoning(draw: st.DrawFn) -> Any:
    parts = draw(st.lists(st.tuples(st.sampled_from(_REASONING_PARTS), st.lists(TEXTS, max_size=3)), max_size=3))
    sealed = draw(st.booleans())

    def write(accumulator: Accumulator) -> Any:
        index, events = accumulator.start_item(
            Reasoning(encrypted="sealed", origin="openai") if sealed else Reasoning()
        )
        yield events
        for kind, pieces in parts:
            number, events = accumulator.start_part(index, kind)
            yield events
            for piece in pieces:
                yield accumulator.delta(index, number, piece)
        yield accumulator.end_item(index)

    return write


def _call(draw: st.DrawFn) -> Any:
    kind = draw(st.sampled_from(["function", "custom"]))
    whole = draw(ARGUMENTS | st.just("") if kind == "function" else TEXTS)
    cut = draw(st.integers(0, len(whole)))
    namespace = draw(st.booleans())

    def write(accumulator: Accumulator) -> Any:
        call = ToolCall(call_id=f"call_{accumulator._count}", name="look", kind=kind)
        index, events = accumulator.start_item(msgspec.structs.replace(call, namespace="n") if namespace else call)
        yield events
        yield accumulator.delta(index, 0, whole[:cut])
        yield accumulator.delta(index, 0, whole[cut:])
        yield accumulator.end_item(index)

    return write


def _hosted(draw: st.DrawFn) -> Any:
    raw = {"type": "web_search_call", "status": "in_progress"} | draw(st.sampled_from([{}, {"id": "ws_own"}]))

    def write(accumulator: Accumulator) -> Any:
        index, events = accumulator.start_item(Opaque(format="responses", raw=raw))
        yield events
        accumulator.update_item(index, Opaque(format="responses", raw=raw | {"status": "completed"}))
        yield accumulator.end_item(index)

    return write


_WRITERS = [_message, _reasoning, _call, _hosted]
