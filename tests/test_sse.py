"""Server-sent events: the WHATWG rules, at any split of the bytes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigateway import _sse
from aigateway._sse import SSEDecoder, SSEEvent
from aigateway.errors import UpstreamProtocolError


def decoded(stream: bytes, *cuts: int) -> list[SSEEvent]:
    """The events of a stream that arrives cut at these places."""
    decoder = SSEDecoder()
    places = [0, *sorted(cuts), len(stream)]
    events: list[SSEEvent] = []
    for start, end in itertools.pairwise(places):
        events += decoder.feed(stream[start:end])
    return events + decoder.flush()


RULES: dict[str, tuple[bytes, list[tuple[str, str]]]] = {
    "LF": (b"data: a\n\ndata: b\n\n", [("", "a"), ("", "b")]),
    "CRLF": (b"data: a\r\n\r\ndata: b\r\n\r\n", [("", "a"), ("", "b")]),
    "CR": (b"data: a\r\rdata: b\r\r", [("", "a"), ("", "b")]),
    "mixed line ends": (b"data: a\r\n\ndata: b\r\r\ndata: c\n\r", [("", "a"), ("", "b"), ("", "c")]),
    "CRLF is one line end, not two": (b"data: a\r\ndata: b\r\n\r\n", [("", "a\nb")]),
    "BOM at the start": (b"\xef\xbb\xbfdata: a\n\n", [("", "a")]),
    "BOM only once": (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", [("", "b")]),
    "BOM later is an unknown field": (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [("", "a")]),
    "half a BOM is no BOM": (b"\xef\xbbdata: a\n\ndata: b\n\n", [("", "b")]),
    "comments are passed over": (b": ping\n\n:\ndata: a\n: x\n\n:data: no\n\n", [("", "a")]),
    "data on several lines": (b"data: a\ndata: b\ndata: c\n\n", [("", "a\nb\nc")]),
    "one space is taken off": (b"data:  a\n\ndata:b\n\ndata: \n\n", [("", " a"), ("", "b"), ("", "")]),
    "a tab is not taken off": (b"data:\ta\n\n", [("", "\ta")]),
    "data without a colon is an empty line": (b"data\n\n", [("", "")]),
    "two of them are a line feed": (b"data\ndata\n\n", [("", "\n")]),
    "event names": (b"event: x\ndata: a\n\nevent:y\ndata: b\n\n", [("x", "a"), ("y", "b")]),
    "a name holds for one event": (b"event: x\ndata: a\n\ndata: b\n\n", [("x", "a"), ("", "b")]),
    "the last name counts": (b"event: x\nevent: y\ndata: a\n\n", [("y", "a")]),
    "event without a colon takes the name away": (b"event: x\nevent\ndata: a\n\n", [("", "a")]),
    "a name without data is no event": (b"event: x\n\ndata: a\n\n", [("", "a")]),
    "unknown fields": (b"id: 7\nretry: 10\nfoo: bar\ndatabase: no\ndata : no\n data: no\ndata: a\n\n", [("", "a")]),
    "names are case-sensitive": (b"Data: no\nDATA: no\ndata: a\n\n", [("", "a")]),
    "a colon in the value stays": (b"data: a: b\n\n", [("", "a: b")]),
    "empty events are none": (b"\n\n\n\r\n\r\r\n", []),
    "nothing": (b"", []),
    "only a BOM": (b"\xef\xbb\xbf", []),
    "last newline missing": (b"data: a\n\ndata: [DONE]", [("", "a"), ("", "[DONE]")]),
    "closing blank line missing": (b"data: a\n\ndata: [DONE]\n", [("", "a"), ("", "[DONE]")]),
    "closing blank line missing, CRLF": (b"event: x\r\ndata: a\r\n", [("x", "a")]),
    "a name that is not UTF-8": (b"event: \xff\ndata: a\n\n", [("\ufffd", "a")]),
    "line separators of Unicode are no line ends": (
        "data: a\u2028b\x0bc\x85\n\n".encode(),
        [("", "a\u2028b\x0bc\x85")],
    ),
}
each_rule = pytest.mark.parametrize(("stream", "expected"), RULES.values(), ids=RULES.keys())


@each_rule
def test_rules_of_the_standard(stream: bytes, expected: list[tuple[str, str]]) -> None:
    assert [(event.event, event.data.decode()) for event in decoded(stream)] == expected


@each_rule
def test_rules_hold_when_every_byte_comes_alone(stream: bytes, expected: list[tuple[str, str]]) -> None:
    events = decoded(stream, *range(len(stream)))
    assert [(event.event, event.data.decode()) for event in events] == expected


line_ends = st.sampled_from([b"\n", b"\r", b"\r\n"])
fields = st.sampled_from(
    [
        b"",
        b"",
        b"data: a",
        b"data:b",
        b"data",
        b"data:  {}",
        b"event: x",
        b"event",
        b": ping",
        b"id: 1",
        b"dat",
        b"\xff",
    ]
) | st.binary(max_size=6)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Fields and free bytes joined by line ends of every kind, with or without a BOM."""
    lines = draw(st.lists(st.tuples(fields, line_ends), max_size=12))
    start = draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf", b"\xef\xbb", b"\xef"]))
    return start + b"".join(field + end for field, end in lines) + draw(fields)


@given(streams(), st.data())
def test_any_split_gives_the_same_events(stream: bytes, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    assert decoded(stream, *cuts) == decoded(stream)


def whatwg(stream: bytes) -> list[tuple[bytes, bytes]]:
    """The standard's own steps, written down plainly; an event left open at the end is given."""
    text = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    events, name, data = [], b"", b""
    for line in [*text.split(b"\n"), b""]:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not line:
            if data:
                events.append((name, data[:-1]))
            name, data = b"", b""
        elif field == b"data":
            data += value + b"\n"
        elif field == b"event":
            name = value
    return events


@given(streams())
def test_events_are_those_of_a_plain_reading_of_the_standard(stream: bytes) -> None:
    expected = [SSEEvent(data, name.decode("utf-8", "replace")) for name, data in whatwg(stream)]
    assert decoded(stream) == expected


one_line = st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=["Cs"]))


@given(st.lists(st.tuples(st.text(st.characters(blacklist_characters="\r", blacklist_categories=["Cs"])), one_line)))
def test_decoding_what_was_encoded_gives_it_back(events: list[tuple[str, str]]) -> None:
    stream = b"".join(_sse.encode(data.encode(), name) for data, name in events)
    assert decoded(stream) == [SSEEvent(data.encode(), name) for data, name in events]


def test_encoded_frames_are_as_clients_expect() -> None:
    assert _sse.encode(b"{}") == b"data: {}\n\n"
    assert _sse.encode(b"{}", "response.created") == b"event: response.created\ndata: {}\n\n"
    assert _sse.encode(b"a\r\nb\rc\nd") == b"data: a\ndata: b\ndata: c\ndata: d\n\n"
    assert _sse.DONE_FRAME == b"data: [DONE]\n\n"


def test_an_event_is_given_as_soon_as_its_blank_line_is_there() -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b"data: a\r\n") == []
    assert decoder.feed(b"\r") == [SSEEvent(b"a")]
    assert decoder.feed(b"\ndata: b\n\n") == [SSEEvent(b"b")]


@pytest.mark.parametrize("unit", [b"x", b"data: x\n"], ids=["one long line", "many data lines"])
def test_an_event_that_never_ends_is_an_error(unit: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sse, "MAX_EVENT_BYTES", 1000)
    decoder = SSEDecoder()
    decoder.feed(b"data: begin")
    for _ in range(900 // len(unit)):
        decoder.feed(unit)
    with pytest.raises(UpstreamProtocolError, match="too large"):
        decoder.feed(unit * 100)


def test_many_small_events_are_no_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sse, "MAX_EVENT_BYTES", 1000)
    decoder = SSEDecoder()
    for _ in range(500):
        assert decoder.feed(b": ping\n\ndata: abc\n\n") == [SSEEvent(b"abc")]
    assert decoder.flush() == []
