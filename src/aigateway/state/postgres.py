"""State in PostgreSQL, shared by any number of machines. Needs the extra `postgres`."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from aigateway.state import sql
from aigateway.state.migrations import upgrade
from aigateway.state.protocol import Document, Entry, Operation, Piece, Span, StoreUnavailableError
from aigateway.state.waiting import Waiters

if TYPE_CHECKING:
    from sqlalchemy import TextClause

logger = logging.getLogger("aigateway")

T = TypeVar("T")

_POLL: Final = 0.05  # seconds between two looks for what another process wrote
_SCHEME: Final = re.compile(r"postgres(?:ql)?(?:\+asyncpg)?://")


class PostgresStore:
    """A ResponseStore in a PostgreSQL database. Its tables are made and brought up to date at the first use.

    url    postgresql://user:password@host:port/database
    pool   connections at most.
    clock  Unix seconds.
    """

    name = "postgresql"
    shared = True

    def __init__(self, url: str, *, pool: int = 10, clock: Callable[[], float] = time.time) -> None:
        self._url = _SCHEME.sub("postgresql+asyncpg://", url, count=1)
        self._pool = pool
        self._clock = clock
        self._engine: AsyncEngine | None = None
        self._opening = asyncio.Lock()
        self._waiters = Waiters(_POLL)
        self._texts: dict[str, TextClause] = {}

    async def _run(self, steps: sql.Steps[T], *, writes: bool) -> T:
        try:
            engine = self._engine or await self._opened()
            if writes:
                async with engine.begin() as connection:
                    return await self._driven(connection, steps)
            async with engine.connect() as connection:
                autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
                return await self._driven(autocommit, steps)
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            logger.error("the store of state in PostgreSQL failed: %s", type(error).__name__)  # noqa: TRY400 - its text may hold data
            raise StoreUnavailableError from error

    async def _opened(self) -> AsyncEngine:
        async with self._opening:
            if self._engine is None:
                engine = create_async_engine(
                    self._url, pool_size=self._pool, max_overflow=0, pool_pre_ping=False, hide_parameters=True
                )
                try:
                    async with engine.begin() as connection:
                        await connection.run_sync(upgrade)
                except BaseException:
                    await engine.dispose()
                    raise
                self._engine = engine
            return self._engine

    async def _driven(self, connection: AsyncConnection, steps: sql.Steps[T]) -> T:
        try:
            written, parameters = next(steps)
            while True:
                result = await connection.execute(self._text(written), parameters)
                written, parameters = steps.send(result.fetchall() if result.returns_rows else ())
        except StopIteration as end:
            value: T = end.value
            return value

    def _text(self, written: str) -> TextClause:
        known = self._texts.get(written)
        if known is None:
            known = text(written)
            if len(self._texts) < 500:
                self._texts[written] = known
        return known

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

    async def aclose(self) -> None:
        """See ResponseStore."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.dispose()
