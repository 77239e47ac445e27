"""How many tokens a request may have, where nobody can be asked: an estimate from the lengths of its texts."""

from __future__ import annotations

from typing import Any, Final

from aigateway import _json
from aigateway.formats.generate_content.wire import camel, objects

_PER_TOKEN: Final = 4  # bytes of UTF-8
_PER_CONTENT: Final = 4
_TILE: Final = 258  # what Gemini counts for an image of no more than 384 pixels a side, or a page of a document


def estimated_tokens(body: dict[str, Any]) -> int:
    """A quarter of the bytes of all texts, tools and schemas, and a fixed count for each content, image and file."""
    told = camel(body)
    request = told.get("generateContentRequest")
    if isinstance(request, dict):
        told = camel(request)
    system = told.get("systemInstruction")
    contents = objects([told.get("contents")] if isinstance(told.get("contents"), dict) else told.get("contents"))
    counts = [
        _content(camel(system)) if isinstance(system, dict) else 0,
        *(_PER_CONTENT + _content(content) for content in contents),
        *(_length(_json.encode(tool)) for tool in objects(told.get("tools"))),
    ]
    return max(1, sum(counts))


def count_reply(body: dict[str, Any]) -> dict[str, Any]:
    """The answer of countTokens, estimated."""
    return {"totalTokens": estimated_tokens(body)}


def _content(content: dict[str, Any]) -> int:
    parts = content.get("parts")
    return sum(_part(part) for part in objects([parts] if isinstance(parts, dict) else parts))


def _part(part: dict[str, Any]) -> int:
    if "inlineData" in part or "fileData" in part:
        return _TILE
    text = part.get("text")
    return _length(text.encode("utf-8", "replace") if isinstance(text, str) else _json.encode(part))


def _length(raw: bytes) -> int:
    return -(-len(raw) // _PER_TOKEN)
