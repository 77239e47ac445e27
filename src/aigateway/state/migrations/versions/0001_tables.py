"""The tables: documents, logs of items, journals of streams, leases."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

_STATEMENTS = (
    """
    CREATE TABLE documents (
        tenant TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, data BYTEA NOT NULL, version BIGINT NOT NULL,
        created_at DOUBLE PRECISION NOT NULL, expires_at DOUBLE PRECISION, listed BOOLEAN NOT NULL,
        PRIMARY KEY (tenant, kind, id)
    )
    """,
    "CREATE INDEX documents_listed ON documents (tenant, kind, created_at, id) WHERE listed",
    "CREATE INDEX documents_expiry ON documents (expires_at) WHERE expires_at IS NOT NULL",
    """
    CREATE TABLE logs (
        tenant TEXT NOT NULL, log TEXT NOT NULL, length BIGINT NOT NULL, expires_at DOUBLE PRECISION,
        PRIMARY KEY (tenant, log)
    )
    """,
    "CREATE INDEX logs_expiry ON logs (expires_at) WHERE expires_at IS NOT NULL",
    """
    CREATE TABLE entries (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant TEXT NOT NULL, log TEXT NOT NULL,
        seq BIGINT NOT NULL, name TEXT NOT NULL, data BYTEA NOT NULL, UNIQUE (tenant, log, seq)
    )
    """,
    "CREATE INDEX entries_name ON entries (tenant, name) WHERE name <> ''",
    """
    CREATE TABLE journal (
        tenant TEXT NOT NULL, response TEXT NOT NULL, first BIGINT NOT NULL, last BIGINT NOT NULL,
        data BYTEA NOT NULL, expires_at DOUBLE PRECISION NOT NULL, PRIMARY KEY (tenant, response, last)
    )
    """,
    "CREATE INDEX journal_expiry ON journal (expires_at)",
    """
    CREATE TABLE leases (
        kind TEXT NOT NULL, tenant TEXT NOT NULL, id TEXT NOT NULL, owner TEXT NOT NULL,
        until DOUBLE PRECISION NOT NULL, PRIMARY KEY (kind, tenant, id)
    )
    """,
    "CREATE INDEX leases_until ON leases (kind, until)",
)


def upgrade() -> None:
    """To this version."""
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Back to nothing."""
    for table in ("documents", "logs", "entries", "journal", "leases"):
        op.drop_table(table)
