"""What must be changed and noted of a realtime session's messages; all others go on as they came.

Sans I/O. Names of models are replaced where they stand, every other byte of the message stays.
"""

from __future__ import annotations

from typing import Any

from aigateway import _json
from aigateway.canonical.types import Usage
from aigateway.errors import GatewayError, InvalidRequestError
from aigateway.formats.realtime.lens import TRANSCRIBED, usage_of
from aigateway.formats.relay import error_object

_NAMING = ("session.created", "session.updated")
_COUNTING = ('"response.done"', f'"{TRANSCRIBED}"')
_UPDATE = "session.update"


class SessionFrames:
    """The messages of one session, both ways.

    asked  the model's name as the caller knows it, "" where it named none; model: as the upstream knows it.
    usage  the tokens of all responses and transcriptions so far, None before the first.
    """

    def __init__(self, asked: str, model: str) -> None:
        self.usage: Usage | None = None
        self._asked = asked
        self._model = model

    def from_server(self, text: str) -> str:
        """An event for the caller."""
        if any(kind in text for kind in _COUNTING):
            self._count(text)
        elif self._asked and any(kind in text for kind in _NAMING):
            named = _session_of(text, _NAMING)
            if named is not None and named != self._asked:
                return _renamed(text, self._asked)
        return text

    def from_client(self, message: str | bytes) -> str | bytes:
        """A message for the upstream. Raises InvalidRequestError where it asks for another model than its session's."""
        if isinstance(message, str):
            return self._event_from_client(message)
        if message.lstrip()[:1] != b"{":
            return message
        try:
            text = message.decode()
        except UnicodeDecodeError:
            return message
        return self._event_from_client(text).encode()

    def _event_from_client(self, text: str) -> str:
        if not self._asked or (_UPDATE not in text and "\\u" not in text):
            return text
        named = _session_of(text, (_UPDATE,))
        if named is None or named == self._model:
            return text
        if named != self._asked:
            raise InvalidRequestError(
                f"The model of a session cannot be changed: this one is of '{self._asked}'. Open another session.",
                param="session.model",
                code="invalid_value",
            )
        return _renamed(text, self._model)

    def _count(self, text: str) -> None:
        try:
            event = _json.decode(text.encode())
        except (_json.DecodeError, UnicodeEncodeError, RecursionError):
            return
        found = usage_of(event) if isinstance(event, dict) else None
        if found is not None:
            self.usage = found if self.usage is None else _sum(self.usage, found)


def event_id_of(message: str | bytes) -> str | None:
    """The id that a client gave its event."""
    found = _json.decode_object(message.encode() if isinstance(message, str) else message).get("event_id")
    return found if isinstance(found, str) else None


def _session_of(text: str, kinds: tuple[str, ...]) -> str | None:
    """The model that an event of one of these kinds names."""
    try:
        event = _json.decode(text.encode())
    except (_json.DecodeError, UnicodeEncodeError, RecursionError):
        return None  # whoever reads it will say so
    if not isinstance(event, dict) or event.get("type") not in kinds:
        return None
    session = event.get("session")
    model = session.get("model") if isinstance(session, dict) else None
    return model if isinstance(model, str) else None


def _renamed(text: str, model: str) -> str:
    return _json.replace_value(text.encode(), model, "session", "model").decode()


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(**{name: getattr(one, name) + getattr(other, name) for name in Usage.__struct_fields__})


def error_event(error: GatewayError, event_id: str, cause: str | None = None) -> dict[str, Any]:
    """An error as a realtime server tells it. cause: the `event_id` of the client's event at fault."""
    return {"type": "error", "event_id": event_id, "error": {**error_object(error), "event_id": cause}}
