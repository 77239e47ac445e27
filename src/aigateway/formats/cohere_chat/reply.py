"""Whole replies of Cohere's chat -> canonical."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from aigateway import _json
from aigateway.canonical.types import Item, Message, Opaque, Reasoning, Reply, Text, ToolCall
from aigateway.errors import UpstreamProtocolError
from aigateway.formats.cohere_chat.wire import (
    FORMAT,
    ORIGIN,
    broken_finish,
    citations_item,
    cites_text,
    decode_citation,
    decode_finish_reason,
    decode_usage,
    is_unknown,
)


def decode_reply(body: dict[str, Any]) -> Reply:
    """A reply. Raises UpstreamProtocolError for what is none, UpstreamError for one that tells of a failure.

    Cohere tells neither model nor time. The plan of its calls is a summary of reasoning.
    """
    message = body.get("message")
    if not isinstance(message, dict):
        raise UpstreamProtocolError("The upstream sent no reply of Cohere's chat: it has no message.")
    broken = broken_finish(body.get("finish_reason"), body.get("error"))
    if broken is not None:
        raise broken
    thoughts, texts, others = _content(message)
    plan = message.get("tool_plan")
    plans = (plan,) if isinstance(plan, str) and plan else ()
    items: list[Item] = []
    if thoughts or plans:
        items.append(Reasoning(summary=plans, content=tuple(thoughts), origin=ORIGIN))
    if texts:
        items.append(Message(role="assistant", content=tuple(texts)))
    items += others
    calls = [decode_call(raw) for raw in _objects(message.get("tool_calls"))]
    items += calls
    reply_id = body.get("id")
    return Reply(
        id=reply_id if isinstance(reply_id, str) else "",
        model="",
        created_at=0,
        items=tuple(items) or (Message(role="assistant", content=(Text(text=""),)),),
        finish_reason=decode_finish_reason(body.get("finish_reason"), has_tool_calls=bool(calls)),
        usage=decode_usage(body.get("usage")) or UNSET,
    )


def decode_call(raw: dict[str, Any]) -> ToolCall:
    """A tool call, whole or as it begins."""
    call_id, function = raw.get("id"), raw.get("function")
    facts: dict[str, Any] = function if isinstance(function, dict) else {}
    name, arguments = facts.get("name"), facts.get("arguments")
    if isinstance(arguments, dict):
        arguments = _json.encode(arguments).decode()
    return ToolCall(
        call_id=call_id if isinstance(call_id, str) else "",
        name=name if isinstance(name, str) else "",
        arguments=arguments if isinstance(arguments, str) else "",
    )


def _content(message: dict[str, Any]) -> tuple[list[str], list[Text], list[Opaque]]:
    """What was thought and what was said, the citations of a text being its annotations; and what is neither."""
    content = message.get("content")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else _objects(content)
    said = [index for index, block in enumerate(blocks) if _said(block)]
    cited: dict[int, list[dict[str, Any]]] = {index: [] for index in said}
    unplaced: list[dict[str, Any]] = []
    for raw in _objects(message.get("citations")):
        index = raw.get("content_index")
        place = index if isinstance(index, int) else next(iter(said), -1)
        (cited[place] if place in cited and cites_text(raw) else unplaced).append(raw)
    thoughts = [text for block in blocks if isinstance(text := block.get("thinking"), str) and text]
    texts = [
        Text(text=blocks[index]["text"], annotations=tuple(map(decode_citation, own))) for index, own in cited.items()
    ]
    others = [Opaque(format=FORMAT, raw=block) for block in blocks if is_unknown(block)]
    return thoughts, texts, [*others, citations_item(unplaced)] if unplaced else others


def _said(block: dict[str, Any]) -> bool:
    text = block.get("text")
    return isinstance(text, str) and bool(text) and not block.get("thinking") and not is_unknown(block)


def _objects(raw: Any) -> list[dict[str, Any]]:
    return [entry for entry in raw if isinstance(entry, dict)] if isinstance(raw, list) else []
