"""Replies and streams of Converse: what they become, that both say the same, and that what is broken is an error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigateway._eventstream import EventStreamDecoder
from aigateway.canonical.accumulator import fold
from aigateway.canonical.events import Failed, Finished, StreamEvent
from aigateway.canonical.laws import StreamLaws
from aigateway.canonical.types import Message, Opaque, Reasoning, Reply, Text, ToolCall, UrlCitation, Usage
from aigateway.errors import UpstreamError, UpstreamProtocolError
from aigateway.formats import UPSTREAM_CODECS
from tests.bedrock import Recorded, frames, recordings
from tests.playback import cut

Object = dict[str, Any]
Events = list[tuple[str, Object]]

CODEC = UPSTREAM_CODECS["converse"]
USAGE = {
    "inputTokens": 10,
    "outputTokens": 5,
    "totalTokens": 115,
    "cacheReadInputTokens": 80,
    "cacheWriteInputTokens": 20,
}


def body_of(blocks: list[Object], stop: str = "end_turn", **more: Any) -> Object:
    return {"output": {"message": {"role": "assistant", "content": blocks}}, "stopReason": stop, "usage": USAGE, **more}


def read(events: Events, cuts: list[int] | None = None) -> list[StreamEvent]:
    """What the decoder makes of a stream; every law of the canonical form is held."""
    return read_bytes(frames(events), cuts)


def read_bytes(raw: bytes, cuts: list[int] | None = None) -> list[StreamEvent]:
    framing, decoder, laws = EventStreamDecoder(), CODEC.stream_decoder(), StreamLaws()
    found: list[StreamEvent] = []
    for piece in cut(raw, cuts or []):
        for event in framing.feed(piece):
            found += decoder.feed(event)
    framing.flush()
    found += decoder.flush()
    for told in found:
        laws.feed(told)
    return found


def streamed(blocks: list[Object], stop: str, step: int) -> Events:
    """A whole answer as ConverseStream tells it, texts in pieces of `step` characters."""
    events: Events = [("messageStart", {"role": "assistant"})]
    for index, block in enumerate(blocks):
        ((kind, content),) = block.items()
        if kind == "toolUse":
            facts = {key: value for key, value in content.items() if key != "input"}
            events.append(("contentBlockStart", {"contentBlockIndex": index, "start": {"toolUse": facts}}))
        events += [
            ("contentBlockDelta", {"contentBlockIndex": index, "delta": delta})
            for delta in _deltas(kind, content, step)
        ]
        events.append(("contentBlockStop", {"contentBlockIndex": index}))
    return [*events, ("messageStop", {"stopReason": stop}), ("metadata", {"usage": USAGE, "metrics": {"latencyMs": 1}})]


def _deltas(kind: str, content: Any, step: int) -> list[Object]:
    if kind == "text":
        return [{"text": piece} for piece in _pieces(content, step)]
    if kind == "toolUse":
        arguments = json.dumps(content["input"], separators=(",", ":"), ensure_ascii=False) if content["input"] else ""
        return [{"toolUse": {"input": piece}} for piece in _pieces(arguments, step)]
    if kind == "citationsContent":
        text = "".join(piece["text"] for piece in content["content"])
        citations = content["citations"]
        return [{"citation": citations[0]}, *({"text": piece} for piece in _pieces(text, step)),
                *({"citation": citation} for citation in citations[1:])]  # fmt: skip
    told = content.get("reasoningText")
    if told is None:
        return [{"reasoningContent": content}]
    signed = [{"reasoningContent": {"signature": told["signature"]}}] if "signature" in told else []
    return [*({"reasoningContent": {"text": piece}} for piece in _pieces(told["text"], step)), *signed]


def _pieces(text: str, step: int) -> list[str]:
    return [text[at : at + step] for at in range(0, len(text), step)]


words = st.text(st.characters(codec="utf-8"), max_size=12)
values = st.recursive(
    st.integers(-9, 9) | words | st.none() | st.booleans(), lambda inner: st.lists(inner, max_size=2), max_leaves=3
)
citation = st.one_of(
    st.just({"title": "T", "location": {"web": {"url": "https://example.com"}}}),
    st.just({"location": {"documentPage": {"documentIndex": 0, "start": 1, "end": 2}}}),
)
blocks = st.lists(
    st.one_of(
        st.builds(lambda text: {"text": text}, words),
        st.builds(
            lambda name, given: {"toolUse": {"toolUseId": f"id-{name}", "name": name, "input": given}},
            st.sampled_from(["one", "two"]),
            st.dictionaries(words, values, max_size=3),
        ),
        st.builds(lambda text, sign: {"reasoningContent": {"reasoningText": {"text": text} | sign}}, words.filter(bool),
                  st.sampled_from([{}, {"signature": "c2ln"}])),
        st.just({"reasoningContent": {"redactedContent": "c2VhbGVk"}}),
        st.builds(lambda text, found: {"citationsContent": {"content": [{"text": text}], "citations": found}}, words,
                  st.lists(citation, min_size=1, max_size=3)),
    ),
    max_size=5,
)  # fmt: skip
stops = st.sampled_from(["end_turn", "tool_use", "max_tokens", "guardrail_intervened", "something_new"])


@given(blocks, stops, st.integers(1, 20), st.lists(st.integers(0, 10_000), max_size=6))
def test_a_stream_says_what_the_whole_answer_says(content: list[Object], stop: str, step: int, cuts: list[int]) -> None:
    assert fold(read(streamed(content, stop, step), cuts)) == CODEC.decode_reply(body_of(content, stop))


@given(blocks, st.integers(1, 20), st.data())
def test_a_stream_that_stops_early_fails(content: list[Object], step: int, data: st.DataObject) -> None:
    events = streamed(content, "end_turn", step)
    kept = data.draw(st.integers(0, len(events) - 3))
    found = read(events[:kept])
    assert isinstance(found[-1], Failed)
    assert isinstance(found[-1].error, UpstreamProtocolError)


@given(
    st.binary(max_size=300) | blocks.map(lambda content: frames(streamed(content, "end_turn", 3))), st.integers(0, 5000)
)
def test_any_bytes_end_in_a_reply_or_an_error(raw: bytes, flip: int) -> None:
    broken = bytearray(raw)
    if broken:
        broken[flip % len(broken)] ^= 0x41
    try:
        found = read_bytes(bytes(broken))
    except UpstreamProtocolError:
        return
    assert isinstance(found[-1], Failed | Finished)


@pytest.mark.parametrize(
    "event",
    [("contentBlockDelta", {}), ("contentBlockDelta", {"delta": 1}), ("contentBlockStart", {"start": {"toolUse": 1}}),
     ("contentBlockStop", {"contentBlockIndex": []}), ("metadata", {"usage": 1}), ("brandNew", {"x": 1}),
     ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolUse": {"input": "{}"}}})],
)  # fmt: skip
def test_events_that_are_not_as_described_do_no_harm(event: tuple[str, Object]) -> None:
    events = streamed([{"text": "hi"}], "end_turn", 9)
    moved = [(kind, {**data, "contentBlockIndex": 7}) for kind, data in events]
    for place in (1, 2, 3):
        reply = fold(read([*moved[:place], event, *moved[place:]]))
        assert reply.items == (Message(role="assistant", content=(Text(text="hi"),)),)


def test_a_reply_in_full() -> None:
    web = {"title": "T", "location": {"web": {"url": "https://example.com"}}}
    page = {"location": {"documentPage": {"start": 1}}}
    hosted = {"toolUseId": "t2", "name": "own", "input": {}, "type": "server_tool_use"}
    result = {"toolUseId": "t2", "content": [{"json": {}}]}
    reply = CODEC.decode_reply(
        body_of(
            [
                {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}},
                {"reasoningContent": {"redactedContent": "c2VhbGVk"}},
                {"text": "one "},
                {"citationsContent": {"content": [{"text": "two"}], "citations": [web, page]}},
                {"toolUse": {"toolUseId": "t1", "name": "look", "input": {"a": [1]}}},
                {"toolUse": hosted},
                {"toolResult": result},
            ],
            "tool_use",
            serviceTier={"type": "flex"},
        )
    )
    cited = (
        UrlCitation(url="https://example.com", title="T", start_index=0, end_index=3),
        Opaque(format="converse", raw=page),
    )
    assert reply == Reply(
        id="",
        model="",
        created_at=0,
        items=(
            Reasoning(content=("hm",), signature="c2ln", origin="anthropic"),
            Reasoning(encrypted="c2VhbGVk", origin="anthropic"),
            Message(role="assistant", content=(Text(text="one "), Text(text="two", annotations=cited))),
            ToolCall(call_id="t1", name="look", arguments='{"a":[1]}'),
            Opaque(format="converse", raw={"type": "toolUse", "toolUse": hosted}),
            Opaque(format="converse", raw={"type": "toolResult", "toolResult": result}),
        ),
        finish_reason="tool_calls",
        usage=Usage(input_tokens=110, output_tokens=5, total_tokens=115, cached_tokens=80, cache_write_tokens=20),
        service_tier="flex",
    )


@pytest.mark.parametrize(
    ("stop", "reason"),
    [("end_turn", "stop"), ("stop_sequence", "stop"), ("max_tokens", "length"), ("model_context_window_exceeded", "length"),
     ("guardrail_intervened", "content_filter"), ("content_filtered", "content_filter"), ("tool_use", "stop"), (None, "stop")],
)  # fmt: skip
def test_why_an_answer_ended(stop: Any, reason: str) -> None:
    assert CODEC.decode_reply(body_of([{"text": "x"}], stop)).finish_reason == reason


@pytest.mark.parametrize("stop", ["malformed_model_output", "malformed_tool_use"])
def test_an_answer_that_is_malformed_is_an_error(stop: str) -> None:
    with pytest.raises(UpstreamError, match=stop):
        CODEC.decode_reply(body_of([{"text": "x"}], stop))
    last = read(streamed([{"text": "x"}], stop, 3))[-1]
    assert isinstance(last, Failed)
    assert stop in last.error.message


@pytest.mark.parametrize("body", [{}, {"output": {}}, {"output": {"message": {}}}, {"message": "no"}])
def test_what_is_no_reply_is_an_error(body: Object) -> None:
    with pytest.raises(UpstreamProtocolError, match="no Converse reply"):
        CODEC.decode_reply(body)


def test_arguments_that_were_cut_are_marked() -> None:
    events: Events = [
        ("messageStart", {"role": "assistant"}),
        ("contentBlockStart", {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "t", "name": "look"}}}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolUse": {"input": '{"a'}}}),
        ("messageStop", {"stopReason": "max_tokens"}),
    ]
    reply = fold(read(events))
    assert reply.items == (ToolCall(call_id="t", name="look", arguments='{"a', status="incomplete"),)
    assert reply.finish_reason == "length"


@pytest.mark.parametrize(
    ("kind", "status", "shown"),
    [("throttlingException", 429, True), ("validationException", 400, True), ("internalServerException", 502, False),
     ("modelStreamErrorException", 502, False), ("serviceUnavailableException", 502, False), ("newException", 502, False)],
)  # fmt: skip
def test_an_exception_in_the_stream_is_the_error_that_it_stands_for(kind: str, status: int, shown: bool) -> None:
    events = streamed([{"text": "abc"}], "end_turn", 1)[:2]
    last = read([*events, (kind, {"message": "what happened"}), ("contentBlockStop", {"contentBlockIndex": 0})])[-1]
    assert isinstance(last, Failed)
    assert last.error.status == status
    assert ("what happened" in last.error.message) is shown


def test_a_prompt_that_is_too_long_has_its_code_in_a_stream_too() -> None:
    last = read([("validationException", {"message": "Input is too long for requested model."})])[-1]
    assert isinstance(last, Failed)
    assert last.error.code == "context_length_exceeded"


@pytest.mark.parametrize("recorded", [one for one in recordings() if one.status == 200], ids=lambda one: one.name)
def test_a_recorded_answer_says_what_it_said(recorded: Recorded) -> None:
    if recorded.streamed:
        reply = fold(read_bytes(recorded.body, list(range(0, len(recorded.body), 13))))
    else:
        reply = CODEC.decode_reply(json.loads(recorded.body))
    messages = [item for item in reply.items if isinstance(item, Message)]
    calls = [item for item in reply.items if isinstance(item, ToolCall)]
    said = recorded.said
    assert "".join(part.text for item in messages for part in item.content if isinstance(part, Text)) == said.text
    assert [(call.call_id, call.name, json.loads(call.arguments)) for call in calls] == [
        (call.id, call.name, json.loads(call.arguments)) for call in said.calls
    ]
    assert reply.finish_reason == said.finish
    assert isinstance(reply.usage, Usage)
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.total_tokens) == (said.usage or ())[:3]
    signed = [item.signature for item in reply.items if isinstance(item, Reasoning) and item.signature]
    assert all(str(signature) in _text_of(recorded) for signature in signed)


def _text_of(recorded: Recorded) -> str:
    return recorded.body.decode("latin-1")
