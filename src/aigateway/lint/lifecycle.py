"""The order of a stream: the states of its response, the numbering, and which item every event is about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aigateway.lint import resource
from aigateway.lint.items import INPUTS, TEXTS, OpenItem, alike
from aigateway.lint.resource import listed, number
from aigateway.lint.rules import Finding, Profile
from aigateway.lint.shapes import is_extension, join, type_of

Object = dict[str, Any]

TERMINAL = ("response.completed", "response.incomplete", "response.failed")
_EARLY = ("response.created", "response.queued", "response.in_progress")
_STATUS: Mapping[str, tuple[str, ...]] = {
    **{name: (name.removeprefix("response."),) for name in (*TERMINAL, *_EARLY)},
    "response.created": ("in_progress", "queued"),
    "response.incomplete": ("incomplete", "cancelled"),
}
_STABLE = (
    "id",
    "object",
    "created_at",
    "model",
    "instructions",
    "metadata",
    "previous_response_id",
    "text",
    "tool_choice",
    "tools",
)
_LATE = {"usage", "completed_at", "output_text", "service_tier", "error", "incomplete_details", "moderation"}


class Lifecycle:
    """feed() the events in order, finish() at the end; both give what is wrong."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._found: list[Finding] = []
        self._place = ""
        self._count = 0
        self._last_number: int | None = None
        self._created: Object | None = None
        self._in_progress = False
        self._terminal = ""
        self._error = False
        self._items: dict[int, OpenItem] = {}
        self._snapshot_keys: set[str] = set()

    def feed(self, event: Object, place: str) -> list[Finding]:
        """What is wrong with the next event."""
        self._place = place
        self._number(event)
        name = type_of(event)
        if self._terminal:
            self._report("after-terminal", "", f"the response ended with {self._terminal}")
        elif isinstance(name, str):
            self._order(name)
            self._read(name, event)
        self._count += 1
        return self._taken()

    def finish(self) -> list[Finding]:
        """What is missing at the end."""
        self._place = "the end of the stream"
        if self._error:
            self._report("error-then-failed", "", "the stream ends after its error")
        elif not self._terminal:
            self._report("terminal-event", "", "the stream has no terminal event")
        return self._taken()

    def _taken(self) -> list[Finding]:
        found, self._found = self._found, []
        return found

    def _report(self, rule: str, key: str, message: str) -> None:
        self._found.append(Finding(rule, join(self._place, key) if key else self._place, message))

    # --- order ---

    def _number(self, event: Object) -> None:
        sequence = number(event.get("sequence_number"))
        if sequence is not None and self._last_number is not None and sequence != self._last_number + 1:
            self._report("sequence-number", "sequence_number", f"{sequence} comes after {self._last_number}")
        self._last_number = sequence

    def _order(self, name: str) -> None:
        fails = name in ("error", "response.failed")
        if self._error and name != "response.failed":
            self._report("error-then-failed", "", "this comes after an error")
        self._error = name == "error"
        if name == "response.created" and self._count:
            message = "the response was created already" if self._created is not None else "this is not the first event"
            self._report("created-first", "", message)
        elif name != "response.created" and not self._count and not fails:
            self._report("created-first", "", "the first event is not response.created")
        if not fails and name != "response.created" and not is_extension(name):
            self._progress(name)

    def _progress(self, name: str) -> None:
        if name in _EARLY:
            if self._in_progress:
                self._report("in-progress-next", "", "the response is in_progress already")
            self._in_progress = self._in_progress or name == "response.in_progress"
        elif not self._in_progress:
            self._in_progress = True  # told once
            self._report("in-progress-next", "", "this comes before response.in_progress")

    def _read(self, name: str, event: Object) -> None:
        stem, _, verb = name.rpartition(".")
        if name in _STATUS:
            self._read_response(name, event)
        elif name == "response.output_item.added":
            self._add_item(event)
        elif name == "response.output_item.done":
            self._end_item(event)
        elif isinstance(event.get("item_id"), str):
            item = self._item(event)
            if item is not None:
                self._read_inside(item, name, stem, verb, event)

    def _read_inside(self, item: OpenItem, name: str, stem: str, verb: str, event: Object) -> None:
        if stem in TEXTS:
            item.add_text(event, TEXTS[stem], verb)
        elif stem in INPUTS:
            item.add_input(event, INPUTS[stem], verb)
        elif stem in ("response.content_part", "response.reasoning_summary_part"):
            key = "summary_index" if "summary" in stem else "content_index"
            (item.add_part if verb == "added" else item.end_part)(event, key)
        elif name == "response.output_text.annotation.added":
            item.add_annotation(event)

    # --- items ---

    def _add_item(self, event: Object) -> None:
        raw, index = event.get("item"), number(event.get("output_index"))
        if not isinstance(raw, dict):
            return
        if index is None:
            index = len(self._items)
        elif index in self._items:
            self._report("output-index", "output_index", f"there is an item {index} already")
        elif index != len(self._items):
            self._report(
                "output-index", "output_index", f"item {index} is announced, and {len(self._items)} is the next"
            )
        id_ = raw.get("id")
        if id_ == "":
            self._report("item-id", "item.id", "the id is empty")
        elif isinstance(id_, str) and id_ in {item.id for item in self._items.values()}:
            self._report("item-id", "item.id", f"another item has the id `{id_}`")
        item = self._items[index] = OpenItem(raw, self._report)
        item.announce()

    def _item(self, event: Object) -> OpenItem | None:
        """The item that an event is about, made where nobody announced it; None where the event does not say."""
        index = number(event.get("output_index"))
        if index is None:
            return None
        item = self._items.get(index)
        if item is None:
            self._report("item-added-first", "output_index", f"item {index} was not announced")
            item = self._items[index] = OpenItem({}, self._report)
        if item.final is not None:
            self._report("after-done", "", "the item is done already")
            return None
        if "item_id" in event and item.raw.get("id", event["item_id"]) != event["item_id"]:
            self._report("item-identity", "item_id", f"the id of item {index} is {item.raw['id']!r}")
        return item

    def _end_item(self, event: Object) -> None:
        item, raw = self._item(event), event.get("item")
        if item is not None and isinstance(raw, dict):
            item.end(raw)

    # --- snapshots ---

    def _read_response(self, name: str, event: Object) -> None:
        response = event.get("response")
        if name in TERMINAL:
            self._terminal = name
        if not isinstance(response, dict):
            return
        place = join(self._place, "response")
        status = response.get("status")
        if isinstance(status, str) and status not in _STATUS[name]:
            self._report("event-status", "response.status", f"the status is `{status}`")
        self._compare(response, name)
        if name in TERMINAL:
            if status not in _STATUS[name]:
                response = {**response, "status": _STATUS[name][0]}
            self._found += resource.faults_of(response, place, self._profile)
            self._compare_output(response, is_cut=name == "response.failed" or status == "cancelled")
            return
        if listed(response.get("output")) or response.get("usage") is not None:
            key = "output" if listed(response.get("output")) else "usage"
            self._report("early-snapshot", f"response.{key}", "nothing was made yet")

    def _compare(self, response: Object, name: str) -> None:
        if self._created is None:
            self._created = response
            self._snapshot_keys = set(response)
            self._found += resource.id_faults(response, join(self._place, "response"))
            return
        for key in _STABLE:
            if key in response and key in self._created and response[key] != self._created[key]:
                self._report("stable-snapshot", f"response.{key}", f"`{key}` was different before")
        if name in TERMINAL:
            missing = sorted(set(response) - self._snapshot_keys - _LATE)
            if missing:
                listed_ = ", ".join(missing)
                self._report("full-snapshot", "response", f"the first snapshots did not have {listed_}")
        else:
            self._snapshot_keys &= set(response)

    def _compare_output(self, response: Object, *, is_cut: bool) -> None:
        output = response.get("output")
        if not isinstance(output, list):
            return
        if not is_cut:
            for index, item in self._items.items():
                if item.final is None:
                    self._report("item-closed", f"response.output[{index}]", f"item {index} is not done")
            if len(output) != len(self._items):
                message = f"{len(output)} items, and {len(self._items)} were streamed"
                self._report("final-snapshot", "response.output", message)
                return
        for key, item, raw in self._pairs(output, is_cut=is_cut):
            if not _same(item, raw):
                self._report("final-snapshot", key, "this is not the item that was streamed")

    def _pairs(self, output: list[Any], *, is_cut: bool) -> Iterator[tuple[str, OpenItem, Object]]:
        """The items of the last snapshot with what was streamed of each: by place, where it was cut short by id."""
        by_id = {item.id: item for item in self._items.values() if item.id is not None}
        for index, raw in enumerate(output):
            if isinstance(raw, dict):
                item = by_id.get(str(raw.get("id"))) if is_cut else self._items.get(index)
                if item is not None and not item.suspect:
                    yield f"response.output[{index}]", item, raw


def _same(item: OpenItem, raw: Object) -> bool:
    return item.difference(raw) is None if item.final is None else alike(item.final, raw)
