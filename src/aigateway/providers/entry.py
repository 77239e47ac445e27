"""How a host is entered, by the API that is spoken there: the headers that carry the key, and what must come with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

KeyHeaders = Callable[[str, str], dict[str, str]]
"""(key, base URL) -> the headers that carry the key."""

_ANTHROPIC = "https://api.anthropic.com/"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One API's way in. headers: sent with every request of it, where nobody sets them to something else."""

    key_headers: KeyHeaders
    headers: Mapping[str, str] = MappingProxyType({})


def bearer(key: str, _: str) -> dict[str, str]:
    """`Authorization: Bearer KEY`."""
    return {"authorization": f"Bearer {key}"}


def _messages(key: str, base_url: str) -> dict[str, str]:
    """Anthropic reads `x-api-key`; of the hosts that imitate it some read the one, some the other."""
    own = {"x-api-key": key}
    return own if base_url.startswith(_ANTHROPIC) else own | bearer(key, base_url)


ENTRIES: Mapping[str, Entry] = MappingProxyType(
    {"messages": Entry(key_headers=_messages, headers=MappingProxyType({"anthropic-version": "2023-06-01"}))}
)
"""By API, where it is not `Authorization: Bearer KEY` and nothing else."""
