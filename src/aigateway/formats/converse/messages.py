"""Items -> `system` and `messages`.

The roles of Converse alternate, so what belongs to one role stands in one message; the results of an assistant's calls
are the first thing in the message behind them.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from msgspec import UNSET

from aigateway import _json
from aigateway.canonical.types import (
    Audio,
    Change,
    File,
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
from aigateway.canonical.uncarried import UncarriedError, is_record, kind_of
from aigateway.formats.converse.caching import CachePoints
from aigateway.formats.converse.media import MediaWriter
from aigateway.formats.converse.wire import ANTHROPIC, FORMAT

_CALL_ID: Final = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
_SYSTEM: Final = frozenset({"system", "developer"})

Block = dict[str, Any]


def encode_messages(request: Request, *, maker: str, points: CachePoints, changes: list[Change]) -> dict[str, Any]:
    """`messages`, and `system` where there is any. Raises UncarriedError for content that Converse cannot hold.

    maker: who made the model, "" where nobody knows.
    """
    writer = _Writer(maker, points, changes)
    if request.instructions is not UNSET and request.instructions.strip():
        writer.system.append({"text": request.instructions})
    writer.write(request.items)
    body: dict[str, Any] = {"messages": writer.messages}
    if writer.system:
        body["system"] = writer.system
    return body


def has_tool_blocks(messages: Sequence[dict[str, Any]]) -> bool:
    """Whether a call or a result stands in the messages: then the tools must be told too."""
    return any("toolUse" in block or "toolResult" in block for message in messages for block in message["content"])


def goes_on_without_thoughts(messages: Sequence[dict[str, Any]]) -> bool:
    """Whether results answer calls of a turn that does not begin with reasoning."""
    if len(messages) < 2 or not any("toolResult" in block for block in messages[-1]["content"]):
        return False
    return "reasoningContent" not in messages[-2]["content"][0]


class _Writer:
    def __init__(self, maker: str, points: CachePoints, changes: list[Change]) -> None:
        self.system: list[Block] = []
        self.messages: list[dict[str, Any]] = []
        self._maker = maker
        self._points = points
        self._changes = changes
        self._media = MediaWriter()
        self._results: dict[str, deque[int]] = {}
        self._called: list[str] = []

    def write(self, items: Sequence[Item]) -> None:
        """Write all items, each result behind its call."""
        for position, item in enumerate(items):
            if isinstance(item, ToolResult):
                self._results.setdefault(item.call_id, deque()).append(position)
        written: set[int] = set()
        for position, item in enumerate(items):
            if position in written:
                continue
            is_answer = isinstance(item, Reasoning | ToolCall) or (
                isinstance(item, Message) and item.role == "assistant"
            )
            if not is_answer:
                written |= self._answered(items, position)
            if position not in written:
                self._item(item)
        self._answered(items, len(items))
        self._begin_with_a_user()

    def _item(self, item: Item) -> None:
        if isinstance(item, Message):
            self._message(item)
        elif isinstance(item, ToolCall):
            self._called.append(item.call_id)
            self._append("assistant", {"toolUse": self._call(item)}, *self._points.after(item.extra))
        elif isinstance(item, ToolResult):
            self._append("user", {"toolResult": self._result(item)}, *self._points.after(item.extra))
        elif isinstance(item, Reasoning):
            self._reasoning(item)
        elif isinstance(item, Opaque):
            self._opaque(item)
        else:
            raise TypeError("tools in the conversation are flattened before they are encoded")

    def _answered(self, items: Sequence[Item], position: int) -> set[int]:
        """Write the results of the calls that the assistant has just made; give their positions."""
        found: list[int] = []
        for call_id in self._called:
            places = self._results.get(call_id)
            while places and places[0] < position:
                places.popleft()
            if places:
                found.append(places.popleft())
        self._called = []
        found.sort()
        if found and found[-1] >= position + len(found):
            self._note(
                "input", "changed", "Converse wants tool results right behind their calls: they were moved there."
            )
        for place in found:
            self._item(items[place])
        return set(found)

    def _append(self, role: str, *blocks: Block) -> None:
        if not blocks:
            return
        if self.messages and self.messages[-1]["role"] == role:
            self.messages[-1]["content"] += blocks
        else:
            self.messages.append({"role": role, "content": list(blocks)})

    def _begin_with_a_user(self) -> None:
        if not self.messages or self.messages[0]["role"] != "user":
            self.messages.insert(0, {"role": "user", "content": [{"text": "."}]})
            self._note("input", "changed", "Converse wants a user to begin: a message with a full stop stands first.")

    # messages

    def _message(self, item: Message) -> None:
        for field, value in (("name", item.name), ("phase", item.phase)):
            if value is not UNSET:
                self._note(field, "dropped", f"Converse has no {field} of a message.")
        if item.role not in _SYSTEM:
            self._append("assistant" if item.role == "assistant" else "user", *self._content(item.content))
        elif not self.messages:
            self.system += [block for block in self._content(item.content) if self._fits_system(block, item)]
        else:
            self._note(
                "messages", "changed", "Converse has no system messages within a conversation: sent as a user's."
            )
            self._append("user", *self._content(item.content))

    @staticmethod
    def _fits_system(block: Block, item: Message) -> bool:
        if "text" in block or "cachePoint" in block:
            return True
        raise UncarriedError("Converse takes nothing but text in system messages.", item)

    def _content(self, parts: Sequence[Part], *, points: bool = True) -> list[Block]:
        blocks: list[Block] = []
        for part in parts:
            block = self._part(part)
            if block is None:
                continue
            blocks.append(block)
            if points:
                blocks += self._points.after_part(part)
        return blocks

    def _part(self, part: Part) -> Block | None:
        if isinstance(part, Text | Refusal):
            if part.text.strip():
                return {"text": part.text}
            if part.text:
                self._note("input", "changed", "Converse refuses texts of nothing but space: they were left out.")
            return None
        if isinstance(part, Audio) and part.data is UNSET and part.transcript is not UNSET:
            self._note("audio", "changed", "Audio of the assistant without its data is sent as its transcript.")
            return {"text": part.transcript}
        if isinstance(part, Image | File | Audio):
            if isinstance(part, Image) and part.detail not in (UNSET, "auto"):
                self._note("image.detail", "dropped", "Converse has no detail of images.")
            return self._media.block(part)
        if part.format != FORMAT:
            raise UncarriedError(f"Converse cannot carry content of type {kind_of(part)}.", part)
        return part.raw

    # what the assistant thought and called

    def _reasoning(self, item: Reasoning) -> None:
        """Only what Anthropic has signed or sealed goes back, and only to a model of theirs: others refuse it."""
        ours = item.origin == ANTHROPIC and self._maker in (ANTHROPIC, "")
        if ours and item.encrypted is not UNSET:
            self._append("assistant", {"reasoningContent": {"redactedContent": item.encrypted}})
        elif ours and item.signature is not UNSET:
            told = {"text": "".join(item.content), "signature": item.signature}
            self._append("assistant", {"reasoningContent": {"reasoningText": told}})
        elif item.content or item.summary or item.encrypted is not UNSET or item.signature is not UNSET:
            self._note(
                "reasoning", "dropped", "Only what the model's own maker has signed can be sent back as reasoning."
            )

    def _call(self, item: ToolCall) -> dict[str, Any]:
        if item.signature is not UNSET:
            self._note("tool_calls.signature", "dropped", "Only its maker takes back what it has signed.")
        try:
            given = _json.decode(item.arguments.encode("utf-8", "replace")) if item.arguments.strip() else {}
        except (_json.DecodeError, RecursionError):
            given = item.arguments
        if not isinstance(given, dict):
            given = {"arguments": item.arguments}
            self._note(
                "tool_calls.arguments", "changed", "Converse takes an object as arguments: the text is put into one."
            )
        return {"toolUseId": _call_id(item.call_id), "name": item.name, "input": given}

    def _result(self, item: ToolResult) -> dict[str, Any]:
        parts = (Text(text=item.output),) if isinstance(item.output, str) else item.output
        blocks = self._content(parts, points=False)
        self._points.none_within(parts)
        if any("audio" in block for block in blocks):
            raise UncarriedError("Converse does not take audio in the result of a tool.", item)
        if not blocks:
            blocks = [{"text": "(no output)"}]
            self._note("input", "changed", "Converse refuses empty results: they say that there is no output.")
        result: dict[str, Any] = {"toolUseId": _call_id(item.call_id), "content": blocks}
        if item.is_error is not UNSET:
            result["status"] = "error" if item.is_error else "success"
        return result

    def _opaque(self, item: Opaque) -> None:
        kind = kind_of(item)
        if is_record(item):
            self._note(
                "input", "dropped", f"Converse has no item of type {kind}, which records what a hosted tool did."
            )
            return
        raise UncarriedError(f"Converse cannot carry an input item of type {kind}.", item)

    def _note(self, field: str, action: str, reason: str) -> None:
        change = Change(field=field, action=action, reason=reason)
        if change not in self._changes:
            self._changes.append(change)


def _call_id(call_id: str) -> str:
    """The caller's id; one made from it where Bedrock would refuse it. The same id always gives the same."""
    if _CALL_ID.fullmatch(call_id):
        return call_id
    return f"call_{hashlib.sha256(call_id.encode('utf-8', 'replace')).hexdigest()[:32]}"
