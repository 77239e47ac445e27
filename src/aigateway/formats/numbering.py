"""Event numbers of a Responses stream that hooks changed, and of the events that end a broken one."""

from __future__ import annotations

from collections.abc import Iterator

from aigateway.canonical.lens import EventLens
from aigateway.formats.protocol import WireEvent


class Numbering:
    """Keeps `sequence_number` without holes where hooks drop, add or refuse events of a Responses stream."""

    def __init__(self, api: str) -> None:
        self._counts = api == "responses"
        self._begun = False
        self._moved = False
        self.next = 0

    def begin(self, event: EventLens) -> None:
        """Learn from the first event where the upstream begins to count."""
        if self._counts and not self._begun:
            self._begun = True
            first = event.snapshot().get("sequence_number")
            self.next = first if isinstance(first, int) else 0

    def renumbered(self, original: EventLens, events: list[EventLens]) -> Iterator[EventLens]:
        """The events that one event has become, numbered on."""
        if not self._counts:
            yield from events
            return
        self._moved = self._moved or len(events) != 1
        for event in events:
            if self._moved or event is not original:
                event.data["sequence_number"] = self.next
            self.next += 1
            yield event

    def continued(self, events: list[WireEvent]) -> list[WireEvent]:
        """The events that end a broken stream, numbered on from what the caller has seen."""
        for number, event in enumerate(events if self._begun else (), self.next):
            event.data["sequence_number"] = number
        return events


def without_content(events: list[WireEvent]) -> list[WireEvent]:
    """The events that end a broken stream without what was said so far: the error, and the response without output."""
    for event in events:
        response = event.data.get("response")
        if isinstance(response, dict):
            response["output"] = []
    return [event for event in events if "error" in event.data or "response" in event.data]
