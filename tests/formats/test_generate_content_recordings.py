"""Every recorded exchange with Gemini and Vertex through the canonical form, where the shared recordings are at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET

from aigateway import _json, _sse
from aigateway.canonical.accumulator import fold, unfold
from aigateway.canonical.lens import Document
from aigateway.canonical.quirks import Quirks
from aigateway.canonical.types import Item, Opaque, Reasoning, Reply, Request, ToolCall, Usage
from aigateway.errors import UpstreamError
from aigateway.formats.generate_content.codec import GenerateContentCodec
from aigateway.formats.generate_content.wire import NO_SIGNATURE
from aigateway.formats.protocol import ReplyContext
from tests.playback import cut
from tests.recordings import SHARED

CODEC = GenerateContentCodec()
Object = dict[str, Any]


def exchanges() -> list[Any]:
    found: list[Any] = []
    for name in ("gemini", "vertex"):
        path = SHARED / f"{name}.jsonl"
        for number, line in enumerate(path.read_text("utf-8").splitlines() if path.exists() else ()):
            exchange = json.loads(line)
            if "enerateContent" in exchange["url"] and (exchange["json"] or exchange["body"]):
                found.append(pytest.param(exchange, id=f"{name}-{number}"))
    return found


def context() -> ReplyContext:
    return ReplyContext(
        model="m",
        document=Document({}),
        request=Request(model="m", items=()),
        new_id=lambda prefix: f"{prefix}-new",
        now=lambda: 1,
    )


def decoded(body: bytes, cuts: range) -> Reply:
    frames, decoder = _sse.SSEDecoder(), CODEC.stream_decoder()
    events = [event for piece in cut(body, cuts) for sse in frames.feed(piece) for event in decoder.feed(sse)]
    events += [event for sse in frames.flush() for event in decoder.feed(sse)]
    return fold([*events, *decoder.flush()])


def signatures(items: tuple[Item, ...]) -> list[str]:
    """All signatures in order, of whatever they sign."""
    found = [item.signature for item in items if isinstance(item, Reasoning | ToolCall)]
    return [signature for signature in found if isinstance(signature, str)]


def written(value: Any) -> list[str]:
    """The signatures as they stand in a wire object, in order; those of parts that only this API knows apart."""
    parts = [part for content in value for part in (content.get("parts") or ())]
    told = [
        part.get("thoughtSignature") or part.get("thought_signature")
        for part in parts
        if {"text", "functionCall", "function_call"} & part.keys()
    ]
    return [signature for signature in told if signature and signature != NO_SIGNATURE]


def facts(request: Request) -> Object:
    return {key: value for key in request.__struct_fields__ if (value := getattr(request, key)) is not UNSET}


@pytest.mark.parametrize("exchange", exchanges())
def test_a_recorded_request_survives_the_way_through_the_canonical_form(exchange: Object) -> None:
    request = CODEC.decode_request(exchange["request"])
    changes: list[Any] = []
    body = CODEC.encode_request(request, model="gemini-3-flash", quirks=Quirks(), changes=changes)
    again = CODEC.decode_request(_json.decode(_json.encode(body)))
    assert again.items == request.items
    assert facts(again) == facts(request)
    assert not changes
    assert signatures(request.items) == written(exchange["request"]["contents"])


@pytest.mark.parametrize("exchange", [one for one in exchanges() if one.values[0]["status"] == 200])
def test_a_recorded_reply_survives_the_way_through_the_canonical_form(exchange: Object) -> None:
    raw = exchange["body"].encode() if exchange["json"] is None else b""
    if (raw and b'"UNEXPECTED_TOOL_CALL"' in raw) or '"UNEXPECTED_TOOL_CALL"' in json.dumps(exchange["json"]):
        with pytest.raises(UpstreamError, match="UNEXPECTED_TOOL_CALL"):
            CODEC.decode_reply(exchange["json"])
        return
    reply = decoded(raw, range(0, len(raw), 7)) if raw else CODEC.decode_reply(exchange["json"])
    replies = [json.loads(line[6:]) for line in raw.decode().splitlines() if line] if raw else [exchange["json"]]
    contents = [candidate["content"] for body in replies for candidate in body["candidates"]]
    assert signatures(reply.items) == written(contents)
    if isinstance(reply.usage, Usage):
        assert reply.usage.total_tokens == replies[-1]["usageMetadata"]["totalTokenCount"]
    again = CODEC.decode_reply(_json.decode(_json.encode(CODEC.encode_reply(reply, context()))))
    assert settled(again) == settled(reply)
    encoder = CODEC.stream_encoder(context())
    stream = [wire for event in unfold(reply) for wire in encoder.feed(event)]
    sse = b"".join(_sse.encode(_json.encode(wire.data), wire.name) for wire in stream)
    assert settled(decoded(sse, range(0, len(sse), 11))) == settled(reply)


def settled(reply: Reply) -> Object:
    """What of a reply the wire can carry, whoever wrote it."""
    fields: Object = json.loads(_json.encode(reply.items))
    return {
        "items": fields,
        "opaque": [item for item in reply.items if isinstance(item, Opaque)],
        "finish": reply.finish_reason,
        "usage": reply.usage,
    }


def test_the_recordings_are_told_apart_by_their_folder() -> None:
    assert exchanges() or not (Path(SHARED) / "gemini.jsonl").exists()
