"""How a host is entered, by the API that is spoken there: the headers that carry the key, and what must come with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

KeyHeaders = Callable[[str, str], dict[str, str]]
"""(key, base URL) -> the headers that carry the key."""

_ANTHROPIC = "https://api.anthropic.com/"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One API's way in.

    headers  sent with every request of it, where nobody sets them to something else.
    base     the base URL of this API at a host, from the provider's own.
    """

    key_headers: KeyHeaders
    base: Callable[[str], str] = str
    headers: Mapping[str, str] = MappingProxyType({})


def bearer(key: str, _: str) -> dict[str, str]:
    """`Authorization: Bearer KEY`."""
    return {"authorization": f"Bearer {key}"}


def _messages(key: str, base_url: str) -> dict[str, str]:
    """Anthropic reads `x-api-key`; of the hosts that imitate it some read the one, some the other."""
    own = {"x-api-key": key}
    return own if base_url.startswith(_ANTHROPIC) else own | bearer(key, base_url)


def _google(key: str, base_url: str) -> dict[str, str]:
    """Gemini reads `x-goog-api-key`; Vertex, and whoever gives an OAuth token, `Authorization`."""
    is_token = key.startswith("ya29.") or "aiplatform.googleapis.com" in base_url
    return bearer(key, base_url) if is_token else {"x-goog-api-key": key}


def _native(base_url: str) -> str:
    """Google's own API stands beside the one that imitates OpenAI's."""
    return base_url.removesuffix("/openai")


ENTRIES: Mapping[str, Entry] = MappingProxyType(
    {
        "messages": Entry(key_headers=_messages, headers=MappingProxyType({"anthropic-version": "2023-06-01"})),
        "generate_content": Entry(key_headers=_google, base=_native),
    }
)
"""By API, where it is not `Authorization: Bearer KEY` and nothing else."""
