"""How many tokens a request may have, where nobody can be asked: an estimate from the lengths of its texts."""

from __future__ import annotations

from typing import Any, Final

from aigateway import _json

_PER_TOKEN: Final = 4  # bytes of UTF-8
_PER_MESSAGE: Final = 4
_PER_TOOL: Final = 8
_IMAGE: Final = 1600  # the most that Anthropic counts for one
_PAGE: Final = 3000  # bytes of a PDF for one token: a page of text has some 50 kB and 1,500 tokens, more or less
_TEXTS: Final = ("text", "thinking", "data", "title", "context", "name", "id", "tool_use_id")


def estimated_tokens(body: dict[str, Any]) -> int:
    """A quarter of the bytes of all texts, and a fixed count for each image, message and tool: good to about a fifth."""
    messages, tools = body.get("messages"), body.get("tools")
    told = [message for message in messages if isinstance(message, dict)] if isinstance(messages, list) else []
    offered = tools if isinstance(tools, list) else []
    counts = [
        _tokens(body.get("system")),
        _tokens(body.get("output_config")),
        *(_PER_MESSAGE + _tokens(message.get("content")) for message in told),
        *(_PER_TOOL + _length(_json.encode(tool)) for tool in offered),
    ]
    return max(1, sum(counts))


def _length(raw: bytes) -> int:
    return -(-len(raw) // _PER_TOKEN)


def _tokens(value: Any) -> int:
    if isinstance(value, str):
        return _length(value.encode("utf-8", "replace"))
    if isinstance(value, list):
        return sum(_tokens(entry) for entry in value)
    if not isinstance(value, dict):
        return 0
    kind = value.get("type")
    if kind == "image":
        return _IMAGE
    source = value.get("source")
    if kind == "document" and isinstance(source, dict) and source.get("type") != "text":
        return max(_IMAGE, len(str(source.get("data") or "")) // _PAGE)
    if kind in ("tool_use", "server_tool_use"):
        return _length(_json.encode(value.get("input"))) + _tokens(value.get("name"))
    known = sum(_tokens(value[key]) for key in _TEXTS if isinstance(value.get(key), str))
    return known + sum(_tokens(value.get(key)) for key in ("content", "source", "format", "schema"))
