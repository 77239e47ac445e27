"""Streamed events as hooks read, edit, drop and split them: the same words for chat and responses, relayed or translated."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from aigateway import Call, EventLens, Hook, PermissionDeniedError
from aigateway.testing import Script
from tests.answers import ERROR_EVENTS, RESPONSES_EVENTS, TEXT, UNMARKED, USAGE, data_of, stream
from tests.asking import ROWS, Row, Seen, through
from tests.faults import plain_error

TEXTUAL = [
    row
    for row in ROWS
    if row.stream and row.api in ("chat", "completions", "responses", "messages", "generate_content")
]
IMAGES = [row for row in ROWS if row.stream and row.api == "images"]

each_textual = pytest.mark.parametrize("row", TEXTUAL, ids=lambda row: row.id)


class OnEvent(Hook):
    """One function as a hook."""

    def __init__(self, function: Callable[[EventLens], Any]) -> None:
        self.function = function

    def on_event(self, call: Call, event: EventLens) -> Any:
        return self.function(event)


async def seen_through(row: Row, function: Callable[[EventLens], Any], script: Script | None = None) -> Seen:
    """What the caller sees of a stream whose events go through a function."""
    seen, _ = await through(row, script or stream(row.upstream), OnEvent(function))
    assert seen.status == 200
    if row.api == "responses":
        check_numbers_and_names(seen)
    return seen


def check_numbers_and_names(seen: Seen) -> None:
    """`sequence_number` has no holes, and each `event:` line says the type of its data."""
    assert [event["sequence_number"] for event in seen.events] == list(range(len(seen.events)))
    names = [line.removeprefix("event: ") for line in seen.body.decode().split("\n") if line.startswith("event: ")]
    assert names == [event["type"] for event in seen.events]


def text_of(seen: Seen) -> str:
    """The text that the deltas add up to."""
    if seen.events[0].get("object") == "chat.completion.chunk":
        choices = [choice for event in seen.events for choice in event["choices"]]
        return "".join(choice["delta"].get("content") or "" for choice in choices)
    if seen.events[0].get("object") == "text_completion":
        return "".join(choice["text"] for event in seen.events for choice in event["choices"])
    if "candidates" in seen.events[0]:
        parts = [part for event in seen.events for part in event["candidates"][0]["content"]["parts"]]
        return "".join(part["text"] for part in parts)
    if seen.events[-1]["type"] == "message_stop":
        return "".join(event["delta"]["text"] for event in seen.events if event["type"] == "content_block_delta")
    return "".join(event["delta"] for event in seen.events if event["type"] == "response.output_text.delta")


@each_textual
async def test_the_text_of_events_reads_the_same_on_every_api(row: Row) -> None:
    texts: list[str] = []
    usages: list[Any] = []

    def read(event: EventLens) -> EventLens:
        texts.append(event.text)
        usages.append(event.usage)
        return event

    await seen_through(row, read)
    assert [text for text in texts if text] == ["Hello", " there"]
    told = [usage for usage in usages if usage is not None]
    assert [(usage.input_tokens, usage.output_tokens) for usage in told] == [tuple(USAGE.values())] * len(told)
    # the chunk with the usage is not shown to a caller of chat or completions who did not ask for it, and so to no hook
    shown = row.api in ("responses", "messages", "generate_content", row.upstream)
    assert len(told) == (3 if row.api == row.upstream == "generate_content" else int(shown))  # Google's tells it always


@each_textual
async def test_an_edited_event_reaches_the_caller(row: Row) -> None:
    def shout(event: EventLens) -> EventLens:
        event.map_texts(str.upper)
        return event

    seen = await seen_through(row, shout)
    assert text_of(seen) == TEXT.upper()
    assert TEXT not in seen.body.decode()
    plain = await seen_through(row, lambda event: event)
    assert len(seen.events) == len(plain.events)
    if row.api not in UNMARKED:
        assert data_of(seen.body)[-1] == "[DONE]" == data_of(plain.body)[-1]


@each_textual
async def test_a_dropped_event_is_gone(row: Row) -> None:
    seen = await seen_through(row, lambda event: None if event.text == "Hello" else event)
    assert text_of(seen) == " there"


@each_textual
async def test_the_first_event_can_be_dropped(row: Row) -> None:
    first: list[EventLens] = []

    def drop_first(event: EventLens) -> EventLens | None:
        first.append(event)
        return event if len(first) > 1 else None

    seen = await seen_through(row, drop_first)
    assert text_of(seen) == TEXT.removeprefix(first[0].text)
    assert len(seen.events) == len(first) - 1


def _halves(event: EventLens) -> list[EventLens]:
    left, right = copy.deepcopy(event), copy.deepcopy(event)
    left.text, right.text = event.text[:2], event.text[2:]
    return [left, right]


def _raw_halves(event: EventLens) -> list[dict[str, Any]]:
    return [copy.deepcopy(half.data) for half in _halves(event)]


def _new_lenses(event: EventLens) -> tuple[EventLens, ...]:
    return tuple(type(event)(half.data, event.name) for half in _halves(event))


@each_textual
@pytest.mark.parametrize("split", [_halves, _raw_halves, _new_lenses], ids=["copies", "raw-objects", "new-lenses"])
async def test_a_split_event_goes_out_in_pieces(row: Row, split: Callable[[EventLens], Any]) -> None:
    whole = await seen_through(row, lambda event: event)
    seen = await seen_through(row, lambda event: split(event) if event.text else event)
    assert text_of(seen) == TEXT
    assert len(seen.events) == len(whole.events) + 2


@each_textual
async def test_the_same_event_given_twice_goes_out_twice(row: Row) -> None:
    seen = await seen_through(row, lambda event: [event, event] if event.text == "Hello" else event)
    assert text_of(seen) == "HelloHello there"


@each_textual
async def test_another_event_in_place_of_one_is_numbered_like_it(row: Row) -> None:
    def replace(event: EventLens) -> Any:
        if event.text != "Hello":
            return event
        data = {name: value for name, value in event.data.items() if name != "sequence_number"}
        other = type(event)(data, event.name)
        other.text = "Bye"
        return other.data

    assert text_of(await seen_through(row, replace)) == "Bye there"


@each_textual
async def test_what_one_hook_gave_the_next_one_sees(row: Row) -> None:
    met: list[str] = []

    def note(event: EventLens) -> EventLens:
        met.append(event.text)
        return event

    splits = OnEvent(lambda event: _halves(event) if event.text else event)
    drops = OnEvent(lambda event: None if event.text == "He" else event)
    seen, _ = await through(row, stream(row.upstream), OnEvent(note), drops, splits)
    assert [text for text in met if text] == ["llo", " t", "here"]
    assert text_of(seen) == "llo there"


async def test_an_upstream_that_counts_from_elsewhere_is_numbered_on_from_there() -> None:
    events = [{**event, "sequence_number": event["sequence_number"] + 5} for event in RESPONSES_EVENTS]
    drop = OnEvent(lambda event: None if event.text == "Hello" else event)
    seen, _ = await through(Row("responses", "responses", stream=True), stream("responses", events), drop)
    assert [event["sequence_number"] for event in seen.events] == list(range(5, 5 + len(events) - 1))


BROKEN = [row for row in TEXTUAL if row.api == "responses"]


@pytest.mark.parametrize("row", BROKEN, ids=lambda row: row.id)
@pytest.mark.parametrize("ends", ["cut", "error"])
async def test_a_stream_that_breaks_after_a_drop_is_numbered_on(row: Row, ends: str) -> None:
    events = (RESPONSES_EVENTS if row.upstream == "responses" else stream_events_of(row.upstream))[:-2]
    if ends == "error":
        events = [*events, ERROR_EVENTS[row.upstream]]
    script = stream(row.upstream, events, done=False, fault="cut" if ends == "cut" else None)
    seen = await seen_through(row, lambda event: None if event.text == "Hello" else event, script)
    assert [event["type"] for event in seen.events][-2:] == ["error", "response.failed"]


def stream_events_of(api: str) -> list[dict[str, Any]]:
    """The events of a good stream of an API."""
    return [event for event in data_of(b"".join(stream(api).pieces or [])) if event != "[DONE]"]


@each_textual
async def test_a_hook_that_refuses_in_mid_stream_ends_it_after_what_came_before(row: Row) -> None:
    def refuse(event: EventLens) -> EventLens:
        if event.text == " there":
            raise PermissionDeniedError("no further", code="stopped_here")
        return event

    one_piece = Script(
        headers={"content-type": "text/event-stream"}, pieces=[b"".join(stream(row.upstream).pieces or [])]
    )
    seen = await seen_through(row, refuse, one_piece)
    assert b"Hello" in seen.body
    assert b" there" not in seen.body
    error = seen.events[-2 if row.api == "responses" else -1]
    told = plain_error(error["error"])
    assert (told["code"], told["message"]) == ("stopped_here", "no further")


@pytest.mark.parametrize("row", [*TEXTUAL, *IMAGES], ids=lambda row: row.id)
async def test_a_hook_that_refuses_the_first_event_is_answered_with_its_status(row: Row) -> None:
    def refuse(event: EventLens) -> EventLens:
        raise PermissionDeniedError("not at all")

    seen, _ = await through(row, stream(row.upstream), OnEvent(refuse))
    assert seen.status == 403
    assert seen.json()["error"]["message"] == "not at all"


@pytest.mark.parametrize("row", IMAGES, ids=lambda row: row.id)
async def test_image_events_can_be_edited_dropped_and_split(row: Row) -> None:
    def change(event: EventLens) -> Any:
        if event.data.get("partial_image_index") == 0:
            return None
        if event.data.get("partial_image_index") == 1:
            return [event, {"type": "image_generation.mine"}]
        assert event.usage is not None
        event.data["z_new"] = 1
        return event

    seen, _ = await through(row, stream("images"), OnEvent(change))
    kinds = ["image_generation.partial_image", "image_generation.mine", "image_generation.completed"]
    assert [event["type"] for event in seen.events] == kinds
    assert [line[7:] for line in seen.body.decode().split("\n") if line.startswith("event: ")] == kinds
    assert seen.events[-1]["z_new"] == 1


@each_textual
async def test_something_that_is_no_event_is_a_fault_of_the_hook(row: Row) -> None:
    seen, _ = await through(row, stream(row.upstream), OnEvent(lambda event: "text"))
    assert (seen.status, seen.code()) == (500, "hook_failed")


@each_textual
async def test_a_hook_that_fails_on_the_closing_events_too_cannot_hide_the_error(row: Row) -> None:
    def refuse_from_the_text_on(event: EventLens) -> EventLens:
        met.append(event.text)
        if mark in met:
            raise ValueError("of the hook")
        return event

    met: list[str] = []
    mark = " there" if row.api == "generate_content" else "Hello"  # the first event is not yet too late for a status
    seen = await seen_through(row, refuse_from_the_text_on)
    assert mark.encode() not in seen.body
    errors = [event for event in seen.events if event.get("error")]
    assert plain_error(errors[0]["error"])["code"] == "hook_failed"


@pytest.mark.parametrize("row", BROKEN, ids=lambda row: row.id)
async def test_what_a_broken_stream_tells_again_has_gone_through_the_hooks(row: Row) -> None:
    def redact(event: EventLens) -> EventLens:
        event.data = msgspec.json.decode(msgspec.json.encode(event.data).replace(b"Hello", b"*****"))
        return event

    events = (RESPONSES_EVENTS if row.upstream == "responses" else stream_events_of(row.upstream))[:-2]
    seen = await seen_through(row, redact, stream(row.upstream, events, done=False))
    assert b"*****" in seen.body
    assert b"Hello" not in seen.body
