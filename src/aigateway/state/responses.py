"""Responses and their chains, kept in a store.

A chain's items stand in one log: each turn appends its own. A turn that goes on from an earlier one than the last
branches: it gets a log of its own, and its spans name what it shares. So a turn costs what its own items cost, and a
chain is read back in two questions.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from aigateway.errors import InvalidRequestError, NotFoundError
from aigateway.state.items import NewId, entries_of, head_of, references, without_id
from aigateway.state.protocol import (
    Append,
    ConflictError,
    Delete,
    Entry,
    Keep,
    Operation,
    Put,
    ResponseStore,
    Span,
    Truncate,
    UnreadableError,
)
from aigateway.state.record import DECODE, ENCODE, Record

RESPONSE: Final = "response"
_BRANCHES: Final = "branches:"
_DELETED: Final = "deleted:"
_SPANS_MAX: Final = 64  # branches of branches after which a turn copies its whole chain
_ALL: Final = 1_000_000
_RETRIES: Final = 8

Entries = tuple[tuple[str, bytes], ...]


class Stored(msgspec.Struct, frozen=True):
    """A record as it was read, and its version then."""

    id: str
    record: Record
    version: int


class _Place(msgspec.Struct):
    """Where a turn's items go: into a log of this length, behind what it shares with others."""

    log: str
    at: int
    shared: list[Span]
    copied: Entries = ()


class Responses:
    """The responses of all tenants.

    ttl  seconds that a response is kept, and a chain after its last turn; None = for ever.
    """

    def __init__(
        self, store: ResponseStore, new_id: NewId, *, ttl: float | None, clock: Callable[[], float] = time.time
    ) -> None:
        self.store = store
        self.new_id = new_id
        self.clock = clock
        self.ttl = ttl

    def until(self) -> float | None:
        """When what is written now expires."""
        return None if self.ttl is None else self.clock() + self.ttl

    # reading

    async def find(self, tenant: str, id: str) -> Stored | None:
        """One that is kept."""
        found = await self.store.document(tenant, RESPONSE, id)
        if found is None:
            return None
        try:
            return Stored(id, DECODE(found.data), found.version)
        except msgspec.DecodeError as error:
            raise UnreadableError from error

    async def get(self, tenant: str, id: str) -> Stored:
        """The same. Raises NotFoundError."""
        found = await self.find(tenant, id)
        if found is None:
            raise NotFoundError(f"Response with id '{id}' not found.", param="response_id", code="not_found")
        return found

    async def previous(self, tenant: str, id: str) -> Stored:
        """One to go on from. Raises InvalidRequestError for one that is not kept, or has not ended."""
        found = await self.find(tenant, id)
        if found is None:
            raise previous_not_found(id)
        if not found.record.is_over:
            raise InvalidRequestError(
                f"Response '{id}' is still {found.record.status}: go on from it once it has ended.",
                param="previous_response_id",
                code="response_not_completed",
            )
        return found

    async def chain(self, tenant: str, record: Record) -> list[bytes]:
        """All items of a response's conversation: inputs and outputs in their order, its own among them.

        Raises InvalidRequestError where some of them are gone.
        """
        found = await self.store.entries(tenant, record.spans)
        if len(found) != sum(span.end - span.start for span in record.spans):
            raise InvalidRequestError(
                "Some items of the previous response's conversation are no longer kept. Send the whole conversation in "
                "`input`.",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        return await self.resolved(tenant, [entry.data for entry in found if entry.data])

    async def entries(self, tenant: str, record: Record, start: int, end: int) -> list[Entry]:
        """Entries of a response's own log, but for those that were erased."""
        if not record.spans:
            return []
        found = await self.store.entries(tenant, [Span(record.spans[-1].log, start, end)])
        return [entry for entry in found if entry.data]

    async def resolved(self, tenant: str, items: Sequence[bytes], *, strict: bool = False) -> list[bytes]:
        """Items with those in place that they refer to.

        What refers to one that is not kept stays as it is; strict: raises NotFoundError.
        """
        wanted = references(items)
        if not wanted:
            return list(items)
        found = {entry.name: entry.data for entry in await self.store.named(tenant, wanted)}
        told = []
        for item in items:
            head = head_of(item)
            if strict and head.is_reference and head.id not in found:
                raise NotFoundError(f"Item with id '{head.id}' not found.", param="input", code="item_not_found")
            told.append(found.get(head.id or "", item) if head.is_reference else item)
        return told

    async def copied(self, tenant: str, items: Sequence[bytes], *, strict: bool = False) -> list[bytes]:
        """Items with copies of those that they refer to, which get ids of their own. strict: as in `resolved`."""
        found = await self.resolved(tenant, items, strict=strict)
        return [own if own is item else without_id(own) for own, item in zip(found, items, strict=True)]

    # writing

    async def begin(self, tenant: str, id: str, record: Record) -> bool:
        """Keep one that has just begun; False where its id is taken."""
        return await self._written(tenant, [self._put(id, record, expect=0)])

    async def rewrite(self, tenant: str, stored: Stored, record: Record) -> bool:
        """Replace a record; False where it was changed meanwhile."""
        return await self._written(tenant, [self._put(stored.id, record, expect=stored.version)])

    async def _written(self, tenant: str, operations: Sequence[Operation]) -> bool:
        try:
            await self.store.commit(tenant, operations)
        except ConflictError:
            return False
        return True

    def _put(self, id: str, record: Record, *, expect: int) -> Put:
        return Put(
            kind=RESPONSE,
            id=id,
            data=ENCODE(record),
            created_at=self.clock(),
            expires_at=self.until(),
            expect=expect,
        )

    async def finish(
        self,
        tenant: str,
        id: str,
        record: Record,
        input: Sequence[bytes],
        output: Sequence[bytes],
        *,
        previous: Record | None = None,
        conversation_log: str | None = None,
        expect: int = 0,
    ) -> bool:
        """Keep one that has ended, with its items behind those of its chain or conversation.

        False where the record is no longer at version `expect`: another response has its id, or somebody else ended it.
        """
        entries = (*entries_of(input, self.new_id), *entries_of(output, self.new_id))
        for number in range(_RETRIES):
            place = await self._place(tenant, previous, conversation_log, extends=number == 0)
            start = place.at + len(place.copied)
            end = start + len(entries)
            record.spans = [*place.shared, Span(place.log, 0, end)]
            record.start, record.middle = start, start + len(input)
            until = self.until()
            operations: list[Operation] = [
                self._put(id, record, expect=expect),
                Append(log=place.log, entries=(*place.copied, *entries), at=place.at, expires_at=until),
                *(self._kept(record.spans, until) if place.shared else ()),
            ]
            if await self._written(tenant, operations):
                return True
            found = await self.store.document(tenant, RESPONSE, id)
            if (0 if found is None else found.version) != expect:
                return False
        raise ConflictError

    async def _place(
        self, tenant: str, previous: Record | None, conversation_log: str | None, *, extends: bool
    ) -> _Place:
        """extends: whether to try first to go on in the log of the previous turn, as its next one."""
        if conversation_log is not None:
            return _Place(conversation_log, await self.store.length(tenant, conversation_log), [])
        if previous is None or not previous.spans:
            return _Place(self.new_id("log"), 0, [])
        log, is_free = previous.spans[-1].log, previous.conversation is None
        if extends and is_free:
            return _Place(log, previous.end, previous.spans[:-1])
        if is_free and await self.store.length(tenant, log) < previous.end:
            return _Place(self.new_id("log"), 0, [])  # deleted meanwhile
        if len(previous.spans) < _SPANS_MAX:
            return _Place(self.new_id("log"), 0, previous.spans)
        items = await self.chain(tenant, previous)
        return _Place(self.new_id("log"), 0, [], entries_of(items, self.new_id))

    def _kept(self, spans: Sequence[Span], until: float | None) -> list[Operation]:
        """What a turn shares with others lives as long as itself, and its owners know of it."""
        operations: list[Operation] = []
        for parent, child in itertools.pairwise(spans):
            operations.append(Keep(log=parent.log, expires_at=until))
            operations.append(
                Put(
                    kind=_BRANCHES + parent.log,
                    id=child.log,
                    data=b"%d" % parent.end,
                    created_at=self.clock(),
                    expires_at=until,
                    listed=True,
                )
            )
        return operations

    # deleting

    async def delete(self, tenant: str, id: str) -> Record:
        """Forget one. Its items go with it, but for those that later turns rest upon. Raises NotFoundError."""
        for _ in range(_RETRIES):
            stored = await self.get(tenant, id)
            operations: list[Operation] = [Delete(kind=RESPONSE, id=id, expect=stored.version)]
            is_chained = bool(stored.record.spans) and stored.record.conversation is None
            if is_chained:
                operations += await self._unused(tenant, stored.record.spans, (stored.record.start, stored.record.end))
            if await self._written(tenant, operations):
                await self.store.delete_journal(tenant, id)
                if is_chained:
                    await self._tidy(tenant, stored.record.spans[:-1])
                return stored.record
        raise ConflictError

    async def _tidy(self, tenant: str, spans: Sequence[Span]) -> None:
        """Drop what is left of logs that a chain branched off from, where it was the last to need it."""
        for end in range(len(spans), 0, -1):
            operations = await self._unused(tenant, spans[:end], None)
            if not operations or not await self._written(tenant, operations):
                return

    async def _unused(self, tenant: str, spans: Sequence[Span], range_: tuple[int, int] | None) -> list[Operation]:
        """What is to be done with a log of which nobody needs these items for a response of their own anymore."""
        log = spans[-1].log
        length = await self.store.length(tenant, log)
        branches = await self.store.documents(tenant, _BRANCHES + log, limit=_ALL)
        needed = max((int(branch.data) for branch in branches), default=0)
        deleted = {
            int(end): int(start)
            for start, end in (
                document.data.split() for document in await self.store.documents(tenant, _DELETED + log, limit=_ALL)
            )
        }
        if range_ is not None:
            deleted[range_[1]] = range_[0]
        floor, gone = length, []
        while floor in deleted and floor > needed:
            gone.append(deleted[floor])
            floor = max(deleted[floor], needed)
        operations: list[Operation] = [Delete(kind=_DELETED + log, id=str(start)) for start in gone]
        if range_ is not None and range_[0] not in gone:
            operations.append(self._remembered(log, range_))
        if floor < length:
            operations.append(Truncate(log=log, at=length, length=floor))
            if floor == 0 and len(spans) > 1:
                operations.append(Delete(kind=_BRANCHES + spans[-2].log, id=log))
        return operations

    def _remembered(self, log: str, range_: tuple[int, int]) -> Put:
        return Put(
            kind=_DELETED + log,
            id=str(range_[0]),
            data=b"%d %d" % range_,
            created_at=self.clock(),
            expires_at=self.until(),
            listed=True,
        )


def previous_not_found(id: str) -> InvalidRequestError:
    """The error for a turn that goes on from a response that is not kept."""
    return InvalidRequestError(
        f"Previous response with id '{id}' not found.",
        param="previous_response_id",
        code="previous_response_not_found",
    )
