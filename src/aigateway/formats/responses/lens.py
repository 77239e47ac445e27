"""What hooks read and edit of Responses requests, replies and events."""

from __future__ import annotations

from typing import Any

from aigateway.canonical.lens import EventLens, ReplyLens, RequestLens, TextEdit
from aigateway.canonical.types import Usage
from aigateway.formats.responses.fields import SLUG
from aigateway.formats.responses.reply import finish_reason
from aigateway.formats.usage import responses_usage

_TEXTS = frozenset({"input_text", "output_text", "text"})
_CALLS = frozenset({"function_call", "custom_tool_call", f"{SLUG}custom_tool_call"})
_RESULTS = frozenset({"function_call_output", "custom_tool_call_output", f"{SLUG}custom_tool_call_output"})


def _objects(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _kind(entry: dict[str, Any]) -> str:
    kind = entry.get("type")
    return kind if isinstance(kind, str) else ""


def _map_field(owner: dict[str, Any], key: str, edit: TextEdit) -> None:
    """Edit a string, or the text parts of a list."""
    value = owner.get(key)
    if isinstance(value, str):
        owner[key] = edit(value)
    for part in _objects(value):
        if _kind(part) in _TEXTS and isinstance(part.get("text"), str):
            part["text"] = edit(part["text"])


class ResponsesRequest(RequestLens):
    """A request. The texts are those of `input`: messages of all roles, and what tools gave back."""

    __slots__ = ()

    @property
    def instructions(self) -> str:
        """The system prompt; "" if none."""
        value = self.body.get("instructions")
        return value if isinstance(value, str) else ""

    @instructions.setter
    def instructions(self, value: str) -> None:
        self.body["instructions"] = value

    def map_texts(self, edit: TextEdit) -> None:
        """Replace each text of the input by what `edit` gives."""
        if isinstance(self.body.get("input"), str):
            self.body["input"] = edit(self.body["input"])
        for item in _objects(self.body.get("input")):
            if _kind(item) in _RESULTS:
                _map_field(item, "output", edit)
            elif "role" in item:
                _map_field(item, "content", edit)

    @property
    def max_output_tokens(self) -> int | None:
        """The limit on generated tokens."""
        value = self.body.get("max_output_tokens")
        return value if isinstance(value, int) else None

    @max_output_tokens.setter
    def max_output_tokens(self, value: int) -> None:
        self.body["max_output_tokens"] = value


def _map_output(response: dict[str, Any], edit: TextEdit) -> None:
    for item in _objects(response.get("output")):
        if item.get("type") == "message":
            _map_field(item, "content", edit)


class ResponsesReply(ReplyLens):
    """A response resource. The texts are those of its messages."""

    __slots__ = ()

    def map_texts(self, edit: TextEdit) -> None:
        """Replace each output text by what `edit` gives."""
        _map_output(self.body, edit)

    @property
    def usage(self) -> Usage | None:
        """The tokens, None where the reply does not say."""
        return responses_usage(self.body.get("usage"))

    @property
    def finish_reason(self) -> str | None:
        """stop, length, tool_calls, content_filter; None while the response is not finished, or failed."""
        if self.body.get("status") not in ("completed", "incomplete"):
            return None
        calls = any(_kind(item) in _CALLS for item in _objects(self.body.get("output")))
        return finish_reason(self.body, has_tool_calls=calls)


class ResponsesEvent(EventLens):
    """A streamed event. `text` is the delta of output text events; `usage` stands on the terminal one."""

    __slots__ = ()

    @property
    def text(self) -> str:
        """The answer text that this event adds; "" where it adds none."""
        delta = self.data.get("delta")
        return delta if self.type == "response.output_text.delta" and isinstance(delta, str) else ""

    @text.setter
    def text(self, value: str) -> None:
        if self.type != "response.output_text.delta":
            raise AttributeError("this event carries no text")
        self.data["delta"] = value

    def map_texts(self, edit: TextEdit) -> None:
        """Replace each output text that this event carries, also where it closes a part, an item or the response."""
        data, kind = self.data, self.type
        if kind == "response.output_text.delta":
            _map_field(data, "delta", edit)
        elif kind == "response.output_text.done":
            _map_field(data, "text", edit)
        elif isinstance(data.get("part"), dict) and data["part"].get("type") == "output_text":
            _map_field(data["part"], "text", edit)
        elif isinstance(data.get("item"), dict) and data["item"].get("type") == "message":
            _map_field(data["item"], "content", edit)
        elif isinstance(data.get("response"), dict):
            _map_output(data["response"], edit)

    @property
    def usage(self) -> Usage | None:
        """The tokens, on the event that tells them."""
        response = self.data.get("response")
        return responses_usage(response.get("usage")) if isinstance(response, dict) else None
