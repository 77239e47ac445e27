"""Names for files that came without one: OpenAI's APIs refuse the data of a file that has no name."""

from __future__ import annotations

import re
from typing import Final

import msgspec
from msgspec import UNSET

from aigateway.canonical.types import File

_MEDIA_TYPE: Final = re.compile(r"data:([a-z]+)/([a-z0-9.+-]+)", re.IGNORECASE)
_ENDINGS: Final = {"plain": "txt", "markdown": "md", "javascript": "js", "x-python": "py", "msword": "doc"}


def named(file: File) -> File:
    """The file, called `document.pdf` or as its type has it where it has data and no name."""
    if file.data is UNSET or file.filename:
        return file
    found = _MEDIA_TYPE.match(file.data)
    ending = "pdf" if found is None else _ENDINGS.get(found[2].lower(), found[2].lower())
    return msgspec.structs.replace(file, filename=f"document.{ending}" if ending.isalnum() else "document")
