"""API keys that do not show themselves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable


class Secret:
    """A string whose repr, str and format hide it; `reveal()` gives it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The string itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


KeySource = str | Secret | Callable[[], "str | Secret | Awaitable[str | Secret | None] | None"]
"""A key, or a function (async or not) that is asked for it at every request, so that keys can be rotated."""


async def reveal(source: KeySource | None) -> str | None:
    """The key of a source; None where there is none (None, "", or the word "none")."""
    if source is None:
        return None
    value: object = source
    if not isinstance(source, str | Secret):
        value = source()
        if isinstance(value, Awaitable):
            value = await value
    text = value.reveal() if isinstance(value, Secret) else value
    return None if text in (None, "", "none") else str(text)
