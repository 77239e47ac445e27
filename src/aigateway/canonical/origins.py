"""Whose signed or encrypted reasoning it is, across hosts.

What Anthropic and Google sign is theirs wherever it was made. What OpenAI's API (or one in its form) encrypts can be read
only where it was made, with the account that it was made for: OpenAI itself refuses what its models made for another
organization, at Azure or behind a router. So such reasoning is named for its host too: `azure-host/openai`,
`openrouter/xai`; only what api.openai.com made itself is just `openai`.

Within a format, what is its host's own has the plain name; `placed` and `seen_at` are the two ways over that border.

What a Responses host answers to a caller of Responses goes on as it came, and nobody could tell later whose it was. That
is safe as long as a gateway knows one such host alone: what comes in is its own. From the second one on (models.py) content
that comes in unsealed counts as OpenAI's own, and what any other host encrypts is sealed on its way out
(formats/responses/sealed.py).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from aigateway.canonical.events import ItemEnded, ItemStarted, StreamEvent
from aigateway.canonical.types import Item, Reasoning

OPENAI: Final = "openai"
_BOUND: Final = frozenset({OPENAI, "azure", "xai"})
"""Makers whose reasoning is encrypted for one account at one host."""


def is_home(host: str) -> bool:
    """Whether what a host encrypts passes unsealed: api.openai.com, and a host that is alone in its gateway."""
    return host in ("", OPENAI)


def is_bound(origin: Any) -> bool:
    """Whether what this maker encrypted can be read at one host only."""
    return origin in _BOUND or (isinstance(origin, str) and "/" in origin)


def placed(origin: Any, host: str) -> Any:
    """The name everywhere of what this host made."""
    return origin if is_home(host) or origin not in _BOUND else f"{host}/{origin}"


def seen_at(origin: Any, host: str) -> Any:
    """The name at this host of what was made somewhere: the plain one only where it was made here."""
    if not isinstance(origin, str):
        return origin
    if origin.startswith(f"{host}/"):
        return origin[len(host) + 1 :]
    return origin if is_home(host) or origin not in _BOUND else f"{OPENAI}/{origin}"


def items_seen_at(items: tuple[Item, ...], host: str) -> tuple[Item, ...]:
    """The items of a conversation as this host sees them."""
    if Reasoning not in set(map(type, items)):
        return items
    return tuple(_renamed(item, seen_at(item.origin, host)) if isinstance(item, Reasoning) else item for item in items)


def items_placed(items: tuple[Item, ...], host: str) -> tuple[Item, ...]:
    """The items of an answer of this host."""
    if is_home(host) or Reasoning not in set(map(type, items)):
        return items
    return tuple(_renamed(item, placed(item.origin, host)) if isinstance(item, Reasoning) else item for item in items)


def event_placed(event: StreamEvent, host: str) -> StreamEvent:
    """One event of an answer of this host."""
    if isinstance(event, ItemStarted | ItemEnded) and isinstance(event.item, Reasoning) and not is_home(host):
        return msgspec.structs.replace(event, item=_renamed(event.item, placed(event.item.origin, host)))
    return event


def _renamed(item: Reasoning, origin: Any) -> Reasoning:
    return item if origin == item.origin else msgspec.structs.replace(item, origin=origin)
