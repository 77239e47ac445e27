"""Embeddings for hooks."""

from __future__ import annotations

from aigateway.canonical.lens import ReplyLens, RequestLens, TextEdit
from aigateway.canonical.types import Usage
from aigateway.formats.usage import chat_usage


class EmbeddingsRequest(RequestLens):
    """`texts()` are the inputs; token arrays are no texts."""

    __slots__ = ()

    def map_texts(self, edit: TextEdit) -> None:
        """Replace each input text."""
        source = self.body.get("input")
        if isinstance(source, str):
            self.body["input"] = edit(source)
        elif isinstance(source, list):
            self.body["input"] = [edit(entry) if isinstance(entry, str) else entry for entry in source]


class EmbeddingsReply(ReplyLens):
    """A list of vectors: it has no texts."""

    __slots__ = ()

    @property
    def usage(self) -> Usage | None:
        """The tokens of the input."""
        return chat_usage(self.body.get("usage"))
