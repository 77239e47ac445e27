"""What hooks read and edit of realtime sessions: the parameters they are opened with, and the server's events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aigateway import _json
from aigateway.canonical.lens import EventLens, RequestLens, TextEdit
from aigateway.canonical.types import Usage
from aigateway.formats.usage import realtime_usage

TEXT_DELTAS = frozenset(
    {
        "response.output_text.delta",
        "response.output_audio_transcript.delta",
        "response.text.delta",  # these two in the beta
        "response.audio_transcript.delta",
    }
)
_TEXT_FIELDS = {  # events that tell a whole text again
    "response.output_text.done": "text",
    "response.output_audio_transcript.done": "transcript",
    "response.text.done": "text",
    "response.audio_transcript.done": "transcript",
}
_PART_FIELDS = ("text", "transcript")
TRANSCRIBED = "conversation.item.input_audio_transcription.completed"


class RealtimeRequest(RequestLens):
    """The opening of a session: `body` holds the query's parameters (`model`, `intent`, `call_id`, ...) as strings.

    One that stands there several times is a list.
    """

    __slots__ = ()

    def __init__(self, parameters: Iterable[tuple[str, str]]) -> None:
        body: dict[str, Any] = {}
        for name, value in parameters:
            if name in body:
                known = body[name]
                body[name] = [*(known if isinstance(known, list) else [known]), value]
            else:
                body[name] = value
        super().__init__(body)

    def query(self) -> list[tuple[str, str]]:
        """The parameters with all edits so far."""
        return [
            (name, one if isinstance(one, str) else _json.encode(one).decode())
            for name, value in self.body.items()
            for one in (value if isinstance(value, list) else [value])
        ]

    @property
    def stream(self) -> bool:
        """Always: a session consists of events."""
        return True


class RealtimeEvent(EventLens):
    """An event of the server. `text` is the delta of the answer's text, or of the transcript of its audio.

    `usage` stands on `response.done` and on finished transcriptions.
    """

    __slots__ = ()

    @property
    def text(self) -> str:
        """The answer text that this event adds; "" where it adds none."""
        delta = self.data.get("delta")
        return delta if self.type in TEXT_DELTAS and isinstance(delta, str) else ""

    @text.setter
    def text(self, value: str) -> None:
        if self.type not in TEXT_DELTAS:
            raise AttributeError("this event carries no text")
        self.data["delta"] = value

    def map_texts(self, edit: TextEdit) -> None:
        """Replace each text for the user that this event carries, also where it closes a part, an item or the response."""
        data, kind = self.data, self.type
        if kind in TEXT_DELTAS:
            _map(data, ("delta",), edit)
        elif kind in _TEXT_FIELDS:
            _map(data, (_TEXT_FIELDS[kind],), edit)
        elif kind.startswith("response."):
            _map(data.get("part"), _PART_FIELDS, edit)
            _map_item(data.get("item"), edit)
            response = data.get("response")
            for item in _listed(response.get("output") if isinstance(response, dict) else None):
                _map_item(item, edit)
        elif kind.startswith("conversation.item."):
            _map_item(data.get("item"), edit)

    @property
    def usage(self) -> Usage | None:
        """The tokens, on the events that tell them."""
        return usage_of(self.data)


def usage_of(event: dict[str, Any]) -> Usage | None:
    """The tokens that an event tells of; None where it tells none."""
    kind, response = event.get("type"), event.get("response")
    if kind == "response.done" and isinstance(response, dict):
        return realtime_usage(response.get("usage"))
    return realtime_usage(event.get("usage")) if kind == TRANSCRIBED else None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _map_item(item: Any, edit: TextEdit) -> None:
    """The model's own messages; what the user said is told again in other items."""
    if isinstance(item, dict) and item.get("role") == "assistant":
        for part in _listed(item.get("content")):
            _map(part, _PART_FIELDS, edit)


def _map(owner: Any, keys: tuple[str, ...], edit: TextEdit) -> None:
    if not isinstance(owner, dict):
        return
    for key in keys:
        if isinstance(owner.get(key), str):
            owner[key] = edit(owner[key])
