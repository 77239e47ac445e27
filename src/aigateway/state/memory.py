"""State in this process's memory, bounded: what was not used for the longest time goes first."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from aigateway.state.protocol import (
    Append,
    ConflictError,
    Delete,
    Document,
    Entry,
    Erase,
    Keep,
    Operation,
    Piece,
    Put,
    Span,
    Truncate,
)
from aigateway.state.waiting import Waiters

_Key = tuple[str, ...]
_SWEEP = 60.0  # seconds between two looks for what has expired
_OVERHEAD = 200  # bytes that an object costs beside its data, roughly


class _Document(msgspec.Struct, gc=False):
    document: Document
    listed: bool
    size: int


class _Log(msgspec.Struct, gc=False):
    entries: list[tuple[str, bytes]]
    expires_at: float | None
    size: int = _OVERHEAD


class _Journal(msgspec.Struct, gc=False):
    pieces: list[Piece]
    expires_at: float
    size: int = _OVERHEAD


class MemoryStore:
    """A ResponseStore of this process alone.

    max_bytes  of all that is kept, about; beyond it the least recently used documents, logs and journals go.
    clock      Unix seconds.
    """

    name = "memory"
    shared = False

    def __init__(self, *, max_bytes: int = 64 * 1024 * 1024, clock: Callable[[], float] = time.time) -> None:
        self._max = max_bytes
        self._clock = clock
        self._size = 0
        self._objects: OrderedDict[_Key, _Document | _Log | _Journal] = OrderedDict()
        self._names: dict[tuple[str, str], tuple[str, int]] = {}
        self._listed: dict[tuple[str, str], dict[_Key, None]] = {}
        self._leases: dict[_Key, tuple[str, float]] = {}
        self._swept = clock()
        self._waiters = Waiters(None)

    @property
    def size(self) -> int:
        """Bytes kept, about."""
        return self._size

    # documents

    async def document(self, tenant: str, kind: str, id: str) -> Document | None:
        """See ResponseStore."""
        found = self._document((tenant, "d", kind, id))
        return None if found is None else found.document

    def _document(self, key: _Key) -> _Document | None:
        found = self._objects.get(key)
        if not isinstance(found, _Document) or self._is_over(found.document.expires_at):
            return None
        self._objects.move_to_end(key)
        return found

    async def documents(
        self, tenant: str, kind: str, *, after: str | None = None, limit: int = 20, descending: bool = False
    ) -> list[Document]:
        """See ResponseStore."""
        known = [self._objects.get(key) for key in self._listed.get((tenant, kind), ())]
        found = [
            kept.document
            for kept in known
            if isinstance(kept, _Document) and not self._is_over(kept.document.expires_at)
        ]
        found.sort(key=lambda document: (document.created_at, document.id), reverse=descending)
        if after is not None:
            places = [place for place, document in enumerate(found) if document.id == after]
            found = found[places[0] + 1 :] if places else []
        return found[:limit]

    # writing

    async def commit(self, tenant: str, operations: Sequence[Operation]) -> None:
        """See ResponseStore."""
        for operation in operations:
            self._check(tenant, operation)
        for operation in operations:
            _APPLIED[type(operation)](self, tenant, operation)
        while self._size > self._max and self._objects:
            self._evict(next(iter(self._objects)))
        if self._clock() - self._swept >= _SWEEP:
            await self.sweep()

    def _check(self, tenant: str, operation: Operation) -> None:
        if isinstance(operation, (Put, Delete)):
            if operation.expect is None:
                return
            found = self._document((tenant, "d", operation.kind, operation.id))
            if (found.document.version if found is not None else 0) != operation.expect:
                raise ConflictError
        elif isinstance(operation, (Append, Truncate)) and operation.at is not None:
            log = self._log(tenant, operation.log)
            if (len(log.entries) if log is not None else 0) != operation.at:
                raise ConflictError

    def _delete(self, tenant: str, delete: Delete) -> None:
        self._evict((tenant, "d", delete.kind, delete.id))

    def _truncate(self, tenant: str, truncate: Truncate) -> None:
        self._cut(tenant, truncate.log, truncate.length)

    def _keep(self, tenant: str, keep: Keep) -> None:
        log = self._log(tenant, keep.log)
        if log is not None:
            log.expires_at = keep.expires_at

    def _put(self, tenant: str, put: Put) -> None:
        key = (tenant, "d", put.kind, put.id)
        known = self._document(key)
        if known is None:
            document = Document(put.id, put.data, 1, put.created_at, put.expires_at)
        else:
            version, created_at = known.document.version + 1, known.document.created_at
            document = Document(put.id, put.data, version, created_at, put.expires_at)
        self._evict(key)
        size = len(put.data) + _OVERHEAD
        self._objects[key] = _Document(document, put.listed, size)
        self._size += size
        if put.listed:
            self._listed.setdefault((tenant, put.kind), {})[key] = None

    def _append(self, tenant: str, append: Append) -> None:
        key = (tenant, "l", append.log)
        log = self._log(tenant, append.log)
        if log is None:
            self._evict(key)
            self._objects[key] = log = _Log([], append.expires_at)
            self._size += log.size
        log.expires_at = append.expires_at
        size = 0
        for seq, (name, data) in enumerate(append.entries, len(log.entries)):
            if name:
                self._names[tenant, name] = append.log, seq
            size += len(name) + len(data) + _OVERHEAD
        log.entries += append.entries
        self._grow(log, size)

    def _erase(self, tenant: str, erase: Erase) -> None:
        log = self._log(tenant, erase.log)
        if log is not None and erase.seq < len(log.entries):
            name, data = log.entries[erase.seq]
            self._forget_name(tenant, erase.log, erase.seq, name)
            log.entries[erase.seq] = ("", b"")
            self._grow(log, -len(name) - len(data))

    def _cut(self, tenant: str, name: str, length: int) -> None:
        if length == 0:
            self._evict((tenant, "l", name))
            return
        log = self._log(tenant, name)
        while log is not None and len(log.entries) > length:
            entry, data = log.entries.pop()
            self._forget_name(tenant, name, len(log.entries), entry)
            self._grow(log, -len(entry) - len(data) - _OVERHEAD)

    def _grow(self, kept: _Log | _Journal, amount: int) -> None:
        kept.size += amount
        self._size += amount

    def _evict(self, key: _Key) -> None:
        kept = self._objects.pop(key, None)
        if kept is None:
            return
        self._size -= kept.size
        if isinstance(kept, _Log):
            for seq, (name, _) in enumerate(kept.entries):
                self._forget_name(key[0], key[2], seq, name)
        elif isinstance(kept, _Document) and kept.listed:
            listed = self._listed[key[0], key[2]]
            del listed[key]
            if not listed:
                del self._listed[key[0], key[2]]

    def _forget_name(self, tenant: str, log: str, seq: int, name: str) -> None:
        if name and self._names.get((tenant, name)) == (log, seq):
            del self._names[tenant, name]

    # logs

    def _log(self, tenant: str, name: str) -> _Log | None:
        key = (tenant, "l", name)
        found = self._objects.get(key)
        if not isinstance(found, _Log) or self._is_over(found.expires_at):
            return None
        self._objects.move_to_end(key)
        return found

    async def entries(self, tenant: str, spans: Sequence[Span]) -> list[Entry]:
        """See ResponseStore."""
        return [entry for span in spans for entry in self._entries(tenant, span)]

    def _entries(self, tenant: str, span: Span) -> Iterator[Entry]:
        log = self._log(tenant, span.log)
        if log is not None:
            for seq, (name, data) in enumerate(log.entries[span.start : span.end], span.start):
                yield Entry(span.log, seq, name, data)

    async def length(self, tenant: str, log: str) -> int:
        """See ResponseStore."""
        found = self._log(tenant, log)
        return 0 if found is None else len(found.entries)

    async def named(self, tenant: str, names: Sequence[str]) -> list[Entry]:
        """See ResponseStore."""
        found: list[Entry] = []
        for name in dict.fromkeys(names):
            place = self._names.get((tenant, name))
            if place is not None:
                found += self._entries(tenant, Span(place[0], place[1], place[1] + 1))
        return found

    # journals

    async def write_journal(
        self, tenant: str, id: str, piece: Piece, *, expires_at: float, drop_before: int | None = None
    ) -> None:
        """See ResponseStore."""
        key = (tenant, "j", id)
        journal = self._objects.get(key)
        if not isinstance(journal, _Journal):
            self._objects[key] = journal = _Journal([], expires_at)
            self._size += journal.size
        self._objects.move_to_end(key)
        journal.expires_at = expires_at
        if not journal.pieces or piece.last > journal.pieces[-1].last:
            journal.pieces.append(piece)
            self._grow(journal, len(piece.data) + _OVERHEAD)
        while drop_before is not None and journal.pieces and journal.pieces[0].last < drop_before:
            self._grow(journal, -len(journal.pieces.pop(0).data) - _OVERHEAD)
        self._waiters.tell(key)

    async def read_journal(self, tenant: str, id: str, after: int, *, wait: float = 0.0) -> list[Piece]:
        """See ResponseStore."""
        key = (tenant, "j", id)

        async def look() -> list[Piece]:
            journal = self._objects.get(key)
            if not isinstance(journal, _Journal) or self._is_over(journal.expires_at):
                return []
            return [piece for piece in journal.pieces if piece.last > after]

        return await self._waiters.until(key, look, wait)

    async def delete_journal(self, tenant: str, id: str) -> None:
        """See ResponseStore."""
        self._evict((tenant, "j", id))

    # leases

    async def claim(self, kind: str, tenant: str, id: str, owner: str, seconds: float) -> bool:
        """See ResponseStore."""
        held = self._leases.get((kind, tenant, id))
        if held is not None and held[0] != owner and held[1] > self._clock():
            return False
        self._leases[kind, tenant, id] = owner, self._clock() + seconds
        return True

    async def renew(self, kind: str, tenant: str, id: str, owner: str, seconds: float) -> bool:
        """See ResponseStore."""
        held = self._leases.get((kind, tenant, id))
        if held is None or held[0] != owner:
            return False
        self._leases[kind, tenant, id] = owner, self._clock() + seconds
        return True

    async def release(self, kind: str, tenant: str, id: str, owner: str | None = None) -> None:
        """See ResponseStore."""
        held = self._leases.get((kind, tenant, id))
        if held is not None and owner in (None, held[0]):
            del self._leases[kind, tenant, id]

    async def run_out(self, kind: str, limit: int = 10) -> list[tuple[str, str]]:
        """See ResponseStore."""
        now = self._clock()
        over = [key for key, held in self._leases.items() if key[0] == kind and held[1] <= now]
        return [(key[1], key[2]) for key in over[:limit]]

    # the rest

    def _is_over(self, expires_at: float | None) -> bool:
        return expires_at is not None and expires_at <= self._clock()

    async def sweep(self, limit: int = 1000) -> int:
        """See ResponseStore."""
        self._swept = self._clock()
        over = [
            key
            for key, kept in self._objects.items()
            if self._is_over(kept.document.expires_at if isinstance(kept, _Document) else kept.expires_at)
        ][:limit]
        for key in over:
            self._evict(key)
        return len(over)

    async def ping(self) -> None:
        """See ResponseStore."""

    async def aclose(self) -> None:
        """See ResponseStore."""


_APPLIED: dict[type, Callable[[MemoryStore, str, Any], None]] = {
    Put: MemoryStore._put,  # noqa: SLF001 - its own table
    Delete: MemoryStore._delete,  # noqa: SLF001
    Append: MemoryStore._append,  # noqa: SLF001
    Truncate: MemoryStore._truncate,  # noqa: SLF001
    Erase: MemoryStore._erase,  # noqa: SLF001
    Keep: MemoryStore._keep,  # noqa: SLF001
}
