"""The laws that hold for every completion, whole or streamed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from aigateway import _json, _sse
from aigateway.canonical.accumulator import unfold
from aigateway.canonical.lens import Document
from aigateway.canonical.types import Item, Message, Reasoning, Refusal, Reply, Request, Text, ToolCall, Usage
from aigateway.errors import GatewayError
from aigateway.formats.choices import ChoicesRelay
from aigateway.formats.completions.codec import CompletionsCodec
from aigateway.formats.protocol import ReplyContext
from tests.schemas import text_completion_faults

CODEC = CompletionsCodec()
Object = dict[str, Any]

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
scores = st.floats(-20, 0, allow_nan=False)


def token(text: str, score: float, others: dict[str, float]) -> Object:
    told = [_entry(name, value) for name, value in (others | {text: score}).items()]
    return {**_entry(text, score), "top_logprobs": told}


def _entry(text: str, score: float) -> Object:
    return {"token": text, "logprob": score, "bytes": list(text.encode())}


@st.composite
def texts(draw: st.DrawFn) -> Text:
    """A text, with the probability of each character in every other one."""
    text = draw(words)
    others = draw(st.dictionaries(words, scores, max_size=2))
    told = tuple(token(letter, draw(scores), others) for letter in text) if draw(st.booleans()) else ()
    return Text(text=text, logprobs=told)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    spent, made = draw(st.integers(1, 99)), draw(st.integers(0, 99))
    return Usage(
        input_tokens=spent,
        output_tokens=made,
        total_tokens=spent + made,
        cached_tokens=draw(st.integers(0, spent)),
        reasoning_tokens=draw(st.integers(0, made)),
    )


@st.composite
def replies(draw: st.DrawFn, *, plain: bool = False) -> Reply:
    """Replies of any kind of model; plain: those that are one text."""
    items: list[Item] = [Message(role="assistant", content=(draw(texts()),))]
    if not plain:
        thought = Reasoning(content=(draw(words),))
        declined = Message(role="assistant", content=(draw(texts()), Refusal(text=draw(words))))
        call = ToolCall(call_id="c", name="f", arguments="{}")
        items = draw(st.lists(st.sampled_from([*items, thought, declined, call]), max_size=4))
    return Reply(
        id="cmpl-1",
        model="m",
        created_at=draw(st.integers(1, 2**31)),
        items=tuple(items),
        finish_reason=draw(st.sampled_from(["stop", "length", "content_filter", *([] if plain else ["tool_calls"])])),
        usage=draw(usages()),
        system_fingerprint="fp_1" if draw(st.booleans()) else UNSET,
    )


def context(body: Object | None = None) -> ReplyContext:
    return ReplyContext(
        model="m",
        document=Document(body or {}),
        request=Request(model="m", items=()),
        new_id=lambda prefix: f"{prefix}-new",
        now=lambda: 1700000001,
    )


def chunks_of(reply: Reply, body: Object) -> list[Object]:
    """The chunks that tell a reply, as JSON brings them."""
    encoder = CODEC.stream_encoder(context(body))
    wire = [out.data for event in unfold(reply) for out in encoder.feed(event)]
    return [_json.decode(_json.encode(chunk)) for chunk in wire]


def folded(chunks: list[Object]) -> Object:
    """The whole completion that chunks add up to."""
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    told = [choice["logprobs"] for choice in choices if choice["logprobs"] is not None]
    logprobs = {key: [entry for part in told for entry in part[key]] for key in told[0]} if told else None
    reasons = [choice["finish_reason"] for choice in choices if choice["finish_reason"]]
    assert len(reasons) == 1
    assert reasons[0] == choices[-1]["finish_reason"]
    text = "".join(choice["text"] for choice in choices)
    choice = {"text": text, "index": 0, "logprobs": logprobs, "finish_reason": reasons[0]}
    return {**chunks[-1], "choices": [choice]}


@given(replies(), st.booleans(), words)
def test_a_stream_folds_to_the_whole_completion(reply: Reply, echo: bool, prompt: str) -> None:
    body = {"prompt": prompt, "echo": echo, "stream_options": {"include_usage": True}}
    chunks = chunks_of(reply, body)
    whole = _json.decode(_json.encode(CODEC.encode_reply(reply, context(body))))
    assert folded(chunks) == whole
    assert whole["choices"][0]["text"].startswith(prompt) or not echo
    assert [text_completion_faults(shown) for shown in (whole, *chunks)] == [[]] * (len(chunks) + 1)


@given(replies(plain=True))
def test_a_reply_that_is_written_and_read_is_the_same(reply: Reply) -> None:
    wire = _json.decode(_json.encode(CODEC.encode_reply(reply, context())))
    assert CODEC.decode_reply(wire) == reply
    assert _json.decode(_json.encode(CODEC.encode_reply(CODEC.decode_reply(wire), context()))) == wire


@given(replies())
def test_offsets_of_tokens_are_places_in_the_text(reply: Reply) -> None:
    texts_only = [part for item in reply.items if isinstance(item, Message) for part in item.content]
    if not all(isinstance(part, Text) and part.logprobs for part in texts_only):
        return
    choice = CODEC.encode_reply(reply, context())["choices"][0]
    told = choice["logprobs"] or {"tokens": [], "text_offset": []}
    for name, offset in zip(told["tokens"], told["text_offset"], strict=True):
        assert choice["text"].startswith(name, offset)


def relayed(stream: bytes, cuts: Iterable[int]) -> tuple[bytes, Usage | None, GatewayError | None]:
    """What becomes of a stream whose bytes come in pieces cut at these places, the usage hidden."""
    relay = ChoicesRelay("mine", hide_usage=True)
    places = [0, *sorted({place for place in cuts if 0 < place < len(stream)}), len(stream)]
    out = b"".join(relay.feed(stream[start:end]) for start, end in itertools.pairwise(places))
    return out + relay.flush(), relay.usage, relay.failure


@given(replies(), st.lists(st.integers(0, 3000), max_size=12))
def test_a_relayed_stream_is_the_same_however_it_is_cut(reply: Reply, cuts: list[int]) -> None:
    chunks = chunks_of(reply, {"stream_options": {"include_usage": True}})
    stream = b"".join(_sse.encode(_json.encode(chunk)) for chunk in chunks) + _sse.DONE_FRAME
    out, usage, failure = relayed(stream, cuts)
    wanted = b"".join(_sse.encode(_json.encode(chunk | {"model": "mine"})) for chunk in chunks[:-1])
    assert (out, usage, failure) == (wanted + _sse.DONE_FRAME, reply.usage, None)


@given(replies(), st.data())
def test_a_relayed_stream_that_is_cut_is_no_success(reply: Reply, data: st.DataObject) -> None:
    chunks = chunks_of(reply, {})
    kept = data.draw(st.integers(1, len(chunks) - 1))
    stream = b"".join(_sse.encode(_json.encode(chunk)) for chunk in chunks[:kept])
    assert relayed(stream, [])[2] is not None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["tokens", "token_logprobs", "top_logprobs", "content", "token", "bytes"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_no_logprobs_of_any_shape_break_the_codec(logprobs: Any) -> None:
    choice = {"text": "hi", "index": 0, "logprobs": logprobs, "finish_reason": "stop"}
    reply = CODEC.decode_reply({"id": "cmpl-1", "choices": [choice]})
    assert msgspec.json.encode(CODEC.encode_reply(reply, context()))
