"""The events of a stored stream, written while they go out, and read again from any number on."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from aigateway.formats.relay import frames_in
from aigateway.state.protocol import Piece, ResponseStore

logger = logging.getLogger("aigateway")

_NUMBER: Final = re.compile(rb'(?<!\\)"sequence_number":\s*(\d+)')
_DELAY: Final = 0.05  # seconds for which events are gathered before they are written
_SIZE: Final = 64 * 1024


class JournalLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much of streams can be read again.

    seconds    after their last event.
    max_bytes  of one stream: beyond it the oldest events go.
    """

    seconds: float = 3600.0
    max_bytes: int = 8 * 1024 * 1024


def number_in(frame: bytes) -> int | None:
    """The sequence number of the event in a frame."""
    found = _NUMBER.search(frame)
    return int(found[1]) if found else None


def frames_after(piece: Piece, after: int) -> bytes:
    """The frames of a piece behind an event's number."""
    if piece.first > after:
        return piece.data
    frames = frames_in(piece.data)
    kept = []
    for place, frame in enumerate(frames):
        number = number_in(frame)
        if (piece.first + place if number is None else number) > after:
            kept.append(frame)
    return b"".join(kept)


class JournalWriter:
    """Writes one stream's events, many at a time. `add()` never waits; `flush()` does until all are written.

    A store that fails ends the journal, not the stream: `failed` says so.
    """

    def __init__(
        self, store: ResponseStore, tenant: str, id: str, limits: JournalLimits, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._tenant = tenant
        self._id = id
        self._limits = limits
        self._clock = clock
        self._held: list[bytes] = []
        self._held_size = 0
        self._first = self._last = -1
        self._written: deque[tuple[int, int]] = deque()
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        self.failed = False
        self.next = 0

    def add(self, data: bytes) -> None:
        """Whole frames that go out now."""
        first, last = self._numbers_of(data)
        self.next = last + 1
        if self.failed:
            return
        if not self._held:
            self._first = first
        self._last = last
        self._held.append(data)
        self._held_size += len(data)
        if self._held_size >= _SIZE:
            self._start()
        elif self._timer is None and self._writing is None:
            self._timer = asyncio.get_running_loop().call_later(_DELAY, self._start)

    def _numbers_of(self, data: bytes) -> tuple[int, int]:
        """Of the first and the last event; where the upstream numbers none, they are counted."""
        found = _NUMBER.search(data)
        if found is None:
            return self.next, self.next + len(frames_in(data)) - 1
        first = int(found[1])
        if data.count(b"sequence_number") == 1:
            return first, first
        return first, int(_NUMBER.findall(data)[-1])

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is None:
            self._writing = asyncio.ensure_future(self._write())

    async def _write(self) -> None:
        try:
            while self._held and not self.failed:
                piece = Piece(self._first, self._last, b"".join(self._held))
                self._held, self._held_size = [], 0
                await self._put(piece)
        finally:
            self._writing = None

    async def _put(self, piece: Piece) -> None:
        self._written.append((piece.last, len(piece.data)))
        self._size += len(piece.data)
        drop_before = None
        while self._size > self._limits.max_bytes and len(self._written) > 1:
            last, size = self._written.popleft()
            self._size -= size
            drop_before = last + 1
        until = self._clock() + self._limits.seconds
        try:
            await self._store.write_journal(self._tenant, self._id, piece, expires_at=until, drop_before=drop_before)
        except Exception as error:  # noqa: BLE001 - whatever it is, the stream goes on
            self.failed = True
            logger.warning("the stream of %s cannot be kept: %s", self._id, type(error).__name__)

    async def flush(self) -> None:
        """Wait until all that was added is written."""
        while self._held or self._writing is not None:
            self._start()
            if self._writing is not None:
                await asyncio.shield(self._writing)
            if self.failed:
                return

    def drop(self) -> None:
        """Forget what is not written yet."""
        self._held, self._held_size = [], 0

    async def aclose(self) -> None:
        """Write what is left."""
        await self.flush()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
