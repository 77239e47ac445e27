"""State in one SQLite file, which several processes of one machine share. Needs nothing but Python.

All of it runs in one thread of its own, so that a slow disk never holds up the event loop.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from aigateway.state import sql
from aigateway.state.protocol import Document, Entry, Operation, Piece, Span, StoreUnavailableError
from aigateway.state.thread import WorkThread
from aigateway.state.waiting import Waiters

logger = logging.getLogger("aigateway")

T = TypeVar("T")

_POLL: Final = 0.05  # seconds between two looks for what another process wrote
_BUSY: Final = 10.0  # seconds to wait for another process's write

_VERSIONS: Final = (
    """
    CREATE TABLE documents (
        tenant TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, data BLOB NOT NULL, version INTEGER NOT NULL,
        created_at REAL NOT NULL, expires_at REAL, listed INTEGER NOT NULL,
        PRIMARY KEY (tenant, kind, id)
    );
    CREATE INDEX documents_listed ON documents (tenant, kind, created_at, id) WHERE listed;
    CREATE INDEX documents_expiry ON documents (expires_at) WHERE expires_at IS NOT NULL;
    CREATE TABLE logs (
        tenant TEXT NOT NULL, log TEXT NOT NULL, length INTEGER NOT NULL, expires_at REAL,
        PRIMARY KEY (tenant, log)
    ) WITHOUT ROWID;
    CREATE INDEX logs_expiry ON logs (expires_at) WHERE expires_at IS NOT NULL;
    CREATE TABLE entries (
        id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, log TEXT NOT NULL, seq INTEGER NOT NULL, name TEXT NOT NULL,
        data BLOB NOT NULL, UNIQUE (tenant, log, seq)
    );
    CREATE INDEX entries_name ON entries (tenant, name) WHERE name <> '';
    CREATE TABLE journal (
        tenant TEXT NOT NULL, response TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
        data BLOB NOT NULL, expires_at REAL NOT NULL, PRIMARY KEY (tenant, response, last)
    );
    CREATE INDEX journal_expiry ON journal (expires_at);
    CREATE TABLE leases (
        kind TEXT NOT NULL, tenant TEXT NOT NULL, id TEXT NOT NULL, owner TEXT NOT NULL, until REAL NOT NULL,
        PRIMARY KEY (kind, tenant, id)
    ) WITHOUT ROWID;
    CREATE INDEX leases_until ON leases (kind, until);
    """,
)
"""What brings a file from one version to the next; the file says in `user_version` which it has."""


class SQLiteStore:
    """A ResponseStore in a file, which is made at the first use with permissions for its owner alone.

    path   of the file; its folder must be there.
    clock  Unix seconds.
    """

    name = "sqlite"
    shared = True

    def __init__(self, path: str | Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(path)
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._thread: WorkThread | None = None
        self._waiters = Waiters(_POLL)

    async def _run(self, steps: sql.Steps[T], *, writes: bool) -> T:
        if self._thread is None:
            self._thread = WorkThread("aigateway-state")
        return await self._thread.run(functools.partial(self._ran, steps, writes=writes))

    def _ran(self, steps: sql.Steps[T], *, writes: bool) -> T:
        try:
            connection = self._connection or self._opened()
            if not writes:
                return _driven(connection, steps)
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = _driven(connection, steps)
                connection.commit()
            except BaseException:
                connection.rollback()
                raise
            else:
                return result
        except sqlite3.Error as error:
            logger.error("the store of state %s failed: %s", self.path.name, error)  # noqa: TRY400 - told, not traced
            self._drop()
            raise StoreUnavailableError from error

    def _opened(self) -> sqlite3.Connection:
        if not self.path.exists():
            with contextlib.suppress(OSError):  # SQLite says what is wrong
                self.path.touch(mode=0o600)
        connection = sqlite3.connect(self.path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA wal_autocheckpoint = 4000")
            _migrate(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _drop(self) -> None:
        """After a failure the next use opens the file anew."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

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
        thread, self._thread = self._thread, None
        if thread is not None:
            await thread.run(self._drop)
            thread.close()


def _driven(connection: sqlite3.Connection, steps: sql.Steps[T]) -> T:
    try:
        text, parameters = next(steps)
        while True:
            rows: sql.Rows = ()
            if isinstance(parameters, list):
                connection.executemany(text, parameters)
            else:
                rows = connection.execute(text, parameters).fetchall()
            text, parameters = steps.send(rows)
    except StopIteration as end:
        result: T = end.value
        return result


def _migrate(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA user_version").fetchone()[0] >= len(_VERSIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        for number, text in enumerate(_VERSIONS[version:], version + 1):
            for statement in text.split(";"):
                if statement.strip():
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
