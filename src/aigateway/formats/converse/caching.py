"""Marks of what to cache -> cache points: https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html.

Two kinds of marks come here: OpenAI's breakpoints, and Anthropic's `cache_control`, which callers of its API put on
nearly everything, and callers of chat on parts. A point stands behind what it caches.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET, UnsetType

from aigateway.canonical.claude import version_of
from aigateway.canonical.types import Change, Extra, File, Image, Part, Text

Block = dict[str, Any]

MARK: Final = "cache_control"
_TTLS: Final = frozenset({"5m", "1h"})
_CACHES: Final = (3, 7)
_AN_HOUR: Final = (4, 5)


class CachePoints:
    """The points of one request to a model. Marks that the model is not known to take are left out, and listed."""

    def __init__(self, model: str, changes: list[Change]) -> None:
        version = version_of(model)
        self.takes_marks = version is not None and version >= _CACHES
        self._an_hour = version is not None and version >= _AN_HOUR
        self._changes = changes

    def after_part(self, part: Part) -> list[Block]:
        """What stands behind a part."""
        if not isinstance(part, Text | Image | File):
            return []
        wanted = part.prompt_cache_breakpoint
        if wanted is UNSET:
            return self.after(part.extra)
        ttl = wanted.get("ttl")
        if ttl is not None and ttl not in _TTLS:
            self._note("prompt_cache_breakpoint.ttl", "Bedrock keeps a prompt for 5 minutes or an hour.")
        return [_point(ttl if ttl in _TTLS else None)]

    def after(self, extra: Extra | UnsetType) -> list[Block]:
        """What stands behind a thing with these keys."""
        mark = UNSET if extra is UNSET else extra.fields.get(MARK, UNSET)
        if not self.takes_marks or not isinstance(mark, dict):
            return []
        ttl = mark.get("ttl")
        if ttl == "1h" and not self._an_hour:
            self._note(f"{MARK}.ttl", "The model keeps a prompt for 5 minutes.")
        return [_point("1h" if ttl == "1h" and self._an_hour else None)]

    def none_within(self, parts: tuple[Part, ...]) -> None:
        """List the marks of parts that no point can stand behind."""
        reason = "Converse has no cache points in the result of a tool."
        for part in parts:
            if isinstance(part, Text | Image | File) and part.prompt_cache_breakpoint is not UNSET:
                self._note("prompt_cache_breakpoint", reason)
            elif self.takes_marks and self._is_marked(part):
                self._note(MARK, reason)

    @staticmethod
    def _is_marked(part: Part) -> bool:
        return isinstance(part, Text | Image | File) and part.extra is not UNSET and MARK in part.extra.fields

    def _note(self, field: str, reason: str) -> None:
        change = Change(field=field, action="dropped", reason=reason)
        if change not in self._changes:
            self._changes.append(change)


def _point(ttl: str | None) -> Block:
    return {"cachePoint": {"type": "default"} | ({} if ttl is None else {"ttl": ttl})}
