"""How Alembic runs the steps: over the connection that it is given. `alembic` alone has none, and says so."""

from __future__ import annotations

from alembic import context

from aigateway.state.migrations import VERSION_TABLE

connection = context.config.attributes.get("connection")
if connection is None:
    raise RuntimeError("The gateway itself brings its tables up to date, at its first use of the database.")
context.configure(connection=connection, version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
