"""Real exchanges: the telling ones kept here, all of them where the shared recordings are at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aigateway import _json
from aigateway.canonical.accumulator import fold
from aigateway.canonical.quirks import Quirks
from aigateway.canonical.types import Message, Reasoning, Reply, Text, ToolCall, Usage
from aigateway.errors import UpstreamError
from aigateway.formats.chat.codec import ChatCodec
from tests.formats.chat_streams import DONE, context, decode, decode_chunks, encode, events_of

CODEC = ChatCodec()
FIXTURES = sorted((Path(__file__).parents[1] / "fixtures" / "chat").glob("*.json"))
SHARED = Path(__file__).parents[3] / "shared" / "recordings"


def decoded(exchange: dict[str, Any], cuts: range | tuple[int, ...] = ()) -> Reply:
    if exchange.get("json") is not None:
        return CODEC.decode_reply(exchange["json"])
    return fold(decode(exchange["body"].encode(), cuts))


def told(exchange: dict[str, Any], cuts: range | tuple[int, ...] = ()) -> dict[str, Any]:
    """What an exchange says, in short."""
    try:
        reply = decoded(exchange, cuts)
    except UpstreamError as error:
        return {"error": error.message if error.status < 500 else "", "status": error.status, "code": error.code}
    return summary(reply)


def summary(reply: Reply) -> dict[str, Any]:
    items: list[Any] = []
    for item in reply.items:
        if isinstance(item, Reasoning):
            items.append({"reasoning": "".join(item.content), "sealed": bool(item.encrypted or item.signature)})
        elif isinstance(item, Message):
            items.append({"text": "".join(part.text for part in item.content if isinstance(part, Text))})
        elif isinstance(item, ToolCall):
            items.append({"call": item.name, "id": item.call_id, "arguments": item.arguments})
    usage = reply.usage if isinstance(reply.usage, Usage) else Usage()
    return {
        "items": items,
        "finish_reason": reply.finish_reason,
        "usage": [usage.input_tokens, usage.output_tokens, usage.total_tokens, usage.reasoning_tokens],
    }


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_a_recorded_exchange_says_what_it_said(path: Path) -> None:
    exchange = json.loads(path.read_text("utf-8"))
    assert told(exchange) == exchange["expected"]
    if "body" in exchange:
        assert told(exchange, range(0, len(exchange["body"]), 7)) == exchange["expected"]


def recordings() -> list[Any]:
    """The shared chat exchanges; none where the folder is missing."""
    found: list[Any] = []
    for path in sorted(SHARED.glob("*.jsonl")):
        for number, line in enumerate(path.read_text("utf-8").splitlines()):
            if "/chat/completions" in line:
                exchange = json.loads(line)
                if "/chat/completions" in exchange["url"]:
                    found.append(pytest.param(exchange, id=f"{path.stem}-{number}"))
    return found


@pytest.mark.parametrize("exchange", recordings())
def test_every_recorded_exchange_survives_the_way_through_the_canonical_form(exchange: dict[str, Any]) -> None:
    request = CODEC.decode_request(exchange["request"])
    quirks = Quirks(developer_role=True, max_tokens="max_completion_tokens", allowed_tools=True)
    body = CODEC.encode_request(request, model=request.model, quirks=quirks, changes=[])
    assert CODEC.decode_request(_json.decode(_json.encode(body))).items == request.items
    try:
        reply = decoded(exchange)
    except UpstreamError:
        assert exchange["status"] != 200 or '"error"' in exchange["body"]
        return
    again = CODEC.decode_reply(_json.decode(_json.encode(CODEC.encode_reply(reply, context()))))
    assert summary(again) == summary(reply)
    streamed = fold(decode_chunks([*encode(events_of(reply, 5), include_usage=True), DONE]))
    assert summary(streamed) == summary(reply)
