"""Messages for hooks."""

from __future__ import annotations

from typing import Any

from aigateway.canonical.lens import EventLens, ReplyLens, RequestLens, TextEdit
from aigateway.canonical.types import Usage
from aigateway.formats.messages.wire import finish_reason, messages_usage


def _objects(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _map_field(owner: dict[str, Any], key: str, edit: TextEdit) -> None:
    """Edit a string, or the text blocks of a list, those within results of tools too."""
    value = owner.get(key)
    if isinstance(value, str):
        owner[key] = edit(value)
    for block in _objects(value):
        if block.get("type") == "text" and isinstance(block.get("text"), str):
            block["text"] = edit(block["text"])
        elif block.get("type") == "tool_result":
            _map_field(block, "content", edit)


class MessagesRequest(RequestLens):
    """A request. `instructions` are `system`: its texts, joined by blank lines."""

    __slots__ = ()

    @property
    def instructions(self) -> str:
        """The system prompt; "" if none. Setting it leaves one text."""
        value = self.body.get("system")
        if isinstance(value, str):
            return value
        return "\n\n".join(block["text"] for block in _objects(value) if isinstance(block.get("text"), str))

    @instructions.setter
    def instructions(self, value: str) -> None:
        if value:
            self.body["system"] = value
        else:
            self.body.pop("system", None)

    def map_texts(self, edit: TextEdit) -> None:
        """Replace every text of the system prompt and of every message, results of tools too."""
        _map_field(self.body, "system", edit)
        for message in _objects(self.body.get("messages")):
            _map_field(message, "content", edit)

    @property
    def max_output_tokens(self) -> int | None:
        """The limit on generated tokens."""
        value = self.body.get("max_tokens")
        return value if isinstance(value, int) else None

    @max_output_tokens.setter
    def max_output_tokens(self, value: int) -> None:
        self.body["max_tokens"] = value


class MessagesReply(ReplyLens):
    """A message. The texts are those of its text blocks."""

    __slots__ = ()

    def map_texts(self, edit: TextEdit) -> None:
        """Replace each text by what `edit` gives."""
        _map_field(self.body, "content", edit)

    @property
    def usage(self) -> Usage | None:
        """The tokens."""
        return messages_usage(self.body.get("usage"))

    @property
    def finish_reason(self) -> str | None:
        """stop, length, tool_calls, content_filter."""
        calls = any(block.get("type") == "tool_use" for block in _objects(self.body.get("content")))
        return finish_reason(self.body.get("stop_reason"), has_tool_calls=calls)


class MessagesEvent(EventLens):
    """A streamed event. `text` is that of a `text_delta`; `usage` stands in `message_delta`."""

    __slots__ = ()

    def _delta(self) -> dict[str, Any] | None:
        delta = self.data.get("delta")
        return delta if isinstance(delta, dict) and delta.get("type") == "text_delta" else None

    @property
    def text(self) -> str:
        """The answer text that this event adds; "" where it adds none."""
        text = (self._delta() or {}).get("text")
        return text if isinstance(text, str) else ""

    @text.setter
    def text(self, value: str) -> None:
        delta = self._delta()
        if delta is None:
            raise AttributeError("this event carries no text")
        delta["text"] = value

    @property
    def usage(self) -> Usage | None:
        """The tokens, on the event that tells them last."""
        return messages_usage(self.data.get("usage")) if self.type == "message_delta" else None
