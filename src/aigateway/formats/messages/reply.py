"""Whole replies, both ways."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import UNSET

from aigateway.canonical.types import (
    Annotation,
    Audio,
    Item,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Reply,
    Text,
    ToolCall,
)
from aigateway.canonical.uncarried import note_lost
from aigateway.errors import UpstreamProtocolError
from aigateway.formats.messages.wire import (
    FORMAT,
    LACKING,
    decode_call,
    decode_citation,
    decode_redacted,
    decode_thinking,
    encode_citation,
    encode_usage,
    finish_reason,
    input_of,
    messages_usage,
    redacted_for,
    served_tier,
    signature_for,
    stop_reason,
    thought_of,
)
from aigateway.formats.protocol import ReplyContext
from aigateway.formats.relay import stream_error


def decode_reply(body: dict[str, Any]) -> Reply:
    """A reply. Raises UpstreamError where it tells of one, UpstreamProtocolError where it is no message."""
    if body.get("type") == "error" or (body.get("error") and "content" not in body):
        raise stream_error(body.get("error") or {})
    content = body.get("content")
    if not isinstance(content, list):
        raise UpstreamProtocolError("The upstream sent no message: it has no `content`.")
    items = _items(block for block in content if isinstance(block, dict))
    usage = messages_usage(body.get("usage"))
    calls = any(isinstance(item, ToolCall) for item in items)
    return Reply(
        id=_text(body.get("id")),
        model=_text(body.get("model")),
        created_at=0,
        items=items,
        finish_reason=finish_reason(body.get("stop_reason"), has_tool_calls=calls),
        usage=UNSET if usage is None else usage,
        service_tier=served_tier(body.get("usage")),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _items(blocks: Iterable[dict[str, Any]]) -> tuple[Item, ...]:
    items: list[Item] = []
    for block in blocks:
        if block.get("type") != "text":
            items.append(decode_block(block))
            continue
        text = _text(block.get("text"))
        part = Text(text=text, annotations=annotations_of(block.get("citations"), text))
        last = items[-1] if items else None
        if isinstance(last, Message):
            items[-1] = msgspec.structs.replace(last, content=(*last.content, part))
        else:
            items.append(Message(role="assistant", content=(part,)))
    return tuple(items)


def annotations_of(citations: Any, text: str) -> tuple[Annotation, ...]:
    """The citations of a text."""
    found = [decode_citation(raw, len(text)) for raw in citations] if isinstance(citations, list) else []
    return tuple(one for one in found if one is not None)


def decode_block(block: dict[str, Any]) -> Item:
    """A block of a reply that is no text."""
    kind = block.get("type")
    if kind == "thinking":
        return decode_thinking(_text(block.get("thinking")), block.get("signature"))
    if kind == "redacted_thinking":
        return decode_redacted(block.get("data"))
    if kind == "tool_use":
        return decode_call(block)
    return Opaque(format=FORMAT, raw=block)


def encode_reply(reply: Reply, context: ReplyContext) -> dict[str, Any]:
    """A message. Items that this API has no place for are listed."""
    blocks: list[dict[str, Any]] = []
    for item in reply.items:
        note_lost(item, FORMAT, LACKING, context.changes)
        blocks += encode_item(item)
    refused = any(
        isinstance(part, Refusal) for item in reply.items if isinstance(item, Message) for part in item.content
    )
    reason = "refusal" if refused and reply.finish_reason == "stop" else stop_reason(reply.finish_reason)
    return {
        **message_head(reply.id, context),
        "content": blocks,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": encode_usage(reply.usage, reply.service_tier),
    }


def message_head(reply_id: str, context: ReplyContext) -> dict[str, Any]:
    """The keys of a message that are known from the first."""
    known = reply_id if reply_id.startswith("msg_") else context.new_id("msg")
    return {"id": known, "type": "message", "role": "assistant", "model": context.model}


def encode_item(item: Item) -> list[dict[str, Any]]:
    """The blocks of an item: no text is empty."""
    if isinstance(item, Message):
        return [block for part in item.content if (block := _part(part)) is not None]
    if isinstance(item, Reasoning):
        return encode_reasoning(item)
    if isinstance(item, ToolCall):
        return [{"type": "tool_use", "id": item.call_id, "name": item.name, "input": input_of(item.arguments)}]
    return [item.raw] if isinstance(item, Opaque) and item.format == FORMAT else []


def encode_reasoning(item: Reasoning) -> list[dict[str, Any]]:
    """A thinking block with its signature, or a redacted one where nobody can read it."""
    text = thought_of(item)
    if text or (item.signature is not UNSET and item.encrypted is UNSET):
        return [{"type": "thinking", "thinking": text, "signature": signature_for(item)}]
    data = redacted_for(item)
    return [] if data is None else [{"type": "redacted_thinking", "data": data}]


def _part(part: Part) -> dict[str, Any] | None:
    text = part.transcript or "" if isinstance(part, Audio) else part.text if isinstance(part, Text | Refusal) else ""
    if not text:
        return None
    block: dict[str, Any] = {"type": "text", "text": text}
    annotations = part.annotations if isinstance(part, Text) else ()
    citations = [raw for one in annotations if (raw := encode_citation(one, text)) is not None]
    return block | {"citations": citations} if citations else block
