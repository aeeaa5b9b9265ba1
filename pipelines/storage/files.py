"""Parquet files whose every byte is accounted for.

A data file is named after its content: `<sha256 of the file>.<digest of its inputs>.parquet`. Name and bytes cannot
disagree unnoticed, the digests outlive any clean-up of the transaction log, and writing the same rows twice gives
the same name.
"""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import StorageError
from pipelines.storage.locks import is_alive

if TYPE_CHECKING:
    import pyarrow.dataset as ds

ROW_GROUP_ROWS = 131_072
TEMP_PREFIX = ".writing-"
_NAME = re.compile(r"^([0-9a-f]{64})\.([0-9a-f]{64})\.parquet$")
RESTORE = "Restore the file from a backup, or ingest and compute again into an empty data directory."


@dataclass(frozen=True)
class Written:
    """A finished, fsynced file, still under a temporary name."""

    path: Path
    sha256: str
    rows: int
    size: int
    schema: pa.Schema


def digests_of(name: str) -> tuple[str, str]:
    """SHA-256 and inputs digest that a data file's name records.

    Raises:
        StorageError: The name is not of a file written here.
    """
    match = _NAME.match(name.rsplit("/", 1)[-1])
    if not match:
        raise StorageError(
            f"{name}: not the name of a stored file",
            expected="<sha256>.<inputs digest>.parquet",
            remedy="Restore the table's folder from a backup; other programs must not write into it.",
        )
    return match[1], match[2]


def write_file(folder: Path, writer: str, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Written:
    """Stream batches into a file under a temporary name in `folder`; memory holds one row group.

    The bytes depend on rows, order and schema only, never on how the rows were cut into batches.

    Args:
        folder: The table's folder.
        writer: Name of a live session; a cleaner leaves its files alone.
        batches: Rows.
        schema: Stored types.

    Raises:
        StorageError: The disk is full or the file cannot be written; nothing stays behind.
    """
    path = folder / f"{TEMP_PREFIX}{writer}-{uuid.uuid4().hex}.parquet"
    done = False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        rows = _write_rows(path, batches, schema)
        sync(path)
        written = Written(path, sha256_of(path), rows, path.stat().st_size, schema)
        done = True
        return written
    except OSError as error:
        raise StorageError(
            f"{folder}: writing failed: {error.strerror or error}",
            remedy="Free space or correct the permissions and run again; the last version is untouched.",
        ) from error
    finally:
        if not done:
            path.unlink(missing_ok=True)


def _write_rows(path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> int:
    text = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
    times = {field.name: "DELTA_BINARY_PACKED" for field in schema if pa.types.is_timestamp(field.type)}
    rows = 0
    typed = (pa.Table.from_batches([batch]).select(schema.names).cast(schema) for batch in batches)
    with pq.ParquetWriter(
        path, schema, compression="zstd", use_dictionary=text or False, column_encoding=times or None,
        write_page_checksum=True, store_schema=False,
    ) as writer:  # fmt: skip
        for group in row_groups(typed, ROW_GROUP_ROWS):
            writer.write_table(group, row_group_size=ROW_GROUP_ROWS)
            rows += len(group)
    return rows


def row_groups(tables: Iterable[pa.Table], group_rows: int) -> Iterator[pa.Table]:
    """Cut tables of any length into groups of `group_rows` rows, the last one shorter."""
    waiting: list[pa.Table] = []
    have = 0
    for table in tables:
        waiting.append(table)
        have += len(table)
        if have < group_rows:
            continue
        joined = pa.concat_tables(waiting)
        whole = have - have % group_rows
        for start in range(0, whole, group_rows):
            yield joined.slice(start, group_rows).combine_chunks()
        waiting, have = [joined.slice(whole)], have - whole
    if have:
        yield pa.concat_tables(waiting).combine_chunks()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Make a file's bytes, or a folder's names, survive a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def leftovers(table_folder: Path) -> list[Path]:
    """Temporary files whose writer is gone."""
    return [p for p in sorted(table_folder.rglob(f"{TEMP_PREFIX}*")) if not is_alive(table_folder.parent, _writer(p))]


def _writer(path: Path) -> str:
    return path.name.removeprefix(TEMP_PREFIX).split("-")[0]


def state_of(path: Path) -> tuple[str, int, int]:
    """What changes when a file is written again: path, size and time of change."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return str(path), -1, -1
    return str(path), stat.st_size, stat.st_mtime_ns


def fault_of(path: Path) -> str | None:
    """One phrase on how a stored file differs from what its name records, or None."""
    expected, _ = digests_of(path.name)
    if not path.exists():
        return f"{path}: the file is missing"
    found = sha256_of(path)
    if found != expected:
        return f"{path}: the file changed after it was written: SHA-256 {found[:12]}..., expected {expected[:12]}..."
    return None


def read_files(
    paths: list[Path],
    columns: Sequence[str] | None,
    filters: ds.Expression | None,
    dictionary: Sequence[str],
) -> pa.Table:
    """Rows of several files, one after the other, page checksums verified."""
    import pyarrow.dataset as ds

    scan = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    reading = ds.ParquetReadOptions(dictionary_columns=set(dictionary))
    form = ds.ParquetFileFormat(read_options=reading, default_fragment_scan_options=scan)
    if not paths:
        return pa.table({name: pa.nulls(0) for name in columns or ()})
    parts = ds.dataset([str(path) for path in paths], format=form)
    schema = pa.unify_schemas([fragment.physical_schema for fragment in parts.get_fragments()])
    try:
        table = parts.replace_schema(schema).to_table(columns=list(columns) if columns else None, filter=filters)
    except (OSError, pa.ArrowInvalid) as error:
        raise StorageError(
            f"{paths[0].parent}: reading failed: {str(error).splitlines()[0]}", remedy=RESTORE
        ) from error
    return table.unify_dictionaries() if dictionary else table


def from_pandas(frame: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """The frame's columns of the schema, in its order and types; missing values are null."""
    return pa.table([_column(frame[field.name], field.type) for field in schema], schema=schema)


def _column(column: pd.Series, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        naive = pa.array(column.dt.tz_convert(None).to_numpy())
        return naive.cast(pa.timestamp(naive.type.unit, tz="UTC")).cast(kind)
    return pa.array(column, from_pandas=True).cast(kind)
