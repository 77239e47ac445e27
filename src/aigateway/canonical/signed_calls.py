"""Signed calls for callers whose API has no place for a call's signature: it goes before the call as reasoning.

Reasoning travels sealed in every API, so the signature comes back with the next turn, and its maker's format puts it on
the call again.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from aigateway.canonical.events import ItemEnded, ItemStarted, StreamEvent
from aigateway.canonical.types import Item, Reasoning, Reply, ToolCall

_ORIGIN = "google"
"""The only maker that signs calls."""


class SignedCalls:
    """State of one reply."""

    def __init__(self) -> None:
        self._added = 0
        self._shift: dict[int, int] = {}

    def reply(self, reply: Reply) -> Reply:
        """A whole reply."""
        items: list[Item] = []
        for item in reply.items:
            if isinstance(item, ToolCall) and item.signature is not UNSET:
                items.append(Reasoning(signature=item.signature, origin=_ORIGIN))
            items.append(item)
        return msgspec.structs.replace(reply, items=tuple(items))

    def event(self, event: StreamEvent) -> list[StreamEvent]:
        """What one event becomes: items behind an added one are numbered on."""
        if isinstance(event, ItemStarted):
            return self._started(event)
        index: Any = getattr(event, "index", None)
        if index is None or not self._shift.get(index):
            return [event]
        moved: Any = msgspec.structs.replace(event, index=index + self._shift[index])
        return [moved]

    def _started(self, event: ItemStarted) -> list[StreamEvent]:
        added: list[StreamEvent] = []
        if isinstance(event.item, ToolCall) and event.item.signature is not UNSET:
            at, signature = event.index + self._added, Reasoning(signature=event.item.signature, origin=_ORIGIN)
            added = [ItemStarted(at, signature), ItemEnded(at, signature)]
            self._added += 1
        self._shift[event.index] = self._added
        return [*added, ItemStarted(event.index + self._added, event.item)]
