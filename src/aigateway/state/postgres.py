"""State in PostgreSQL, shared by any number of machines. Needs the extra `postgres`."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from aigateway.state import sql
from aigateway.state.migrations import upgrade
from aigateway.state.protocol import StoreUnavailableError
from aigateway.state.sql_store import SQLStore

if TYPE_CHECKING:
    from sqlalchemy import TextClause

logger = logging.getLogger("aigateway")

T = TypeVar("T")

_SCHEME: Final = re.compile(r"postgres(?:ql)?(?:\+asyncpg)?://")


class PostgresStore(SQLStore):
    """A ResponseStore in a PostgreSQL database. Its tables are made and brought up to date at the first use.

    url    postgresql://user:password@host:port/database
    pool   connections at most.
    clock  Unix seconds.
    """

    name = "postgresql"

    def __init__(self, url: str, *, pool: int = 10, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock)
        self._url = _SCHEME.sub("postgresql+asyncpg://", url, count=1)
        self._pool = pool
        self._engine: AsyncEngine | None = None
        self._opening = asyncio.Lock()
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

    async def aclose(self) -> None:
        """See ResponseStore."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.dispose()
