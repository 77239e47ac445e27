"""Ids of tool calls that their host gave none."""

from __future__ import annotations

from typing import Any

_TELLING = 8  # letters and digits that a reply's id must have to be taken for its own


def made_call_id(reply_id: Any, number: int) -> str:
    """The id of a reply's call of this number: told from the reply's id, so that it differs from turn to turn."""
    tail = "".join(char for char in reply_id if char.isalnum())[-24:] if isinstance(reply_id, str) else ""
    return f"call_{tail}_{number}" if len(tail) >= _TELLING else f"call_{number}"
