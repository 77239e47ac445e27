"""What Claude's models take, told from their names: https://platform.claude.com/docs/en/about-claude/models/overview.

A name that is none of Claude's belongs to a model behind an imitation of the API, of which nothing is known.
"""

from __future__ import annotations

import re
from typing import Final

_NAME = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2})(?!\d))?")
_SYSTEM_TURNS: Final = (4, 8)
_ADAPTIVE: Final = (4, 6)
_THINKS: Final = (3, 7)


def version_of(model: str) -> tuple[int, int] | None:
    """4.5 of `claude-sonnet-4-5-20250929`, 3.7 of `claude-3-7-sonnet`; None for a name that is none of Claude's."""
    found = _NAME.search(model)
    return None if found is None else (int(found[1]), int(found[2] or 0))


def takes_system_turns(model: str) -> bool:
    """Whether `role: system` may stand among its messages: from Opus 4.8 on; of others nothing is known."""
    version = version_of(model)
    return version is None or version >= _SYSTEM_TURNS


def thinks_adaptively(model: str) -> bool:
    """Whether it takes `thinking: {type: adaptive}` and an effort (from 4.6 on), in place of a budget."""
    version = version_of(model)
    return version is not None and version >= _ADAPTIVE


def thinks(model: str) -> bool:
    """Whether it can think at all."""
    version = version_of(model)
    return version is None or version >= _THINKS


def default_max_tokens(model: str) -> int:
    """`max_tokens` where nobody said: Anthropic demands it. As much as every model of that generation gives."""
    version = version_of(model)
    if version is None or version < (3, 5):
        return 4096
    return 8192 if version < _THINKS else 32_000
