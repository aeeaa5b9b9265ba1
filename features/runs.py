"""Where rows and summaries meet: the runs of one batch and parameter, and the rows of that batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
import pyarrow as pa

from features.dictionary import Feature
from features.summaries import Grid, microseconds
from features.summary_kernel import COUNTS, MOMENTS


@dataclass(frozen=True)
class Places:
    """Rows in order of batch and time, and for every run of summaries the rows of its batch.

    Attributes:
        at_bin: Bin in which each row's `as_of` lies, in that order.
        as_of_us: The rows' `as_of`.
        run_start: First summary of each run of one batch and parameter; one more at the end.
        run_batch: Place of its batch in the grid.
        run_parameter: Place of its parameter in the grid.
        row_from: First row of its batch.
        row_until: Behind the last row of its batch.
        back: Where each row of the caller stands in that order.
    """

    at_bin: np.ndarray
    as_of_us: np.ndarray
    run_start: np.ndarray
    run_batch: np.ndarray
    run_parameter: np.ndarray
    row_from: np.ndarray
    row_until: np.ndarray
    back: np.ndarray

    @classmethod
    def of(cls, rows: pd.DataFrame, summaries: pa.Table, grid: Grid) -> Places:
        """Put rows (`batch_id`, `as_of`) and summaries of the same grid in their places."""
        batch = grid.batch_ids.get_indexer(pd.Index(rows["batch_id"]))
        as_of = microseconds(rows["as_of"])
        order = np.lexsort((as_of, batch))
        batch, as_of = batch[order], as_of[order]
        elapsed = as_of - grid.started_us[batch]
        run_batch, run_parameter, run_start = _runs(summaries, grid)
        return cls(
            at_bin=np.maximum(0, -(-elapsed // grid.bin_us)),
            as_of_us=as_of,
            run_start=run_start,
            run_batch=run_batch,
            run_parameter=run_parameter,
            row_from=np.searchsorted(batch, run_batch, "left"),
            row_until=np.searchsorted(batch, run_batch, "right"),
            back=np.argsort(order, kind="stable"),
        )


def _runs(summaries: pa.Table, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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


def kernel_columns(summaries: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Counts and moments of the summaries as the kernel has them (batch and parameter are left 0)."""
    counts = np.zeros((len(summaries), len(COUNTS)), np.int64)
    for i, name in enumerate(COUNTS[2:], start=2):
        column = summaries[name].cast(pa.int64()) if name != "late" else summaries[name].cast(pa.int8())
        counts[:, i] = column.fill_null(0).to_numpy()
    moments = np.empty((len(summaries), len(MOMENTS)))
    for i, name in enumerate(MOMENTS):
        moments[:, i] = summaries[name].to_numpy()
    return counts, moments


@dataclass(frozen=True)
class Runs:
    """Rows asked for, and the summaries of their batches, in the order of the kernels' arguments.

    Attributes:
        at_bin: Bin in which each row's `as_of` lies; rows in order of batch and time.
        as_of_us: Microseconds since the epoch.
        start: First summary of each run of one batch and parameter.
        end: Behind its last summary.
        parameter: Place of its parameter in the grid.
        row_from: First row of its batch.
        row_until: Behind the last row of its batch.
        counts: `COUNTS` of the summaries, int64.
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


class SeriesFamily(Protocol):
    """Features made from the summaries of a batch: asked about one batch at one moment, without a frame."""

    @property
    def features(self) -> tuple[Feature, ...]:
        """One entry per column."""
        ...

    def fill(self, runs: Runs, out: np.ndarray) -> None:
        """Write the row of `out`, shape (1, columns), which holds NaN; run `i` is that of parameter `i`."""
        ...
