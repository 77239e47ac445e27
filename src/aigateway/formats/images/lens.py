"""Images for hooks."""

from __future__ import annotations

from typing import Any

from aigateway.canonical.lens import EventLens, ReplyLens, RequestLens, TextEdit
from aigateway.canonical.types import Usage
from aigateway.formats.usage import responses_usage


class ImagesRequest(RequestLens):
    """A generation: `texts()` is the prompt."""

    __slots__ = ()

    def map_texts(self, edit: TextEdit) -> None:
        """Replace the prompt."""
        prompt = self.body.get("prompt")
        if isinstance(prompt, str):
            self.body["prompt"] = edit(prompt)


class ImagesReply(ReplyLens):
    """Images by URL or base64: `texts()` are the prompts as the model revised them."""

    __slots__ = ()

    def map_texts(self, edit: TextEdit) -> None:
        """Replace each revised prompt."""
        data: Any = self.body.get("data")
        for image in data if isinstance(data, list) else ():
            if isinstance(image, dict) and isinstance(image.get("revised_prompt"), str):
                image["revised_prompt"] = edit(image["revised_prompt"])

    @property
    def usage(self) -> Usage | None:
        """The tokens, where the model counts any."""
        return responses_usage(self.body.get("usage"))


class ImagesEvent(EventLens):
    """A partial or final image of a stream."""

    __slots__ = ()

    @property
    def usage(self) -> Usage | None:
        """The tokens, on the last event."""
        return responses_usage(self.data.get("usage"))
