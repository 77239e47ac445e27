"""Contents -> items.

A content of the model becomes reasoning, messages, calls and what only Gemini knows, in order; one of the user becomes
messages and the results of calls. A signature on a text is a reasoning item of its own behind that text.

Callers send the pieces of a stream back as they came, as parts or as contents of their own: contents of the model that
follow each other are one, and so are the texts in them, and the thoughts up to a signature.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from msgspec import UNSET, UnsetType

from aigateway import _json
from aigateway.canonical.types import Item, Message, Opaque, Part, Text, ToolCall, ToolResult
from aigateway.errors import InvalidRequestError
from aigateway.formats.fields import read_array, read_object, read_string, refuse
from aigateway.formats.generate_content.media import decode_media
from aigateway.formats.generate_content.wire import (
    FORMAT,
    SIGNATURE,
    call_signature,
    camel,
    json_text,
    kept,
    signed,
    word,
)

_ROLES = {"user": "user", "model": "assistant", "function": "user", "tool": "user"}
_TEXT = frozenset({"text", "thought", SIGNATURE})
_MEDIA = frozenset({"inlineData", "fileData"})
_CALL = frozenset({"id", "name", "args"})


def decode_instructions(raw: Any) -> tuple[str | UnsetType, dict[str, Any]]:
    """`systemInstruction` as one text: a content, or just a string; and what its parts tell beside their texts."""
    if raw is None:
        return UNSET, {}
    if isinstance(raw, str):
        return raw, {}
    place = "systemInstruction"
    parts = camel(read_object(raw, place)).get("parts")
    entries = [parts] if isinstance(parts, dict) else read_array([] if parts is None else parts, f"{place}.parts")
    texts: list[str] = []
    beside: dict[str, Any] = {}
    for number, entry in enumerate(entries):
        part = camel(read_object(entry, f"{place}.parts[{number}]"))
        beside |= {key: value for key, value in part.items() if key != "text" and value is not None}
        texts.append(read_string(part.get("text"), f"{place}.parts[{number}].text"))
    return "\n\n".join(text for text in texts if text), beside


def decode_contents(raw: Any) -> tuple[Item, ...]:
    """The conversation. Raises InvalidRequestError that names the place."""
    contents = [raw] if isinstance(raw, dict) else raw
    if not isinstance(contents, list) or not contents:
        raise InvalidRequestError("contents must be an array of at least one content.", param="contents")
    reader = _Reader(contents)
    for number, content in enumerate(contents):
        reader.content(content, f"contents[{number}]")
    return reader.end()


class _Reader:
    def __init__(self, contents: list[Any]) -> None:
        self.items: list[Item] = []
        self._taken = _ids_in(contents)
        self._made = 0
        self._waiting: dict[str, deque[str]] = {}
        self._parts: list[Part] = []
        self._thought = ""
        self._role = ""
        self._before = 0

    def end(self) -> tuple[Item, ...]:
        """All items."""
        self._end_turn()
        return tuple(self.items)

    def content(self, raw: Any, place: str) -> None:
        """One content, its parts in order."""
        content = camel(read_object(raw, place))
        role = content.get("role", "user") or "user"
        if not isinstance(role, str) or role not in _ROLES:
            raise InvalidRequestError(f"{place}.role must be user or model.", param=f"{place}.role")
        if self._role and (role != "model" or self._role != "assistant"):
            self._end_turn()
        self._role = _ROLES[role]
        parts = content.get("parts")
        entries = [parts] if isinstance(parts, dict) else read_array([] if parts is None else parts, f"{place}.parts")
        for number, entry in enumerate(entries):
            self._part(camel(read_object(entry, f"{place}.parts[{number}]")), f"{place}.parts[{number}]")

    def _end_turn(self) -> None:
        self._end_message()
        self._end_thought()
        if len(self.items) == self._before:
            self.items.append(Message(role=self._role, content=(Text(text=""),)))
        self._before = len(self.items)

    def _part(self, part: dict[str, Any], place: str) -> None:
        if part.get("thought") is not True or "text" not in part:
            self._end_thought()
        if "functionCall" in part:
            self._end_message()
            self.items.append(self._call(part, place))
        elif "functionResponse" in part:
            self._end_message()
            self.items.append(self._result(camel(read_object(part["functionResponse"], place)), place))
        elif "text" in part:
            self._text(part, place)
        elif not _MEDIA.isdisjoint(part):
            self._parts.append(decode_media(part))
        elif part.keys() <= _TEXT:
            self._text({"text": "", **part}, place)
        else:
            self._end_message()
            self.items.append(Opaque(format=FORMAT, raw=part))

    def _text(self, part: dict[str, Any], place: str) -> None:
        text, signature = read_string(part["text"], f"{place}.text"), word(part.get(SIGNATURE))
        if part.get("thought") is True:
            self._end_message()
            self._thought += text
            if signature:
                self._end_thought(signature)
            return
        extra = {key: value for key, value in part.items() if key not in _TEXT}
        last = self._parts[-1] if self._parts and self._role == "assistant" else None
        if isinstance(last, Text) and last.extra is UNSET and not extra:
            self._parts[-1] = Text(text=last.text + text)
        elif text or extra:
            self._parts.append(Text(text=text, extra=kept(extra)))
        if signature:
            self._end_message()
            self.items.append(signed("", signature))

    def _end_thought(self, signature: str = "") -> None:
        if self._thought or signature:
            self.items.append(signed(self._thought, signature))
            self._thought = ""

    def _end_message(self) -> None:
        if self._parts:
            self.items.append(Message(role=self._role, content=tuple(self._parts)))
            self._parts = []

    def _call(self, part: dict[str, Any], place: str) -> ToolCall:
        call = camel(read_object(part["functionCall"], f"{place}.functionCall"))
        name = read_string(call.get("name"), f"{place}.functionCall.name")
        args = call.get("args")
        if args is not None and not isinstance(args, dict):
            refuse(args, f"{place}.functionCall.args", "an object")
        call_id = word(call.get("id")) or self._new_id()
        self._waiting.setdefault(name, deque()).append(call_id)
        return ToolCall(
            call_id=call_id,
            name=name,
            arguments=json_text(args or {}),
            signature=call_signature(part),
            extra=kept({key: value for key, value in call.items() if key not in _CALL and value is not None}),
        )

    def _new_id(self) -> str:
        """An id from the call's place: the same conversation gives the same ids in every turn."""
        while True:
            call_id = f"call_{self._made}"
            self._made += 1
            if call_id not in self._taken:
                return call_id

    def _result(self, raw: dict[str, Any], place: str) -> ToolResult:
        place = f"{place}.functionResponse"
        name = read_string(raw.get("name"), f"{place}.name")
        call_id = self._answered(name, word(raw.get("id")))
        response = raw.get("response")
        if response is not None and not isinstance(response, dict):
            refuse(response, f"{place}.response", "an object")
        output, is_error = _output(response or {})
        media: list[Part] = []
        for number, entry in enumerate(read_array(raw.get("parts") or [], f"{place}.parts")):
            media.append(decode_media(camel(read_object(entry, f"{place}.parts[{number}]"))))
        extra = {key: value for key, value in raw.items() if key in ("willContinue", "scheduling")}
        if not call_id:
            call_id, extra["name"] = self._new_id(), name
        return ToolResult(
            call_id=call_id,
            output=(Text(text=output), *media) if media else output,
            is_error=True if is_error else UNSET,
            extra=kept(extra),
        )

    def _answered(self, name: str, given: str) -> str:
        """The call that a result is for: the one of its id, else the first of its name that has no result yet."""
        waiting = self._waiting.get(name, deque())
        if given:
            if given in waiting:
                waiting.remove(given)
            return given
        return waiting.popleft() if waiting else ""


def _output(response: dict[str, Any]) -> tuple[str, bool]:
    """What a tool said, and whether that is an error: `output` and `error` alone are texts, the rest is JSON."""
    if len(response) == 1:
        key, value = next(iter(response.items()))
        if key in ("output", "error") and isinstance(value, str):
            return value, key == "error"
        if key == "error":
            return _json.encode(value).decode(), True
    return json_text(response), False


def _ids_in(contents: list[Any]) -> set[str]:
    found: set[str] = set()
    for content in contents:
        parts = content.get("parts") if isinstance(content, dict) else None
        for part in parts if isinstance(parts, list) else ():
            told = camel(part) if isinstance(part, dict) else {}
            for key in ("functionCall", "functionResponse"):
                value = told.get(key)
                if isinstance(value, dict) and isinstance(value.get("id"), str):
                    found.add(value["id"])
    return found
