"""AWS's event stream: split anywhere it gives the same, and whatever is broken in it is an error."""

from __future__ import annotations

import struct
import zlib

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from aigateway._eventstream import MAX_MESSAGE_BYTES, EventStreamDecoder, EventStreamMessage, MessageDecoder, encode
from aigateway.errors import UpstreamProtocolError
from tests.bedrock import Object, frame, frames, message
from tests.playback import cut

EVENTS: list[tuple[str, Object]] = [
    ("messageStart", {"role": "assistant"}),
    ("contentBlockDelta", {"delta": {"text": "Grüße 🌍"}}),
    ("metadata", {}),
]
WHOLE = frames(EVENTS)

some_messages = st.lists(
    st.tuples(
        st.dictionaries(
            st.text(st.characters(codec="ascii"), min_size=1, max_size=20), st.text(max_size=20), max_size=3
        ),
        st.binary(max_size=60),
    ),
    max_size=4,
)
cuts = st.lists(st.integers(0, 10_000), max_size=8)


def decoded(pieces: list[bytes]) -> list[EventStreamMessage]:
    decoder = MessageDecoder()
    return [found for piece in pieces for found in decoder.feed(piece)] + decoder.flush()


def until_it_broke(pieces: list[bytes]) -> tuple[list[EventStreamMessage], str]:
    """What came before the error, and the error."""
    decoder, found = MessageDecoder(), []
    try:
        for piece in pieces:
            found += decoder.feed(piece)
        decoder.flush()
    except UpstreamProtocolError as error:
        with pytest.raises(UpstreamProtocolError):
            decoder.feed(WHOLE)
        return found, error.message
    return found, ""


@given(some_messages, cuts)
def test_messages_are_the_same_wherever_they_are_split(
    sent: list[tuple[dict[str, str], bytes]], places: list[int]
) -> None:
    raw = b"".join(message(headers, payload) for headers, payload in sent)
    assert decoded(cut(raw, places)) == [EventStreamMessage(headers, payload) for headers, payload in sent]
    assert b"".join(encode(headers, payload) for headers, payload in sent) == raw


@given(some_messages)
def test_botocore_reads_the_same(sent: list[tuple[dict[str, str], bytes]]) -> None:
    raw = b"".join(encode(headers, payload) for headers, payload in sent)
    judge = EventStreamBuffer()
    judge.add_data(raw)
    assert [(found.headers, found.payload) for found in judge] == [
        (found.headers, found.payload) for found in decoded([raw])
    ]


@given(st.integers(0, len(WHOLE) * 8 - 1), cuts)
def test_a_flipped_bit_is_an_error_and_what_came_before_it_is_not_lost(bit: int, places: list[int]) -> None:
    raw = bytearray(WHOLE)
    raw[bit // 8] ^= 1 << bit % 8
    found, error = until_it_broke(cut(bytes(raw), places))
    assert error
    good, _ = until_it_broke([bytes(raw)])
    assert found == good == decoded([WHOLE])[: len(found)]
    assert len(found) < len(EVENTS)


@given(st.integers(1, len(WHOLE) - 1), cuts)
def test_a_stream_that_is_cut_within_a_message_is_an_error(length: int, places: list[int]) -> None:
    ends = [len(frames(EVENTS[:count])) for count in range(len(EVENTS))]
    _, error = until_it_broke(cut(WHOLE[:length], places))
    assert bool(error) is (length not in ends)


@given(st.binary(max_size=200), cuts)
def test_any_bytes_end_in_messages_or_an_error(raw: bytes, places: list[int]) -> None:
    assert until_it_broke(cut(raw, places)) == until_it_broke([raw])


@pytest.mark.parametrize(("total", "headers"), [(MAX_MESSAGE_BYTES + 1, 0), (15, 0), (40, 25), (0, 0), (2**32 - 1, 4)])
def test_lengths_that_cannot_be_are_refused_before_anything_is_waited_for(total: int, headers: int) -> None:
    prelude = struct.pack(">II", total, headers)
    found, error = until_it_broke([prelude + struct.pack(">I", zlib.crc32(prelude))])
    assert (found, "lengths" in error) == ([], True)


def with_headers(block: bytes) -> bytes:
    prelude = struct.pack(">II", 16 + len(block), len(block))
    head = prelude + struct.pack(">I", zlib.crc32(prelude)) + block
    return head + struct.pack(">I", zlib.crc32(head))


def test_headers_of_every_type_are_read() -> None:
    block = (
        b"\x01a\x00\x01b\x01\x01c\x02\xff\x01d\x03\xff\xfe\x01e\x04\x00\x00\x00\x05\x01f\x05" + struct.pack(">q", -7)
        + b"\x01g\x06\x00\x02hi\x01h\x07\x00\x02ok\x01i\x08" + bytes(8) + b"\x01j\x09" + bytes(16)
    )  # fmt: skip
    (found,) = decoded([with_headers(block)])
    assert found.headers == {
        "a": True, "b": False, "c": -1, "d": -2, "e": 5, "f": -7, "g": b"hi", "h": "ok", "i": bytes(8), "j": bytes(16),
    }  # fmt: skip


@pytest.mark.parametrize(
    "block",
    [b"\x01a\x0a", b"\x01a\x07\x00\x05hi", b"\x09a", b"\x01a", b"\x01a\x07\x00", b"\x01\xff\x00", b"\x01a\x05\x00"],
)
def test_headers_that_cannot_be_read_are_an_error(block: bytes) -> None:
    assert "header" in until_it_broke([with_headers(block)])[1]


def test_events_exceptions_and_errors_have_their_names() -> None:
    raw = (
        frame("messageStart", {"role": "assistant"})
        + frame("throttlingException", {"message": "slow down"})
        + message({":message-type": "error", ":error-code": "Bad", ":error-message": "it broke"}, b"")
    )
    events = EventStreamDecoder().feed(raw)
    assert [event.event for event in events] == ["messageStart", "throttlingException", "error"]
    assert events[2].data == b'{"code":"Bad","message":"it broke"}'
