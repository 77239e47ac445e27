"""Completions for hooks."""

from __future__ import annotations

from typing import Any

from aigateway.canonical.lens import EventLens, ReplyLens, RequestLens, TextEdit
from aigateway.canonical.types import Usage
from aigateway.formats.completions.wire import OBJECT
from aigateway.formats.finish import decode_finish_reason
from aigateway.formats.usage import chat_usage


def _choices(body: dict[str, Any]) -> list[dict[str, Any]]:
    choices = body.get("choices")
    return [entry for entry in choices if isinstance(entry, dict)] if isinstance(choices, list) else []


class CompletionsRequest(RequestLens):
    """`texts()` are the prompts, and the suffix; prompts of tokens are no texts."""

    __slots__ = ()

    def map_texts(self, edit: TextEdit) -> None:
        """Replace each prompt that is text, and the suffix."""
        prompt, suffix = self.body.get("prompt"), self.body.get("suffix")
        if isinstance(prompt, str):
            self.body["prompt"] = edit(prompt)
        elif isinstance(prompt, list):
            self.body["prompt"] = [edit(entry) if isinstance(entry, str) else entry for entry in prompt]
        if isinstance(suffix, str):
            self.body["suffix"] = edit(suffix)

    @property
    def max_output_tokens(self) -> int | None:
        """The limit."""
        value = self.body.get("max_tokens")
        return value if isinstance(value, int) else None

    @max_output_tokens.setter
    def max_output_tokens(self, value: int) -> None:
        self.body["max_tokens"] = value


class CompletionsReply(ReplyLens):
    """Texts of all choices; the finish reason of the first."""

    __slots__ = ()

    def map_texts(self, edit: TextEdit) -> None:
        """Replace the text of every choice."""
        for choice in _choices(self.body):
            if isinstance(choice.get("text"), str):
                choice["text"] = edit(choice["text"])

    @property
    def usage(self) -> Usage | None:
        """The tokens."""
        return chat_usage(self.body.get("usage"))

    @property
    def finish_reason(self) -> str | None:
        """Why the first choice ended."""
        for choice in _choices(self.body):
            return decode_finish_reason(choice.get("finish_reason"), has_tool_calls=False)
        return None


class CompletionsEvent(EventLens):
    """One chunk."""

    __slots__ = ()

    @property
    def type(self) -> str:
        """`text_completion` or `error`."""
        return "error" if self.body.get("error") else OBJECT

    @property
    def text(self) -> str:
        """What the first choice of the chunk adds."""
        for choice in _choices(self.body):
            text = choice.get("text")
            return text if isinstance(text, str) else ""
        return ""

    @text.setter
    def text(self, value: str) -> None:
        choices = _choices(self.body)
        if not choices:
            raise AttributeError("this chunk carries no text")
        choices[0]["text"] = value

    def map_texts(self, edit: TextEdit) -> None:
        """Replace what each choice of the chunk adds."""
        for choice in _choices(self.body):
            if isinstance(choice.get("text"), str) and choice["text"]:
                choice["text"] = edit(choice["text"])

    @property
    def usage(self) -> Usage | None:
        """The tokens, on the chunk that tells them."""
        return chat_usage(self.body.get("usage"))
