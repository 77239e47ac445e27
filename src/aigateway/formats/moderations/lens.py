"""Moderations for hooks."""

from __future__ import annotations

from typing import Any

from aigateway.canonical.lens import RequestLens, TextEdit


class ModerationsRequest(RequestLens):
    """`texts()` are the texts to be judged; images have none."""

    __slots__ = ()

    def map_texts(self, edit: TextEdit) -> None:
        """Replace each text to be judged."""
        source = self.body.get("input")
        if isinstance(source, str):
            self.body["input"] = edit(source)
        elif isinstance(source, list):
            self.body["input"] = [_edited(part, edit) for part in source]


def _edited(part: Any, edit: TextEdit) -> Any:
    if isinstance(part, str):
        return edit(part)
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        part["text"] = edit(part["text"])
    return part
