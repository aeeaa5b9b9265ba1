"""The Delta Lake log of one table: which files make up a version."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from features.errors import StorageError
from pipelines.storage import files

if TYPE_CHECKING:
    from deltalake import DeltaTable

MONTH = "month"
NEWEST = ".newest_version"
_KEEP = {"delta.logRetentionDuration": "interval 36500 days"}  # versions are evidence: they are not forgotten


@dataclass(frozen=True)
class Entry:
    """One file of a version; `path` is relative to the table's folder."""

    path: str
    month: str | None
    rows: int
    size: int

    @property
    def sha256(self) -> str:
        """SHA-256 of the file's bytes."""
        return files.digests_of(self.path)[0]

    @property
    def inputs_digest(self) -> str:
        """Digest of what the rows were made from."""
        return files.digests_of(self.path)[1]


def exists(folder: Path) -> bool:
    """Whether the folder has a log with at least one commit."""
    return any((folder / "_delta_log").glob("*.json"))


def open_table(folder: Path, version: int | None = None) -> DeltaTable:
    """The table at a version.

    Raises:
        StorageError: No such table or version, or a commit file is damaged (named).
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    if not exists(folder):
        raise StorageError(f"{folder}: no such table", remedy="Run 'batchguard run' or the 'ingest' job first.")
    try:
        return DeltaTable(folder, version=version)
    except (DeltaError, ValueError, OSError) as error:
        raise StorageError(*_cause(folder, version, error)) from error


def _cause(folder: Path, version: int | None, error: Exception) -> tuple[str]:
    torn = torn_commit(folder)
    if torn is not None:
        return (torn,)
    newest = max(int(path.stem) for path in (folder / "_delta_log").glob("*.json"))
    if version is not None and not 0 <= version <= newest:
        return (f"{folder}: no version {version}; expected 0 to {newest}",)
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return (f"{folder}: the log cannot be read: {first}. {files.RESTORE}",)


def torn_commit(folder: Path) -> str | None:
    """One line about the first commit file that is not whole, or None."""
    for path in sorted((folder / "_delta_log").glob("*.json")):
        try:
            for line in path.read_text(encoding="utf-8").splitlines():
                json.loads(line)
            whole = path.stat().st_size > 0
        except ValueError:
            whole = False
        if not whole:
            last = int(path.stem)
            return (
                f"{path}: commit {last} is torn; expected whole lines of JSON. Restore this file from a backup; "
                f"if there is none and it is the last one, move it away: version {last - 1} is then the newest."
            )
    return None


def entries(folder: Path, version: int | None = None) -> list[Entry]:
    """Files of a version in order of month, then of name."""
    actions = pa.table(open_table(folder, version).get_add_actions(flatten=True)).to_pydict()
    months = actions.get("partition.month", [None] * len(actions["path"]))
    found = [
        Entry(path, month, rows, size)
        for path, month, rows, size in zip(
            actions["path"], months, actions["num_records"], actions["size_bytes"], strict=True
        )
    ]
    return sorted(found, key=lambda entry: (entry.month or "", entry.path))


def commit(folder: Path, adds: Sequence[Entry], gone: Sequence[Entry], schemas: Sequence[pa.Schema]) -> int:
    """Add and remove files in one version; returns its number (the present one when there is nothing to do).

    The caller holds the table's lock.

    Raises:
        StorageError: The log cannot be written; the last version stays.
    """
    from deltalake.exceptions import DeltaError

    if not adds and not gone:
        return open_table(folder).version()
    by_month = any(entry.month for entry in (*adds, *gone))
    partition = [MONTH] if by_month else []
    schema = _schema(schemas, by_month) if schemas else None
    try:
        return _commit(folder, adds, gone, schema, partition)
    except (DeltaError, OSError) as error:
        first = str(error).splitlines()[0]
        raise StorageError(
            f"{folder}: the commit failed: {first}", remedy="Run again; the last version is untouched."
        ) from error


def _commit(
    folder: Path, adds: Sequence[Entry], gone: Sequence[Entry], schema: pa.Schema | None, partition: list[str]
) -> int:
    from deltalake import CommitProperties, DeltaTable, Schema
    from deltalake.transaction import AddAction, RemoveAction

    if not exists(folder) and schema is not None:
        DeltaTable.create(folder, Schema.from_arrow(schema), partition_by=partition, configuration=_KEEP)
    table = open_table(folder)
    now = time.time_ns() // 1_000_000
    kept = {entry.path for entry in adds}
    actions: list[AddAction | RemoveAction] = [
        AddAction(a.path, a.size, {MONTH: a.month} if partition else {}, now, True, json.dumps({"numRecords": a.rows}))
        for a in adds
    ]
    present = pa.schema(table.schema())
    whole = {e.path for e in entries(folder)} <= {e.path for e in gone}
    mode = "overwrite" if whole and schema is not None else "append"
    if mode == "append":
        actions += [
            RemoveAction(g.path, True, now, g.size, {MONTH: g.month} if partition else {})
            for g in gone
            if g.path not in kept
        ]
        if schema is not None:
            _widen(table, present, schema)
    metadata = {a.path: {"sha256": a.sha256, "rows": a.rows, "inputs_digest": a.inputs_digest} for a in adds}
    table.create_write_transaction(
        actions,
        mode,
        schema if schema is not None else present,
        partition,
        commit_properties=CommitProperties(custom_metadata={"files": metadata}),
    )
    files.sync(folder / "_delta_log")
    version = open_table(folder).version()
    _note_newest(folder, version)
    return version


def _note_newest(folder: Path, version: int) -> None:
    """Note the newest version beside the log: a log that lost its last commit looks like an older one."""
    temporary = folder / f"{NEWEST}.{os.getpid()}"
    temporary.write_text(str(version), encoding="ascii")
    files.sync(temporary)
    temporary.replace(folder / NEWEST)


def lost_commit(folder: Path) -> str | None:
    """One line where the log ends before the version that was noted as its newest, or None."""
    note = folder / NEWEST
    if not note.is_file():
        return None  # written by 0.2.0 or earlier
    text, last = note.read_text(encoding="ascii", errors="replace").strip(), open_table(folder).version()
    if text.isdigit() and int(text) <= last:
        return None
    noted = f"version {text}" if text.isdigit() else f"what {note.name} says, {text[:20]!r}"
    return (
        f"{folder}: the log ends at version {last}; expected {noted}. Restore {folder / '_delta_log'} from a backup; "
        f"if there is none, remove {note.name}: version {last} is then the newest, and the next run makes the rest again."
    )


def _schema(schemas: Sequence[pa.Schema], by_month: bool) -> pa.Schema:
    merged = pa.unify_schemas(list(schemas))
    return merged.append(pa.field(MONTH, pa.string())) if by_month else merged


def _widen(table: DeltaTable, present: pa.Schema, wanted: pa.Schema) -> None:
    """Add new columns to the log; files of other months lack them."""
    from deltalake import Schema

    fresh = [field.with_nullable(True) for field in wanted if field.name not in present.names]
    if fresh:
        table.alter.add_columns(list(Schema.from_arrow(pa.schema(fresh)).fields))
        table.update_incremental()


def orphans(folder: Path) -> list[Path]:
    """Data files that no commit names: left between naming and committing. The caller holds the table's lock."""
    present = {path for path in folder.rglob("*.parquet") if not path.name.startswith(files.TEMP_PREFIX)}
    present = {path for path in present if "_delta_log" not in path.parts}
    if not present:
        return []
    if exists(folder):
        present -= {folder / entry.path for entry in entries(folder)}
    if not present:
        return []
    ever = "".join(path.read_text(encoding="utf-8") for path in (folder / "_delta_log").glob("*.json"))
    return [path for path in sorted(present) if path.name not in ever]
