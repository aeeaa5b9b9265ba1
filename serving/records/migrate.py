"""Migrates a database to the schema of this version of the software; one process at a time."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from features.errors import StorageError

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


def check_shape(connection: Connection) -> None:
    """Check that the database has the schema of this version, without a migration.

    Raises:
        StorageError: It has another one.
    """
    script = ScriptDirectory(str(Path(__file__).parent / "migrations"))
    there = MigrationContext.configure(connection).get_current_revision()
    if there != script.get_current_head():
        raise StorageError(
            f"the records are of another shape ({there})",
            expected=str(script.get_current_head()),
            remedy="Copy them to a folder that can be written: they are brought to this shape there.",
        )
