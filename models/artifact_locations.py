"""Keeps MLflow's artifacts inside a data directory that was copied or moved.

MLflow stores absolute folders of artifacts. After a copy they still name the original, and a training in the copy would
write there.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)
_WAIT_S = 30


def bring_home(database: Path, artifacts: Path) -> int:
    """Make every stored folder of artifacts lie under `artifacts`, which takes the place of the one with its name.

    Args:
        database: MLflow's SQLite database.
        artifacts: The folder of artifacts beside it.

    Returns:
        Number of values changed: 0 where the directory never moved.

    Raises:
        sqlite3.Error: The database cannot be read or written.
    """
    wanted, marker = artifacts.absolute().as_uri(), f"/{artifacts.name}/"
    changed = 0
    with closing(sqlite3.connect(database, timeout=_WAIT_S)) as connection, connection:
        present = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for table, column in ((t, c) for t, c in _COLUMNS if t in present):
            found = connection.execute(f"SELECT DISTINCT {column} FROM {table} WHERE {column} LIKE '%{marker}%'")  # noqa: S608 - fixed names
            for (uri,) in found.fetchall():
                root, _, rest = uri.partition(marker)
                moved = f"{wanted}/{rest}"
                if uri != moved and root.startswith(("file:", "/")):
                    update = f"UPDATE {table} SET {column} = ? WHERE {column} = ?"  # noqa: S608 - fixed names
                    changed += connection.execute(update, (moved, uri)).rowcount
    return changed
