"""Reading the fields of a chat request."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType

from aigateway.canonical.types import Extra
from aigateway.formats.chat.wire import FORMAT
from aigateway.formats.fields import (
    read_array,
    read_boolean,
    read_integer,
    read_number,
    read_number_map,
    read_object,
    read_stop,
    read_string,
    read_string_map,
    read_strings,
    refuse,
)

__all__ = [
    "extra_of",
    "read_array",
    "read_boolean",
    "read_integer",
    "read_number",
    "read_number_map",
    "read_object",
    "read_stop",
    "read_string",
    "read_string_map",
    "read_strings",
    "refuse",
]


def extra_of(raw: dict[str, Any], known: frozenset[str]) -> Extra | UnsetType:
    """The keys that nobody here knows, to be written again where they came from."""
    if known.issuperset(raw):
        return UNSET
    fields = {key: value for key, value in raw.items() if value is not None and key not in known}
    return Extra(format=FORMAT, fields=fields) if fields else UNSET
