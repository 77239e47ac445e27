"""Items -> chat messages.

What one assistant turn did (reasoning, text, calls) is one message in chat, and the results of its calls must follow it
at once; tool messages hold text only, so images move into a user message behind them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from msgspec import UNSET, UnsetType

from aigateway.canonical.filenames import named
from aigateway.canonical.quirks import Quirks
from aigateway.canonical.types import (
    Audio,
    Change,
    Extra,
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
from aigateway.formats.chat.wire import (
    FORMAT,
    encode_reasoning,
    encode_reasoning_details,
    encode_tool_call,
    is_of_maker,
    signature_fields,
)


def encode_messages(request: Request, model: str, quirks: Quirks, changes: list[Change]) -> list[dict[str, Any]]:
    """The messages of a request to this model. Raises UnsupportedError for content that chat cannot hold."""
    writer = _Writer(model, quirks, changes)
    if request.instructions is not UNSET and request.instructions:
        writer.messages.append({"role": _role_of_instructions(quirks), "content": request.instructions})
    writer.write(request.items)
    return writer.messages


def plain_messages(request: Request, quirks: Quirks) -> list[dict[str, Any]] | None:
    """The same of a conversation in which user and assistant exchange bare texts, quickly; None of any other."""
    messages: list[dict[str, Any]] = []
    if request.instructions is not UNSET and request.instructions:
        messages.append({"role": _role_of_instructions(quirks), "content": request.instructions})
    before = ""
    for item in request.items:
        if type(item) is not Message or len(item.content) != 1:
            return None
        role, part = item.role, item.content[0]
        if role != "user" and (role != "assistant" or before == "assistant"):
            return None
        if item.name is not UNSET or item.phase is not UNSET or item.extra is not UNSET or type(part) is not Text:
            return None
        if part.prompt_cache_breakpoint is not UNSET or part.extra is not UNSET:
            return None
        messages.append({"role": role, "content": part.text})
        before = role
    return messages


def _role_of_instructions(quirks: Quirks) -> str:
    return "developer" if quirks.developer_role else "system"


_REMEDIES = {
    "item_reference": " It keeps no items that a reference could name. Send the item itself, as SDKs do with `store: false`, "
    "or route the model to a provider that speaks the Responses API.",
}
"""What a caller can do about an item that is refused, by its type."""


def _unsupported(what: str, content: object, remedy: str = "") -> UncarriedError:
    return UncarriedError(f"The target's chat API cannot carry {what}.{remedy}", content)


class _Turn:
    """One assistant message as it grows."""

    def __init__(self) -> None:
        self.reasoning: list[str] = []
        self.details: list[dict[str, Any]] = []
        self.parts: list[Part] = []
        self.refusals: list[str] = []
        self.calls: list[ToolCall] = []
        self.places: list[int] = []
        self.fields: dict[str, Any] = {}
        self.spoke = False

    @property
    def is_empty(self) -> bool:
        return not (self.spoke or self.calls or self.reasoning or self.details)


def _is_of_assistant(item: Item) -> bool:
    return item.role == "assistant" if isinstance(item, Message) else isinstance(item, ToolCall | Reasoning)


class _Writer:
    def __init__(self, model: str, quirks: Quirks, changes: list[Change]) -> None:
        self.messages: list[dict[str, Any]] = []
        self._model = model
        self._quirks = quirks
        self._changes = changes
        self._noted: set[str] = set()
        self._media: list[dict[str, Any]] = []
        self._answers: dict[int, int] = {}

    def write(self, items: Sequence[Item]) -> None:
        """Write all items, each result behind its call."""
        if ToolResult in set(map(type, items)):
            self._answers = _answers(items)
        turn: _Turn | None = None
        written: set[int] = set()
        for position, item in enumerate(items):
            if position in written:
                continue
            if _is_of_assistant(item):
                turn = turn or _Turn()
                self._add(turn, item, position)
                continue
            if turn is not None:
                written |= self._end_turn(turn, items, position)
                turn = None
            if position not in written:
                self._stand_alone(item)
        if turn is not None:
            self._end_turn(turn, items, len(items))
        self._flush_media()

    def _stand_alone(self, item: Item) -> None:
        if isinstance(item, ToolResult):
            self._result(item)
        elif isinstance(item, Message):
            if self._media:
                self._flush_media()
            self.messages.append(self._message(item))
        elif isinstance(item, Opaque):
            self._opaque(item)

    def _add(self, turn: _Turn, item: Item, position: int) -> None:
        """Let an item stand in the assistant's turn."""
        if isinstance(item, Message):
            self._said(turn, item)
        elif isinstance(item, ToolCall):
            turn.calls.append(item)
            turn.places.append(position)
        elif isinstance(item, Reasoning):
            self._reasoning(turn, item)

    def _reasoning(self, turn: _Turn, item: Reasoning) -> None:
        text = encode_reasoning(item)
        details = self._extra(item.extra).get("reasoning_details", ())
        if not details and self._quirks.signed_reasoning == "taken" and is_of_maker(item.origin, self._model):
            details = encode_reasoning_details(item)
        if text and self._quirks.reasoning_field:
            turn.reasoning.append(text)
        elif text:
            self._note("reasoning", "dropped", "The target's chat API takes no reasoning back.")
        if item.encrypted is not UNSET and not details:
            self._note("reasoning.encrypted_content", "dropped", "Only its maker can read it, and chat has no place.")
        if item.signature is not UNSET and not details:
            self._note("reasoning.signature", "dropped", "Only its maker can check it, and chat has no place.")
        turn.details += details

    def _said(self, turn: _Turn, item: Message) -> None:
        turn.spoke = True
        if item.phase is not UNSET:
            self._note("phase", "dropped", "Chat has no phases of what the assistant says.")
        if item.name is not UNSET:
            turn.fields["name"] = item.name
        turn.fields.update(self._extra(item.extra))
        for part in item.content:
            if isinstance(part, Refusal):
                turn.refusals.append(part.text)
            elif isinstance(part, Audio):
                self._spoken(turn, part)
            else:
                turn.parts.append(part)

    def _spoken(self, turn: _Turn, part: Audio) -> None:
        if part.id is not UNSET:
            turn.fields["audio"] = {"id": part.id}
        elif part.transcript is not UNSET:
            turn.parts.append(Text(text=part.transcript))
            self._note("audio", "changed", "Audio of the assistant without an id is sent as its transcript.")
        else:
            raise _unsupported("audio of the assistant that has neither id nor transcript", part)

    def _end_turn(self, turn: _Turn, items: Sequence[Item], position: int) -> set[int]:
        """Write the turn and the results of its calls; give the positions of these results."""
        if turn.is_empty:
            return set()
        self._flush_media()
        self.messages.append(self._assistant(turn))
        found = sorted(self._answers[place] for place in turn.places if place in self._answers)
        if found and found[-1] >= position + len(found):
            self._note("input", "changed", "Chat wants tool results right behind their calls: they were moved there.")
        for place in found:
            result = items[place]
            if isinstance(result, ToolResult):
                self._result(result)
        return set(found)

    def _assistant(self, turn: _Turn) -> dict[str, Any]:
        parts: list[Part] = turn.parts
        if turn.refusals and self._quirks.strict_fields:
            parts = [*parts, *(Text(text=refusal) for refusal in turn.refusals)]
            self._note("refusal", "changed", "The target's chat API has no refusals: sent as text.")
        silent = bool(turn.calls or turn.refusals or "audio" in turn.fields)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": self._content(parts) if parts or not silent else None,
        }
        if turn.refusals and not self._quirks.strict_fields:
            message["refusal"] = "".join(turn.refusals)
        message.update(turn.fields)
        if turn.reasoning:
            message[self._quirks.reasoning_field] = "\n\n".join(turn.reasoning)
        if turn.details:
            message["reasoning_details"] = turn.details
        if turn.calls:
            message["tool_calls"] = [self._call(call) for call in turn.calls]
        return message

    def _call(self, call: ToolCall) -> dict[str, Any]:
        entry = {**self._extra(call.extra), **encode_tool_call(call)}
        if call.signature is not UNSET and "extra_content" not in entry:
            if self._quirks.call_signatures:
                entry |= signature_fields(call)
            else:
                self._note("tool_calls.signature", "dropped", "Only its maker, Google, takes back what it has signed.")
        return entry

    def _message(self, item: Message) -> dict[str, Any]:
        role = "system" if item.role == "developer" and not self._quirks.developer_role else item.role
        message: dict[str, Any] = {"role": role, "content": self._content(item.content)}
        if item.name is not UNSET:
            message["name"] = item.name
        if item.extra is not UNSET:
            message.update(self._extra(item.extra))
        return message

    def _opaque(self, item: Opaque) -> None:
        kind = kind_of(item)
        if item.format != FORMAT and is_record(item):
            self._note("input", "dropped", f"Chat has no item of type {kind}, which records what a hosted tool did.")
            return
        if item.format != FORMAT:
            raise _unsupported(f"an input item of type {kind}", item, _REMEDIES.get(kind, ""))
        self._flush_media()
        self.messages.append(item.raw)

    def _result(self, item: ToolResult) -> None:
        message: dict[str, Any] = {"role": "tool", "tool_call_id": item.call_id, "content": self._output(item)}
        message.update(self._extra(item.extra))
        self.messages.append(message)
        if item.is_error is True:
            self._note("is_error", "dropped", "Chat does not tell of a result that the tool failed.")

    def _output(self, item: ToolResult) -> str | list[dict[str, Any]]:
        if isinstance(item.output, str):
            return item.output
        kept: list[Part] = []
        media: list[Part] = []
        for part in item.output:
            (media if isinstance(part, Image | File | Audio) else kept).append(part)
        if media:
            self._media.append({"type": "text", "text": f"From the result of tool call {item.call_id}:"})
            self._media += [self._part(part) for part in media]
            self._note("input", "changed", "Images and files of tool results are sent in a user message behind them.")
        if any(isinstance(part, Opaque) or self._breakpoint(part) for part in kept):
            return [self._part(part) for part in kept]
        text = "\n".join(part.text for part in kept if isinstance(part, Text | Refusal))
        return text if text or not media else "The result stands in the next user message."

    def _flush_media(self) -> None:
        if self._media:
            self.messages.append({"role": "user", "content": self._media})
            self._media = []

    def _content(self, parts: Sequence[Part]) -> str | list[dict[str, Any]]:
        """A string for one plain text, parts where there is more to keep."""
        if not parts:
            return ""
        if len(parts) == 1:
            part = parts[0]
            if isinstance(part, Text) and part.prompt_cache_breakpoint is UNSET and part.extra is UNSET:
                return part.text
        plain = [part.text for part in parts if isinstance(part, Text) and not self._beside(part)]
        if len(plain) == len(parts) and (len(plain) == 1 or not self._quirks.text_parts):
            return "\n".join(plain)
        return [self._part(part) for part in parts]

    def _part(self, part: Part) -> dict[str, Any]:
        if isinstance(part, Text):
            return {"type": "text", "text": part.text, **self._beside(part)}
        if isinstance(part, Refusal):
            return {"type": "text", "text": part.text}
        if isinstance(part, Image):
            return {"type": "image_url", "image_url": self._image(part), **self._beside(part)}
        if isinstance(part, File):
            return {"type": "file", "file": _file(part), **self._beside(part)}
        if isinstance(part, Audio):
            return {"type": "input_audio", "input_audio": _audio(part), **self._extra(part.extra)}
        if part.format != FORMAT:
            raise _unsupported(f"content of type {kind_of(part)}", part)
        return part.raw

    def _image(self, part: Image) -> dict[str, Any]:
        if part.url is UNSET:
            raise _unsupported("an image by file id" if part.file_id is not UNSET else "an image without a URL", part)
        if part.detail == "original":
            self._note("detail", "changed", "Chat has no detail `original`: sent as `high`.")
            return {"url": part.url, "detail": "high"}
        return {"url": part.url} if part.detail is UNSET else {"url": part.url, "detail": part.detail}

    def _beside(self, part: Text | Image | File) -> dict[str, Any]:
        """The keys of a part beside what it is."""
        return {**self._breakpoint(part), **self._extra(part.extra)}

    def _breakpoint(self, part: Part) -> dict[str, Any]:
        if not isinstance(part, Text | Image | File) or part.prompt_cache_breakpoint is UNSET:
            return {}
        if self._quirks.strict_fields:
            self._note("prompt_cache_breakpoint", "dropped", "The target does not know prompt_cache_breakpoint.")
            return {}
        return {"prompt_cache_breakpoint": part.prompt_cache_breakpoint}

    def _extra(self, extra: Extra | UnsetType) -> dict[str, Any]:
        if extra is UNSET or extra.format != FORMAT or self._quirks.strict_fields:
            return {}
        return extra.fields

    def _note(self, field: str, action: str, reason: str) -> None:
        if reason not in self._noted:
            self._noted.add(reason)
            self._changes.append(Change(field=field, action=action, reason=reason))


def _answers(items: Sequence[Item]) -> dict[int, int]:
    """Where the result of a call stands: {the call's position: the result's}.

    Ids are used again in later turns: a result is of the latest turn that called by its id, there of the first call.
    """
    found: dict[int, int] = {}
    waiting: dict[str, tuple[int, deque[int]]] = {}
    turn = 0
    for position, item in enumerate(items):
        if isinstance(item, ToolCall):
            known = waiting.get(item.call_id)
            if known is None or known[0] != turn:
                known = waiting[item.call_id] = turn, deque()
            known[1].append(position)
        elif not isinstance(item, Reasoning) and not (isinstance(item, Message) and item.role == "assistant"):
            turn += 1
        if isinstance(item, ToolResult) and item.call_id in waiting and waiting[item.call_id][1]:
            found[waiting[item.call_id][1].popleft()] = position
    return found


def _file(part: File) -> dict[str, Any]:
    if part.data is UNSET and part.file_id is UNSET:
        raise _unsupported("a file by URL" if part.url is not UNSET else "a file without data or id", part)
    fields = (("filename", named(part).filename), ("file_data", part.data), ("file_id", part.file_id))
    return {key: value for key, value in fields if value is not UNSET}


def _audio(part: Audio) -> dict[str, Any]:
    if part.data is UNSET or part.format is UNSET:
        raise _unsupported("audio without its data and format", part)
    return {"data": part.data, "format": part.format}
