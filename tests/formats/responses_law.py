"""The law of a Responses stream: order, numbering, stable ids, and texts that add up, whoever produced it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from aigateway.lint import Profile, lint_stream

_TERMINAL = ("response.completed", "response.incomplete", "response.failed")
_DELTAS = {
    "response.output_text": ("output_text", "text", "content_index"),
    "response.refusal": ("refusal", "refusal", "content_index"),
    "response.reasoning_text": ("reasoning_text", "text", "content_index"),
    "response.reasoning": ("reasoning_text", "text", "content_index"),
    "response.reasoning_summary_text": ("summary_text", "text", "summary_index"),
}
_OWN_ITEMS = {"message", "reasoning", "function_call", "custom_tool_call"}
"""Calls of hosted tools may fail, and the response goes on."""
_INPUTS = {
    "response.function_call_arguments": ("function_call", "arguments"),
    "response.custom_tool_call_input": ("custom_tool_call", "input"),
}


class _Part:
    def __init__(self, type: str) -> None:
        self.type = type
        self.text = ""
        self.done = False
        self.annotations: list[Any] = []


class _Item:
    def __init__(self, raw: dict[str, Any]) -> None:
        self.id = raw["id"]
        self.type = raw["type"]
        self.parts: dict[str, list[_Part]] = {"content_index": [], "summary_index": []}
        self.open: dict[tuple[str, int], _Part] = {}
        self.input = ""
        self.input_done = False
        self.final: dict[str, Any] | None = None


class _Stream:
    def __init__(self) -> None:
        self.items: list[_Item] = []
        self.snapshots: list[dict[str, Any]] = []
        self.terminal = ""
        self.error: dict[str, Any] | None = None

    def read(self, event: dict[str, Any]) -> None:
        name = event["type"]
        stem, _, verb = name.rpartition(".")
        if "response" in event:
            self.read_response(name, event["response"])
        elif name == "error":
            self.error = event
        elif stem in _DELTAS:
            self.read_text(stem, verb, event)
        elif stem in _INPUTS:
            self.read_input(stem, verb, event)
        else:
            read = _READERS.get(name)
            assert read is not None, f"unknown event {name}"
            read(self, event)

    def read_response(self, name: str, response: dict[str, Any]) -> None:
        self.snapshots.append(response)
        first = self.snapshots[0]
        for key in ("id", "created_at", "model", "tools", "text", "metadata"):
            assert response[key] == first[key], f"{key} changed within the stream"
        if name not in _TERMINAL:
            assert response["status"] == "in_progress"
            assert response["output"] == []
            assert response["usage"] is None
            return
        self.terminal = name
        assert response["status"] == name.removeprefix("response.")
        assert (response["completed_at"] is not None) == (response["status"] == "completed")
        assert (response["incomplete_details"] is not None) == (response["status"] == "incomplete")
        assert (response["error"] is not None) == (response["status"] == "failed")
        self.check_output(response)

    def read_item_added(self, event: dict[str, Any]) -> None:
        raw = event["item"]
        assert event["output_index"] == len(self.items), "output_index has a hole"
        assert raw["id"], "an item has no id"
        assert raw["id"] not in {item.id for item in self.items}, "an id is used twice"
        assert raw.get("status", "in_progress") == "in_progress"
        empty = {
            "message": "content",
            "reasoning": "summary",
            "function_call": "arguments",
            "custom_tool_call": "input",
        }
        if raw["type"] in empty:
            assert not raw[empty[raw["type"]]], "an item is announced with something in it"
        self.items.append(_Item(raw))

    def item_of(self, event: dict[str, Any]) -> _Item:
        assert event["output_index"] < len(self.items), "an event for an item that was not announced"
        item: _Item = self.items[event["output_index"]]
        assert item.id == event["item_id"], "the id of an item changed"
        assert item.final is None, "an event for an item that is done"
        return item

    def read_part_added(self, event: dict[str, Any]) -> None:
        item, part = self.item_of(event), event["part"]
        key = "summary_index" if "summary_index" in event else "content_index"
        assert event[key] == len(item.parts[key]), f"{key} has a hole"
        text = part.get("text") or part.get("refusal")
        assert not text, "a part is announced with text in it"
        if part["type"] == "output_text":
            assert part["annotations"] == [] == part["logprobs"]
        opened = _Part(part["type"])
        item.parts[key].append(opened)
        item.open[key, event[key]] = opened

    def read_text(self, stem: str, verb: str, event: dict[str, Any]) -> None:
        type_, field, key = _DELTAS[stem]
        part = self.item_of(event).open.get((key, event[key]))
        assert part is not None, f"{event['type']} for a part that is not open"
        assert part.type == type_
        assert not part.done, "an event for a text that is done"
        if type_ == "output_text":
            assert isinstance(event["logprobs"], list)
        if verb == "delta":
            assert event["delta"], "an empty delta"
            part.text += event["delta"]
        else:
            assert event[field] == part.text, "the deltas do not add up to the text"
            part.done = True

    def read_annotation(self, event: dict[str, Any]) -> None:
        part = self.item_of(event).open["content_index", event["content_index"]]
        assert event["annotation_index"] == len(part.annotations), "annotation_index has a hole"
        part.annotations.append(event["annotation"])

    def read_part_done(self, event: dict[str, Any]) -> None:
        key = "summary_index" if "summary_index" in event else "content_index"
        part = self.item_of(event).open.pop((key, event[key]), None)
        assert part is not None, "a part is done that is not open"
        assert part.done or part.type not in {type_ for type_, *_ in _DELTAS.values()}
        assert event["part"]["type"] == part.type
        if part.done:
            assert _text_of(event["part"]) == part.text
        if part.type == "output_text":
            assert event["part"]["annotations"] == part.annotations

    def read_input(self, stem: str, verb: str, event: dict[str, Any]) -> None:
        item, (type_, field) = self.item_of(event), _INPUTS[stem]
        assert item.type == type_
        assert not item.input_done, "an event for a call that is done"
        if verb == "delta":
            assert event["delta"], "an empty delta"
            item.input += event["delta"]
        else:
            assert event[field] == item.input, "the deltas do not add up to the input of the call"
            item.input_done = True

    def read_item_done(self, event: dict[str, Any]) -> None:
        raw = event["item"]
        item = self.items[event["output_index"]]
        assert item.id == raw["id"], "the id of an item changed"
        assert item.type == raw["type"]
        assert item.final is None, "an item is done twice"
        assert not item.open, "an item is done before its parts"
        assert item.input_done or item.type not in ("function_call", "custom_tool_call")
        ends = ("completed", "incomplete") if item.type in _OWN_ITEMS else ("completed", "incomplete", "failed")
        assert raw.get("status", "completed") in ends
        _check_contents(item, raw)
        item.final = raw

    def check_output(self, response: dict[str, Any]) -> None:
        output, failed = response["output"], response["status"] == "failed"
        assert len(output) == len(self.items)
        for item, raw in zip(self.items, output, strict=True):
            if item.final is not None:
                assert raw == item.final, "the last snapshot differs from what was streamed"
            else:
                assert failed, "the response ended before its items"
                assert raw["id"] == item.id
                assert raw.get("status", "incomplete") == "incomplete"
                _check_contents(item, raw)
        for raw in output[:-1] if response["status"] == "incomplete" else output:
            if not failed and raw["type"] in _OWN_ITEMS - {"function_call"}:
                assert raw.get("status", "completed") == "completed", "an incomplete item is not the last"

    def check_end(self) -> None:
        assert self.terminal, "the stream has no terminal event"
        assert (self.error is not None) == (self.terminal == "response.failed")
        if self.error is not None:
            assert self.error["error"]["message"] == self.error["message"]
            assert self.error["error"]["code"] == self.error["code"]
            assert self.error["error"]["param"] == self.error["param"]
            assert isinstance(self.error["error"]["type"], str)
            assert isinstance(self.snapshots[-1]["error"]["code"], str)


def _text_of(part: dict[str, Any]) -> Any:
    return part["refusal"] if part["type"] == "refusal" else part["text"]


def _check_contents(item: _Item, raw: dict[str, Any]) -> None:
    """What is in an item is what was streamed of it."""
    if item.type == "message":
        assert raw["role"] == "assistant"
    if item.type in ("message", "reasoning"):
        for key, field in (("content_index", "content"), ("summary_index", "summary")):
            parts = raw.get(field, [])
            assert [part["type"] for part in parts] == [part.type for part in item.parts[key]]
            for part, streamed in zip(parts, item.parts[key], strict=True):
                if part["type"] in {type_ for type_, *_ in _DELTAS.values()}:
                    assert _text_of(part) == streamed.text
    for type_, field in _INPUTS.values():
        if item.type == type_:
            assert raw[field] == item.input


_READERS: dict[str, Callable[[_Stream, dict[str, Any]], None]] = {
    "response.output_item.added": _Stream.read_item_added,
    "response.output_item.done": _Stream.read_item_done,
    "response.content_part.added": _Stream.read_part_added,
    "response.content_part.done": _Stream.read_part_done,
    "response.reasoning_summary_part.added": _Stream.read_part_added,
    "response.reasoning_summary_part.done": _Stream.read_part_done,
    "response.output_text.annotation.added": _Stream.read_annotation,
}


def _without_slug(value: Any) -> Any:
    """The value with OpenAI's own names of what carries its slug."""
    if isinstance(value, list):
        return [_without_slug(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    plain = {key: _without_slug(entry) for key, entry in value.items()}
    if isinstance(plain.get("type"), str):
        plain["type"] = plain["type"].removeprefix("openai:")
    return plain


def check_stream(events: list[dict[str, Any]], profile: Profile = "openai", *, allow: Collection[str] = ()) -> None:
    """Raise AssertionError where the events of one whole stream (the `data` objects, in order) are against the law.

    What stands here is what only this gateway promises; what everybody must keep is the linter's.

    allow  rules of the linter that this stream may break.
    """
    assert [finding for finding in lint_stream(events, profile=profile) if finding.rule not in allow] == []
    if profile == "open_responses":
        events = _without_slug(events)
    names = [event["type"] for event in events]
    assert names[:2] == ["response.created", "response.in_progress"]
    assert not {"response.created", "response.in_progress"} & set(names[2:])
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [name for name in names if name in _TERMINAL] == names[-1:], "not exactly one terminal event, at the end"
    stream = _Stream()
    for event in events:
        assert stream.error is None or event["type"] == "response.failed", "something follows the error"
        stream.read(event)
    stream.check_end()


def check_one_after_another(events: list[dict[str, Any]]) -> None:
    """Raise AssertionError where an item begins before the one before it is done."""
    is_open = False
    for event in events:
        if event["type"] == "response.output_item.added":
            assert not is_open, "an item begins while another is open"
            is_open = True
        elif event["type"] == "response.output_item.done":
            is_open = False
