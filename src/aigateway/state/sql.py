"""The store in SQL, sans I/O: each method is a generator that yields statements and is sent their rows.

SQLite and PostgreSQL understand the same words; what they differ in is how a statement is run, and the types of the
columns (sqlite.py, migrations/).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple, TypeVar

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

T = TypeVar("T")
Rows = Sequence[Sequence[Any]]


class Statement(NamedTuple):
    """One statement. many: parameters of each time that it is run; else it is run once."""

    text: str
    parameters: dict[str, Any] | list[dict[str, Any]]


Steps = Generator[Statement, Rows, T]

_LIVE = "(expires_at IS NULL OR expires_at > :now)"


def document(tenant: str, kind: str, id: str, now: float) -> Steps[Document | None]:
    """See ResponseStore."""
    rows = yield Statement(
        "SELECT id, data, version, created_at, expires_at FROM documents "
        f"WHERE tenant = :tenant AND kind = :kind AND id = :id AND {_LIVE}",
        {"tenant": tenant, "kind": kind, "id": id, "now": now},
    )
    return _document(rows[0]) if rows else None


def _document(row: Sequence[Any]) -> Document:
    return Document(row[0], bytes(row[1]), row[2], row[3], row[4])


def documents(
    tenant: str, kind: str, after: str | None, limit: int, now: float, *, descending: bool
) -> Steps[list[Document]]:
    """See ResponseStore."""
    bound = {"tenant": tenant, "kind": kind, "now": now, "limit": limit}
    where = f"tenant = :tenant AND kind = :kind AND listed AND {_LIVE}"
    order, sign = ("DESC", "<") if descending else ("ASC", ">")
    if after is not None:
        where += (
            f" AND (created_at, id) {sign} (SELECT created_at, id FROM documents"
            " WHERE tenant = :tenant AND kind = :kind AND id = :after)"
        )
        bound["after"] = after
    rows = yield Statement(
        "SELECT id, data, version, created_at, expires_at FROM documents "
        f"WHERE {where} ORDER BY created_at {order}, id {order} LIMIT :limit",
        bound,
    )
    return [_document(row) for row in rows]


def commit(tenant: str, operations: Sequence[Operation], now: float) -> Steps[None]:
    """See ResponseStore."""
    for operation in operations:
        if isinstance(operation, Put):
            yield from _put(tenant, operation, now)
        elif isinstance(operation, Delete):
            yield from _delete(tenant, operation, now)
        elif isinstance(operation, Append):
            yield from _append(tenant, operation, now)
        elif isinstance(operation, Truncate):
            yield from _truncate(tenant, operation, now)
        elif isinstance(operation, Erase):
            yield Statement(
                "UPDATE entries SET name = '', data = :none WHERE tenant = :tenant AND log = :log AND seq = :seq",
                {"tenant": tenant, "log": operation.log, "seq": operation.seq, "none": b""},
            )
        else:
            yield from _keep(tenant, operation)


_OVER = "documents.expires_at IS NOT NULL AND documents.expires_at <= :now"
_REPLACE = (
    "UPDATE documents SET data = :data, expires_at = :expires_at, listed = :listed, version = version + 1 "
    f"WHERE tenant = :tenant AND kind = :kind AND id = :id AND version = :expect AND {_LIVE} RETURNING version"
)
_UPSERT = (
    "INSERT INTO documents (tenant, kind, id, data, version, created_at, expires_at, listed) "
    "VALUES (:tenant, :kind, :id, :data, 1, :created_at, :expires_at, :listed) "
    "ON CONFLICT (tenant, kind, id) DO UPDATE SET data = excluded.data, expires_at = excluded.expires_at, "
    "listed = excluded.listed, "
    f"version = CASE WHEN {_OVER} THEN 1 ELSE documents.version + 1 END, "
    f"created_at = CASE WHEN {_OVER} THEN excluded.created_at ELSE documents.created_at END"
)
_WRITE = f"{_UPSERT} RETURNING version"
_INSERT = f"{_UPSERT} WHERE {_OVER} RETURNING version"
_NEW_LOG = (
    "INSERT INTO logs (tenant, log, length, expires_at) VALUES (:tenant, :log, :count, :expires_at) "
    "ON CONFLICT (tenant, log) DO NOTHING RETURNING length"
)
_LONGER_LOG = (
    "UPDATE logs SET length = length + :count, expires_at = :expires_at "
    f"WHERE tenant = :tenant AND log = :log AND length = :at AND {_LIVE} RETURNING length"
)
_ENTRY = "INSERT INTO entries (tenant, log, seq, name, data) VALUES (:tenant, :log, :seq, :name, :data)"


def _put(tenant: str, put: Put, now: float) -> Steps[None]:
    bound = {
        "tenant": tenant,
        "kind": put.kind,
        "id": put.id,
        "data": put.data,
        "created_at": put.created_at,
        "expires_at": put.expires_at,
        "listed": put.listed,
        "now": now,
    }
    if put.expect:
        del bound["created_at"]
        rows = yield Statement(_REPLACE, bound | {"expect": put.expect})
    else:
        rows = yield Statement(_WRITE if put.expect is None else _INSERT, bound)
    _require(rows)


def _require(rows: Rows) -> None:
    if not rows:
        raise ConflictError


def _delete(tenant: str, delete: Delete, now: float) -> Steps[None]:
    bound: dict[str, Any] = {"tenant": tenant, "kind": delete.kind, "id": delete.id}
    where = "tenant = :tenant AND kind = :kind AND id = :id"
    if delete.expect is not None:
        where += f" AND version = :expect AND {_LIVE}"
        bound |= {"expect": delete.expect, "now": now}
    rows = yield Statement(f"DELETE FROM documents WHERE {where} RETURNING id", bound)
    if delete.expect:
        _require(rows)


def _append(tenant: str, append: Append, now: float) -> Steps[None]:
    count = len(append.entries)
    bound = {"tenant": tenant, "log": append.log, "count": count, "expires_at": append.expires_at}
    if append.at:
        rows = yield Statement(_LONGER_LOG, bound | {"at": append.at, "now": now})
    else:
        rows = yield Statement(_NEW_LOG, bound)
        if not rows:
            yield from _drop_if_over(tenant, append.log, now)
            rows = yield Statement(
                "INSERT INTO logs (tenant, log, length, expires_at) VALUES (:tenant, :log, :count, :expires_at) "
                "ON CONFLICT (tenant, log) DO UPDATE SET length = logs.length + excluded.length, "
                "expires_at = excluded.expires_at"
                + ("" if append.at is None else " WHERE logs.length = 0")
                + " RETURNING length",
                bound,
            )
    _require(rows)
    first = rows[0][0] - count
    if count:
        yield Statement(
            _ENTRY,
            [
                {"tenant": tenant, "log": append.log, "seq": seq, "name": name, "data": data}
                for seq, (name, data) in enumerate(append.entries, first)
            ],
        )


def _drop_if_over(tenant: str, log: str, now: float) -> Steps[None]:
    """A log that has expired and was not swept yet is as good as gone."""
    rows = yield Statement(
        "DELETE FROM logs WHERE tenant = :tenant AND log = :log AND expires_at <= :now RETURNING length",
        {"tenant": tenant, "log": log, "now": now},
    )
    if rows:
        yield Statement("DELETE FROM entries WHERE tenant = :tenant AND log = :log", {"tenant": tenant, "log": log})


def _truncate(tenant: str, truncate: Truncate, now: float) -> Steps[None]:
    bound = {"tenant": tenant, "log": truncate.log, "at": truncate.at, "now": now}
    where = f"tenant = :tenant AND log = :log AND length = :at AND {_LIVE}"
    if truncate.length:
        rows = yield Statement(
            f"UPDATE logs SET length = :length WHERE {where} RETURNING length", bound | {"length": truncate.length}
        )
    else:
        rows = yield Statement(f"DELETE FROM logs WHERE {where} RETURNING length", bound)
    _require(rows)
    yield Statement(
        "DELETE FROM entries WHERE tenant = :tenant AND log = :log AND seq >= :length",
        {"tenant": tenant, "log": truncate.log, "length": truncate.length},
    )


def _keep(tenant: str, keep: Keep) -> Steps[None]:
    yield Statement(
        "UPDATE logs SET expires_at = :expires_at WHERE tenant = :tenant AND log = :log",
        {"tenant": tenant, "log": keep.log, "expires_at": keep.expires_at},
    )


def entries(tenant: str, spans: Sequence[Span], now: float) -> Steps[list[Entry]]:
    """See ResponseStore. One query, however many the spans are."""
    wanted = [span for span in spans if span.start < span.end]
    if not wanted:
        return []
    bound: dict[str, Any] = {"tenant": tenant, "now": now}
    parts = []
    for place, span in enumerate(wanted):
        bound |= {f"log{place}": span.log, f"start{place}": span.start, f"end{place}": span.end}
        parts.append(
            f"SELECT {place} AS place, e.log AS log, e.seq AS seq, e.name AS name, e.data AS data FROM entries e "
            f"JOIN logs l ON l.tenant = e.tenant AND l.log = e.log WHERE e.tenant = :tenant AND e.log = :log{place} "
            f"AND e.seq >= :start{place} AND e.seq < :end{place} AND (l.expires_at IS NULL OR l.expires_at > :now)"
        )
    rows = yield Statement(" UNION ALL ".join(parts) + " ORDER BY place, seq", bound)
    return [Entry(row[1], row[2], row[3], bytes(row[4])) for row in rows]


def length(tenant: str, log: str, now: float) -> Steps[int]:
    """See ResponseStore."""
    rows = yield Statement(
        f"SELECT length FROM logs WHERE tenant = :tenant AND log = :log AND {_LIVE}",
        {"tenant": tenant, "log": log, "now": now},
    )
    return int(rows[0][0]) if rows else 0


def named(tenant: str, names: Sequence[str], now: float) -> Steps[list[Entry]]:
    """See ResponseStore."""
    wanted = list(dict.fromkeys(names))
    found: dict[str, Entry] = {}
    for at in range(0, len(wanted), 500):
        part = wanted[at : at + 500]
        bound: dict[str, Any] = {f"name{place}": name for place, name in enumerate(part)}
        rows = yield Statement(
            "SELECT e.log, e.seq, e.name, e.data FROM entries e JOIN logs l ON l.tenant = e.tenant AND l.log = e.log "
            f"WHERE e.tenant = :tenant AND e.name <> '' AND e.name IN ({', '.join(f':{name}' for name in bound)}) "
            "AND (l.expires_at IS NULL OR l.expires_at > :now) ORDER BY e.id",
            bound | {"tenant": tenant, "now": now},
        )
        found |= {row[2]: Entry(row[0], row[1], row[2], bytes(row[3])) for row in rows}
    return list(found.values())


def write_journal(tenant: str, id: str, piece: Piece, expires_at: float, drop_before: int | None) -> Steps[None]:
    """See ResponseStore."""
    yield Statement(
        "INSERT INTO journal (tenant, response, first, last, data, expires_at) "
        "VALUES (:tenant, :id, :first, :last, :data, :expires_at) ON CONFLICT (tenant, response, last) DO NOTHING",
        {
            "tenant": tenant,
            "id": id,
            "first": piece.first,
            "last": piece.last,
            "data": piece.data,
            "expires_at": expires_at,
        },
    )
    if drop_before is not None:
        yield Statement(
            "DELETE FROM journal WHERE tenant = :tenant AND response = :id AND last < :number",
            {"tenant": tenant, "id": id, "number": drop_before},
        )


def read_journal(tenant: str, id: str, after: int, now: float) -> Steps[list[Piece]]:
    """See ResponseStore."""
    rows = yield Statement(
        "SELECT first, last, data FROM journal WHERE tenant = :tenant AND response = :id AND last > :after "
        "AND expires_at > :now ORDER BY last",
        {"tenant": tenant, "id": id, "after": after, "now": now},
    )
    return [Piece(row[0], row[1], bytes(row[2])) for row in rows]


def delete_journal(tenant: str, id: str) -> Steps[None]:
    """See ResponseStore."""
    yield Statement("DELETE FROM journal WHERE tenant = :tenant AND response = :id", {"tenant": tenant, "id": id})


def claim(kind: str, tenant: str, id: str, owner: str, *, until: float, now: float) -> Steps[bool]:
    """See ResponseStore."""
    rows = yield Statement(
        "INSERT INTO leases (kind, tenant, id, owner, until) VALUES (:kind, :tenant, :id, :owner, :until) "
        "ON CONFLICT (kind, tenant, id) DO UPDATE SET owner = excluded.owner, until = excluded.until "
        "WHERE leases.owner = excluded.owner OR leases.until <= :now RETURNING owner",
        {"kind": kind, "tenant": tenant, "id": id, "owner": owner, "until": until, "now": now},
    )
    return bool(rows)


def renew(kind: str, tenant: str, id: str, owner: str, until: float) -> Steps[bool]:
    """See ResponseStore."""
    rows = yield Statement(
        "UPDATE leases SET until = :until WHERE kind = :kind AND tenant = :tenant AND id = :id AND owner = :owner "
        "RETURNING owner",
        {"kind": kind, "tenant": tenant, "id": id, "owner": owner, "until": until},
    )
    return bool(rows)


def release(kind: str, tenant: str, id: str, owner: str | None) -> Steps[None]:
    """See ResponseStore."""
    bound: dict[str, Any] = {"kind": kind, "tenant": tenant, "id": id}
    where = "kind = :kind AND tenant = :tenant AND id = :id"
    if owner is not None:
        where, bound = f"{where} AND owner = :owner", bound | {"owner": owner}
    yield Statement(f"DELETE FROM leases WHERE {where}", bound)


def run_out(kind: str, limit: int, now: float) -> Steps[list[tuple[str, str]]]:
    """See ResponseStore."""
    rows = yield Statement(
        "SELECT tenant, id FROM leases WHERE kind = :kind AND until <= :now ORDER BY until LIMIT :limit",
        {"kind": kind, "now": now, "limit": limit},
    )
    return [(row[0], row[1]) for row in rows]


def sweep(limit: int, now: float) -> Steps[int]:
    """See ResponseStore."""
    gone = 0
    for table, key in (("documents", "tenant, kind, id"), ("journal", "tenant, response, last")):
        rows = yield Statement(
            f"DELETE FROM {table} WHERE ({key}) IN "
            f"(SELECT {key} FROM {table} WHERE expires_at <= :now LIMIT :limit) RETURNING tenant",
            {"now": now, "limit": limit},
        )
        gone += len(rows)
    logs = yield Statement(
        "DELETE FROM logs WHERE (tenant, log) IN (SELECT tenant, log FROM logs WHERE expires_at <= :now LIMIT :limit) "
        "RETURNING tenant, log",
        {"now": now, "limit": limit},
    )
    if logs:
        yield Statement(
            "DELETE FROM entries WHERE tenant = :tenant AND log = :log",
            [{"tenant": row[0], "log": row[1]} for row in logs],
        )
    return gone + len(logs)


def ping() -> Steps[None]:
    """A question that any database that is there can answer."""
    yield Statement("SELECT 1", {})
