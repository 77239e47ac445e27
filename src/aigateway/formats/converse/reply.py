"""Whole replies of Converse -> canonical."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from aigateway import _json
from aigateway.canonical.types import Audio, Image, Item, Message, Opaque, Reasoning, Reply, Text, ToolCall
from aigateway.errors import UpstreamProtocolError
from aigateway.formats.converse.wire import (
    ANTHROPIC,
    FORMAT,
    broken_stop,
    decode_citation,
    decode_finish_reason,
    decode_service_tier,
    decode_usage,
)


def decode_reply(body: dict[str, Any]) -> Reply:
    """A reply. Raises UpstreamProtocolError for what is none, UpstreamError for one that tells of a failure.

    Converse tells no id, model or time. What a tool of the host's own did and gave is Opaque.
    """
    output = body.get("output")
    message = output.get("message") if isinstance(output, dict) else None
    blocks = message.get("content") if isinstance(message, dict) else None
    if not isinstance(blocks, list):
        raise UpstreamProtocolError("The upstream sent no Converse reply: it has no output.message.content.")
    broken = broken_stop(body.get("stopReason"))
    if broken is not None:
        raise broken
    items: list[Item] = []
    for block in blocks:
        if isinstance(block, dict):
            _add(items, block)
    called = any(isinstance(item, ToolCall) for item in items)
    tier = decode_service_tier(body.get("serviceTier"))
    return Reply(
        id="",
        model="",
        created_at=0,
        items=tuple(items) or (Message(role="assistant", content=(Text(text=""),)),),
        finish_reason=decode_finish_reason(body.get("stopReason"), has_tool_calls=called),
        usage=decode_usage(body.get("usage")) or UNSET,
        service_tier=UNSET if tier is None else tier,
    )


def _add(items: list[Item], block: dict[str, Any]) -> None:
    text, call, thought, cited = (block.get(key) for key in ("text", "toolUse", "reasoningContent", "citationsContent"))
    if isinstance(text, str):
        _say(items, Text(text=text))
    elif isinstance(cited, dict):
        _say(items, _cited(cited))
    elif isinstance(thought, dict):
        items += _thought(thought)
    elif isinstance(call, dict) and call.get("type") != "server_tool_use":
        items.append(_call(call))
    elif text is None:
        items += [item for kind, held in block.items() if (item := seen(kind, held)) is not None]


def seen(kind: str, held: Any) -> Message | Opaque | None:
    """A block that says nothing in words, as an item of its own; None for one that tells nothing."""
    if kind == "cachePoint" or not isinstance(held, dict | list):
        return None
    source = held.get("source") if isinstance(held, dict) else None
    given = source.get("bytes") if isinstance(source, dict) else None
    form = str(held.get("format")) if isinstance(held, dict) else ""
    if kind == "image" and isinstance(given, str):
        return Message(role="assistant", content=(Image(url=f"data:image/{form};base64,{given}"),))
    if kind == "audio" and isinstance(given, str):
        return Message(role="assistant", content=(Audio(data=given, format=form),))
    return Opaque(format=FORMAT, raw={"type": kind, kind: held})


def _say(items: list[Item], text: Text) -> None:
    """A text block is a part of the message that is open."""
    if not text.text:
        return
    last = items[-1] if items else None
    if isinstance(last, Message):
        items[-1] = msgspec.structs.replace(last, content=(*last.content, text))
    else:
        items.append(Message(role="assistant", content=(text,)))


def _cited(block: dict[str, Any]) -> Text:
    pieces = [piece.get("text") for piece in _objects(block.get("content"))]
    text = "".join(piece for piece in pieces if isinstance(piece, str))
    return Text(text=text, annotations=tuple(decode_citation(raw, text) for raw in _objects(block.get("citations"))))


def _objects(raw: Any) -> list[dict[str, Any]]:
    return [entry for entry in raw if isinstance(entry, dict)] if isinstance(raw, list) else []


def _thought(block: dict[str, Any]) -> list[Item]:
    redacted, told = block.get("redactedContent"), block.get("reasoningText")
    if isinstance(redacted, str) and redacted:
        return [Reasoning(encrypted=redacted, origin=ANTHROPIC)]
    text, signature = (told.get("text"), told.get("signature")) if isinstance(told, dict) else ("", "")
    content = (text,) if isinstance(text, str) and text else ()
    if isinstance(signature, str) and signature:
        return [Reasoning(content=content, signature=signature, origin=ANTHROPIC)]
    return [Reasoning(content=content)] if content else []


def _call(raw: dict[str, Any]) -> ToolCall:
    call_id, name, given = raw.get("toolUseId"), raw.get("name"), raw.get("input")
    return ToolCall(
        call_id=call_id if isinstance(call_id, str) else "",
        name=name if isinstance(name, str) else "",
        arguments=_json.encode({} if given is None else given).decode(),
    )
