"""Migrates a database to the schema of this version of the software; one process at a time."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from features.errors import StorageError
from serving.records.tables import APPEND_ONLY

_LOCK = 7_218_115  # any number, the same in all processes


def migrate(connection: Connection) -> None:
    """Run the missing migrations.

    Raises:
        StorageError: A newer version of the software made the database.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    script = ScriptDirectory.from_config(config)
    there = MigrationContext.configure(connection).get_current_revision()
    if there is not None and there not in {step.revision for step in script.walk_revisions()}:
        raise StorageError(
            f"the records are of a newer shape ({there})",
            expected=f"{script.get_current_head()} or an earlier one",
            remedy="Start the version of batchguard that made them.",
        )
    if there != script.get_current_head():
        command.upgrade(config, "head")


def guards_missing(connection: Connection) -> list[str]:
    """Append-only tables that lack a trigger against changes or deletions."""
    if connection.dialect.name == "postgresql":
        found = connection.exec_driver_sql("SELECT tgname FROM pg_trigger WHERE tgenabled <> 'D'").scalars()
        wanted = {table: {f"{table}_kept"} for table in APPEND_ONLY}
    else:
        found = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").scalars()
        wanted = {table: {f"{table}_no_update", f"{table}_no_delete"} for table in APPEND_ONLY}
    there = set(found)
    return [table for table, names in wanted.items() if not names <= there]
