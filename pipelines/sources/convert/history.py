"""What every converter shares: inputs read by rule, a history folder written at once or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.contracts import RUN_HISTORY, Table
from features.errors import SourceError

Tables = dict[str, pd.DataFrame]
HOUR = pd.Timedelta(hours=1)


@dataclass(frozen=True)
class Converted:
    """What was written: rows per table and, one sentence each, what was assumed or left out."""

    rows: Mapping[str, int]
    notes: tuple[str, ...]


class Converter(Protocol):
    """Reads a public layout from `source_dir` and writes a history folder to `out_dir`.

    The newest `in_progress` batches are cut off in the middle of the process and keep no disposition.
    """

    def __call__(self, source_dir: Path, out_dir: Path, *, in_progress: int = 0) -> Converted: ...  # noqa: D102


def source_file(folder: Path, name: str) -> Path:
    """The path of an input file.

    Raises:
        SourceError: It is not there.
    """
    path = Path(folder) / name
    if not path.is_file():
        raise SourceError(f"{path}: no such file", remedy="Name the folder that holds the files as published.")
    return path


def require_columns(frame: pd.DataFrame, columns: Iterable[str], path: Path) -> None:
    """Refuse a file that lacks a column.

    Raises:
        SourceError: With the first missing column.
    """
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        raise SourceError(f"{path}: column {missing[0]!r} is missing", expected="the columns as published")


def numbers(text: pd.Series, ids: pd.Series, path: Path) -> pd.Series:
    """Read text as float64; blank or only spaces is missing (NaN).

    Args:
        text: Values as they stand in the file.
        ids: The batch of each value, named in the error.
        path: The file, named in the error.

    Raises:
        SourceError: A value is not a finite number; a decimal comma or `<0.05` is never interpreted.
    """
    stripped = text.str.strip().replace("", None)
    parsed = pd.to_numeric(stripped, errors="coerce").astype("float64")
    wrong = stripped.notna() & (parsed.isna() | parsed.abs().eq(float("inf")))
    if wrong.any():
        first = wrong.idxmax()
        raise SourceError(
            f"{path}: {text.name!r} of batch {ids[first]} is {text[first]!r}",
            expected="a number with a decimal point, or nothing",
        )
    return parsed


def leave_in_progress(tables: Tables, newest: int, *, at_h: float) -> tuple[Tables, str]:
    """Cut the newest batches off `at_h` hours after their start, as if they still ran.

    Their dispositions go, and every observation and event that became available later. All else stays.

    Returns:
        The tables and a sentence about what was left out.

    Raises:
        SourceError: `newest` is negative or not below the number of batches.
    """
    batches = tables["batches"].sort_values(["started_at", "batch_id"])
    if not 0 <= newest < len(batches):
        raise SourceError(
            f"cannot leave {newest} of {len(batches)} batches in progress", expected=f"0 to {len(batches) - 1}"
        )
    if not newest:
        return tables, "Every batch is complete."
    until = batches.tail(newest).set_index("batch_id")["started_at"] + at_h * HOUR
    kept = {name: frame[~_later(name, frame, until)] for name, frame in tables.items()}
    dropped = sum(len(tables[name]) - len(kept[name]) for name in tables)
    return kept, f"The newest {newest} batches are left in progress at {at_h:g} h: {dropped} later rows were left out."


def _later(name: str, frame: pd.DataFrame, until: pd.Series) -> pd.Series:
    """Rows of a batch in progress that nobody has seen yet; lots and materials were known before."""
    if name not in ("observations", "events", "dispositions"):
        return pd.Series(data=False, index=frame.index)
    limit = frame["batch_id"].map(until)
    if name == "dispositions":
        return limit.notna()
    return _with_defaults(RUN_HISTORY[name], frame)["available_at"] > limit


def write_history(tables: Tables, out_dir: Path, notes: Iterable[str]) -> Converted:
    """Write a history folder, `<table>.parquet` each, in a temporary folder that is renamed when complete.

    Rows are sorted by key, so the same input gives the same bytes. Columns that the contract does not know are
    attributes of `batches`.

    Raises:
        SourceError: `out_dir` exists and is not an empty folder.
    """
    out_dir = Path(out_dir)
    if out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise SourceError(f"{out_dir} is not empty", expected="a new folder", remedy="Name another, or empty it first.")
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    parts = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}-", dir=out_dir.parent))
    try:
        rows = {name: _write(RUN_HISTORY[name], frame, parts) for name, frame in tables.items()}
        parts.chmod(0o755)
        parts.replace(out_dir)
    except BaseException:
        shutil.rmtree(parts, ignore_errors=True)
        raise
    return Converted(rows, tuple(notes))


def _write(table: Table, frame: pd.DataFrame, folder: Path) -> int:
    frame = _with_defaults(table, frame).sort_values(list(table.key), ignore_index=True)
    attributes = {c: pa.string() if frame[c].dtype == "str" else pa.float64() for c in frame if c not in table.names}
    schema = table.arrow(attributes)
    stored = pa.Table.from_arrays([_column(frame[f.name], f.type) for f in schema], schema=schema)
    pq.write_table(
        stored, folder / f"{table.name}.parquet", compression="zstd", row_group_size=131_072, write_page_checksum=True
    )
    return stored.num_rows


def _column(values: pd.Series, kind: pa.DataType) -> pa.Array:
    """One column as stored; times go without their zone, because pyarrow reads a zone through a deprecated door."""
    if pa.types.is_timestamp(kind):
        naive = (
            values.dt.tz_convert(None).astype("datetime64[us]")
            if values.notna().any()
            else values.astype("datetime64[us]")
        )
        return pa.array(naive, type=pa.timestamp("us"), from_pandas=True).cast(kind)
    return pa.array(values, type=kind, from_pandas=True)


def _with_defaults(table: Table, frame: pd.DataFrame) -> pd.DataFrame:
    absent = [c for c in table.columns if c.name not in frame]
    given = frame.assign(**{c.name: c.default for c in absent if c.default_from is None})
    return given.assign(**{c.name: given[c.default_from] for c in absent if c.default_from})
