"""What is kept of a response beside its items."""

from __future__ import annotations

from typing import Any

import msgspec

from aigateway import _json
from aigateway.state.protocol import Span


class Upstream(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a response is kept by its provider too: its id there."""

    provider: str
    id: str


class Run(msgspec.Struct, omit_defaults=True):
    """A response that is made while nobody waits for it.

    body      the request, as it goes through the journey.
    headers   of the caller that count there.
    facts     of the principal. began: whether output may have been shown, so that it must not be made anew.
    """

    request_id: str
    body: bytes
    headers: dict[str, str] = {}
    tenant: str | None = None
    facts: dict[str, Any] = {}
    began: bool = False


class Record(msgspec.Struct, omit_defaults=True):
    """One response.

    status        queued, in_progress, completed, incomplete, failed or cancelled.
    body          the resource as JSON, its `output` empty.
    spans         where its whole conversation stands, to its last item; the last of them is its own log.
    start, middle its own input and output there: [start, middle) and [middle, end of the last span).
    conversation  to which it belongs.
    upstream      where its provider keeps it.
    first         the number of its first event; None where it was not streamed.
    input         its items as a JSON array, until they are in a log.
    output        what was made of it when it ended early, the same way.
    run           of one in the background, until it has ended.
    """

    status: str
    body: bytes
    spans: list[Span] = []
    start: int = 0
    middle: int = 0
    conversation: str | None = None
    upstream: Upstream | None = None
    first: int | None = None
    input: bytes = b""
    run: Run | None = None
    background: bool = False

    @property
    def end(self) -> int:
        """Behind its last item."""
        return self.spans[-1].end if self.spans else 0

    @property
    def is_over(self) -> bool:
        """Whether it has come to an end."""
        return self.status not in UNFINISHED

    def resource(self) -> dict[str, Any]:
        """The resource, its `output` empty."""
        value: dict[str, Any] = _json.decode(self.body)
        return value


UNFINISHED = frozenset({"queued", "in_progress"})

ENCODE = msgspec.msgpack.Encoder().encode
DECODE = msgspec.msgpack.Decoder(Record).decode
