"""Where rows and summaries meet: the runs of one batch and parameter, and the rows of that batch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pandas as pd
import pyarrow as pa

from features.dictionary import Block, Feature
from features.summaries import Grid, microseconds
from features.summary_kernel import COUNTS, MOMENTS

THREADS = 2


@dataclass(frozen=True)
class Runs:
    """Rows of one batch, and its runs of summaries: one per parameter, in the order of the grid.

    Attributes:
        at_bin: Bin in which each row's `as_of` lies; rows in order of batch and time.
        as_of_us: The rows' `as_of`, microseconds since the epoch.
        start: First summary of each run.
        end: Behind its last summary.
        parameter: Place of its parameter in the grid.
        row_from: First row of its batch.
        row_until: Behind the last row of its batch.
        counts: `COUNTS` of the summaries, int64 (those of batch and parameter are not used).
        moments: `MOMENTS` of the summaries.
    """

    at_bin: np.ndarray
    as_of_us: np.ndarray
    start: np.ndarray
    end: np.ndarray
    parameter: np.ndarray
    row_from: np.ndarray
    row_until: np.ndarray
    counts: np.ndarray
    moments: np.ndarray

    def pairs(self, one: int, other: int) -> tuple[slice | np.ndarray, slice | np.ndarray]:
        """Runs of two parameters, of each batch that has both."""
        return slice(one, one + 1), slice(other, other + 1)


@dataclass(frozen=True)
class HistoryRuns(Runs):
    """Rows of any batches, and all runs of summaries of one batch and parameter.

    Attributes:
        batch: Place of each run's batch in the grid.
        order: Where each row of the caller stands.
    """

    batch: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, rows: pd.DataFrame, summaries: pa.Table, grid: Grid) -> HistoryRuns:
        """Find the runs of some rows.

        Args:
            rows: Columns `batch_id`, `as_of`. `as_of` may lie anywhere in its bin when the summaries hold only what was
                available by then.
            summaries: `features.summaries.SUMMARIES`, for each batch its parameters in unbroken runs in order of time.
            grid: The grid the summaries were made with.
        """
        batch = grid.batch_ids.get_indexer(pd.Index(rows["batch_id"]))
        as_of = microseconds(rows["as_of"])
        order = np.lexsort((as_of, batch))
        batch, as_of = batch[order], as_of[order]
        run_batch, parameter, start = _runs(summaries, grid)
        return cls(
            at_bin=np.maximum(0, -(-(as_of - grid.started_us[batch]) // grid.bin_us)),
            as_of_us=as_of,
            start=start[:-1],
            end=start[1:],
            parameter=parameter,
            row_from=np.searchsorted(batch, run_batch, "left"),
            row_until=np.searchsorted(batch, run_batch, "right"),
            counts=_kernel_counts(summaries),
            moments=np.column_stack([summaries[name].to_numpy() for name in MOMENTS]),
            batch=run_batch,
            order=np.argsort(order, kind="stable"),
        )

    def of_batches(self, which: np.ndarray) -> HistoryRuns:
        """Some of the runs, by a mask."""
        names = ("start", "end", "parameter", "row_from", "row_until", "batch")
        return replace(self, **{name: getattr(self, name)[which] for name in names})

    def pairs(self, one: int, other: int) -> tuple[slice | np.ndarray, slice | np.ndarray]:
        """Runs of two parameters, of each batch that has both."""
        of_one, of_other = (np.flatnonzero(self.parameter == parameter) for parameter in (one, other))
        _, left, right = np.intersect1d(self.batch[of_one], self.batch[of_other], return_indices=True)
        return of_one[left], of_other[right]


class SeriesFamily(Protocol):
    """Features made from the summaries of batches: of a whole history, or of one batch without a frame."""

    @property
    def features(self) -> tuple[Feature, ...]:
        """One entry per column."""
        ...

    def fill(self, runs: Runs, out: np.ndarray) -> None:
        """Write one row per row of `runs` into `out`, shape (rows, columns), which holds NaN."""
        ...


def series_block(family: SeriesFamily, rows: pd.DataFrame, runs: HistoryRuns) -> Block:
    """A family's columns (float64) at every row that `runs` were made of."""
    out, names = np.full((len(rows), len(family.features)), np.nan), [f.name for f in family.features]
    # the runs of a batch write into rows of their own, so threads do not meet
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda i: family.fill(runs.of_batches(runs.batch % THREADS == i), out), range(THREADS)))
    return Block(pd.DataFrame(out[runs.order], index=rows.index, columns=names), family.features)


def _runs(summaries: pa.Table, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Batch and parameter of each run, and where it begins; one more at the end."""
    table = summaries.select(["batch_id", "parameter"]).unify_dictionaries().combine_chunks()
    if not len(table):
        empty = np.empty(0, np.int64)
        return empty, empty, np.zeros(1, np.int64)
    codes = []
    for name, known in (("batch_id", grid.batch_ids), ("parameter", grid.parameters)):
        chunk = table[name].chunk(0)
        coded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
        codes.append(known.get_indexer(pd.Index(coded.dictionary.to_pylist(), dtype="str"))[np.asarray(coded.indices)])
    batch, parameter = codes
    starts = np.flatnonzero(np.r_[True, (np.diff(batch) != 0) | (np.diff(parameter) != 0)])
    return batch[starts], parameter[starts], np.r_[starts, len(batch)]


def _kernel_counts(summaries: pa.Table) -> np.ndarray:
    counts = np.zeros((len(summaries), len(COUNTS)), np.int64)
    for i, name in enumerate(COUNTS[2:], start=2):
        column = summaries[name].cast(pa.int64()) if name != "late" else summaries[name].cast(pa.int8())
        counts[:, i] = column.fill_null(0).to_numpy()
    return counts
