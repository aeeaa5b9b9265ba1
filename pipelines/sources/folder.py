"""A history folder: one Parquet or CSV file per table."""

from __future__ import annotations

import csv
import difflib
import hashlib
import os
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from features.contracts import RUN_HISTORY
from features.errors import SourceError

CHUNK_ROWS = 524_288
_CSV_BLOCK = 32 << 20
_READ_THIS = "A history folder holds <table>.parquet or <table>.csv for: " + ", ".join(RUN_HISTORY) + "."


class HistoryFolder:
    """Run history in files, `pipelines.sources.Source`.

    CSV: UTF-8 (with or without byte order mark), a header line, comma or semicolon between fields, RFC 4180 quotes.
    Hidden files and text beside the tables (`*.md`, `*.txt`, `*.json`, `*.toml`) are left alone.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

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
        first = 1
        try:
            for batch in _parquet_batches(path) if path.suffix == ".parquet" else _csv_batches(path):
                yield _frame(batch), first
                first += len(batch)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise _unreadable(path, error) from error

    def fingerprint(self) -> Mapping[str, str]:
        """SHA-256 of each file."""
        found = {}
        for path in self._files.values():
            with path.open("rb") as file:
                found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
        return found

    @cached_property
    def _files(self) -> dict[str, Path]:
        if not self.folder.is_dir():
            raise SourceError(f"{self.folder}: no such folder", remedy="Name the folder of the exported run history.")
        ignored = {".md", ".txt", ".json", ".toml"}
        files = [p for p in sorted(self.folder.iterdir()) if p.suffix not in ignored and not p.name.startswith(".")]
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
        close = difflib.get_close_matches(path.stem, RUN_HISTORY, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close and path.stem not in RUN_HISTORY else ""
        raise SourceError(f"{path}: not a table of the run history{hint}", remedy=_READ_THIS)

    @staticmethod
    def _columns(path: Path) -> Sequence[str]:
        try:
            if path.suffix == ".parquet":
                return tuple(pq.read_schema(path).names)
            return tuple(_header(path)[0])
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


def _parquet_batches(path: Path) -> Iterator[pa.RecordBatch]:
    text = [f.name for f in pq.read_schema(path) if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
    with pq.ParquetFile(path, read_dictionary=text, page_checksum_verification=True) as file:
        yield from file.iter_batches(batch_size=CHUNK_ROWS)


def _csv_batches(path: Path) -> Iterator[pa.RecordBatch]:
    names, delimiter = _header(path)
    if not _has_rows(path):
        return
    reader = pa_csv.open_csv(
        path,
        read_options=pa_csv.ReadOptions(block_size=_CSV_BLOCK, encoding="utf8"),
        parse_options=pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, ignore_empty_lines=True),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            strings_can_be_null=True,
            null_values=[""],
            quoted_strings_can_be_null=True,
        ),
    )
    with reader:
        for batch in reader:
            for start in range(0, len(batch), CHUNK_ROWS):
                yield batch.slice(start, CHUNK_ROWS)


def _header(path: Path) -> tuple[list[str], str]:
    """Column names and the delimiter, which is the one of comma and semicolon that makes more columns."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        line = file.readline()
    if not line.strip():
        raise SourceError(f"{path}: the file is empty", expected="a header line", remedy="Export the table again.")
    by_delimiter = {d: next(csv.reader([line], delimiter=d)) for d in (",", ";")}
    delimiter = max(by_delimiter, key=lambda d: len(by_delimiter[d]))
    return by_delimiter[delimiter], delimiter


def _has_rows(path: Path) -> bool:
    with path.open(encoding="utf-8-sig") as file:
        file.readline()
        return any(line.strip() for line in file)


def _frame(batch: pa.RecordBatch) -> pd.DataFrame:
    return batch.to_pandas(integer_object_nulls=True)  # floats would bend large integers


def _unreadable(path: Path, error: Exception) -> SourceError:
    first = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    kind = "Parquet" if path.suffix == ".parquet" else "CSV in UTF-8"
    return SourceError(f"{path}: cannot be read as {kind}: {first}", remedy="Export the file again.")
