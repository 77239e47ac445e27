"""The laws of generateContent: what was read is written again, a stream says what the whole reply says, cut anywhere."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterable
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from aigateway import _json, _sse
from aigateway.canonical.accumulator import fold, unfold
from aigateway.canonical.events import StreamEvent
from aigateway.canonical.laws import StreamLaws
from aigateway.canonical.lens import Document
from aigateway.canonical.quirks import Quirks
from aigateway.canonical.signed_calls import SignedCalls
from aigateway.canonical.types import (
    Change,
    Message,
    Reasoning,
    Refusal,
    Reply,
    Request,
    Text,
    ToolCall,
    UrlCitation,
    Usage,
)
from aigateway.formats.generate_content.array import ArrayWriter
from aigateway.formats.generate_content.codec import GenerateContentCodec
from aigateway.formats.generate_content.relay import GenerateContentRelay
from aigateway.formats.generate_content.schema import Subset, to_json_schema
from aigateway.formats.protocol import ReplyContext

CODEC = GenerateContentCodec()
Object = dict[str, Any]

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9)
signatures = st.binary(min_size=1, max_size=9).map(lambda raw: base64.b64encode(raw).decode())
arguments = st.dictionaries(words, st.one_of(words, st.integers(-9, 9), st.none()), max_size=2)
names = st.sampled_from(["weather", "clock", "search"])


def signed(draw: st.DrawFn, part: Object) -> Object:
    return {**part, "thoughtSignature": draw(signatures)} if draw(st.booleans()) else part


@st.composite
def model_parts(draw: st.DrawFn) -> list[Object]:
    """What a model says: thoughts, texts, calls, code, in any order; a text stands apart from the text before it."""
    kinds = draw(st.lists(st.sampled_from(["text", "thought", "call", "code", "image"]), min_size=1, max_size=5))
    parts: list[Object] = []
    for number, kind in enumerate(kinds):
        before = kinds[number - 1] if number else ""
        if kind == "call":
            call = {"id": f"c{number}", "name": draw(names), "args": draw(arguments)}
            parts.append(signed(draw, {"functionCall": call}))
        elif kind == "code":
            parts.append(signed(draw, {"executableCode": {"language": "PYTHON", "code": draw(words)}}))
        elif kind == "image":
            parts.append({"inlineData": {"mimeType": "image/png", "data": "AAAA"}})
        elif before not in ("text", "thought", "image"):
            part: Object = {"text": draw(words)}
            part = {**part, "thought": True} if kind == "thought" else part
            parts.append(signed(draw, part))
    for part, after in itertools.pairwise(parts):  # before an unsigned call it would be taken for that of the call
        if "text" in part and "thought" not in part and "functionCall" in after:
            part.pop("thoughtSignature", None)
    return parts or [{"text": draw(words)}]


@st.composite
def replies_on_the_wire(draw: st.DrawFn) -> Object:
    candidate = {
        "content": {"parts": draw(model_parts()), "role": "model"},
        "finishReason": draw(st.sampled_from(["STOP", "MAX_TOKENS", "SAFETY"])),
        "index": 0,
    }
    counts = {key: draw(st.integers(0, 50)) for key in ("promptTokenCount", "candidatesTokenCount")}
    thought = draw(st.integers(0, 9))
    usage = {**counts, "totalTokenCount": sum(counts.values()) + thought}
    if thought:
        usage["thoughtsTokenCount"] = thought
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m", "responseId": "r1"}


@st.composite
def documents(draw: st.DrawFn) -> Object:
    """Requests of this API in its own words."""
    contents: list[Object] = []
    for _ in range(draw(st.integers(1, 3))):
        contents.append(
            {"role": "user", "parts": [{"text": text} for text in draw(st.lists(words, min_size=1, max_size=2))]}
        )
        parts = draw(model_parts())
        contents.append({"role": "model", "parts": parts})
        calls = [part["functionCall"] for part in parts if "functionCall" in part]
        if calls:
            results = [{"id": call["id"], "name": call["name"], "response": {"output": draw(words)}} for call in calls]
            contents.append({"role": "user", "parts": [{"functionResponse": result} for result in results]})
    tool = {"name": "weather", "description": "d", "parametersJsonSchema": {"type": "object", "properties": {}}}
    config: Object = {
        "temperature": draw(st.floats(0, 2)),
        "topK": draw(st.integers(1, 40)),
        "maxOutputTokens": 9,
        "stopSequences": ["a"],
        "seed": 3,
        "candidateCount": 1,
        "thinkingConfig": {
            "includeThoughts": True,
            **draw(st.sampled_from([{"thinkingBudget": 0}, {"thinkingLevel": "low"}])),
        },
        "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object"},
        "mediaResolution": "MEDIA_RESOLUTION_LOW",
    }
    modes: list[Object] = [
        {"mode": "AUTO"},
        {"mode": "NONE"},
        {"mode": "ANY"},
        {"mode": "ANY", "allowedFunctionNames": ["weather"]},
    ]
    return {
        "systemInstruction": {"parts": [{"text": draw(words)}]},
        "contents": contents,
        "tools": [{"functionDeclarations": [tool]}, {"googleSearch": {}}],
        "toolConfig": {"functionCallingConfig": draw(st.sampled_from(modes))},
        "generationConfig": config,
        "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
    }


def context() -> ReplyContext:
    return ReplyContext(
        model="m",
        document=Document({}),
        request=Request(model="m", items=()),
        new_id=lambda prefix: f"{prefix}-new",
        now=lambda: 1,
    )


def as_json(value: Any) -> Any:
    return _json.decode(_json.encode(value))


def pieces(data: bytes, sizes: list[int]) -> Iterable[bytes]:
    at = 0
    for size in sizes:
        yield data[at : at + size]
        at += size
    yield data[at:]


def events_of(data: bytes, sizes: list[int]) -> list[StreamEvent]:
    frames, decoder = _sse.SSEDecoder(), CODEC.stream_decoder()
    events = [one for piece in pieces(data, sizes) for event in frames.feed(piece) for one in decoder.feed(event)]
    return [*events, *(one for event in frames.flush() for one in decoder.feed(event)), *decoder.flush()]


def frames_of(bodies: Iterable[Object]) -> bytes:
    return b"".join(b"data: " + _json.encode(body) + b"\r\n\r\n" for body in bodies)


def in_pieces(body: Object) -> list[Object]:
    """A reply as its host would stream it: one part after the other, the texts letter by letter, the end last."""
    (candidate,) = body["candidates"]
    shown: list[list[Object]] = []
    for part in candidate["content"]["parts"]:
        if "text" in part:
            text = part["text"]
            rest = {key: value for key, value in part.items() if key not in ("text", "thoughtSignature")}
            shown += [[{"text": letter, **rest}] for letter in text[:-1]]
            shown.append([{**part, "text": text[-1]}])
        else:
            shown.append([part])
    bodies = [{**body, "candidates": [{"content": {"parts": parts, "role": "model"}, "index": 0}]} for parts in shown]
    bodies[-1]["candidates"][0]["finishReason"] = candidate["finishReason"]
    return bodies


@given(documents())
def test_a_document_of_its_own_is_written_as_it_was_read(document: Object) -> None:
    changes: list[Change] = []
    request = CODEC.decode_request(document)
    body = CODEC.encode_request(request, model="gemini-3-flash", quirks=Quirks(), changes=changes)
    assert CODEC.decode_request(as_json(body)) == request
    assert changes == []
    again = CODEC.encode_request(
        CODEC.decode_request(as_json(body)), model="gemini-3-flash", quirks=Quirks(), changes=[]
    )
    assert as_json(again) == as_json(body)


@given(replies_on_the_wire(), st.lists(st.integers(0, 40), max_size=8))
def test_a_stream_says_what_the_whole_reply_says_wherever_it_is_cut(body: Object, sizes: list[int]) -> None:
    whole = CODEC.decode_reply(as_json(body))
    events = events_of(frames_of(in_pieces(body)), sizes)
    laws = StreamLaws()
    for event in events:
        laws.feed(event)
    assert fold(events) == whole


@given(replies_on_the_wire(), st.lists(st.integers(0, 40), max_size=8))
def test_a_reply_is_written_as_it_was_read_whole_and_streamed(body: Object, sizes: list[int]) -> None:
    reply = CODEC.decode_reply(as_json(body))
    assert CODEC.decode_reply(as_json(CODEC.encode_reply(reply, context()))) == reply
    encoder = CODEC.stream_encoder(context())
    told = [wire.data for event in unfold(reply) for wire in encoder.feed(event)]
    assert fold(events_of(frames_of(told), sizes)) == reply


@given(replies_on_the_wire(), st.lists(st.integers(0, 40), max_size=8))
def test_a_stream_is_one_array_wherever_it_is_cut(body: Object, sizes: list[int]) -> None:
    bodies = in_pieces(body)
    writer = ArrayWriter()
    array = b"".join([*(writer.feed(piece) for piece in pieces(frames_of(bodies), sizes)), writer.flush()])
    assert _json.decode(array) == as_json(bodies)


@given(replies_on_the_wire(), st.lists(st.integers(0, 40), max_size=8))
def test_a_relayed_stream_changes_the_models_name_only(body: Object, sizes: list[int]) -> None:
    raw = frames_of(in_pieces(body))
    relay = GenerateContentRelay("asked-for")
    out = b"".join([*(relay.feed(piece) for piece in pieces(raw, sizes)), relay.flush()])
    assert out == raw.replace(b'"modelVersion":"m"', b'"modelVersion":"asked-for"')
    assert relay.finished
    assert relay.failure is None
    assert relay.usage == CODEC.decode_reply(body).usage


texts = st.builds(lambda text: Text(text=text), words)
items = st.one_of(
    st.builds(
        lambda part: Message(role="assistant", content=(part,)),
        st.one_of(texts, st.builds(lambda text: Refusal(text=text), words)),
    ),
    st.builds(lambda text: Reasoning(content=(text,)), words),
    st.builds(
        lambda signature, origin: Reasoning(encrypted=signature, origin=origin),
        signatures,
        st.sampled_from(["openai", "anthropic"]),
    ),
    st.builds(
        lambda name, args, number: ToolCall(call_id=f"c{number}", name=name, arguments=_json.encode(args).decode()),
        names,
        arguments,
        st.integers(0, 9),
    ),
)


@given(st.lists(items, min_size=1, max_size=5))
def test_what_other_makers_sealed_comes_back_from_a_caller_as_it_was(given_items: list[Any]) -> None:
    reply = Reply(id="r", model="m", created_at=1, items=tuple(given_items), usage=Usage())
    body = as_json(CODEC.encode_reply(reply, context()))
    (candidate,) = body["candidates"]
    asked = [{"role": "user", "parts": [{"text": "q"}]}, candidate["content"]]
    request = CODEC.decode_request({"contents": asked})
    sealed = [(item.origin, item.encrypted) for item in request.items if isinstance(item, Reasoning) and item.encrypted]
    assert sealed == [
        (item.origin, item.encrypted) for item in given_items if isinstance(item, Reasoning) and item.encrypted
    ]
    calls = [item.call_id for item in request.items if isinstance(item, ToolCall)]
    assert calls == [item.call_id for item in given_items if isinstance(item, ToolCall)]


@given(replies_on_the_wire())
def test_signatures_of_calls_travel_as_reasoning_before_them_and_come_back(body: Object) -> None:
    reply = CODEC.decode_reply(as_json(body))
    shown = SignedCalls().reply(reply)
    moved = SignedCalls()
    laws = StreamLaws()
    events = [one for event in unfold(reply) for one in moved.event(event)]
    for event in events:
        laws.feed(event)
    assert fold(events) == shown
    back = tuple(
        msgspec.structs.replace(item, signature=msgspec.UNSET) if isinstance(item, ToolCall) else item
        for item in shown.items
    )
    question = Message(role="user", content=(Text(text="q"),))
    told = CODEC.encode_request(
        Request(model="m", items=(question, *back)), model="gemini-2.5-pro", quirks=Quirks(), changes=[]
    )
    written = [part for content in told["contents"] for part in content["parts"] if "functionCall" in part]
    signed_calls = [part.get("thoughtSignature", msgspec.UNSET) for part in written]
    assert signed_calls == [item.signature for item in reply.items if isinstance(item, ToolCall)]


@given(words, words, st.integers(0, 30))
def test_citations_count_characters_whatever_the_host_counts(before: str, cited: str, more: int) -> None:
    text = before + cited + "é" * more
    citation = UrlCitation(url="https://x", title="X", start_index=len(before), end_index=len(before) + len(cited))
    message = Message(role="assistant", content=(Text(text=text, annotations=(citation,)),))
    reply = Reply(id="r", model="", created_at=0, items=(message,))
    body = as_json(CODEC.encode_reply(reply, context()))
    again = CODEC.decode_reply(body)
    assert again.items == (message,)


SCHEMA: Object = {
    "type": "object",
    "properties": {
        "city": {"type": ["string", "null"], "enum": ["Paris", None]},
        "days": {"type": "array", "items": {"$ref": "#/$defs/Day"}, "minItems": 1},
        "kind": {"const": "now"},
    },
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"Day": {"type": "object", "properties": {"n": {"type": "integer", "format": "int32", "multipleOf": 2}}}},
}


def test_a_schema_is_written_in_the_subset_and_what_it_lacks_is_told() -> None:
    subset = Subset()
    told = subset.of(SCHEMA)
    assert told == {
        "type": "OBJECT",
        "properties": {
            "city": {"type": "STRING", "nullable": True, "enum": ["Paris"]},
            "days": {
                "type": "ARRAY",
                "minItems": 1,
                "items": {"type": "OBJECT", "properties": {"n": {"type": "INTEGER", "format": "int32"}}},
            },
            "kind": {"type": "STRING", "enum": ["now"]},
        },
        "required": ["city"],
    }
    assert subset.lost == ["multipleOf", "additionalProperties"]
    assert to_json_schema(told)["properties"]["city"] == {"type": ["string", "null"], "enum": ["Paris", None]}


def test_a_schema_that_holds_itself_ends() -> None:
    subset = Subset()
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    assert subset.of({"$ref": "#/$defs/Node", "$defs": {"Node": node}})["type"] == "OBJECT"
    assert "$ref" in subset.lost
