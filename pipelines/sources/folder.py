"""A history folder: one Parquet or CSV file per table."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.contracts import RUN_HISTORY
from features.errors import SourceError
from pipelines.sources import UnreadRecord
from pipelines.sources.csv_file import CsvFile

CHUNK_ROWS = 524_288
_UNNAMED_INDEX = re.compile(r"__index_level_\d+__")
_READ_THIS = "A history folder holds <table>.parquet or <table>.csv for: " + ", ".join(RUN_HISTORY) + "."


class HistoryFolder:
    """Run history in files, `pipelines.sources.Source`.

    CSV: UTF-8 (with or without byte order mark), a header line, comma or semicolon between fields, RFC 4180 quotes.
    The last record of a CSV file without a final line end may be torn, and is held back. Parquet: the columns of the
    file, whatever pandas stored beside them. Hidden files and text beside the tables (`*.md`, `*.txt`, `*.json`,
    `*.toml`) are left alone, unless they have the name of a table.

    Args:
        folder: The folder.
        complete: Whether a CSV file without a final line end is known to be complete.
    """

    def __init__(self, folder: Path | str, *, complete: bool = False) -> None:
        self.folder, self.complete = Path(folder), complete
        self._unread: dict[str, tuple[UnreadRecord, ...]] = {}

    def tables(self) -> Mapping[str, Sequence[str]]:
        """Tables present with their columns, read from the files' heads."""
        return {name: self._columns(path) for name, path in self._files.items()}

    def label(self, table: str) -> str:
        """Name of the table's file."""
        return self._files[table].name

    def read(self, table: str) -> Iterator[tuple[pd.DataFrame, int]]:
        """Rows of a table in parts; CSV as text, Parquet as it is typed.

        Raises:
            SourceError: The file is torn, or a line has another number of fields than the header.
        """
        path = self._files[table]
        try:
            if _is_parquet(path):
                yield from _parquet_parts(path)
            else:
                file = CsvFile(path, complete=self.complete)
                for batch, first in file.read(CHUNK_ROWS):
                    yield _frame(batch), first
                self._unread[table] = tuple(file.unread)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise _unreadable(path, error) from error

    def unread(self, table: str) -> Sequence[UnreadRecord]:
        """Records of a CSV file that are no rows of its columns: torn, or of another number of fields."""
        return self._unread.get(table, ())

    def fingerprint(self) -> Mapping[str, str]:
        """SHA-256 of each file, and whether a last record without a line end is read."""
        found = {"final_line": "complete"} if self.complete else {}
        for path in self._files.values():
            with path.open("rb") as file:
                found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
        return found

    @cached_property
    def _files(self) -> dict[str, Path]:
        if not self.folder.is_dir():
            raise SourceError(f"{self.folder}: no such folder", remedy="Name the folder of the exported run history.")
        ignored = {".md", ".txt", ".json", ".toml"}
        visible = [p for p in sorted(self.folder.iterdir()) if not p.name.startswith(".")]
        files = [p for p in visible if p.suffix.lower() not in ignored or p.stem.lower() in RUN_HISTORY]
        if not files:
            raise SourceError(f"{self.folder}: the folder is empty", remedy=_READ_THIS)
        found: dict[str, Path] = {}
        for path in files:
            self._is_a_table(path)
            if path.stem in found:
                raise SourceError(
                    f"{self.folder}: both {found[path.stem].name} and {path.name}",
                    expected="one file per table",
                    remedy="Move one of them away.",
                )
            found[path.stem] = path
        if "batches" not in found:
            raise SourceError(
                f"{self.folder}: no table of batches", expected="batches.parquet or batches.csv", remedy=_READ_THIS
            )
        return {name: found[name] for name in RUN_HISTORY if name in found}

    def _is_a_table(self, path: Path) -> None:
        if path.is_file() and path.suffix in (".parquet", ".csv") and path.stem in RUN_HISTORY:
            return
        suffix = path.suffix.lower() if path.suffix.lower() in (".parquet", ".csv") else ".csv"
        close = difflib.get_close_matches(path.stem.lower(), RUN_HISTORY, n=1, cutoff=0.5)
        hint = f"; did you mean '{close[0]}{suffix}'?" if close else ""
        raise SourceError(f"{path}: not a table of the run history{hint}", remedy=_READ_THIS)

    @staticmethod
    def _columns(path: Path) -> Sequence[str]:
        try:
            if _is_parquet(path):
                return tuple(_parquet_columns(path))
            return tuple(CsvFile(path).header()[0])
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise _unreadable(path, error) from error


def check_empty(out: Path) -> None:
    """Refuse a folder that holds anything.

    Raises:
        SourceError: `out` exists and is not an empty folder.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SourceError(f"{out} is not an empty folder", remedy="Name a new folder; nothing was written.")


@contextmanager
def new_folder(out: Path) -> Generator[Path]:
    """A folder beside `out` to fill: it takes the name `out` in one step at the end, or is removed after an error.

    Raises:
        SourceError: `out` exists and is not an empty folder.
    """
    check_empty(out)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.replace(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _is_parquet(path: Path) -> bool:
    return path.suffix == ".parquet"


def _parquet_columns(path: Path) -> list[str]:
    """Columns of a Parquet file, without the unnamed index that pandas stores beside them."""
    return [name for name in pq.read_schema(path).names if not _UNNAMED_INDEX.fullmatch(name)]


def _parquet_parts(path: Path) -> Iterator[tuple[pd.DataFrame, int]]:
    text = [f.name for f in pq.read_schema(path) if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
    first, columns = 1, _parquet_columns(path)
    with pq.ParquetFile(path, read_dictionary=text, page_checksum_verification=True) as file:
        for batch in file.iter_batches(batch_size=CHUNK_ROWS, columns=columns):
            yield _frame(batch), first
            first += len(batch)


def _frame(batch: pa.RecordBatch) -> pd.DataFrame:
    plain = batch.replace_schema_metadata(None)  # pandas would make an index of columns that it names
    return plain.to_pandas(integer_object_nulls=True)  # floats would bend large integers


def _unreadable(path: Path, error: Exception) -> SourceError:
    first = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    kind = "Parquet" if path.suffix == ".parquet" else "CSV in UTF-8"
    return SourceError(f"{path}: cannot be read as {kind}: {first}", remedy="Export the file again.")
