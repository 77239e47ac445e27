"""What Open Responses has otherwise than OpenAI: the profile `open_responses`, written over what was made for OpenAI.

Reasoning has other event names; the schema of a JSON format is echoed as null; whatever only OpenAI has (items, events,
tools, parts, annotations) carries OpenAI's slug, `openai:web_search_call`, as the specification wants it of what it does
not define (https://www.openresponses.org/specification, "Extending"). What comes in may carry it or not.

The functions change the objects that they get.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from aigateway.formats.responses.fields import SLUG

EVENTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "response.reasoning_text.delta": "response.reasoning.delta",
        "response.reasoning_text.done": "response.reasoning.done",
        "response.custom_tool_call_input.delta": f"{SLUG}response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done": f"{SLUG}response.custom_tool_call_input.done",
    }
)
"""OpenAI's name of an event -> its name here; the others have one name."""

_ITEMS: Final = frozenset({"message", "function_call", "function_call_output", "reasoning", "compaction"})
_PARTS: Final = frozenset(
    {
        "input_text",
        "output_text",
        "text",
        "summary_text",
        "reasoning_text",
        "refusal",
        "input_image",
        "input_file",
        "input_video",
    }
)
_ANNOTATIONS: Final = frozenset({"url_citation"})
_TOOLS: Final = frozenset({"function"})
_CHOICES: Final = frozenset({"function", "allowed_tools"})
_FORMATS: Final = frozenset({"text", "json_object", "json_schema"})
_REASONING: Final = {
    "effort": frozenset({"none", "low", "medium", "high", "xhigh"}),
    "summary": frozenset({"concise", "detailed", "auto"}),
}
_DETAILS: Final = frozenset({"low", "high", "auto"})


def adapt_event(data: dict[str, Any]) -> None:
    """An event; the response in it stays as it is, `adapt_echo` and `adapt_item` are for its makers."""
    data["type"] = EVENTS.get(data["type"], data["type"])
    if "item" in data:
        adapt_item(data["item"])
    elif "part" in data:
        _adapt_part(data["part"])
    elif "annotation" in data:
        _prefix(data["annotation"], _ANNOTATIONS)


def adapt_item(item: dict[str, Any]) -> None:
    """An output item with its parts."""
    _prefix(item, _ITEMS)
    for key in ("content", "output"):
        if isinstance(item.get(key), list):
            for part in item[key]:
                _adapt_part(part)


def adapt_echo(echo: dict[str, Any]) -> None:
    """What a response repeats of its request. An effort or kind of summary that is only OpenAI's is not told."""
    for tool in echo["tools"]:
        _prefix(tool, _TOOLS)
    choice = echo["tool_choice"]
    _prefix(choice, _CHOICES)
    if isinstance(choice, dict) and isinstance(choice.get("tools"), list):
        for tool in choice["tools"]:
            _prefix(tool, _TOOLS)
    wanted = echo["text"]["format"]
    _prefix(wanted, _FORMATS)
    if wanted["type"] == "json_schema":
        wanted["schema"] = None
    for key, known in _REASONING.items():
        if not _is_one_of(echo["reasoning"][key], known):
            echo["reasoning"][key] = None


def _adapt_part(part: dict[str, Any]) -> None:
    _prefix(part, _PARTS)
    for annotation in part.get("annotations") or ():
        _prefix(annotation, _ANNOTATIONS)
    if part["type"] == "input_image":
        part.setdefault("image_url", None)
        if not _is_one_of(part.get("detail"), _DETAILS):
            part["detail"] = "auto"


def _is_one_of(value: Any, known: frozenset[str]) -> bool:
    return isinstance(value, str) and value in known


def _prefix(raw: Any, known: frozenset[str]) -> None:
    """Put the slug before a type that is not known here and carries no slug yet."""
    kind = raw.get("type") if isinstance(raw, dict) else None
    if isinstance(kind, str) and kind not in known and ":" not in kind:
        raw["type"] = SLUG + kind
