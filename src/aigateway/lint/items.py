"""The items of a stream while they are open: announced, filled by deltas, closed, and then compared with what came."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from aigateway.lint.resource import CALLS, OWN_ITEMS, listed, number
from aigateway.lint.shapes import type_of

Object = dict[str, Any]
Report = Callable[[str, str, str], None]
"""Takes a rule, the key within the event, and a message."""


class _Text(NamedTuple):
    """What the events of one kind of text are about: types of parts, the key of the text, the key of the part's place."""

    types: tuple[str, ...]
    field: str
    position: str = "content_index"


_REASONING = _Text(("reasoning_text", "text"), "text")
TEXTS: Mapping[str, _Text] = {
    "response.output_text": _Text(("output_text",), "text"),
    "response.refusal": _Text(("refusal",), "refusal"),
    "response.reasoning_text": _REASONING,
    "response.reasoning": _REASONING,
    "response.reasoning_summary_text": _Text(("summary_text",), "text", "summary_index"),
}
INPUTS: Mapping[str, str] = {
    "response.function_call_arguments": "arguments",
    "response.custom_tool_call_input": "input",
    "response.mcp_call_arguments": "arguments",
    "response.code_interpreter_call_code": "code",
}
"""Events of what a call is given -> the key that holds it."""

_STREAMED_TYPES = {type_ for text in TEXTS.values() for type_ in text.types}
_INPUT_FIELDS: Mapping[str, str] = {
    "function_call": "arguments",
    "custom_tool_call": "input",
    "mcp_call": "arguments",
    "code_interpreter_call": "code",
}
_PARTS_FIELDS: Mapping[str, str] = {"content_index": "content", "summary_index": "summary"}
_IDENTITY = ("id", "type", "role", "call_id", "name", "namespace")
_RESEALED = "encrypted_content"


class OpenPart:
    """A part that was announced, or that should have been."""

    __slots__ = ("annotations", "closed", "said", "text", "type")

    def __init__(self, type: str | None) -> None:
        self.type = type
        self.text = ""
        self.said = False
        self.closed = False
        self.annotations: list[Any] = []


class OpenItem:
    """An item that was announced (`raw` is how), or that should have been (then `raw` is empty)."""

    def __init__(self, raw: Object, report: Report) -> None:
        self.raw = raw
        self.final: Object | None = None
        self.suspect = False
        self._parts: dict[str, dict[int, OpenPart]] = {key: {} for key in _PARTS_FIELDS}
        self._input = ""
        self._streams_input = False
        self._input_done = False
        self._report = report

    @property
    def type(self) -> str | None:
        return type_of(self.raw)

    @property
    def id(self) -> str | None:
        id_ = self.raw.get("id")
        return id_ if isinstance(id_, str) else None

    def announce(self) -> None:
        """An item that is announced has nothing in it yet."""
        for key in ("content", "summary", _INPUT_FIELDS.get(str(self.type), "")):
            if self.type in OWN_ITEMS and self.raw.get(key):
                self._report("announced-state", f"item.{key}", "the item is announced with something in it")
        status = self.raw.get("status")
        if self.type in OWN_ITEMS and isinstance(status, str) and status != "in_progress":
            self._report("announced-state", "item.status", f"the item is announced as `{status}`")

    # --- parts ---

    def add_part(self, event: Object, key: str) -> None:
        """`content_part.added`, `reasoning_summary_part.added`."""
        part = event.get("part")
        if not isinstance(part, dict):
            return
        parts, index = self._parts[key], number(event.get(key))
        if index is not None and index in parts:
            self._report("part-index", key, f"there is a part {index} already")
        elif index is not None and index != len(parts):
            self._report("part-index", key, f"part {index} is announced, and {len(parts)} is the next")
        if any(part.get(field) for field in ("text", "refusal", "annotations", "logprobs")):
            self._report("announced-state", "part", "the part is announced with something in it")
        parts[len(parts) if index is None else index] = OpenPart(type_of(part))

    def add_text(self, event: Object, text: _Text, verb: str) -> None:
        """The `delta` or the `done` of a text."""
        part = self._part(event, text.position, text.types[0])
        if part is None:
            return
        if part.type is not None and part.type not in text.types:
            self._report("part-kind", "type", f"the part is `{part.type}`")
        if part.said or part.closed:
            self._report("after-done", "", "the text is done already")
            return
        if verb == "delta":
            part.text += _string(event.get("delta"))
            return
        part.said = True
        whole = event.get(text.field)
        if isinstance(whole, str) and whole != part.text:
            self._report("deltas-add-up", text.field, _difference(whole, part.text))
            part.text = whole

    def add_annotation(self, event: Object) -> None:
        """`output_text.annotation.added`."""
        part = self._part(event, "content_index", "output_text")
        if part is None:
            return
        if part.closed:
            self._report("after-done", "", "the part is done already")
            return
        index = number(event.get("annotation_index"))
        if index is not None and index != len(part.annotations):
            message = f"annotation {index} comes, and {len(part.annotations)} is the next"
            self._report("annotation-index", "annotation_index", message)
        part.annotations.append(event.get("annotation"))

    def end_part(self, event: Object, key: str) -> None:
        """`content_part.done`, `reasoning_summary_part.done`."""
        raw = event.get("part")
        if not isinstance(raw, dict):
            return
        part = self._part(event, key, type_of(raw))
        if part is None:
            return
        if part.closed:
            self._report("after-done", "", "the part is done already")
            return
        part.closed = True
        if part.type != type_of(raw):
            self._report("part-kind", "part.type", f"the part was announced as `{part.type}`")
        elif part.type in _STREAMED_TYPES:
            self._compare_part(part, raw)

    def _compare_part(self, part: OpenPart, raw: Object) -> None:
        if not part.said:
            self._report("text-done", "part", "the text has no `.done` event of its own")
        text = text_of(raw)
        if text is not None and text != part.text:
            self._report("part-adds-up", "part", _difference(text, part.text))
        if part.annotations and listed(raw.get("annotations")) != part.annotations:
            self._report("part-adds-up", "part.annotations", "these are not the annotations that were streamed")

    def _part(self, event: Object, key: str, type: str | None) -> OpenPart | None:
        """The part that an event is about, made where nobody announced it; None where the event does not say."""
        index = number(event.get(key))
        if index is None:
            return None
        part = self._parts[key].get(index)
        if part is None:
            self._report("part-added-first", key, f"part {index} was not announced")
            part = self._parts[key][index] = OpenPart(type)
        return part

    # --- what a call is given ---

    def add_input(self, event: Object, field: str, verb: str) -> None:
        """The `delta` or the `done` of what a call is given."""
        self._streams_input = True
        if self._input_done:
            self._report("after-done", "", "the input of the call is done already")
            return
        if verb == "delta":
            self._input += _string(event.get("delta"))
            return
        self._input_done = True
        whole = event.get(field)
        if isinstance(whole, str) and whole != self._input:
            self._report("deltas-add-up", field, _difference(whole, self._input))
            self._input = whole

    # --- the end ---

    def end(self, raw: Object) -> None:
        """`output_item.done`."""
        self.final = raw
        self.compare_identity(raw, "item")
        if raw.get("status") == "in_progress":
            self._report("item-status", "item.status", "the item is done and in_progress")
        for key, parts in self._parts.items():
            for index, part in parts.items():
                if not part.closed:
                    self._report("part-closed", "item", f"the part at {key} {index} is not done")
        if type_of(raw) in CALLS and not self._input_done:
            self._report("arguments-done", "item", "the call has no `.done` event of its own")
        difference = self.difference(raw)
        if difference is not None:
            self.suspect = True
            self._report("item-adds-up", difference, "this is not what was streamed")

    def compare_identity(self, raw: Object, place: str) -> None:
        """The keys that say which item this is stay as they were."""
        for key in _IDENTITY if self.raw else ():
            if key in self.raw and key in raw and raw[key] != self.raw[key]:
                self.suspect = True
                self._report("item-identity", f"{place}.{key}", f"this was {self.raw[key]!r}, and is {raw[key]!r}")

    def difference(self, raw: Object) -> str | None:
        """Where an item differs from what was streamed of it."""
        if type_of(raw) in ("message", "reasoning"):
            for key, field in _PARTS_FIELDS.items():
                if not self._same_parts(listed(raw.get(field)), self._parts[key]):
                    return f"item.{field}"
        field = _INPUT_FIELDS.get(str(type_of(raw)), "")
        if field and self._streams_input and isinstance(raw.get(field), str) and raw[field] != self._input:
            return f"item.{field}"
        return None

    def _same_parts(self, raws: list[Any], parts: dict[int, OpenPart]) -> bool:
        streamed = [part for _, part in sorted(parts.items())]
        if [type_of(raw) for raw in raws] != [part.type for part in streamed]:
            return False
        return all(
            text_of(raw) in (None, part.text)
            for raw, part in zip(raws, streamed, strict=True)
            if part.type in _STREAMED_TYPES
        )


def alike(one: Object, other: Object) -> bool:
    """Whether two snapshots of an item are the same, up to how its reasoning is sealed."""
    return {**one, _RESEALED: ""} == {**other, _RESEALED: ""}


def text_of(part: Any) -> str | None:
    """The text of a part; None where it has none."""
    text = part.get("refusal" if type_of(part) == "refusal" else "text") if isinstance(part, dict) else None
    return text if isinstance(text, str) else None


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _difference(told: str, streamed: str) -> str:
    same = next(
        (at for at, (a, b) in enumerate(zip(told, streamed, strict=False)) if a != b), min(len(told), len(streamed))
    )
    return f"{len(told)} characters, {len(streamed)} were streamed; they differ at {same}"
