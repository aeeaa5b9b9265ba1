"""Mergeable summaries: for each batch, parameter and bin of time, what its readings say.

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
from itertools import chain
from typing import TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa

from features.process import ProcessDefinition
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


def grid_of(batches: pd.DataFrame, process: ProcessDefinition) -> Grid:
    """The grid of these batches under this process; excluded parameters are not summarised."""
    parameters = process.features_of("sensor", "assay")
    low = [-np.inf if p.normal[0] is None else p.normal[0] for p in parameters]
    high = [np.inf if p.normal[1] is None else p.normal[1] for p in parameters]
    return Grid(
        batch_ids=pd.Index(batches["batch_id"], dtype="str"),
        started_us=microseconds(batches["started_at"]),
        parameters=pd.Index([p.name for p in parameters], dtype="str"),
        normal_low=np.asarray(low, dtype=np.float64),
        normal_high=np.asarray(high, dtype=np.float64),
        bin_us=round(process.process.bin_h * US_PER_H),
    )


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
        yield from _batches(_run(joined, grid), grid)
        yield from _batches(piece.inner, grid)
        open_rows = piece.tail
    if open_rows is not None:
        yield from _batches(_run(open_rows, grid), grid)


@dataclass(frozen=True)
class _Rows:
    """Readings as parallel arrays: places in the grid, times in microseconds, value, bad or not."""

    batch: np.ndarray
    parameter: np.ndarray
    observed: np.ndarray
    available: np.ndarray
    value: np.ndarray
    bad: np.ndarray

    def __getitem__(self, span: slice) -> _Rows:
        return _Rows(*(a[span] for a in self.arrays))

    def __len__(self) -> int:
        return len(self.value)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        return (self.batch, self.parameter, self.observed, self.available, self.value, self.bad)


@dataclass(frozen=True)
class _Piece:
    """A piece of the observations: summaries of the bins it surely holds whole, and the rows of its outer bins."""

    head: _Rows
    inner: tuple[np.ndarray, np.ndarray]
    tail: _Rows
    is_one_bin: bool


def _rows(table: pa.Table, grid: Grid) -> _Rows:
    batch = _places(table["batch_id"], grid.batch_ids)
    parameter = _places(table["parameter"], grid.parameters)
    bad = _places(table["quality"], pd.Index(["bad"], dtype="str")) == 0
    rows = _Rows(
        batch,
        parameter,
        *(_plain(table[name], pa.int64()) for name in ("observed_at", "available_at")),
        _plain(table["value"], pa.float64()),
        bad,
    )
    wanted = (batch >= 0) & (parameter >= 0)
    if wanted.all():
        return rows
    return _Rows(*(a[wanted] for a in rows.arrays))


def _plain(column: pa.ChunkedArray, kind: pa.DataType) -> np.ndarray:
    chunks = [np.asarray(chunk.view(kind)) for chunk in column.chunks]
    return chunks[0] if len(chunks) == 1 else np.concatenate([*chunks, np.empty(0, kind.to_pandas_dtype())])


def _places(column: pa.ChunkedArray, known: pd.Index) -> np.ndarray:
    """Place of each value among the known ones, int32, -1 where it is not known."""
    places = []
    for chunk in column.chunks:
        coded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
        table = known.get_indexer(pd.Index(coded.dictionary.to_pylist(), dtype="str")).astype(np.int32)
        codes = np.asarray(coded.indices)
        places.append(np.full(len(codes), table[0], np.int32) if len(table) == 1 else table[codes])
    return places[0] if len(places) == 1 else np.concatenate([*places, np.empty(0, np.int32)])


def _concat(left: _Rows, right: _Rows) -> _Rows:
    return _Rows(*(np.concatenate(pair) for pair in zip(left.arrays, right.arrays, strict=True)))


def _summarise_piece(rows: _Rows, grid: Grid) -> _Piece:
    head_end, tail_start = bin_edges(rows.batch, rows.parameter, rows.observed, grid.started_us, grid.bin_us)
    inner = rows[head_end:tail_start]
    return _Piece(rows[:head_end], _run(inner, grid), rows[tail_start:], is_one_bin=head_end == len(rows))


def _run(rows: _Rows, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Counts (int64, one row per summary, `COUNTS`) and moments (float64, `MOMENTS`) of whole bins."""
    done, capacity = 0, max(1024, len(rows) // 8)
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    while done < len(rows):
        counts = np.empty((capacity, len(COUNTS)), np.int64)
        moments = np.empty((capacity, len(MOMENTS)), np.float64)
        used, made = summarise_rows(
            *rows[done:].arrays, grid.started_us, grid.normal_low, grid.normal_high, grid.bin_us, counts, moments
        )
        parts.append((counts[:made], moments[:made]))
        done += used
        capacity = capacity if used else capacity * 2  # one bin alone may need more than there was room for
    if not parts:
        return np.empty((0, len(COUNTS)), np.int64), np.empty((0, len(MOMENTS)), np.float64)
    return np.concatenate([c for c, _ in parts]), np.concatenate([m for _, m in parts])


def _batches(made: tuple[np.ndarray, np.ndarray], grid: Grid) -> Iterator[pa.RecordBatch]:
    counts, moments = made
    if not len(counts):
        return
    count = {name: counts[:, i] for i, name in enumerate(COUNTS)}
    arrays = [
        _coded(count["batch"], grid.batch_ids),
        _coded(count["parameter"], grid.parameters),
        *(
            pa.array(count[n].astype(SUMMARIES.field(n).type.to_pandas_dtype()))
            for n in ("bin", "late", "valid_from", "valid_until", "n", "n_bad", "n_below", "n_above")
        ),
        *(pa.array(count[n], mask=count["n"] == 0).cast(_UTC) for n in ("first_at", "last_at")),
        *(pa.array(moments[:, i]) for i in range(len(MOMENTS))),
    ]
    yield pa.RecordBatch.from_arrays(arrays, schema=SUMMARIES)


def _coded(places: np.ndarray, names: pd.Index) -> pa.DictionaryArray:
    """Dictionary-encoded names that hold only the names that occur."""
    used, codes = np.unique(places, return_inverse=True)
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(names[used].tolist(), pa.string()))


def _ahead(items: Iterable[_S], work: Callable[[_S], _T], threads: int) -> Iterator[_T]:
    """Results in order, worked out by a few threads a few items ahead."""
    with ThreadPoolExecutor(max_workers=threads) as pool:
        waiting: deque[Future[_T]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        yield from (future.result() for future in chain(waiting))
