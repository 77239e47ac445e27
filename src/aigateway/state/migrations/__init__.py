"""The tables in PostgreSQL, brought up to date by Alembic: one file of `versions` a step."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text

HEAD: Final = "0001"
"""The newest step."""

VERSION_TABLE: Final = "aigateway_state_version"

_LOCK: Final = 0x61696777  # of several workers that start at once, one makes the tables


def upgrade(connection: Connection) -> None:
    """Bring the database that this is connected to up to date; quick where it is."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    if connection.execute(text("SELECT to_regclass(:name)"), {"name": VERSION_TABLE}).scalar() is not None:
        versions = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalars().all()  # noqa: S608 - ours
        if list(versions) == [HEAD]:
            return
    from alembic import command  # noqa: PLC0415 - only who migrates pays for the import
    from alembic.config import Config  # noqa: PLC0415 - the same

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
