"""Items -> `messages`: one message for all that the assistant said, thought and called in a turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

from aigateway.canonical.types import (
    Audio,
    Change,
    Image,
    Item,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Request,
    Text,
    ToolCall,
    ToolResult,
)
from aigateway.canonical.uncarried import UncarriedError, kind_of
from aigateway.formats.cohere_chat.wire import FORMAT, ORIGIN

_SYSTEM = frozenset({"system", "developer"})
_DETAILS = ("auto", "low", "high")


def encode_messages(request: Request, changes: list[Change]) -> list[dict[str, Any]]:
    """The messages. Raises UncarriedError for content that Cohere cannot hold."""
    writer = _Writer(changes)
    if request.instructions is not UNSET and request.instructions:
        writer.messages.append({"role": "system", "content": request.instructions})
    for item in request.items:
        writer.write(item)
    writer.end_turn()
    return writer.messages


class _Writer:
    def __init__(self, changes: list[Change]) -> None:
        self.messages: list[dict[str, Any]] = []
        self._changes = changes
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._plans: list[str] = []
        self._calls: list[dict[str, Any]] = []

    def write(self, item: Item) -> None:
        """Write one item; those of the assistant are gathered until another speaks."""
        if isinstance(item, ToolCall):
            if item.signature is not UNSET:
                self._note("tool_calls.signature", "dropped", "Cohere's calls are not signed.")
            self._calls.append(
                {
                    "id": item.call_id,
                    "type": "function",
                    "function": {"name": item.name, "arguments": item.arguments or "{}"},
                }
            )
        elif isinstance(item, Reasoning):
            self._reasoning(item)
        elif isinstance(item, Message) and item.role == "assistant":
            self._note_unsaid(item, item.content)
            self._texts += [text for part in item.content if (text := self._said(part))]
        else:
            self.end_turn()
            self._other(item)

    def end_turn(self) -> None:
        """Write what the assistant said and did."""
        texts, calls, plans, thoughts = self._texts, self._calls, self._plans, self._thoughts
        self._texts, self._calls, self._plans, self._thoughts = [], [], [], []
        message: dict[str, Any] = {"role": "assistant"}
        content: list[dict[str, Any]] = [{"type": "thinking", "thinking": thought} for thought in thoughts]
        if calls:
            message["tool_calls"] = calls
            if content:
                message["content"] = content
            if texts:
                self._note("messages", "changed", "What is said beside tool calls is sent to Cohere as their plan.")
            if plans or texts:
                message["tool_plan"] = "\n".join([*plans, *texts])
            self.messages.append(message)
        elif texts:
            content += [{"type": "text", "text": text} for text in texts]
            message["content"] = texts[0] if len(content) == 1 else content
            self.messages.append(message)
        if (thoughts and not calls and not texts) or (plans and not calls):
            self._note(
                "reasoning", "dropped", "Cohere takes back thoughts with what followed them, plans with their calls."
            )

    def _said(self, part: Part) -> str:
        if isinstance(part, Text | Refusal):
            return part.text
        if isinstance(part, Audio) and part.transcript is not UNSET:
            self._note("audio", "changed", "Audio of the assistant is sent as its transcript.")
            return part.transcript
        raise UncarriedError("Cohere takes nothing but text from the assistant.", part)

    def _reasoning(self, item: Reasoning) -> None:
        """Only what Cohere's own models thought and planned goes back."""
        if item.origin == ORIGIN:
            self._thoughts += item.content
            self._plans += item.summary
        elif item.content or item.summary or item.encrypted is not UNSET or item.signature is not UNSET:
            self._note("reasoning", "dropped", "Cohere's models take back no reasoning but their own.")

    def _note_unsaid(self, item: Message | None, parts: Sequence[Part]) -> None:
        """List what messages and parts tell beside their content."""
        if item is not None and item.name is not UNSET:
            self._note("name", "dropped", "Cohere has no names of participants.")
        if item is not None and item.phase is not UNSET:
            self._note("phase", "dropped", "Cohere has no phases of what the assistant says.")
        for part in parts:
            if getattr(part, "prompt_cache_breakpoint", UNSET) is not UNSET:
                self._note("prompt_cache_breakpoint", "dropped", "Cohere has no marks of what to cache.")
            if isinstance(part, Image) and part.detail not in (UNSET, *_DETAILS):
                self._note("detail", "dropped", f"Cohere has no such detail of images: {', '.join(_DETAILS)}.")

    def _other(self, item: Item) -> None:
        if isinstance(item, Message):
            self._note_unsaid(item, item.content)
            role = "system" if item.role in _SYSTEM else "user"
            self.messages.append({"role": role, "content": self._content(item.content, item, role)})
        elif isinstance(item, ToolResult):
            self._result(item)
        elif isinstance(item, Opaque):
            raise UncarriedError(f"Cohere cannot carry an input item of type {kind_of(item)}.", item)
        else:
            raise TypeError("tools in the conversation are flattened before they are encoded")

    def _content(self, parts: Sequence[Part], whole: Item, role: str) -> str | list[dict[str, Any]]:
        blocks = [self._part(part) for part in parts]
        if role == "system" and any(block["type"] != "text" for block in blocks):
            raise UncarriedError("Cohere takes nothing but text in system messages.", whole)
        if len(blocks) == 1 and blocks[0]["type"] == "text":
            return str(blocks[0]["text"])
        return blocks or ""

    def _part(self, part: Part) -> dict[str, Any]:
        if isinstance(part, Text | Refusal):
            return {"type": "text", "text": part.text}
        if isinstance(part, Image) and part.url is not UNSET:
            image: dict[str, Any] = {"url": part.url}
            if part.detail in _DETAILS:
                image["detail"] = part.detail
            return {"type": "image_url", "image_url": image}
        if isinstance(part, Opaque) and part.format == FORMAT:
            return part.raw
        kind = part.raw.get("type") if isinstance(part, Opaque) else type(part).__name__.lower()
        raise UncarriedError(f"Cohere cannot carry content of type {kind}.", part)

    def _result(self, item: ToolResult) -> None:
        output = item.output
        if item.is_error is True:
            self._note("is_error", "dropped", "Cohere is not told of a result that the tool failed.")
        if not isinstance(output, str):
            self._note_unsaid(None, output)
            lacking = next((part for part in output if not isinstance(part, Text | Refusal)), None)
            if lacking is not None:
                raise UncarriedError("Cohere takes nothing but text in the result of a tool.", lacking)
            output = "\n".join(part.text for part in output if isinstance(part, Text | Refusal))
        self.messages.append({"role": "tool", "tool_call_id": item.call_id, "content": output})

    def _note(self, field: str, action: str, reason: str) -> None:
        change = Change(field=field, action=action, reason=reason)
        if change not in self._changes:
            self._changes.append(change)
