"""Images for hooks."""

from __future__ import annotations

from typing import Any

from aigateway.canonical.lens import EventLens, ReplyLens, RequestLens, TextEdit
from aigateway.canonical.types import Usage
from aigateway.formats.images.multipart import Form
from aigateway.formats.usage import responses_usage


class ImagesRequest(RequestLens):
    """A generation: `texts()` is the prompt."""

    __slots__ = ()

    def map_texts(self, edit: TextEdit) -> None:
        """Replace the prompt."""
        prompt = self.body.get("prompt")
        if isinstance(prompt, str):
            self.body["prompt"] = edit(prompt)


class ImagesFormRequest(ImagesRequest):
    """An edit or variation: `body` holds the text fields of the form; edits of them are written back into it.

    Files pass through untouched and do not show in `body`.
    """

    __slots__ = ("_fields", "_form")

    def __init__(self, form: Form) -> None:
        self._form = form
        self._fields = form.fields()
        super().__init__(dict(self._fields))

    @property
    def stream(self) -> bool:
        """Whether events are asked for."""
        return str(self.body.get("stream")).lower() == "true"

    @property
    def raw(self) -> bytes:
        """The form as bytes, with all edits so far; the same bytes where nobody edited."""
        return self._form.with_fields(self._fields, self.body)

    def replace_raw(self, raw: bytes) -> None:
        """Put other bytes of the same boundary in its place."""
        self._form = Form(raw, self._form.boundary)
        self._fields = self._form.fields()
        self.body = dict(self._fields)


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
