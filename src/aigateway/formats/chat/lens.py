"""Chat for hooks."""

from __future__ import annotations

from typing import Any

from aigateway.canonical.lens import EventLens, ReplyLens, RequestLens, TextEdit
from aigateway.canonical.types import Usage
from aigateway.formats.finish import decode_finish_reason
from aigateway.formats.usage import chat_usage

_LIMITS = ("max_completion_tokens", "max_tokens")


def _objects(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [part["text"] for part in _objects(content) if isinstance(part.get("text"), str)]


def _edit(message: dict[str, Any], edit: TextEdit) -> None:
    """Replace the texts of one message."""
    content = message.get("content")
    if isinstance(content, str):
        message["content"] = edit(content)
    for part in _objects(content):
        if isinstance(part.get("text"), str):
            part["text"] = edit(part["text"])


class ChatRequest(RequestLens):
    """`instructions` are the system and developer messages that open the conversation, joined by blank lines."""

    __slots__ = ()

    @property
    def instructions(self) -> str:
        """The system prompt. Setting it leaves one such message; of "" none."""
        return "\n\n".join(text for message in self._leading() for text in _texts(message.get("content")))

    @instructions.setter
    def instructions(self, value: str) -> None:
        leading = self._leading()
        messages = self.body.get("messages")
        rest = messages[len(leading) :] if isinstance(messages, list) else []
        first = [{**(leading[0] if leading else {"role": "system"}), "content": value}] if value else []
        self.body["messages"] = [*first, *rest]

    def _leading(self) -> list[dict[str, Any]]:
        leading: list[dict[str, Any]] = []
        messages = self.body.get("messages")
        for message in messages if isinstance(messages, list) else ():
            if not isinstance(message, dict) or message.get("role") not in ("system", "developer"):
                break
            leading.append(message)
        return leading

    def map_texts(self, edit: TextEdit) -> None:
        """Replace every text of every message, tool results too."""
        for message in _objects(self.body.get("messages")):
            _edit(message, edit)

    @property
    def max_output_tokens(self) -> int | None:
        """The limit, under either of its names."""
        for key in _LIMITS:
            value = self.body.get(key)
            if isinstance(value, int):
                return value
        return None

    @max_output_tokens.setter
    def max_output_tokens(self, value: int) -> None:
        present = [key for key in _LIMITS if self.body.get(key) is not None]
        for key in present or _LIMITS[:1]:
            self.body[key] = value


class ChatReply(ReplyLens):
    """Texts of all choices; the finish reason of the first."""

    __slots__ = ()

    def map_texts(self, edit: TextEdit) -> None:
        """Replace the content of every choice."""
        for choice in _objects(self.body.get("choices")):
            if isinstance(choice.get("message"), dict):
                _edit(choice["message"], edit)

    @property
    def usage(self) -> Usage | None:
        """The tokens."""
        return chat_usage(self.body.get("usage"))

    @property
    def finish_reason(self) -> str | None:
        """Why the first choice ended."""
        for choice in _objects(self.body.get("choices")):
            message = choice.get("message")
            called = isinstance(message, dict) and bool(message.get("tool_calls") or message.get("function_call"))
            return decode_finish_reason(choice.get("finish_reason"), has_tool_calls=called)
        return None


class ChatEvent(EventLens):
    """One chunk."""

    __slots__ = ()

    @property
    def type(self) -> str:
        """`chat.completion.chunk` or `error`."""
        return "error" if self.body.get("error") else "chat.completion.chunk"

    def _delta(self) -> dict[str, Any] | None:
        for choice in _objects(self.body.get("choices"))[:1]:
            delta = choice.get("delta")
            return delta if isinstance(delta, dict) else None
        return None

    @property
    def text(self) -> str:
        """The content that the first choice adds."""
        return "".join(_texts((self._delta() or {}).get("content")))

    @text.setter
    def text(self, value: str) -> None:
        delta = self._delta()
        if delta is None:
            raise AttributeError("this chunk carries no text")
        delta["content"] = value

    @property
    def usage(self) -> Usage | None:
        """The tokens, on the chunk that tells them."""
        usage = chat_usage(self.body.get("usage"))
        if usage is not None:
            return usage
        groq = self.body.get("x_groq")
        return chat_usage(groq.get("usage")) if isinstance(groq, dict) else None
