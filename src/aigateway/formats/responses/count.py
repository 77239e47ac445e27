"""How many tokens a request may have, where nobody can be asked: an estimate from the lengths of its texts."""

from __future__ import annotations

from typing import Any, Final

from aigateway import _json

_PER_TOKEN: Final = 4  # bytes of UTF-8
_PER_ITEM: Final = 4
_PER_TOOL: Final = 8
_MEDIA: Final = 1000  # an image or a file, whatever its size
_SKIPPED: Final = frozenset({"id", "type", "role", "status", "call_id", "annotations", "logprobs", "encrypted_content"})


def estimated_tokens(body: dict[str, Any]) -> int:
    """A quarter of the bytes of all texts, and a fixed count for each image, file, item and tool: good to about a fifth."""
    told, tools = body.get("input"), body.get("tools")
    items = told if isinstance(told, list) else [told]
    counts = [
        _tokens(body.get("instructions")),
        *(_PER_ITEM + _tokens(item) for item in items if item is not None),
        *(_PER_TOOL + _length(_json.encode(tool)) for tool in (tools if isinstance(tools, list) else ())),
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
    if value.get("type") in ("input_image", "input_file", "input_audio"):
        return _MEDIA
    return sum(_tokens(entry) for key, entry in value.items() if key not in _SKIPPED)
