"""What is read quickly because most of it looks alike is read as everything else is, or not at all."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from aigateway import _json, _sse
from aigateway._sse import SSEDecoder, SSEEvent
from aigateway.canonical.accumulator import fold
from aigateway.canonical.events import Delta, StreamEvent
from aigateway.canonical.quirks import Quirks
from aigateway.canonical.types import Change
from aigateway.canonical.uncarried import foreign_keys
from aigateway.errors import GatewayError
from aigateway.formats.chat.messages_out import encode_messages, plain_messages
from aigateway.formats.chat.reply import decode_plain_reply, decode_reply
from aigateway.formats.chat.stream import ChatStreamDecoder
from aigateway.formats.protocol import Profile
from aigateway.formats.responses.items import decode_item, plain_message
from aigateway.formats.responses.plain import decode_plain_request
from aigateway.formats.responses.tools import decode_tools
from tests.formats.responses_streams import CODEC, context, streams

ODD = st.sampled_from([None, "", "x", 0, -1, 7, 1.5, 2.0, True, [], [None], ["x"], {}, {"a": 1}])


def objects(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of these keys, each as it should be or of another type, and now and then one that nobody knows."""
    known = {key: st.one_of(values, values, values, ODD) for key, values in fields.items()}
    return st.fixed_dictionaries({}, optional=known | {"foreign": ODD})


TEXTS = st.text(max_size=6)
FUNCTIONS = objects(name=TEXTS, arguments=st.sampled_from(["{}", '{"a": 1}', '{"a"', ""]))
CALLS = objects(id=TEXTS, type=st.just("function"), function=FUNCTIONS, custom=objects(name=TEXTS, input=TEXTS))
COUNTS = st.integers(0, 9)
USAGES = objects(
    prompt_tokens=COUNTS,
    completion_tokens=COUNTS,
    total_tokens=st.integers(0, 18),
    prompt_tokens_details=objects(cached_tokens=COUNTS, audio_tokens=COUNTS),
    completion_tokens_details=objects(reasoning_tokens=COUNTS),
    cached_tokens=COUNTS,
)
MESSAGES = objects(
    role=st.just("assistant"),
    content=TEXTS,
    refusal=st.none(),
    annotations=st.just([]),
    tool_calls=st.lists(CALLS, max_size=2),
    reasoning_content=TEXTS,
    reasoning=TEXTS,
    reasoning_details=st.just([]),
    audio=st.none(),
)
CHOICES = objects(
    index=st.just(0),
    message=MESSAGES,
    finish_reason=st.sampled_from(["stop", "length", "tool_calls", "error", "eos"]),
    logprobs=st.none(),
)
COMPLETIONS = objects(
    id=TEXTS,
    model=TEXTS,
    created=st.integers(0, 10**10),
    choices=st.lists(CHOICES, max_size=2),
    usage=USAGES,
    service_tier=TEXTS,
    system_fingerprint=TEXTS,
    error=st.none(),
)


@given(COMPLETIONS)
def test_a_completion_is_read_quickly_as_it_is_slowly(body: dict[str, Any]) -> None:
    quickly = decode_plain_reply(_json.encode(body))
    if quickly is not None:
        assert quickly == decode_reply(_json.decode(_json.encode(body)))


def test_completions_as_most_are_are_read_quickly() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages: list[dict[str, Any]] = [
        {"role": "assistant", "content": "Hi.", "refusal": None, "annotations": []},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "assistant", "content": "Hi.", "reasoning_content": "Hm.", "tool_calls": []},
    ]
    for message in messages:
        usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        body = {"id": "x", "created": 1, "model": "m", "choices": [choice], "usage": usage, "service_tier": None}
        assert decode_plain_reply(_json.encode(body)) == decode_reply(body)


PARTS = objects(type=st.sampled_from(["input_text", "output_text", "text"]), text=TEXTS)
ITEMS = objects(
    type=st.just("message"),
    role=st.sampled_from(["user", "assistant", "system", "developer", "tool"]),
    content=st.one_of(TEXTS, st.lists(PARTS, max_size=2)),
)


@given(ITEMS)
def test_a_message_is_read_quickly_as_it_is_slowly(raw: dict[str, Any]) -> None:
    quickly = plain_message(raw)
    if quickly is not None:
        assert quickly == decode_item(raw, "input[0]")


def test_messages_as_most_are_are_read_quickly() -> None:
    for raw in (
        {"role": "user", "content": "Hi."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi."}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Hi."}]},
    ):
        assert plain_message(raw) == decode_item(raw, "input[0]")


PARTS = st.builds(
    lambda kind, text: {"type": kind, "text": text}, st.sampled_from(["input_text", "output_text"]), TEXTS
)
SAID = st.one_of(
    st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["user", "assistant", "developer"]),
        st.one_of(TEXTS, st.lists(PARTS, max_size=2)),
    ),
    ITEMS,
)
KNOBS: dict[str, st.SearchStrategy[Any]] = {
    "stream": st.booleans(),
    "instructions": TEXTS,
    "parallel_tool_calls": st.booleans(),
    "max_output_tokens": COUNTS,
    "temperature": st.one_of(COUNTS, st.floats(0, 2)),
    "top_p": st.floats(0, 1),
    "metadata": st.dictionaries(TEXTS, TEXTS, max_size=2),
    "store": st.booleans(),
    "service_tier": TEXTS,
    "user": TEXTS,
    "safety_identifier": TEXTS,
    "prompt_cache_key": TEXTS,
}
ODD_KNOB = st.dictionaries(
    st.sampled_from(["model", "input", "tools", "text", "truncation", "foreign", *KNOBS]), ODD, min_size=1, max_size=1
)
REQUESTS = st.builds(
    lambda plain, odd: plain | odd,
    st.fixed_dictionaries(
        {"model": TEXTS, "input": st.one_of(TEXTS, st.lists(SAID, min_size=1, max_size=2))}, optional=KNOBS
    ),
    st.one_of(st.just({}), st.just({}), ODD_KNOB),
)


@given(REQUESTS)
def test_a_request_is_read_quickly_as_it_is_slowly(body: dict[str, Any]) -> None:
    quickly = decode_plain_request(_json.encode(body))
    if quickly is not None:
        slowly = CODEC.decode_request(_json.decode(_json.encode(body)))
        assert quickly == slowly
        assert type(quickly.temperature) is type(slowly.temperature)  # 1 is not to become 1.0


def test_requests_as_most_are_are_read_quickly() -> None:
    said: list[Any] = [
        "Hi.",
        [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Yes?"}],
        [{"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Hi."}]}],
    ]
    for one in said:
        body = {"model": "m", "input": one, "instructions": "Be brief.", "temperature": 1, "store": False}
        assert decode_plain_request(_json.encode(body)) == CODEC.decode_request(body)


CALLED = objects(type=st.just("function_call"), call_id=TEXTS, name=TEXTS, arguments=st.just("{}"))
QUIRKS = st.sampled_from([Quirks(), Quirks(developer_role=True, text_parts=False), Quirks(strict_fields=True)])


@given(st.lists(st.one_of(ITEMS, CALLED), max_size=4), TEXTS, QUIRKS)
def test_a_conversation_of_texts_is_written_quickly_as_it_is_slowly(said: list[Any], text: str, quirks: Quirks) -> None:
    try:
        request = CODEC.decode_request({"model": "m", "input": said, "instructions": text})
    except GatewayError:
        return
    quickly = plain_messages(request, quirks)
    if quickly is not None:
        changes: list[Change] = []
        assert quickly == encode_messages(request, "m", quirks, changes)
        assert (changes, foreign_keys(request, "chat")) == ([], [])


def test_conversations_of_texts_are_written_quickly() -> None:
    said = [
        {"role": "user", "content": "Hi."},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": ""},
    ]
    request = CODEC.decode_request({"model": "m", "input": said, "instructions": "Be brief."})
    assert plain_messages(request, Quirks()) == [{"role": "system", "content": "Be brief."}, *said]


ECHOED = objects(
    instructions=TEXTS,
    temperature=st.one_of(COUNTS, st.floats(0, 2)),
    metadata=st.dictionaries(TEXTS, TEXTS, max_size=2),
    store=st.booleans(),
    user=TEXTS,
    tools=st.just([]),
    text=st.just({"verbosity": "low"}),
    reasoning=st.just({"effort": "low"}),
    tool_choice=st.sampled_from(["auto", "none"]),
    truncation=st.just("auto"),
    prompt_cache_retention=TEXTS,
    **{key: st.just("x") for key in ("id", "status", "error", "output", "usage", "completed_at", "object")},
)


@given(ECHOED, streams(), st.sampled_from(["openai", "open_responses"]))
def test_a_response_is_written_quickly_as_it_is_slowly(
    body: dict[str, Any], stream: list[StreamEvent], profile: Profile
) -> None:
    reply = fold(stream)
    body = {"model": "m", "input": "Hi.", **body}
    try:
        CODEC.decode_request(body)
    except GatewayError:
        return
    quickly = _json.decode(CODEC.reply_document(reply, context(body, profile)))
    assert quickly == _json.decode(_json.encode(CODEC.encode_reply(reply, context(body, profile))))


TOOLS = objects(
    name=TEXTS,
    description=st.one_of(TEXTS, st.none()),
    parameters=st.just({"type": "object"}),
    strict=st.booleans(),
)


@given(TOOLS)
def test_a_function_is_read_with_keys_that_nobody_knows_as_it_is_without(tool: dict[str, Any]) -> None:
    tool = {"type": "function", **{key: value for key, value in tool.items() if key != "foreign"}}

    def read(raw: dict[str, Any]) -> Any:
        try:
            (found,) = decode_tools([raw], "tools")
        except GatewayError as error:
            return error.message
        extra = {key: None for key, value in raw.items() if value is None}
        fields: Any = getattr(found, "extra", None) or None
        assert (fields.fields if fields else {}) == extra | ({"foreign": 1} if "foreign" in raw else {})
        return msgspec.structs.replace(found, extra=msgspec.UNSET)

    assert read(tool) == read(tool | {"foreign": 1})


DELTAS = objects(
    role=st.just("assistant"), content=TEXTS, reasoning_content=TEXTS, tool_calls=st.lists(CALLS, max_size=1)
)
CHUNKS = objects(
    id=TEXTS,
    choices=st.lists(
        objects(
            index=st.sampled_from([0, 0, 1]),
            delta=st.one_of(DELTAS, st.builds(lambda text: {"content": text}, TEXTS)),
            logprobs=st.none(),
            finish_reason=st.sampled_from([None, None, "stop"]),
            usage=USAGES,
        ),
        max_size=2,
    ),
    service_tier=TEXTS,
    usage=USAGES,
    x_groq=st.none(),
)


@given(st.lists(CHUNKS, max_size=6))
def test_a_chunk_is_read_quickly_as_it_is_slowly(chunks: list[dict[str, Any]]) -> None:
    def read(name: str) -> Any:
        decoder = ChatStreamDecoder()
        opening = {"choices": [{"delta": {"content": "Hi"}}]}
        found = [decoder.feed(SSEEvent(_json.encode(chunk), name)) for chunk in [opening, *chunks]]
        return [[told(event) for event in events] for events in [*found, decoder.flush()]]

    assert read("") == read("named")  # named events are never read quickly


def told(event: StreamEvent) -> Any:
    """An event; an error by its words, since no two errors are equal."""
    error = getattr(event, "error", None)
    return event if error is None else str(error)


@given(streams(overlapping=True), st.sampled_from(["openai", "open_responses"]))
def test_the_frame_of_a_delta_is_that_of_its_event(stream: list[StreamEvent], profile: Profile) -> None:
    quick, slow = CODEC.stream_encoder(context(profile=profile)), CODEC.stream_encoder(context(profile=profile))
    for event in stream:
        frames = b"".join(_sse.encode(_json.encode(wire.data), wire.name) for wire in slow.feed(event))
        quickly = quick.delta_frame(event) if isinstance(event, Delta) else None
        if quickly is None:
            quickly = b"".join(_sse.encode(_json.encode(wire.data), wire.name) for wire in quick.feed(event))
        assert quickly == frames


LINES = st.sampled_from(
    [b"data: a", b"data: b", b"data:c", b"data: ", b"data", b"event: e", b": note", b"", b"", b"id: 1"]
)
BREAKS = st.sampled_from([b"\n", b"\n", b"\n\n", b"\n\n", b"\r\n", b"\r"])


@given(
    st.lists(
        st.lists(st.tuples(LINES, BREAKS), max_size=4).map(lambda lines: b"".join(map(b"".join, lines))), max_size=4
    )
)
def test_events_that_come_whole_are_those_that_come_in_bytes(pieces: list[bytes]) -> None:
    whole, single = SSEDecoder(), SSEDecoder()
    found = [event for piece in pieces for event in whole.feed(piece)] + whole.flush()
    stream = b"".join(pieces)
    assert found == [event for at in range(len(stream)) for event in single.feed(stream[at : at + 1])] + single.flush()


def test_an_answer_said_again_in_input_parts_is_read_slowly() -> None:
    said = {"role": "assistant", "content": [{"type": "input_text", "text": "Yes?"}]}
    assert decode_plain_request(_json.encode({"model": "m", "input": [said]})) is None
