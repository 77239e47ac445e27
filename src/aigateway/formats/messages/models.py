"""What Claude's models take, told from their names: https://platform.claude.com/docs/en/about-claude/models/overview.

A name that is none of Claude's belongs to a model behind an imitation of the API, of which nothing is known.
"""

from __future__ import annotations

from typing import Final

from aigateway.canonical.claude import version_of

_SYSTEM_TURNS: Final = (4, 8)
_ADAPTIVE: Final = (4, 6)
_THINKS: Final = (3, 7)


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
