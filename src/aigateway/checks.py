"""What debug builds assert of every translated stream, so that an unlawful one is found where it is made."""

from __future__ import annotations

import copy
from collections.abc import Iterable

from aigateway.canonical.events import StreamEvent
from aigateway.canonical.laws import StreamLaws, law
from aigateway.formats.chat.laws import ChunkLaws
from aigateway.formats.messages.laws import MessageLaws
from aigateway.formats.protocol import Profile, WireEvent
from aigateway.lint.lifecycle import Lifecycle

_WAIVED = {"incomplete-item"}
"""A call with broken arguments is incomplete in a response that is complete: agents tell the model of the one, and give up
at the other."""


_LAWS: dict[str, type[ChunkLaws | MessageLaws]] = {"chat": ChunkLaws, "messages": MessageLaws}


class StreamChecks:
    """What a debug build asserts of one translated stream: the laws of the canonical form, then those of the caller's."""

    def __init__(self, api: str, profile: Profile) -> None:
        self._canonical = StreamLaws()
        self._chunks = _LAWS[api]() if api in _LAWS else None
        self._lifecycle = Lifecycle(profile) if api == "responses" else None

    def input(self, events: Iterable[StreamEvent]) -> Iterable[StreamEvent]:
        """The events of the decoder. Raises LawError."""
        for event in events:
            self._canonical.feed(event)
            yield event

    def output(self, events: Iterable[WireEvent]) -> Iterable[WireEvent]:
        """The events of the encoder. Raises LawError."""
        for wire in events:
            if self._chunks is not None:
                self._chunks.feed(wire.data)
            if self._lifecycle is not None:
                told = self._lifecycle.feed(copy.deepcopy(wire.data), wire.name)  # hooks may edit what follows
                found = [f"{one.rule} at {one.place}" for one in told if one.rule not in _WAIVED]
                law(not found, ", ".join(found), wire)
            yield wire
