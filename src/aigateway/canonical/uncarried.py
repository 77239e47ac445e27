"""Content that a format cannot hold."""

from __future__ import annotations

from aigateway.errors import UnsupportedError


class UncarriedError(UnsupportedError):
    """An item or part that the target's format has no place for.

    content  the item or part itself: where it stands (`param`) is said by the format that it was decoded from.
    """

    code = "unsupported_content"

    def __init__(self, message: str, content: object) -> None:
        super().__init__(message)
        self.content = content
