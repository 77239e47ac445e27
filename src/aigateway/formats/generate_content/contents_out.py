"""Items -> contents.

Everything the model did in one turn is one content, the results of its calls follow in one content at once, in the order
of the calls. What other makers signed or sealed stays behind: this one would refuse it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

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
from aigateway.canonical.uncarried import UncarriedError, kind_of
from aigateway.formats.generate_content.media import encode_media
from aigateway.formats.generate_content.wire import (
    FORMAT,
    NO_SIGNATURE,
    ORIGIN,
    SIGNATURE,
    is_newest,
    json_object,
    own,
)

_SYSTEM = ("system", "developer")
_NOTHING = Text(text="")
"""An empty text, which stands in a content of the model only where nothing else does."""


def encode_contents(request: Request, model: str, changes: list[Change]) -> dict[str, Any]:
    """`systemInstruction` and `contents`. Raises UncarriedError for what they cannot hold."""
    items = list(request.items)
    _note_unsaid(items, changes)
    told = [] if request.instructions is UNSET or not request.instructions else [request.instructions]
    while items and isinstance(items[0], Message) and items[0].role in _SYSTEM:
        first = items.pop(0)
        if isinstance(first, Message):
            told += [text for part in first.content if (text := _instruction(part))]
    writer = _Writer(model, changes)
    writer.write(items)
    body: dict[str, Any] = {}
    if told:
        body["systemInstruction"] = {"parts": [{"text": "\n\n".join(told)}]}
    body["contents"] = writer.contents or [{"role": "user", "parts": [{"text": ""}]}]
    return body


def _instruction(part: Part) -> str:
    if isinstance(part, Text | Refusal):
        return part.text
    raise UncarriedError("Gemini takes nothing but text in its system prompt.", part)


def _note_unsaid(items: Sequence[Item], changes: list[Change]) -> None:
    """List what this API has no place for beside what is said."""
    unsaid: dict[str, None] = {}
    for item in items:
        parts: Sequence[Part] = ()
        if isinstance(item, Message):
            parts = item.content
            unsaid |= {key: None for key in ("name", "phase") if getattr(item, key) is not UNSET}
        elif isinstance(item, ToolResult) and not isinstance(item.output, str):
            parts = item.output
        for part in parts:
            if isinstance(part, Text | Image | File) and part.prompt_cache_breakpoint is not UNSET:
                unsaid["prompt_cache_breakpoint"] = None
            if isinstance(part, Image) and part.detail not in (UNSET, "auto"):
                unsaid["detail"] = None
    changes += [Change(field=key, action="dropped", reason=_UNSAID[key]) for key in unsaid]


_UNSAID = {
    "name": "Gemini has no names of participants.",
    "phase": "Gemini has no phases of what the assistant says.",
    "prompt_cache_breakpoint": "Gemini has no marks of what to cache.",
    "detail": "Gemini has no detail of images.",
}


def _is_unsigned_call(item: Item) -> bool:
    return isinstance(item, ToolCall) and item.signature is UNSET


class _Writer:
    def __init__(self, model: str, changes: list[Change]) -> None:
        self.contents: list[dict[str, Any]] = []
        self._is_newest = is_newest(model)
        self._changes = changes
        self._noted: set[str] = set()
        self._names: dict[str, str] = {}
        self._results: dict[str, deque[int]] = {}
        self._parts: list[dict[str, Any]] = []
        self._calls: list[ToolCall] = []
        self._pending = ""
        self._spoke = False
        self._before_call = False

    def write(self, items: Sequence[Item]) -> None:
        """Write all items, the results of a turn's calls behind it."""
        for position, item in enumerate(items):
            if isinstance(item, ToolResult):
                self._results.setdefault(item.call_id, deque()).append(position)
            elif isinstance(item, ToolCall):
                self._names[item.call_id] = item.name
        written: set[int] = set()
        for position, item in enumerate(items):
            self._before_call = position + 1 < len(items) and _is_unsigned_call(items[position + 1])
            if position in written or self._add(item):
                continue
            written |= self._end_turn(items, position)
            if position in written:
                continue
            if isinstance(item, ToolResult):
                self._answer([item])
            elif isinstance(item, Message):
                self._message(item)
        self._end_turn(items, len(items))

    def _add(self, item: Item) -> bool:
        """Whether the item belongs to the model's turn, and now stands there."""
        if isinstance(item, Reasoning):
            self._reasoning(item)
        elif isinstance(item, ToolCall):
            self._call(item)
        elif isinstance(item, Message) and item.role == "assistant":
            self._settle_signature()
            self._spoke = True
            self._parts += [self._part(part) for part in item.content if part != _NOTHING]
        elif isinstance(item, Opaque):
            self._opaque(item)
        else:
            return False
        return True

    def _reasoning(self, item: Reasoning) -> None:
        self._settle_signature()
        signature = item.signature if item.signature is not UNSET and item.origin == ORIGIN else ""
        if item.encrypted is not UNSET:
            self._note("reasoning.encrypted_content", "dropped", "Only its own maker can read it.")
        if item.signature is not UNSET and not signature:
            self._note("reasoning.signature", "dropped", "It is another maker's, and this one would refuse it.")
        texts = [text for text in (item.summary or item.content) if text]
        if texts:
            part: dict[str, Any] = {"text": "\n\n".join(texts), "thought": True}
            self._parts.append({**part, SIGNATURE: signature} if signature else part)
        elif signature:
            self._sign(signature)

    def _sign(self, signature: str) -> None:
        """A signature alone: it is that of the call behind it; where there is none, that of the text before it."""
        last = self._parts[-1] if self._parts else {}
        if not self._before_call and "text" in last and "thought" not in last and SIGNATURE not in last:
            last[SIGNATURE] = signature
        else:
            self._pending = signature

    def _settle_signature(self) -> None:
        if self._pending:
            self._parts.append({"text": "", SIGNATURE: self._pending})
            self._pending = ""

    def _call(self, item: ToolCall) -> None:
        arguments = json_object(item.arguments) if item.arguments else {}
        if arguments is None:
            arguments = {"arguments": item.arguments}
            self._note(
                "tool_calls", "changed", "Gemini takes objects as arguments: a text that is none is sent in one."
            )
        call = {"id": item.call_id, "name": item.name, "args": arguments, **own(item.extra)}
        part: dict[str, Any] = {"functionCall": call}
        signature = item.signature if item.signature is not UNSET else self._pending
        self._pending = ""
        if not signature and self._is_newest and not self._calls:
            signature = NO_SIGNATURE
        if signature:
            part[SIGNATURE] = signature
        self._parts.append(part)
        self._calls.append(item)

    def _opaque(self, item: Opaque) -> None:
        if item.format != FORMAT:
            kind = kind_of(item)
            self._note("input", "dropped", f"Gemini has no item of type {kind}, which is another API's own.")
            return
        self._settle_signature()
        self._parts.append(item.raw)

    def _end_turn(self, items: Sequence[Item], position: int) -> set[int]:
        """Write the model's turn and the results of its calls; give the positions of these results."""
        self._settle_signature()
        spoke, self._spoke = self._spoke, False
        if not self._parts and not spoke:
            return set()
        self.contents.append({"role": "model", "parts": self._parts or [{"text": ""}]})
        calls, self._calls, self._parts = self._calls, [], []
        found: list[int] = []
        for call in calls:
            places = self._results.get(call.call_id)
            while places and places[0] < position:
                places.popleft()
            if places:
                found.append(places.popleft())
        if found and max(found) >= position + len(found):
            self._note("input", "changed", "Gemini wants tool results right behind their calls: they were moved there.")
        self._answer([items[place] for place in found])
        return set(found)

    def _answer(self, results: Sequence[Item]) -> None:
        beside: list[dict[str, Any]] = []
        parts = [self._result(result, beside) for result in results if isinstance(result, ToolResult)]
        if not parts:
            return
        last = self.contents[-1] if self.contents else {}
        if last.get("role") == "user" and all("functionResponse" in part for part in last["parts"]):
            last["parts"] += parts + beside
        else:
            self.contents.append({"role": "user", "parts": parts + beside})

    def _result(self, item: ToolResult, beside: list[dict[str, Any]]) -> dict[str, Any]:
        extra = dict(own(item.extra))
        name = extra.pop("name", "") or self._names.get(item.call_id, item.call_id)
        parts = () if isinstance(item.output, str) else item.output
        texts = [item.output] if isinstance(item.output, str) else []
        texts += [part.text for part in parts if isinstance(part, Text | Refusal)]
        media = [self._part(part) for part in parts if isinstance(part, Image | File | Audio | Opaque)]
        text = "\n".join(texts)
        told = json_object(text)
        if item.is_error is True:
            response: dict[str, Any] = {"error": text}
        else:
            response = {"output": text} if told is None else told
        answer: dict[str, Any] = {"id": item.call_id, "name": name, "response": response, **extra}
        if media and self._is_newest:
            answer["parts"] = media
        elif media:
            beside += [{"text": f"From the result of {name} ({item.call_id}):"}, *media]
            self._note("input", "changed", "Images and files of tool results are sent beside them.")
        return {"functionResponse": answer}

    def _message(self, item: Message) -> None:
        if item.role in _SYSTEM:
            self._note("messages", "changed", "Gemini has one system prompt: later ones are sent as the user's words.")
        parts = [self._part(part) for part in item.content] or [{"text": ""}]
        self.contents.append({"role": "user", "parts": parts})

    def _part(self, part: Part) -> dict[str, Any]:
        if isinstance(part, Text):
            return {"text": part.text, **own(part.extra)}
        if isinstance(part, Refusal):
            return {"text": part.text}
        if isinstance(part, Opaque):
            if part.format == FORMAT:
                return part.raw
            raise UncarriedError(f"Gemini cannot carry content of type {kind_of(part)}.", part)
        raw = encode_media(part)
        if raw is None:
            kind = type(part).__name__.lower()
            advice = "Send its data (base64), a URL, or the URI of a file that Google keeps."
            raise UncarriedError(f"Gemini cannot be given this {kind}. {advice}", part)
        return raw

    def _note(self, field: str, action: str, reason: str) -> None:
        if reason not in self._noted:
            self._noted.add(reason)
            self._changes.append(Change(field=field, action=action, reason=reason))
