"""Mergeable summaries of readings, one for each batch, parameter and bin of time.

A summary keeps counts, moments of value and time, extremes, first and last. Two summaries merge into the summary
of both, so one definition serves a pass over a whole history, partitions summarised apart, and single new readings.

Three rules make the results the same to the last bit, whichever way the rows came:

- A bin is summarised from its own rows in order of `observed_at`; bins merge in order of time.
- A row that became available in a later bin than it was observed in is *late*: it is kept as a summary of its own,
  valid from the bin in which it became available, and merged after the bins.
- A corrected reading counts until its correction is available. The bin it stands in then has one summary for each
  span of time, valid in `[valid_from, valid_until)`.

Bin `k` covers the hours `((k-1) * bin_h, k * bin_h]` since the batch's start, so that everything available at
`k * bin_h` lies in the bins up to `k`; bin 0 covers everything up to the start.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa

from features.contracts import BAD_QUALITY
from features.process import Interval, ProcessDefinition
from features.summary_kernel import COUNTS, MOMENTS, bin_edges, summarise_rows

US_PER_H = 3_600_000_000
_S = TypeVar("_S")
_T = TypeVar("_T")

OBSERVATION_COLUMNS = ("batch_id", "parameter", "observed_at", "available_at", "value", "quality")
_IDS = pa.dictionary(pa.int32(), pa.string())
_UTC = pa.timestamp("us", tz="UTC")
SUMMARIES = pa.schema(
    [
        ("batch_id", _IDS),
        ("parameter", _IDS),
        ("bin", pa.int32()),
        ("late", pa.bool_()),
        ("valid_from", pa.int32()),
        ("valid_until", pa.int32()),
        ("n", pa.int32()),
        ("n_bad", pa.int32()),
        ("n_below", pa.int32()),
        ("n_above", pa.int32()),
        ("first_at", _UTC),
        ("last_at", _UTC),
        *((name, pa.float64()) for name in MOMENTS),
    ]
)


@dataclass(frozen=True)
class Grid:
    """What a summary needs to know of batches and parameters.

    Attributes:
        batch_ids: Batches, unique.
        started_us: Their starts in microseconds since the epoch, same order.
        parameters: Names of the parameters that are summarised, unique.
        normal_low: Lower normal limits, -inf where open, same order.
        normal_high: Upper normal limits, inf where open.
        bin_us: Length of a bin in microseconds.
    """

    batch_ids: pd.Index
    started_us: np.ndarray
    parameters: pd.Index
    normal_low: np.ndarray
    normal_high: np.ndarray
    bin_us: int

    @cached_property
    def batch_names(self) -> pa.StringArray:
        """The batches as Arrow has them."""
        return pa.array(self.batch_ids.tolist(), pa.string())

    @cached_property
    def parameter_names(self) -> pa.StringArray:
        """The parameters as Arrow has them."""
        return pa.array(self.parameters.tolist(), pa.string())


def grid_of(batches: pd.DataFrame, process: ProcessDefinition) -> Grid:
    """The grid of these batches under this process; excluded parameters are not summarised."""
    parameters = process.features_of("sensor", "assay")
    low, high = limits(p.normal for p in parameters)
    return Grid(
        batch_ids=pd.Index(batches["batch_id"], dtype="str"),
        started_us=microseconds(batches["started_at"]),
        parameters=pd.Index([p.name for p in parameters], dtype="str"),
        normal_low=low,
        normal_high=high,
        bin_us=round(process.process.bin_h * US_PER_H),
    )


def limits(intervals: Iterable[Interval]) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper ends of intervals, float64; -inf and inf where open."""
    low, high = np.array(list(intervals), np.float64).reshape(-1, 2).T  # None becomes NaN
    return np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)


def microseconds(times: pd.Series) -> np.ndarray:
    """Microseconds since the epoch, int64, of a column of UTC times without gaps."""
    return times.dt.as_unit("us").astype("int64").to_numpy()


def summarise(parts: Iterable[Callable[[], pa.Table]], grid: Grid, *, threads: int = 2) -> Iterator[pa.RecordBatch]:
    """Summaries of observations, in one pass.

    Args:
        parts: Each call reads the next piece of the observations (`OBSERVATION_COLUMNS`; ids, parameters and quality
            dictionary-encoded or plain), for example a row group. All pieces in a row are sorted by batch,
            parameter, `observed_at`, `revision`; a batch lies in one unbroken run of rows.
        grid: Batches and parameters; rows of others are passed over.
        threads: Pieces that are read and summarised at the same time. Memory holds twice as many pieces.

    Yields:
        Batches of rows of `SUMMARIES`, in the order of the observations.
    """
    open_rows: _Rows | None = None
    for piece in _ahead(parts, lambda read: _summarise_piece(_rows(read(), grid), grid), threads):
        joined = piece.head if open_rows is None else _concat(open_rows, piece.head)
        if piece.is_one_bin:
            open_rows = joined
            continue
        yield from _batches(*_run(joined, grid), grid)
        yield from piece.inner
        open_rows = piece.tail
    if open_rows is not None:
        yield from _batches(*_run(open_rows, grid), grid)


@dataclass(frozen=True)
class _Rows:
    """Readings as parallel arrays, with what their codes stand for.

    Attributes:
        batch: Codes, int32.
        parameter: Codes, int32.
        observed: Microseconds since the epoch.
        available: Microseconds since the epoch.
        value: Readings.
        quality: Codes, int32.
        batch_of: Place in the grid per code of a batch, -1 where it is not in it.
        parameter_of: The same of a parameter.
        is_bad: Whether a code of a quality means bad.
    """

    batch: np.ndarray
    parameter: np.ndarray
    observed: np.ndarray
    available: np.ndarray
    value: np.ndarray
    quality: np.ndarray
    batch_of: np.ndarray
    parameter_of: np.ndarray
    is_bad: np.ndarray

    def __getitem__(self, span: slice) -> _Rows:
        return _Rows(*(a[span] for a in self.columns), *self.meanings)

    def __len__(self) -> int:
        return len(self.value)

    @property
    def columns(self) -> tuple[np.ndarray, ...]:
        return (self.batch, self.parameter, self.observed, self.available, self.value, self.quality)

    @property
    def meanings(self) -> tuple[np.ndarray, ...]:
        return (self.batch_of, self.parameter_of, self.is_bad)

    def in_grid(self, grid: Grid) -> _Rows:
        """The rows that are in the grid, their codes being the places in it: such rows can be joined."""
        batch, parameter = self.batch_of[self.batch], self.parameter_of[self.parameter]
        wanted = (batch >= 0) & (parameter >= 0)
        columns = (
            batch,
            parameter,
            self.observed,
            self.available,
            self.value,
            self.is_bad[self.quality].astype(np.int32),
        )
        return _Rows(*(a[wanted] for a in columns), *_plain_meanings(grid))


def _plain_meanings(grid: Grid) -> tuple[np.ndarray, ...]:
    places = (np.arange(len(known), dtype=np.int32) for known in (grid.batch_ids, grid.parameters))
    return (*places, np.array([False, True]))


@dataclass(frozen=True)
class _Piece:
    """A piece of the observations: summaries of the bins it surely holds whole, and the rows of its outer bins."""

    head: _Rows
    inner: list[pa.RecordBatch]
    tail: _Rows
    is_one_bin: bool


def _rows(table: pa.Table, grid: Grid) -> _Rows:
    batch, batches = _coded_column(table["batch_id"])
    parameter, parameters = _coded_column(table["parameter"])
    quality, qualities = _coded_column(table["quality"])
    return _Rows(
        batch,
        parameter,
        *(_plain(table[name], pa.int64()) for name in ("observed_at", "available_at")),
        _plain(table["value"], pa.float64()),
        quality,
        grid.batch_ids.get_indexer(batches).astype(np.int32),
        grid.parameters.get_indexer(parameters).astype(np.int32),
        np.asarray(qualities == BAD_QUALITY, dtype=bool),
    )


def _plain(column: pa.ChunkedArray, kind: pa.DataType) -> np.ndarray:
    chunks = [np.asarray(chunk.view(kind)) for chunk in column.chunks]
    return chunks[0] if len(chunks) == 1 else np.concatenate([*chunks, np.empty(0, kind.to_pandas_dtype())])


def _coded_column(column: pa.ChunkedArray) -> tuple[np.ndarray, pd.Index]:
    """Codes (int32) of a column of names, and the names they stand for."""
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    if coded.num_chunks != 1:
        coded = pa.chunked_array([coded.unify_dictionaries().combine_chunks()])
    chunk = coded.chunk(0)
    return np.asarray(chunk.indices).astype(np.int32, copy=False), pd.Index(chunk.dictionary.to_pylist(), dtype="str")


def _concat(left: _Rows, right: _Rows) -> _Rows:
    return _Rows(*(np.concatenate(pair) for pair in zip(left.columns, right.columns, strict=True)), *left.meanings)


def _summarise_piece(rows: _Rows, grid: Grid) -> _Piece:
    head_end, tail_start = bin_edges(
        rows.batch, rows.parameter, rows.observed, rows.batch_of, grid.started_us, grid.bin_us
    )
    inner = _batches(*_run(rows[head_end:tail_start], grid), grid)
    head, tail = (part.in_grid(grid) for part in (rows[:head_end], rows[tail_start:]))
    return _Piece(head, inner, tail, is_one_bin=head_end == len(rows))


def _run(rows: _Rows, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Counts (int64, one row per summary, `COUNTS`) and moments (float64, `MOMENTS`) of whole bins."""
    done, capacity = 0, max(1024, len(rows) // 16)
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    limits = (grid.started_us, grid.normal_low, grid.normal_high, grid.bin_us)
    while done < len(rows):
        counts = np.empty((capacity, len(COUNTS)), np.int64, order="F")  # columns go to Arrow without a copy
        moments = np.empty((capacity, len(MOMENTS)), np.float64, order="F")
        used, made = summarise_rows(*rows[done:].columns, *rows.meanings, *limits, counts, moments)
        parts.append((counts[:made], moments[:made]))
        done += used
        capacity = capacity if used else capacity * 2  # one bin alone may need more than there was room for
    if len(parts) == 1:
        return parts[0]
    empty = (np.empty((0, len(COUNTS)), np.int64), np.empty((0, len(MOMENTS)), np.float64))
    counts, moments = zip(empty, *parts, strict=True)
    return np.concatenate(counts), np.concatenate(moments)


def _batches(counts: np.ndarray, moments: np.ndarray, grid: Grid) -> list[pa.RecordBatch]:
    if not len(counts):
        return []
    count = {name: counts[:, i] for i, name in enumerate(COUNTS)}
    nothing = count["n"] == 0
    arrays: list[pa.Array] = [
        pa.DictionaryArray.from_arrays(pa.array(count[name].astype(np.int32)), names)
        for name, names in (("batch", grid.batch_names), ("parameter", grid.parameter_names))
    ]
    arrays += [pa.array(count["bin"].astype(np.int32)), pa.array(count["late"] == 1)]
    arrays += [pa.array(count[name].astype(np.int32)) for name in COUNTS[4:10]]
    arrays += [pa.array(count[name], mask=nothing).view(_UTC) for name in ("first_at", "last_at")]
    arrays += [pa.array(moments[:, i]) for i in range(len(MOMENTS))]
    return [pa.RecordBatch.from_arrays(arrays, schema=SUMMARIES)]


def _ahead(items: Iterable[_S], work: Callable[[_S], _T], threads: int) -> Iterator[_T]:
    """Results in order, worked out by a few threads a few items ahead."""
    with ThreadPoolExecutor(max_workers=threads) as pool:
        waiting: deque[Future[_T]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        yield from (future.result() for future in chain(waiting))
