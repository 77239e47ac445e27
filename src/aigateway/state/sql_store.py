"""What the stores in SQL databases share: every operation as steps (sql.py), which each of them runs in its own way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from aigateway.state import sql
from aigateway.state.protocol import Document, Entry, Operation, Piece, Span
from aigateway.state.waiting import Waiters

T = TypeVar("T")

_POLL: Final = 0.05  # seconds between two looks for what another process wrote


class SQLStore(ABC):
    """A ResponseStore, but for its name and `aclose`. clock: Unix seconds."""

    shared = True

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waiters = Waiters(_POLL)

    @abstractmethod
    async def _run(self, steps: sql.Steps[T], *, writes: bool) -> T:
        """Run the steps in one transaction. Raises StoreUnavailableError."""

    async def document(self, tenant: str, kind: str, id: str) -> Document | None:
        """See ResponseStore."""
        return await self._run(sql.document(tenant, kind, id, self._clock()), writes=False)

    async def documents(
        self, tenant: str, kind: str, *, after: str | None = None, limit: int = 20, descending: bool = False
    ) -> list[Document]:
        """See ResponseStore."""
        steps = sql.documents(tenant, kind, after, limit, self._clock(), descending=descending)
        return await self._run(steps, writes=False)

    async def commit(self, tenant: str, operations: Sequence[Operation]) -> None:
        """See ResponseStore."""
        await self._run(sql.commit(tenant, operations, self._clock()), writes=True)

    async def entries(self, tenant: str, spans: Sequence[Span]) -> list[Entry]:
        """See ResponseStore."""
        return await self._run(sql.entries(tenant, spans, self._clock()), writes=False)

    async def length(self, tenant: str, log: str) -> int:
        """See ResponseStore."""
        return await self._run(sql.length(tenant, log, self._clock()), writes=False)

    async def named(self, tenant: str, names: Sequence[str]) -> list[Entry]:
        """See ResponseStore."""
        return await self._run(sql.named(tenant, names, self._clock()), writes=False)

    async def write_journal(
        self, tenant: str, id: str, piece: Piece, *, expires_at: float, drop_before: int | None = None
    ) -> None:
        """See ResponseStore."""
        await self._run(sql.write_journal(tenant, id, piece, expires_at, drop_before), writes=True)
        self._waiters.tell((tenant, id))

    async def read_journal(self, tenant: str, id: str, after: int, *, wait: float = 0.0) -> list[Piece]:
        """See ResponseStore."""

        async def look() -> list[Piece]:
            return await self._run(sql.read_journal(tenant, id, after, self._clock()), writes=False)

        return await self._waiters.until((tenant, id), look, wait)

    async def delete_journal(self, tenant: str, id: str) -> None:
        """See ResponseStore."""
        await self._run(sql.delete_journal(tenant, id), writes=True)

    async def claim(self, kind: str, tenant: str, id: str, owner: str, seconds: float) -> bool:
        """See ResponseStore."""
        now = self._clock()
        return await self._run(sql.claim(kind, tenant, id, owner, until=now + seconds, now=now), writes=True)

    async def renew(self, kind: str, tenant: str, id: str, owner: str, seconds: float) -> bool:
        """See ResponseStore."""
        return await self._run(sql.renew(kind, tenant, id, owner, self._clock() + seconds), writes=True)

    async def release(self, kind: str, tenant: str, id: str, owner: str | None = None) -> None:
        """See ResponseStore."""
        await self._run(sql.release(kind, tenant, id, owner), writes=True)

    async def run_out(self, kind: str, limit: int = 10) -> list[tuple[str, str]]:
        """See ResponseStore."""
        return await self._run(sql.run_out(kind, limit, self._clock()), writes=False)

    async def sweep(self, limit: int = 1000) -> int:
        """See ResponseStore."""
        return await self._run(sql.sweep(limit, self._clock()), writes=True)

    async def ping(self) -> None:
        """See ResponseStore."""
        await self._run(sql.ping(), writes=False)
