"""Every recorded exchange of the Responses API, where the recordings lie beside the project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aigateway.canonical.accumulator import fold
from aigateway.canonical.quirks import Quirks
from aigateway.canonical.types import Change
from tests.formats.responses_law import check_stream
from tests.formats.responses_streams import CODEC, alike, check_canonical, context, decoded_bytes, encoded, plain

RECORDINGS = Path(__file__).parents[3] / "shared/recordings"
STATEFUL = {"previous_response_id", "conversation", "prompt", "background"}

pytestmark = pytest.mark.skipif(not RECORDINGS.exists(), reason="needs the recordings that lie beside the project")


def exchanges() -> list[dict[str, Any]]:
    return [
        exchange
        for name in ("openai", "deepseek", "openrouter")
        for line in (RECORDINGS / f"{name}.jsonl").read_text().splitlines()
        if (exchange := json.loads(line))["url"].endswith("/responses")
    ]


def normal(item: dict[str, Any]) -> dict[str, Any]:
    """An input item in its long form: `type` there, a string as a part, annotations on what the model said."""
    item = {"type": "message"} | item
    if item["type"] != "message":
        return item
    kind = "output_text" if item["role"] == "assistant" else "input_text"
    content = item["content"]
    parts = [{"type": kind, "text": content}] if isinstance(content, str) else content
    return item | {"content": [{"annotations": []} | part if part["type"] == "output_text" else part for part in parts]}


def test_every_recorded_request_comes_out_as_it_was() -> None:
    bodies = [exchange["request"] for exchange in exchanges()]
    assert len(bodies) > 100
    for recorded in bodies:
        body = {key: value for key, value in recorded.items() if key not in STATEFUL and value not in (None, False, {})}
        changes: list[Change] = []
        request = CODEC.decode_request(body)
        again = CODEC.encode_request(request, model=body["model"], quirks=Quirks(), changes=changes)
        items = [{"role": "user", "content": body["input"]}] if isinstance(body["input"], str) else body["input"]
        assert again == body | {"input": [normal(item) for item in items]}
        assert changes == []


def test_every_recorded_reply_is_kept_by_the_round_trip() -> None:
    bodies = [exchange["json"] for exchange in exchanges() if (exchange.get("json") or {}).get("status") == "completed"]
    assert len(bodies) > 90
    for body in bodies:
        reply = CODEC.decode_reply(body)
        resource = CODEC.encode_reply(reply, context())
        assert plain(CODEC.decode_reply(resource)) == plain(reply)
        assert [item["type"] for item in body["output"]] == [item["type"] for item in resource["output"]]


def test_every_recorded_stream_is_the_same_reply_as_its_last_snapshot() -> None:
    mark = 'data: {"type":"response.completed"'
    streams = [body for exchange in exchanges() if mark in (body := exchange.get("body") or "")]
    assert len(streams) > 10
    for body in streams:
        events = decoded_bytes([body.encode()])
        check_canonical(events)
        last = next(line for line in body.splitlines() if line.startswith(mark))
        assert alike(fold(events)) == alike(CODEC.decode_reply(json.loads(last[6:])["response"]))
        check_stream(encoded(events))
