"""The head of a request that is the last one's again, as clients send it over a connection that they keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aigateway.surface import Operation

_LENGTH: Final = b"\r\ncontent-length: "
_END: Final = b"\r\n\r\n"
_DIGITS: Final = 12


class KnownHead:
    """A head that was parsed and found plain, but for the number in its Content-Length.

    url, operation  where such a request goes.
    pairs           the headers as they came.
    headers, key    what whoever answered has made of them; None until somebody has.
    """

    __slots__ = ("_after", "_before", "headers", "key", "operation", "pairs", "url")

    def __init__(
        self, before: bytes, after: bytes, url: bytes, operation: Operation, pairs: Sequence[tuple[bytes, bytes]]
    ) -> None:
        self._before = before
        self._after = after
        self.url = url
        self.operation = operation
        self.pairs = pairs
        self.headers: dict[str, str] | None = None
        self.key: str | None = None

    def body_of(self, data: bytes) -> bytes | None:
        """The body of a request that came whole, and alone, under this head; None where it did not."""
        before, after = self._before, self._after
        if not data.startswith(before):
            return None
        start = len(before)
        end = data.find(b"\r", start, start + _DIGITS)
        if not data.startswith(after, end):
            return None
        body = data[end + len(after) :]
        return body if data[start:end] == b"%d" % len(body) else None


def known_head(
    data: bytes, body: bytes, url: bytes, operation: Operation, pairs: Sequence[tuple[bytes, bytes]]
) -> KnownHead | None:
    """The head of a request that was read from `data` and nothing else; None where its length is told in another way."""
    size = data.find(_END) + len(_END)
    head = data[:size].lower()
    start = head.find(_LENGTH) + len(_LENGTH)
    digits = b"%d" % len(body)
    if len(data) != size + len(body) or start < len(_LENGTH) or not head.startswith(digits + b"\r", start):
        return None
    if head.count(b"content-length") > 1 or b"transfer-encoding" in head:
        return None
    return KnownHead(data[:start], data[start + len(digits) : size], url, operation, pairs)
