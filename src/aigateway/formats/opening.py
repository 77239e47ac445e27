"""The opening of a stream: the events before its first output, which nobody misses if the stream breaks there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from aigateway import _json
from aigateway.errors import UpstreamError
from aigateway.formats.protocol import WireEvent
from aigateway.formats.relay import events_in, object_in

MOST_EVENTS: Final = 64
MOST_BYTES: Final = 256 * 1024

_LIFECYCLE: Final = frozenset(
    {
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.reasoning_summary_part.added",
        "keepalive",
        "message_start",
        "content_block_start",
        "ping",
    }
)


class Opening:
    """Sees the events of one stream in the form of `api`, from the first on, until the opening is over.

    It is over with the first output (a text, a call, reasoning, the end of an answer), after 64 events or 256 KiB, or
    where somebody says so by setting `is_over`. Of formats without events of a lifecycle every event is output.
    """

    def __init__(self, api: str) -> None:
        self.is_over = False
        self._api = api
        self._events = 0
        self._bytes = 0

    def ends_in(self, frames: bytes) -> bool:
        """Whether it is over with these whole frames."""
        self._bytes += len(frames)
        if not self.is_over:
            bodies = (object_in(event.data) for event in events_in(frames))
            self.is_over = self._bytes > MOST_BYTES or any(self.ends_with(body) for body in bodies if body is not None)
        return self.is_over

    def ends_with(self, body: dict[str, Any], size: int = 0) -> bool:
        """Whether it is over with this event. size: its bytes, where they are not counted yet."""
        self._events += 1
        self._bytes += size
        is_full = self._events >= MOST_EVENTS or self._bytes > MOST_BYTES
        self.is_over = self.is_over or is_full or self._is_output(body)
        return self.is_over

    def _is_output(self, body: dict[str, Any]) -> bool:
        if self._api in ("responses", "messages"):
            return str(body.get("type")) not in _LIFECYCLE
        choices = body.get("choices")
        if self._api not in ("chat", "completions") or not isinstance(choices, list):
            return True
        return any(_shows_output(choice) for choice in choices)


async def held_back(events: AsyncIterator[WireEvent], opening: Opening) -> AsyncIterator[WireEvent]:
    """The events of a generator, which it closes; those of the opening come when that is over.

    An error of the upstream is raised at once: before it they come only where the opening was over already.
    """
    held: list[WireEvent] = []
    try:
        async for wire in events:
            held.append(wire)
            if opening.ends_with(wire.data, len(_json.encode(wire.data))):
                break
        while held:
            yield held.pop(0)
        async for wire in events:
            yield wire
    except UpstreamError:
        if opening.is_over:
            for wire in held:
                yield wire
        raise
    finally:
        await events.aclose()  # type: ignore[attr-defined]  # a generator, as promised


def _shows_output(choice: Any) -> bool:
    if not isinstance(choice, dict) or choice.get("finish_reason") or choice.get("text"):
        return True
    delta = choice.get("delta")
    return isinstance(delta, dict) and any(value for name, value in delta.items() if name != "role")
