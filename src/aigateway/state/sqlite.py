"""State in one SQLite file, which several processes of one machine share. Needs nothing but Python.

All of it runs in one thread of its own, so that a slow disk never holds up the event loop.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from aigateway.state import sql
from aigateway.state.protocol import StoreUnavailableError
from aigateway.state.sql_store import SQLStore
from aigateway.state.thread import WorkThread

logger = logging.getLogger("aigateway")

T = TypeVar("T")

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


class SQLiteStore(SQLStore):
    """A ResponseStore in a file, which is made at the first use with permissions for its owner alone.

    path   of the file; its folder must be there.
    clock  Unix seconds.
    """

    name = "sqlite"

    def __init__(self, path: str | Path, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock)
        self.path = Path(path)
        self._connection: sqlite3.Connection | None = None
        self._thread: WorkThread | None = None

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
            _write_ahead(connection)
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

    async def aclose(self) -> None:
        """See ResponseStore."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await thread.run(self._drop)
            thread.close()


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Turn on the write-ahead log. SQLite does not wait where another process does the same to a new file: we do."""
    end = time.monotonic() + _BUSY
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.01)  # in the thread of the store
        else:
            return


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
