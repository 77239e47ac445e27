"""Audio for hooks."""

from __future__ import annotations

from typing import Any

from aigateway.canonical.lens import EventLens, ReplyLens, RequestLens, TextEdit
from aigateway.canonical.types import Usage
from aigateway.formats.usage import responses_usage


class AudioRequest(RequestLens):
    """Speech: `texts()` is what is to be said."""

    __slots__ = ()

    def map_texts(self, edit: TextEdit) -> None:
        """Replace what is to be said."""
        text = self.body.get("input")
        if isinstance(text, str):
            self.body["input"] = edit(text)

    @property
    def stream(self) -> bool:
        """Whether events are asked for."""
        return self.body.get("stream_format") == "sse" or super().stream

    @property
    def instructions(self) -> str:
        """How it is to be said."""
        value = self.body.get("instructions")
        return value if isinstance(value, str) else ""

    @instructions.setter
    def instructions(self, value: str) -> None:
        self.body["instructions"] = value


class AudioReply(ReplyLens):
    """A transcript: `texts()` are the whole text and those of its segments."""

    __slots__ = ()

    def map_texts(self, edit: TextEdit) -> None:
        """Replace the text of the transcript, and of each segment."""
        segments: Any = self.body.get("segments")
        for part in [self.body, *(segments if isinstance(segments, list) else ())]:
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                part["text"] = edit(part["text"])

    @property
    def usage(self) -> Usage | None:
        """The tokens, where the model counts any."""
        return audio_usage(self.body.get("usage"))


class AudioEvent(EventLens):
    """A piece of a transcript, or of speech."""

    __slots__ = ()

    @property
    def text(self) -> str:
        """The words that this event adds to the transcript."""
        value = self.data.get("delta")
        return value if isinstance(value, str) else ""

    @text.setter
    def text(self, value: str) -> None:
        self.data["delta"] = value

    def map_texts(self, edit: TextEdit) -> None:
        """Replace the words that this event adds, or the whole transcript on the event that closes it."""
        for key in ("delta", "text"):
            if isinstance(self.data.get(key), str):
                self.data[key] = edit(self.data[key])

    @property
    def usage(self) -> Usage | None:
        """The tokens, on the last event."""
        return audio_usage(self.data.get("usage"))


def audio_usage(raw: Any) -> Usage | None:
    """A usage object of audio, which spells `input_token_details` without an s; None where it counts seconds."""
    if isinstance(raw, dict) and "input_token_details" in raw:
        raw = raw | {"input_tokens_details": raw["input_token_details"]}
    return responses_usage(raw)
