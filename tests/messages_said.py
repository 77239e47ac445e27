"""What a message says, read off the wire by hand: none of the gateway's own code, so that it can judge it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tests.said import Call, Said, opened

Object = dict[str, Any]

_FINISH = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def of_message(body: Object) -> Said:
    """A message."""
    blocks = body["content"]
    calls = tuple(
        Call(block["id"], block["name"], _compact(block["input"])) for block in blocks if block["type"] == "tool_use"
    )
    return Said(
        text="".join(block["text"] for block in blocks if block["type"] == "text"),
        calls=calls,
        reasoning="\n\n".join(
            block["thinking"] for block in blocks if block["type"] == "thinking" and block["thinking"]
        ),
        refusal="",
        sealed=tuple(
            given
            for block in blocks
            if block.get("signature") or block.get("data")
            for given in opened(block.get("signature") or block["data"])
        ),
        citations=tuple(
            raw["url"]
            for block in blocks
            for raw in block.get("citations") or ()
            if raw["type"] == "web_search_result_location"
        ),
        tokens=(),
        finish=_FINISH.get(body["stop_reason"], "stop"),
        usage=_usage(body["usage"]),
    )


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _usage(raw: Object) -> tuple[int, ...]:
    read = raw.get("cache_read_input_tokens") or 0
    spent = raw["input_tokens"] + read + (raw.get("cache_creation_input_tokens") or 0)
    thought = (raw.get("output_tokens_details") or {}).get("thinking_tokens") or 0
    return spent, raw["output_tokens"], spent + raw["output_tokens"], read, thought


def message_body(events: Iterable[Object]) -> Object:
    """The message that the events of a stream add up to."""
    body: Object = {}
    blocks: dict[int, Object] = {}
    pieces: dict[int, str] = {}
    for event in events:
        kind = event["type"]
        if kind == "message_start":
            body = json.loads(json.dumps(event["message"]))
        elif kind == "content_block_start":
            blocks[event["index"]] = json.loads(json.dumps(event["content_block"]))
        elif kind == "content_block_delta":
            _grow(blocks[event["index"]], pieces, event)
        elif kind == "message_delta":
            body |= {key: value for key, value in event["delta"].items() if value is not None}
            body["usage"] |= {key: value for key, value in event["usage"].items() if value is not None}
    for index, text in pieces.items():
        if text:
            blocks[index]["input"] = json.loads(text)
    return body | {"content": [blocks[index] for index in sorted(blocks)]}


def _grow(block: Object, pieces: dict[int, str], event: Object) -> None:
    delta = event["delta"]
    kind = delta["type"]
    if kind == "input_json_delta":
        pieces[event["index"]] = pieces.get(event["index"], "") + delta["partial_json"]
    elif kind == "citations_delta":
        block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
    else:
        name = kind.removesuffix("_delta")
        block[name] = block.get(name, "") + delta[name]


def message_events(body: Object) -> list[Object]:
    """A message as the events that its host could have streamed."""
    start = {**body, "content": [], "stop_reason": None, "usage": {**body["usage"], "output_tokens": 1}}
    events: list[Object] = [{"type": "message_start", "message": start}, {"type": "ping"}]
    for index, block in enumerate(body["content"]):
        kind = block["type"]
        grows = {"text": ("text",), "thinking": ("thinking", "signature"), "tool_use": ("input",)}.get(kind, ())
        empty = (
            block
            | {name: {} if name == "input" else "" for name in grows}
            | ({"citations": []} if block.get("citations") else {})
        )
        events.append({"type": "content_block_start", "index": index, "content_block": empty})
        deltas = (
            [{"type": "citations_delta", "citation": raw} for raw in block.get("citations") or ()]
            if kind == "text"
            else []
        )
        for name in grows:
            text = _compact(block[name]) if name == "input" else block[name]
            key, delta = ("partial_json", "input_json_delta") if name == "input" else (name, f"{name}_delta")
            deltas += [{"type": delta, key: text[at : at + 11]} for at in range(0, len(text), 11)]
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    ending = {"stop_reason": body["stop_reason"], "stop_sequence": body["stop_sequence"]}
    events.append(
        {"type": "message_delta", "delta": ending, "usage": {"output_tokens": body["usage"]["output_tokens"]}}
    )
    return [*events, {"type": "message_stop"}]
