"""generateContent for hooks."""

from __future__ import annotations

from typing import Any

from aigateway.canonical.lens import EventLens, ReplyLens, RequestLens, TextEdit
from aigateway.canonical.types import Usage
from aigateway.formats.generate_content.finish import decode_finish_reason
from aigateway.formats.generate_content.usage import decode_usage


def _objects(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value]
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _value(raw: dict[str, Any], camel: str, snake: str) -> Any:
    """What stands under a key, however the caller spells it."""
    return raw[camel] if camel in raw else raw.get(snake)


def _said(content: Any) -> list[dict[str, Any]]:
    """The parts of a content that are texts for people."""
    parts = _objects(content.get("parts")) if isinstance(content, dict) else []
    return [part for part in parts if isinstance(part.get("text"), str) and part.get("thought") is not True]


def _edit(content: Any, edit: TextEdit) -> None:
    for part in _said(content):
        part["text"] = edit(part["text"])


class GenerateContentRequest(RequestLens):
    """A request whose model and stream stand in its path: `place` tells them.

    `instructions` are the texts of the systemInstruction, joined by blank lines.
    """

    __slots__ = ("_asked", "_renamed", "_streams")

    def __init__(self, raw: bytes | dict[str, Any]) -> None:
        super().__init__(raw)
        self._asked = ""
        self._streams = False
        self._renamed = False

    def place(self, model: str, *, stream: bool) -> None:
        """Set what the path says."""
        self._asked, self._streams = model, stream

    @property
    def touched(self) -> bool:
        """Whether anybody has looked inside, or named another model."""
        return self._renamed or super().touched

    @property
    def model(self) -> str:
        """The model asked for."""
        return self._asked

    @model.setter
    def model(self, value: str) -> None:
        self._asked, self._renamed = value, True

    @property
    def stream(self) -> bool:
        """Whether events are asked for."""
        return self._streams

    @property
    def instructions(self) -> str:
        """The system prompt. Setting it leaves one text; of "" none."""
        told = _value(self.body, "systemInstruction", "system_instruction")
        if isinstance(told, str):
            return told
        return "\n\n".join(part["text"] for part in _said(told))

    @instructions.setter
    def instructions(self, value: str) -> None:
        self.body.pop("system_instruction", None)
        self.body.pop("systemInstruction", None)
        if value:
            self.body["systemInstruction"] = {"parts": [{"text": value}]}

    def map_texts(self, edit: TextEdit) -> None:
        """Replace every text of every content, and those that tools gave back."""
        body = self.body
        for key in ("systemInstruction", "system_instruction"):
            if isinstance(body.get(key), str):
                body[key] = edit(body[key])
            else:
                _edit(body.get(key), edit)
        embedded = [request.get("content") for request in (body, *_objects(body.get("requests")))]
        for content in (*_objects(body.get("contents")), *embedded):
            _edit(content, edit)
            if not isinstance(content, dict):
                continue
            for part in _objects(content.get("parts")):
                result = _value(part, "functionResponse", "function_response")
                response = result.get("response") if isinstance(result, dict) else None
                if isinstance(response, dict):
                    response.update(_edited(response, edit))

    @property
    def max_output_tokens(self) -> int | None:
        """The limit on generated tokens."""
        value = _value(self._config(), "maxOutputTokens", "max_output_tokens")
        return value if isinstance(value, int) else None

    @max_output_tokens.setter
    def max_output_tokens(self, value: int) -> None:
        config = self._config()
        config.pop("max_output_tokens", None)
        config["maxOutputTokens"] = value
        key = "generation_config" if "generation_config" in self.body else "generationConfig"
        self.body[key] = config

    def _config(self) -> dict[str, Any]:
        config = _value(self.body, "generationConfig", "generation_config")
        return config if isinstance(config, dict) else {}


def _edited(value: Any, edit: TextEdit) -> Any:
    """A value with every text within it replaced."""
    if isinstance(value, str):
        return edit(value)
    if isinstance(value, list):
        return [_edited(entry, edit) for entry in value]
    return {key: _edited(entry, edit) for key, entry in value.items()} if isinstance(value, dict) else value


class GenerateContentReply(ReplyLens):
    """Texts of all candidates; the finish reason of the first."""

    __slots__ = ()

    @property
    def model(self) -> str:
        """The model named in the reply."""
        value = self.body.get("modelVersion")
        return value if isinstance(value, str) else ""

    def map_texts(self, edit: TextEdit) -> None:
        """Replace the texts of every candidate."""
        for candidate in _objects(self.body.get("candidates")):
            _edit(candidate.get("content"), edit)

    @property
    def usage(self) -> Usage | None:
        """The tokens."""
        return decode_usage(self.body.get("usageMetadata"))

    @property
    def finish_reason(self) -> str | None:
        """Why the first candidate ended."""
        for candidate in _objects(self.body.get("candidates")):
            content = candidate.get("content")
            parts = _objects(content.get("parts")) if isinstance(content, dict) else []
            called = any("functionCall" in part for part in parts)
            return decode_finish_reason(candidate.get("finishReason"), has_tool_calls=called)
        return "content_filter" if self.body.get("promptFeedback") else None


class GenerateContentEvent(EventLens):
    """One piece of a stream."""

    __slots__ = ()

    @property
    def type(self) -> str:
        """`content` or `error`."""
        return "error" if self.body.get("error") else "content"

    def _parts(self) -> list[dict[str, Any]]:
        for candidate in _objects(self.body.get("candidates"))[:1]:
            return _said(candidate.get("content"))
        return []

    @property
    def text(self) -> str:
        """The text that the first candidate adds."""
        return "".join(part["text"] for part in self._parts())

    @text.setter
    def text(self, value: str) -> None:
        parts = self._parts()
        if not parts:
            raise AttributeError("this piece carries no text")
        for number, part in enumerate(parts):
            part["text"] = "" if number else value

    @property
    def usage(self) -> Usage | None:
        """The tokens, as far as they are told."""
        return decode_usage(self.body.get("usageMetadata"))
