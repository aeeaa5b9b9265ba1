"""What every converter shares: inputs read by rule, a history folder written at once or not at all."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.contracts import RUN_HISTORY, Table
from features.errors import SourceError
from pipelines.sources.folder import new_folder
from pipelines.storage.files import from_pandas

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
    first = first_wrong(stripped.notna() & (parsed.isna() | parsed.abs().eq(float("inf"))))
    if first is not None:
        raise SourceError(
            f"{path}: {text.name!r} of batch {ids[first]} is {text[first]!r}",
            expected="a number with a decimal point, or nothing",
        )
    return parsed


def first_wrong(wrong: pd.Series) -> Hashable | None:
    """Index of the first row that is wrong; None where none is."""
    return wrong.idxmax() if wrong.any() else None


def same_batches(left: pd.Series, right: pd.Series, files: str) -> None:
    """Refuse a batch that only one of two files has.

    Raises:
        SourceError: With the lowest such batch.
    """
    alone = sorted(set(left) ^ set(right))
    if alone:
        raise SourceError(f"batch {alone[0]} stands in only one of {files}", expected="rows in both")


def long_rows(wide: pd.DataFrame, ids: list[str]) -> tuple[pd.DataFrame, int]:
    """Values of a wide table, one row each (`parameter`, `value`) beside its ids; and how many are missing."""
    long = wide.melt(ids, var_name="parameter")
    kept = long.dropna(subset=["value"])
    return kept, len(long) - len(kept)


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
    """Rows of a batch in progress that became available later; lots and materials were known before."""
    if name not in ("observations", "events", "dispositions"):
        return pd.Series(data=False, index=frame.index)
    limit = frame["batch_id"].map(until)
    if name == "dispositions":
        return limit.notna()
    return _with_defaults(RUN_HISTORY[name], frame)["available_at"] > limit


def write_history(
    tables: Tables, out_dir: Path, notes: Iterable[str], *, in_progress: int = 0, at_h: float = 0.0
) -> Converted:
    """Write a history folder, `<table>.parquet` each; it appears complete or not at all.

    The newest `in_progress` batches are cut off at `at_h` (`leave_in_progress`); the last note says how. Rows are sorted
    by key, so the same input gives the same bytes. Columns that the contract does not know are
    attributes of `batches`.

    Raises:
        SourceError: `out_dir` exists and is not an empty folder, or `in_progress` is not a number of batches.
    """
    tables, progress_note = leave_in_progress(tables, in_progress, at_h=at_h)
    with new_folder(Path(out_dir)) as folder:
        rows = {name: _write(RUN_HISTORY[name], frame, folder) for name, frame in tables.items()}
    return Converted(rows, (*notes, progress_note))


def _write(table: Table, frame: pd.DataFrame, folder: Path) -> int:
    frame = _with_defaults(table, frame).sort_values(list(table.key), ignore_index=True)
    attributes = {c: pa.string() if frame[c].dtype == "str" else pa.float64() for c in frame if c not in table.names}
    stored = from_pandas(frame, table.arrow(attributes))
    pq.write_table(
        stored, folder / f"{table.name}.parquet", compression="zstd", row_group_size=131_072, write_page_checksum=True
    )
    return stored.num_rows


def _with_defaults(table: Table, frame: pd.DataFrame) -> pd.DataFrame:
    absent = [c for c in table.columns if c.name not in frame]
    given = frame.assign(**{c.name: c.default for c in absent if c.default_from is None})
    return given.assign(**{c.name: given[c.default_from] for c in absent if c.default_from})
