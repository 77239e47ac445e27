"""Streams of one format, relayed: bytes in, the same bytes out, but for the model's name."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aigateway import _json, _sse
from aigateway.errors import GatewayError, UpstreamError, UpstreamProtocolError
from aigateway.formats.choices import ChoicesRelay
from aigateway.formats.images.relay import ImagesRelay
from aigateway.formats.relay import StreamRelay
from aigateway.formats.responses.relay import ResponsesRelay

ASKED = "gpt-4"


class Relayed(msgspec.Struct):
    """What a stream became, and what was learnt of it."""

    out: bytes
    usage: tuple[int, int] | None
    finished: bool
    error: tuple[int, str] | None


def relayed(relay: StreamRelay, stream: bytes, cuts: Sequence[int] = ()) -> Relayed:
    """Send a stream through, cut at these places, until it ends or fails."""
    places = [0, *sorted(cuts), len(stream)]
    out = b""
    error: GatewayError | None = None
    try:
        for start, end in itertools.pairwise(places):
            out += relay.feed(stream[start:end])
            if relay.failure is not None:
                raise relay.failure
        out += relay.flush()
        if relay.failure is not None:
            raise relay.failure
    except GatewayError as raised:
        error = raised
    usage = None if relay.usage is None else (relay.usage.input_tokens, relay.usage.output_tokens)
    return Relayed(out, usage, relay.finished, None if error is None else (error.status, error.message))


def frame(value: Any, end: bytes = b"\n") -> bytes:
    data = value if isinstance(value, bytes) else _json.encode(value)
    return b"data: " + data + end + end


def chunk(text: str = "x", finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4-turbo",
        "choices": [choice],
    } | more


USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
USAGE_ONLY = chunk(choices=[], usage=USAGE)
DONE = _sse.DONE_FRAME


def with_model(value: dict[str, Any], model: str = ASKED) -> bytes:
    return frame(value | {"model": model})


# the model's name

CHUNKS: dict[str, tuple[bytes, bytes]] = {
    "compact": (b'{"id":"c","model":"gpt-4-turbo"}', b'{"id":"c","model":"gpt-4"}'),
    "with spaces": (b'{"id": "c", "model": "gpt-4-turbo"}', b'{"id": "c", "model": "gpt-4"}'),
    "with odd spaces": (b'{"id" :"c" , "model" : "gpt-4-turbo" }', b'{"id" :"c" , "model" : "gpt-4" }'),
    "after the choices": (b'{"choices":[{"a":{}}],"model":"gpt-4-turbo"}', b'{"choices":[{"a":{}}],"model":"gpt-4"}'),
    "escaped": (b'{"model":"meta\\/llama"}', b'{"model":"gpt-4"}'),
    "escaped key": (b'{"mod\\u0065l":"gpt-4-turbo"}', b'{"mod\\u0065l":"gpt-4-turbo"}'),
    "another name in mid-stream": (b'{"model":"gpt-4-0613"}', b'{"model":"gpt-4"}'),
    "empty, as in Azure's first chunk": (b'{"model":"","choices":[]}', b'{"model":"gpt-4","choices":[]}'),
    "beside an echo of the request": (
        b'{"metadata":{"model":"gpt-4-turbo"},"model":"gpt-4-turbo"}',
        b'{"metadata":{"model":"gpt-4-turbo"},"model":"gpt-4"}',
    ),
    "before an echo of the request": (
        b'{"model":"gpt-4-turbo","metadata":{"model":"gpt-4-turbo"}}',
        b'{"model":"gpt-4","metadata":{"model":"gpt-4-turbo"}}',
    ),
    "only an echo": (
        b'{"id":"c","metadata":{"model":"gpt-4-turbo"}}',
        b'{"id":"c","metadata":{"model":"gpt-4-turbo"}}',
    ),
    "in a text": (
        b'{"model":"gpt-4-turbo","a":"\\"model\\":\\"gpt-4-turbo\\" {"}',
        b'{"model":"gpt-4","a":"\\"model\\":\\"gpt-4-turbo\\" {"}',
    ),
    "only in a text": (b'{"a":"\\"model\\":\\"gpt-4-turbo\\""}', b'{"a":"\\"model\\":\\"gpt-4-turbo\\""}'),
    "a value": (b'{"a":"model","b":"gpt-4-turbo"}', b'{"a":"model","b":"gpt-4-turbo"}'),
    "null": (b'{"id":"c","model":null}', b'{"id":"c","model":null}'),
    "no model": (b'{"id":"c","x_new_field":[1.50,1e2]}', b'{"id":"c","x_new_field":[1.50,1e2]}'),
}


@pytest.mark.parametrize(("sent", "expected"), CHUNKS.values(), ids=CHUNKS.keys())
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("place", ["first", "later", "between"])
def test_the_model_is_renamed_where_it_is_the_model(sent: bytes, expected: bytes, end: bytes, place: str) -> None:
    usual, last = chunk(), frame(b"[DONE]", end)
    before = [] if place == "first" else [frame(usual, end)] * 2
    after = [frame(usual, end)] if place == "between" else []
    stream = b"".join([*before, frame(sent, end), *after, last])
    renamed = frame(usual | {"model": ASKED}, end)
    wanted = b"".join([*[renamed] * len(before), frame(expected, end), *[renamed] * len(after), last])
    for cuts in ((), range(len(stream))):
        assert relayed(ChoicesRelay(ASKED), stream, cuts).out.removesuffix(b"\n\n") == wanted.removesuffix(b"\n\n")


@pytest.mark.parametrize("model", ["gpt-4", 'a"b\\c', "名前", "a/b:c"])
def test_any_name_can_be_asked_for(model: str) -> None:
    stream = frame(chunk()) + frame(chunk("y", "stop")) + DONE
    events = _sse.SSEDecoder().feed(relayed(ChoicesRelay(model), stream).out)
    assert [_json.decode(event.data)["model"] for event in events[:-1]] == [model, model]


def test_a_stream_that_names_the_model_asked_for_is_untouched() -> None:
    spaced = b'data: {"id": "c", "model": "gpt-4", "choices": [{"finish_reason": "stop"}]}\n\n'
    stream = with_model(chunk()) + spaced + DONE
    assert relayed(ChoicesRelay(ASKED), stream).out == stream


def test_a_chunk_that_names_the_model_asked_for_hides_no_other() -> None:
    relay = ChoicesRelay(ASKED)
    relay.feed(frame(chunk()))
    assert relay.feed(with_model(chunk()) + frame(chunk()) + with_model(chunk())) == with_model(chunk()) * 3


ODD_FRAMES = {
    "comment": b": OPENROUTER PROCESSING\n\n",
    "comment with braces": b': {"model":"gpt-4-turbo"}\n\n',
    "empty data": b"data:\n\n",
    "unknown fields": b"id: 7\nretry: 10\nfoo: bar\n\n",
    "unknown event": b'event: ping\ndata: {"type":"ping"}\n\n',
    "not JSON": b"data: {garbage\n\n",
    "not an object": b"data: 7\n\n",
    "not UTF-8": b'data: {"a":"\xff"}\n\n',
    "extra blank lines": b"\n\n\n",
    "several data lines": b'data: {"id":"c",\ndata: "a":1}\n\n',
    "no space": b'data:{"id":"c"}\n\n',
    "floats as written": b'data: {"a":1.0,"b":1e-05,"c":12345678901234567890}\n\n',
}


@pytest.mark.parametrize("odd", ODD_FRAMES.values(), ids=ODD_FRAMES.keys())
@pytest.mark.parametrize("hide_usage", [False, True], ids=["", "hiding usage"])
def test_frames_that_say_nothing_to_us_pass_byte_for_byte(odd: bytes, hide_usage: bool) -> None:
    stream = frame(chunk()) + odd + frame(chunk("y", "stop")) + DONE
    wanted = with_model(chunk()) + odd + with_model(chunk("y", "stop")) + DONE
    assert relayed(ChoicesRelay(ASKED, hide_usage=hide_usage), stream) == Relayed(wanted, None, True, None)


def test_a_comment_in_front_of_an_event_does_not_hide_its_model() -> None:
    stream = b': {"model":"x"}\nevent: e\n' + frame(chunk("x", "stop"))
    assert relayed(ChoicesRelay(ASKED), stream).out == stream.replace(b"gpt-4-turbo", b"gpt-4")


def test_comments_before_the_first_event_pass_and_settle_nothing() -> None:
    relay = ChoicesRelay(ASKED)
    assert relay.feed(b": wait\n\n: wait\n\n") == b": wait\n\n: wait\n\n"
    assert not relay.saw_event
    assert relay.feed(frame(chunk())) == with_model(chunk())
    assert relay.saw_event


# usage


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("cut", [True, False], ids=["byte by byte", "at once"])
def test_the_chunk_that_only_tells_usage_is_hidden_when_asked(end: bytes, cut: bool) -> None:
    others = [frame(chunk("x"), end), frame(chunk("y", "stop"), end), frame(b"[DONE]", end)]
    stream = b"".join([*others[:2], frame(USAGE_ONLY, end), others[2]])
    cuts = range(len(stream)) if cut else ()
    shown = b"".join(others).replace(b"gpt-4-turbo", b"gpt-4")
    assert relayed(ChoicesRelay(ASKED, hide_usage=True), stream, cuts) == Relayed(shown, (3, 5), True, None)
    whole = stream.replace(b"gpt-4-turbo", b"gpt-4")
    assert relayed(ChoicesRelay(ASKED), stream, cuts) == Relayed(whole, (3, 5), True, None)


def test_usage_in_every_chunk_is_shown_and_the_last_one_counts() -> None:
    counts = [{"prompt_tokens": 3, "completion_tokens": n, "total_tokens": 3 + n} for n in (1, 2, 3)]
    chunks = [chunk(usage=usage, finish="stop" if usage == counts[-1] else None) for usage in counts]
    stream = b"".join(map(frame, chunks)) + DONE
    result = relayed(ChoicesRelay(ASKED, hide_usage=True), stream)
    assert result == Relayed(b"".join(map(with_model, chunks)) + DONE, (3, 3), True, None)


def test_usage_beside_the_finish_is_shown() -> None:
    stream = with_model(chunk("x", "stop", usage=USAGE)) + DONE
    assert relayed(ChoicesRelay(ASKED, hide_usage=True), stream) == Relayed(stream, (3, 5), True, None)


def test_a_chunk_without_choices_or_usage_is_not_hidden() -> None:
    stream = with_model(chunk(choices=[], prompt_filter_results=[], usage=None)) + with_model(chunk("x", "stop"))
    assert relayed(ChoicesRelay(ASKED, hide_usage=True), stream).out == stream


# the end

PARTS = with_model(chunk("a")) + with_model(chunk("b"))
CUT = (502, "The upstream ended its stream before the answer was complete.")
ENDS: dict[str, tuple[bytes, bool]] = {
    "finish and done": (with_model(chunk("c", "stop")) + DONE, True),
    "finish alone": (with_model(chunk("c", "length")), True),
    "done alone": (DONE, True),
    "done without a space": (b"data:[DONE]\n\n", True),
    "done without its newlines": (b"data: [DONE]", True),
    "finish with spaces": (b'data: {"choices": [{"finish_reason": "stop"}]}\n\n', True),
    "nothing": (b"", False),
    "half a frame": (b'data: {"id":"c","choi', False),
    "finish and half a frame": (with_model(chunk("c", "stop")) + b'data: {"id":"c","choi', True),
    "a null finish": (b'data: {"choices":[{"finish_reason":null}]}\n\n', False),
    "a text about the end": (with_model(chunk('data: [DONE] "finish_reason":"stop"')), False),
    "usage alone": (with_model(USAGE_ONLY), False),
}


@pytest.mark.parametrize(("end", "finished"), ENDS.values(), ids=ENDS.keys())
def test_success_is_never_invented_for_a_chat_stream_that_was_cut(end: bytes, finished: bool) -> None:
    for cuts in ((), range(len(PARTS + end))):
        result = relayed(ChoicesRelay(ASKED), PARTS + end, cuts)
        assert (result.finished, result.error) == (finished, None if finished else CUT)
        assert result.out.startswith(PARTS)
        assert b"choi\n" not in result.out


def test_an_empty_stream_is_an_error() -> None:
    for relay in (ChoicesRelay(ASKED), ResponsesRelay(ASKED), ImagesRelay(ASKED)):
        assert relayed(relay, b"").error == CUT


def test_an_event_that_never_ends_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aigateway.formats.relay._HELD_MAX", 100)
    relay = ChoicesRelay(ASKED)
    relay.feed(b"data: " + b"x" * 90)
    with pytest.raises(UpstreamProtocolError, match="too large"):
        relay.feed(b"xxxxxxxx")


# errors that the upstream puts into its stream

FIRST_ERRORS: dict[str, tuple[Any, int, str | None]] = {
    "status as code": ({"message": "slow down", "code": 429}, 429, "429"),
    "name as code": ({"message": "too long", "code": "context_length_exceeded"}, 400, "context_length_exceeded"),
    "quota": (
        {"message": "pay", "type": "insufficient_quota", "code": "insufficient_quota"},
        429,
        "insufficient_quota",
    ),
    "its own fault": ({"message": "secret host 10.0.0.1 is down", "code": 503}, 502, "upstream_error"),
    "unknown": ({"message": "secret"}, 502, "upstream_error"),
    "text": ("secret", 502, "upstream_error"),
}


@pytest.mark.parametrize(("error", "status", "code"), FIRST_ERRORS.values(), ids=FIRST_ERRORS.keys())
@pytest.mark.parametrize("relay", [ChoicesRelay, ResponsesRelay, ImagesRelay], ids=lambda kind: kind.__name__)
def test_an_error_as_the_first_event_is_raised_with_its_status(
    relay: type[StreamRelay], error: Any, status: int, code: str
) -> None:
    with pytest.raises(UpstreamError) as caught:
        relay(ASKED).feed(b": hello\n\n" + frame({"error": error}) + DONE)
    assert (caught.value.status, caught.value.code) == (status, code)
    assert "secret" not in caught.value.message
    if status < 500:
        assert caught.value.message == error["message"]


@pytest.mark.parametrize("relay", [ResponsesRelay, ImagesRelay], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("nested", [True, False], ids=["nested", "flat"])
def test_an_error_event_as_the_first_is_raised(relay: type[StreamRelay], nested: bool) -> None:
    facts = {"message": "slow", "code": "rate_limit_exceeded", "param": "input"}
    event = {"type": "error", "sequence_number": 0} | ({"error": facts} if nested else facts)
    with pytest.raises(UpstreamError, match="slow") as caught:
        relay(ASKED).feed(b"event: error\n" + frame(event))
    assert (caught.value.status, caught.value.param) == (429, "input")
    assert caught.value.type != "error"


@pytest.mark.parametrize("first", [b"<html>", b"7", b"[DONE]", b"[]"])
def test_a_stream_must_begin_with_an_object(first: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        ChoicesRelay(ASKED).feed(frame(first))


def test_an_error_in_mid_stream_ends_it_after_what_stood_before() -> None:
    stream = PARTS + frame({"error": {"message": "slow", "code": 429}}) + with_model(chunk("c", "stop")) + DONE
    for cuts in ((), range(len(stream))):
        result = relayed(ChoicesRelay(ASKED), stream, cuts)
        assert (result.out, result.error) == (PARTS, (429, "slow"))


@pytest.mark.parametrize(
    "harmless", [chunk(error=None), chunk('{"error":"no"}'), chunk(error=[])], ids=["null", "in a text", "empty"]
)
def test_what_only_looks_like_an_error_is_none(harmless: dict[str, Any]) -> None:
    stream = with_model(harmless) + with_model(harmless) + DONE
    assert relayed(ChoicesRelay(ASKED), stream) == Relayed(stream, None, True, None)


def test_a_failed_chat_stream_ends_in_one_error_object() -> None:
    (event,) = ChoicesRelay(ASKED).fail(UpstreamError("broken", code="c", param="p"))
    assert (event.name, event.data) == (
        "",
        {"error": {"message": "broken", "type": "upstream_error", "param": "p", "code": "c"}},
    )


def test_a_failed_images_stream_ends_in_one_error_event() -> None:
    (event,) = ImagesRelay(ASKED).fail(UpstreamError("broken"))
    assert (event.name, event.data["type"], event.data["error"]["message"]) == ("error", "error", "broken")


# any split

chat_frames = st.sampled_from(
    [
        _json.encode(chunk()),
        _json.encode(chunk('\r\n\n"model":"gpt-4-turbo"')),
        _json.encode(chunk(metadata={"model": "gpt-4-turbo"})),
        _json.encode({"metadata": {"model": "gpt-4-turbo"}} | chunk()),
        _json.encode({"metadata": {"model": "gpt-4-turbo"}}),
        _json.encode(chunk(usage=USAGE | {"completion_tokens": 1})),
        _json.encode(USAGE_ONLY),
        _json.encode(chunk(error=None)),
        _json.encode(chunk("z", "stop")),
        b'{"model" : "other", "choices": []}',
        b'{"error":{"message":"slow","code":429}}',
        b"[DONE]",
        b"{garbage",
        b"",
    ]
)
ends = st.sampled_from([b"\n\n", b"\r\n\r\n", b"\n\r\n", b"\r\n\n", b"\r\r"])
heads = st.sampled_from([b"data: ", b"data:", b": ", b"event: x\ndata: ", b"event: x\r\ndata: "])


@st.composite
def chat_streams(draw: st.DrawFn) -> bytes:
    """Frames with blank lines of every kind; sometimes cut."""
    stream = b"data: " + _json.encode(chunk()) + b"\n\n"
    for body in draw(st.lists(chat_frames, max_size=8)):
        stream += draw(heads) + body + draw(ends)
    return stream[: len(stream) - draw(st.sampled_from([0, 0, 1, 2, 20]))]


@pytest.mark.parametrize("blank", [b"\r\n\r", b"\n\r", b"\r\r"])
def test_a_last_event_whose_blank_line_is_a_cr_is_passed_on_unread(blank: bytes) -> None:
    stream = b"data: " + _json.encode(chunk(finish="stop")) + b"\n\ndata: {garbage" + blank
    shown = _sse.SSEDecoder().feed(relayed(ChoicesRelay(ASKED), stream).out)
    assert [event.data for event in shown][1:] == [b"{garbage"]


@given(chat_streams(), st.booleans(), st.data())
@settings(max_examples=200)
def test_any_split_of_a_chat_stream_gives_the_same(stream: bytes, hide_usage: bool, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=10))
    whole = relayed(ChoicesRelay(ASKED, hide_usage=hide_usage), stream)
    assert relayed(ChoicesRelay(ASKED, hide_usage=hide_usage), stream, cuts) == whole
    if whole.error is None and not hide_usage:
        before, after = _sse.SSEDecoder(), _sse.SSEDecoder()
        sent, shown = before.feed(stream), after.feed(whole.out)
        for old, new in itertools.zip_longest(sent, shown[: len(sent)]):
            assert new.event == old.event
            assert new.data == expected_data(old.data)


LIKE_THE_LAST = {
    "an error": frame({**chunk(choices=[]), "error": {"message": "out of memory", "code": 500}}),
    "usage": frame(USAGE_ONLY),
    "the end": frame(chunk(finish="stop")),
    "the model once more": frame(_json.encode(chunk())[:-1] + b',"model":"gpt-4-turbo"}'),
    "another line": frame(chunk())[:-1] + b"data: \n\n",
    "a CR": frame(chunk())[:-2] + b"\r\n\r\n",
    "two frames": frame(chunk("a")) + frame(chunk("b")),
}
"""Frames that begin as the ones before them did, and are not as these are."""


@pytest.mark.parametrize("hide_usage", [False, True])
@pytest.mark.parametrize("odd", LIKE_THE_LAST.values(), ids=LIKE_THE_LAST)
def test_frames_that_come_one_by_one_are_seen_as_when_they_come_together(odd: bytes, hide_usage: bool) -> None:
    frames = [frame(chunk("a")), frame(chunk("b")), odd, frame(chunk("c")), frame(chunk(finish="stop")), DONE]
    cuts = list(itertools.accumulate(map(len, frames)))[:-1]
    together = relayed(ChoicesRelay(ASKED, hide_usage=hide_usage), b"".join(frames))
    assert relayed(ChoicesRelay(ASKED, hide_usage=hide_usage), b"".join(frames), cuts) == together


def expected_data(data: bytes) -> bytes:
    try:
        value = _json.decode(data)
    except (_json.DecodeError, UnicodeDecodeError):
        return data
    renamed = isinstance(value, dict) and isinstance(value.get("model"), str)
    return _json.replace_value(data, ASKED, "model") if renamed else data


def test_a_large_event_costs_what_reading_it_costs() -> None:
    """Its pieces are put together once: the bytes that are copied do not grow with the square of its size."""
    event = frame(chunk("x" * 4_000_000))
    relay = ChoicesRelay(ASKED)
    pieces = [event[at : at + 1000] for at in range(0, len(event), 1000)]
    assert b"".join(relay.feed(piece) for piece in pieces) == event.replace(b"gpt-4-turbo", b"gpt-4")
    assert relay._held == []
