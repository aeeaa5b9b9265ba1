"""Versioned tables: each change of a table is one atomic commit, and old versions stay readable.

The transaction log is Delta Lake's; the Parquet files are written here, because only then they carry page checksums
and are streamed with flat memory (`docs/decisions/0001-storage.md`).
"""

from __future__ import annotations

import hashlib
import re
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import StorageError
from pipelines.storage import files, log
from pipelines.storage.locks import Session, clean_sessions, table_lock

if TYPE_CHECKING:
    import pyarrow.dataset as ds

    from pipelines.storage.verify import Problem

Rows = pa.Table | Iterable[pa.RecordBatch]
_MONTH = re.compile(r"^\d{4}-(0[1-9]|1[0-2])$")
_DIGEST = re.compile(r"^[0-9a-f]{64}$")


@dataclass(frozen=True)
class Commit:
    """Result of a write: the table's newest version (-1: the table does not exist) and the files that the write added."""

    version: int
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Staged:
    """One month (None: a table without months) that is written but not yet part of any version."""

    table: str
    month: str | None
    inputs_digest: str
    written: files.Written
    replaces: tuple[str, ...]  # files of this month when the writing began

    @property
    def name(self) -> str:
        """Name of the data file, once a version has it."""
        return f"{self.written.sha256}.{self.inputs_digest}.parquet"

    def discard(self) -> None:
        """Remove the written file, unless a commit has named it."""
        self.written.path.unlink(missing_ok=True)


class Store:
    """Tables under one folder.

    Several processes may read while one writes. Writers of different months never disturb each other; of two that
    write the same month at once, the slower gets a `StorageError` and the faster one's rows stay.

    Args:
        root: The folder.
        versions: Versions by table at which these are read; other tables do not exist then, and nothing is written.
            None: the newest of all.
    """

    def __init__(self, root: Path | str, versions: Mapping[str, int] | None = None) -> None:
        self.root = Path(root)
        self._versions = versions
        self._sound: set[tuple[str, int, int]] = set()  # files whose SHA-256 was checked by this process
        self._session: Session | None = None

    def exists(self, table: str) -> bool:
        """Whether the table has a version."""
        return (self._versions is None or table in self._versions) and log.exists(self.root / table)

    def version(self, table: str) -> int:
        """Newest version of the table, from 0, or the one at which it is read.

        Raises:
            StorageError: There is no such table, or its log is damaged.
        """
        return log.open_table(self.root / table, self._at(table)).version()

    def months(self, table: str) -> list[str]:
        """Months that have a partition, in order; empty for a table without months or one that does not exist."""
        return sorted({entry.month for entry in self._entries(table) if entry.month})

    def files(self, table: str, months: Sequence[str] | None = None, *, version: int | None = None) -> list[Path]:
        """Data files in order of month, for reading row group by row group with page checksums verified."""
        return [self.root / table / entry.path for entry in self._entries(table, months, version)]

    def rows(self, table: str, months: Sequence[str] | None = None) -> int:
        """Number of rows, from the log."""
        return sum(entry.rows for entry in self._entries(table, months))

    def digest(self, table: str, months: Sequence[str] | None = None) -> str:
        """Digest of the content: equal where months and the files' bytes are equal, whatever the inputs were."""
        lines = [f"{entry.month} {entry.sha256}\n" for entry in self._entries(table, months)]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def inputs_digest(self, table: str, month: str | None = None) -> str | None:
        """Digest of what a partition was made from, as given when it was written; None where there is none."""
        entries = [entry for entry in self._entries(table) if entry.month == month]
        return entries[-1].inputs_digest if entries else None

    def read(
        self,
        table: str,
        *,
        months: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        version: int | None = None,
        filters: ds.Expression | None = None,
        dictionary: Sequence[str] = (),
    ) -> pa.Table:
        """Rows in order of month, as they were written; columns that a file lacks are null.

        Args:
            table: Name of the table.
            months: Only these partitions.
            columns: Only these columns.
            version: A former version; None for the newest.
            filters: Only rows for which this holds.
            dictionary: Text columns to read dictionary-encoded (quicker, and small in memory).

        Raises:
            StorageError: No such table or version, or a file does not have the bytes that were written.
        """
        log.open_table(self.root / table, self._at(table, version))
        paths = self.files(table, months, version=version)
        for path in paths:
            self.check(path)
        return files.read_files(paths, columns, filters, dictionary)

    def check(self, path: Path) -> None:
        """Compare a file's bytes with the SHA-256 it was committed with, once per process and state of the file.

        Raises:
            StorageError: The file is missing or its bytes changed.
        """
        key = files.state_of(path)
        if key in self._sound:
            return
        problem = files.fault_of(path)
        if problem:
            raise StorageError(problem, remedy=files.RESTORE)
        self._sound.add(key)

    def write(
        self, table: str, month: str | None, batches: Rows, schema: pa.Schema, *, inputs_digest: str | None = None
    ) -> Commit:
        """Replace one month's rows (all rows for month None) in one commit.

        Args:
            table: Name of the table.
            month: `YYYY-MM`, or None for a table without months.
            batches: Rows in the order to keep; not touched when `inputs_digest` is the recorded one.
            schema: Stored types; no dictionaries.
            inputs_digest: SHA-256 of all that the rows depend on. None: the rows themselves decide.

        Raises:
            StorageError: Disk full, damaged log, or another writer replaced this month meanwhile.
        """
        if inputs_digest is not None and inputs_digest == self.inputs_digest(table, month):
            return Commit(self.version(table))
        return self.commit(table, [self.stage(table, month, batches, schema, inputs_digest=inputs_digest)])

    def stage(
        self, table: str, month: str | None, batches: Rows, schema: pa.Schema, *, inputs_digest: str | None = None
    ) -> Staged:
        """Write one month's rows beside the table: `commit` adds them to it, `discard` removes them."""
        if month is not None and not _MONTH.match(month):
            raise ValueError(f"month {month!r} is not of the form 'YYYY-MM'")
        if inputs_digest is not None and not _DIGEST.match(inputs_digest):
            raise ValueError(f"inputs digest {inputs_digest!r} is not a SHA-256 in hexadecimal")
        self.clean(table)
        replaces = tuple(entry.path for entry in self._entries(table) if entry.month == month)
        folder = self.root / table
        rows = batches.to_batches() if isinstance(batches, pa.Table) else batches
        written = files.write_file(folder, self._writer(), rows, schema)
        return Staged(table, month, inputs_digest or written.sha256, written, replaces)

    def commit(self, table: str, staged: Sequence[Staged], *, drop_months: Sequence[str] = ()) -> Commit:
        """Make staged months the newest version, all at once, and take `drop_months` out of it.

        Months whose rows and inputs are those already stored are skipped; with nothing left there is no new version.
        """
        try:
            with table_lock(self.root / table):
                return self._commit(table, staged, drop_months)
        finally:
            for item in staged:
                item.discard()

    def _commit(self, table: str, staged: Sequence[Staged], drop_months: Sequence[str]) -> Commit:
        before = self._entries(table)
        now = {m: tuple(e for e in before if e.month == m) for m in {e.month for e in before}}
        for item in staged:
            if tuple(e.path for e in now.get(item.month, ())) != item.replaces:
                raise StorageError(
                    f"{table} {item.month or ''}: another writer replaced these rows meanwhile".replace(" :", ":"),
                    remedy="Run again: its rows stay until then.",
                )
        fresh = [item for item in staged if [Path(e.path).name for e in now.get(item.month, ())] != [item.name]]
        gone = [e for e in before if e.month in drop_months or e.month in {item.month for item in fresh}]
        adds = [self._place(item) for item in fresh]
        version = log.commit(self.root / table, adds, gone, [item.written.schema for item in fresh])
        return Commit(version, tuple(self.root / table / a.path for a in adds))

    def append(self, table: str, month: str | None, rows: pa.Table, *, key: Sequence[str]) -> Commit:
        """Add the rows whose key is not stored yet, under one lock; rows once stored never change.

        Args:
            table: Name of the table.
            month: As for `write`.
            rows: The rows.
            key: Columns, or fields of structs (`model.sha256`), that tell rows apart.

        Raises:
            StorageError: Disk full or damaged log.
        """
        self.clean(table)
        with table_lock(self.root / table):
            fresh = self._not_stored(table, rows, key)
            if not len(fresh):
                return Commit(self.version(table) if self.exists(table) else -1)
            written = files.write_file(self.root / table, self._writer(), fresh.to_batches(), rows.schema)
            staged = Staged(table, month, written.sha256, written, ())
            try:
                added = self._place(staged)
                return Commit(
                    log.commit(self.root / table, [added], [], [rows.schema]), (self.root / table / added.path,)
                )
            finally:
                staged.discard()

    def _not_stored(self, table: str, rows: pa.Table, key: Sequence[str]) -> pa.Table:
        seen: set[tuple[object, ...]] = set()
        if self.exists(table):
            columns = list(dict.fromkeys(name.split(".")[0] for name in key))
            seen = set(_keys(self.read(table, columns=columns), key))
        keep = []
        for index, value in enumerate(_keys(rows, key)):
            if value not in seen:
                seen.add(value)
                keep.append(index)
        return rows.take(pa.array(keep, pa.int64()))

    def clean(self, table: str) -> list[Path]:
        """Remove what killed writers left behind: temporary files, and files that no version ever named."""
        folder = self.root / table
        if not folder.is_dir():
            return []
        with table_lock(folder):
            stale = [*files.leftovers(folder), *log.orphans(folder)]
            for path in stale:
                path.unlink(missing_ok=True)
        return stale

    def verify(self, tables: Sequence[str] | None = None) -> list[Problem]:
        """Compare every file of the newest versions with its recorded SHA-256; nothing is changed."""
        from pipelines.storage.verify import problems_of

        names = tables or sorted(p.name for p in self.root.glob("*") if (p / "_delta_log").is_dir())
        return [problem for name in names for problem in problems_of(self.root / name)]

    def _place(self, item: Staged) -> log.Entry:
        """Give a staged file its lasting name."""
        folder = self.root / item.table / (f"month={item.month}" if item.month else "")
        path = folder / item.name
        folder.mkdir(exist_ok=True)
        item.written.path.replace(path)
        files.sync(folder)
        return log.Entry(
            str(path.relative_to(self.root / item.table)), item.month, item.written.rows, item.written.size
        )

    def _entries(self, table: str, months: Sequence[str] | None = None, version: int | None = None) -> list[log.Entry]:
        if not self.exists(table):
            return []
        entries = log.entries(self.root / table, self._at(table, version))
        return [entry for entry in entries if months is None or entry.month in set(months)]

    def _at(self, table: str, version: int | None = None) -> int | None:
        """The version that is read: the one asked for, else the one that the store is held to; None: the newest."""
        return version if version is not None or self._versions is None else self._versions.get(table)

    def tables(self) -> list[str]:
        """Names of the tables that have a version."""
        return sorted(p.name for p in self.root.glob("*") if self.exists(p.name))

    def _writer(self) -> str:
        """Name of this process's session, begun with its first write."""
        if self._versions is not None:
            raise ValueError(f"{self.root} is read at given versions: nothing is written to it")
        if self._session is None:
            clean_sessions(self.root)
            self._session = Session(self.root)
            weakref.finalize(self, self._session.close)
        return self._session.name


def _keys(rows: pa.Table, key: Sequence[str]) -> Iterator[tuple[object, ...]]:
    """Values of the key of each row."""
    columns = []
    for name in key:
        column, *fields = name.split(".")
        values: pa.ChunkedArray = rows[column]
        for field in fields:
            known = [each.name for each in values.type]
            values = pc.struct_field(values, field) if field in known else pa.chunked_array([pa.nulls(len(values))])
        columns.append(values.to_pylist())
    return zip(*columns, strict=True)
