"""What a format cannot hold: content for which it refuses a request, and things that are left out and listed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from msgspec import UNSET, UnsetType

from aigateway.canonical.neutral import says_nothing
from aigateway.canonical.types import (
    AdditionalTools,
    Audio,
    Change,
    Extra,
    Item,
    Message,
    Opaque,
    Request,
    Text,
    Tool,
    ToolGroup,
    ToolResult,
)
from aigateway.errors import UnsupportedError

_RECORDS: Final = frozenset(
    {
        "codeExecutionResult",
        "container_upload",
        "executableCode",
        "mcp_list_tools",
        "mcp_tool_use",
        "server_tool_use",
        "toolCall",
        "toolResponse",
        "tool_search_call",
        "tool_search_output",
        "web_search_call",
    }
)
_TOLD: Final = frozenset({"annotations", "content", "logprobs", "reasoning_details", "role", "summary", "type"})
"""Keys that decoders keep to write a thing again just as it came; what they say is in the canonical form too."""


class UncarriedError(UnsupportedError):
    """An item or part that the target's format has no place for.

    content  the item or part itself: where it stands (`param`) is said by the format that it was decoded from.
    """

    code = "unsupported_content"

    def __init__(self, message: str, content: object) -> None:
        super().__init__(message)
        self.content = content


def kind_of(opaque: Opaque) -> str:
    """What a thing that only its own format understands is called there: its type, else its first key."""
    kind = opaque.raw.get("type")
    return kind if isinstance(kind, str) else next(iter(opaque.raw), "")


def is_record(opaque: Opaque) -> bool:
    """Whether an item only records what a hosted tool did: what the model made of it stands in the texts behind it."""
    kind = kind_of(opaque)
    return kind in _RECORDS or kind.endswith("_tool_result")


def foreign_keys(request: Request, format: str) -> list[str]:
    """The keys of a request's items, parts and tools that only another format knows, each once; none that says nothing."""
    extras = _extras(request)
    if not extras:
        return []
    found: dict[str, None] = {}
    for extra in extras:
        if extra.format != format:
            said = (key for key, value in extra.fields.items() if key not in _TOLD and not says_nothing(key, value))
            found.update(dict.fromkeys(said))
    return list(found)


def described(schema: dict[str, Any], description: str | UnsetType | None) -> dict[str, Any]:
    """A schema with the description of the answer, for formats that have no other place for that."""
    return {"description": description, **schema} if isinstance(description, str) and description else schema


def _extras(request: Request) -> list[Extra]:
    found: list[Extra] = []
    tools: tuple[Tool, ...] = () if request.tools is UNSET else request.tools
    for item in request.items:
        if isinstance(item, Opaque):
            continue
        if item.extra is not UNSET:
            found.append(item.extra)
        if isinstance(item, AdditionalTools):
            tools += item.tools
            continue
        parts = item.content if isinstance(item, Message) else item.output if isinstance(item, ToolResult) else ()
        for part in parts if isinstance(parts, tuple) else ():
            extra: Extra | UnsetType = getattr(part, "extra", UNSET)
            if extra is not UNSET:
                found.append(extra)
    if tools:
        _add_extras_of(tools, found)
    return found


def _add_extras_of(tools: Iterable[Tool], found: list[Extra]) -> None:
    for tool in tools:
        if isinstance(tool, Opaque):
            continue
        if tool.extra is not UNSET:
            found.append(tool.extra)
        if isinstance(tool, ToolGroup) and tool.tools is not UNSET:
            _add_extras_of(tool.tools, found)


def note_lost(item: Item, format: str, lacks: tuple[type, ...], changes: list[Change]) -> None:
    """List what a caller's format cannot show of an item of a reply. `lacks`: the kinds of items and parts it has not."""
    for field, what in _lost(item, format, lacks):
        change = Change(field=field, action="dropped", reason=f"The caller's API has no {what}.")
        if change not in changes:
            changes.append(change)


def _lost(item: Item, format: str, lacks: tuple[type, ...]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if isinstance(item, Opaque) and item.format != format:
        found.append(("output", f"item of type {kind_of(item)}"))
    elif isinstance(item, lacks):
        found.append(("output", f"items of this kind: {type(item).__name__}"))
    for part in item.content if isinstance(item, Message) else ():
        if isinstance(part, Text) and not part.annotations and Text not in lacks:
            continue
        if isinstance(part, Audio):
            if Audio in lacks and part.data:
                found.append(("audio", "audio: what was said is told as text"))
        elif isinstance(part, lacks) or (isinstance(part, Opaque) and part.format != format):
            found.append(("output", f"parts of this kind: {type(part).__name__}"))
        annotations = part.annotations if isinstance(part, Text) else ()
        if any(isinstance(annotation, Opaque) and annotation.format != format for annotation in annotations):
            found.append(("annotations", "annotations but citations of web pages"))
    return found
