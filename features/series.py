"""Statistics of a batch's own series, at each row of a snapshot: since the start and over recent windows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numba import njit

from features.dictionary import Block, Feature
from features.process import Parameter, ProcessDefinition
from features.runs import Places, Runs, kernel_columns
from features.summaries import Grid
from features.summary_kernel import merge

THREADS = 2
STATISTICS = (
    "mean", "sd", "min", "max", "last", "delta", "slope", "below_normal_share", "above_normal_share", "bad_share", "age_h",
)  # fmt: skip
_MEANING = {
    "mean": "mean", "sd": "standard deviation", "min": "lowest value", "max": "highest value", "last": "newest value",
    "delta": "change from first to newest value", "slope": "slope", "below_normal_share": "share of readings below normal",
    "above_normal_share": "share of readings above normal", "bad_share": "share of readings of bad quality",
    "age_h": "age of the newest value",
}  # fmt: skip
# How often something was measured is not among the statistics: people measure more often when they worry, and a
# model that sees it repeats their worry instead of adding to it (docs/decisions/0003-informative-sampling.md).
_SINCE_START = {
    "sensor": (
        "mean",
        "sd",
        "min",
        "max",
        "last",
        "slope",
        "below_normal_share",
        "above_normal_share",
        "bad_share",
        "age_h",
    ),
    "assay": ("last", "delta", "slope", "age_h"),
}
_IN_WINDOW = {"sensor": ("mean", "sd", "min", "max", "slope", "below_normal_share", "above_normal_share"), "assay": ()}


@dataclass(frozen=True)
class _Wanted:
    """One feature of a series and the place of its number: window 0 is since the start."""

    feature: Feature
    parameter: int
    window: int
    statistic: int


@dataclass(frozen=True)
class SeriesPlan:
    """The columns of a process's series: one plan for a pass over a history and for single readings.

    Attributes:
        features: One entry per column.
        windows: Lengths of the windows in bins; 0 is since the start.
        column_of: Column by place of the parameter in the grid, window and statistic; -1 where it is not wanted.
    """

    features: tuple[Feature, ...]
    windows: np.ndarray
    column_of: np.ndarray

    @classmethod
    def of(cls, process: ProcessDefinition) -> SeriesPlan:
        """The plan of all sensors and assays that are not excluded."""
        head, wanted = process.process, _wanted(process)
        windows = np.asarray([0, *(round(h / head.bin_h) for h in head.windows_h)], np.int64)
        column_of = np.full((len(process.features_of("sensor", "assay")), len(windows), len(STATISTICS)), -1, np.int64)
        for column, w in enumerate(wanted):
            column_of[w.parameter, w.window, w.statistic] = column
        return cls(tuple(w.feature for w in wanted), windows, column_of)

    def fill(self, runs: Runs, out: np.ndarray) -> None:
        """Write the statistics of one batch at one moment into `out`, shape (1, columns), filled with NaN."""
        columns = (runs.counts, runs.moments, self.windows, self.column_of, out)
        fill(runs.at_bin, runs.as_of_us, runs.start, runs.end, runs.parameter, runs.row_from, runs.row_until, *columns)


def series(rows: pd.DataFrame, summaries: pa.Table, grid: Grid, process: ProcessDefinition) -> Block:
    """Statistics of every sensor and assay at every row.

    Args:
        rows: Columns `batch_id`, `checkpoint_h`, `started_at`, `as_of`; unique index. `as_of` may lie anywhere in its
            bin when the summaries hold only what was available by then.
        summaries: `features.summaries.SUMMARIES`, for each batch its parameters in unbroken runs in order of time.
        grid: The grid the summaries were made with.
        process: Gives parameters, windows and bins.

    Returns:
        float64 columns `parameter.window.statistic`. NaN where there is no reading, or too few for the statistic
        (two for `sd`, two different times for `slope`).
    """
    plan = SeriesPlan.of(process)
    place = Places.of(rows, summaries, grid)
    out = np.full((len(rows), len(plan.features)), np.nan)
    counts, moments = kernel_columns(summaries)

    def share_of(share: slice) -> None:
        runs = (place.run_parameter[share], place.row_from[share], place.row_until[share])
        spans = (place.run_start[:-1][share], place.run_start[1:][share])
        fill(place.at_bin, place.as_of_us, *spans, *runs, counts, moments, plan.windows, plan.column_of, out)

    # each run of a batch and parameter has cells of its own, so threads do not meet
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(share_of, (slice(i, None, THREADS) for i in range(THREADS))))
    values = pd.DataFrame(out[place.back], index=rows.index, columns=[f.name for f in plan.features])
    return Block(values, plan.features)


def _wanted(process: ProcessDefinition) -> list[_Wanted]:
    made = []
    for number, parameter in enumerate(process.features_of("sensor", "assay")):
        made += [_want(parameter, number, 0, "since_start", "since the start", s) for s in _SINCE_START[parameter.kind]]
        for window, hours in enumerate(process.process.windows_h, start=1):
            made += [
                _want(parameter, number, window, f"last_{hours:g}h", f"over the last {hours:g} h", s)
                for s in _IN_WINDOW[parameter.kind]
            ]
    return made


def _want(parameter: Parameter, number: int, window: int, name: str, words: str, statistic: str) -> _Wanted:
    unit = {"slope": f"{parameter.unit}/h", "age_h": "h"}.get(
        statistic, "" if statistic.endswith("_share") else parameter.unit
    )
    meaning = f"{_MEANING[statistic]} of {parameter.label}" + ("" if statistic in ("last", "age_h") else f" {words}")
    feature = Feature(
        f"{parameter.name}.{name}.{statistic}", parameter.name, parameter.label, unit, name, statistic, meaning
    )
    return _Wanted(feature, number, window, STATISTICS.index(statistic))


_BIN, _LATE, _FROM, _UNTIL, _N, _BAD, _BELOW, _ABOVE, _FIRST_AT, _LAST_AT = range(2, 12)
_MEAN, _M2, _MIN, _MAX, _FIRST, _LAST, _T_MEAN, _T_M2, _TV = range(9)


@njit(cache=True, nogil=True)
def fill(
    at_bin, as_of, run_start, run_end, run_parameter, row_from, row_until, counts, moments, windows, column_of, out
) -> None:
    """For each run of summaries, each row of its batch and each window: merge, then write the statistics.

    Args:
        at_bin: Bin in which each row's `as_of` lies; rows in order of batch and time.
        as_of: Microseconds since the epoch.
        run_start: First summary of each run of one batch and parameter.
        run_end: Behind its last summary.
        run_parameter: Place of its parameter in the grid, -1 where it is not wanted.
        row_from: First row of its batch.
        row_until: Behind the last row of its batch.
        counts: `COUNTS` of the summaries, int64.
        moments: `MOMENTS` of the summaries.
        windows: `SeriesPlan.windows`.
        column_of: `SeriesPlan.column_of`.
        out: Rows by columns, filled with NaN beforehand.
    """
    count = np.empty(counts.shape[1], np.int64)
    moment = np.empty(moments.shape[1], np.float64)
    for run in range(len(run_parameter)):
        first, end, p = run_start[run], run_end[run], run_parameter[run]
        if p < 0:
            continue
        has_late, has_versions = False, False
        for s in range(first, end):
            has_late |= counts[s, _LATE] == 1
            has_versions |= counts[s, _LATE] == 0 and counts[s, _UNTIL] != 2**31 - 1
        prefix_count = np.zeros(counts.shape[1], np.int64)
        prefix_moment = np.empty(moments.shape[1], np.float64)
        reached = first
        for row in range(row_from[run], row_until[run]):
            k = at_bin[row]
            if has_versions:  # a bin may have changed since the row before: no prefix to build on
                reached = first
                prefix_count[:] = 0
            while reached < end and counts[reached, _BIN] <= k:
                if counts[reached, _LATE] == 0 and counts[reached, _FROM] <= k < counts[reached, _UNTIL]:
                    merge(prefix_count, prefix_moment, counts, moments, reached)
                reached += 1
            for w in range(len(windows)):
                if w == 0:
                    count[:] = prefix_count
                    moment[:] = prefix_moment
                    back = first
                else:
                    count[:] = 0
                    back = reached
                    while back > first and counts[back - 1, _BIN] > k - windows[w]:
                        back -= 1
                    for s in range(back, reached):
                        if counts[s, _LATE] == 0 and counts[s, _FROM] <= k < counts[s, _UNTIL]:
                            merge(count, moment, counts, moments, s)
                if has_late:
                    for s in range(back, reached):
                        if counts[s, _LATE] == 1 and counts[s, _FROM] <= k < counts[s, _UNTIL]:
                            merge(count, moment, counts, moments, s)
                _write(count, moment, as_of[row], column_of[p, w], out[row])


@njit(cache=True, nogil=True)
def _write(count, moment, as_of, column, out) -> None:
    n, n_bad = count[_N], count[_BAD]
    if column[9] >= 0 and n + n_bad > 0:
        out[column[9]] = n_bad / (n + n_bad)
    if n == 0:
        return
    statistics = (
        moment[_MEAN],
        np.sqrt(moment[_M2] / (n - 1)) if n > 1 else np.nan,
        moment[_MIN],
        moment[_MAX],
        moment[_LAST],
        moment[_LAST] - moment[_FIRST],
        moment[_TV] / moment[_T_M2] if n > 1 and moment[_T_M2] > 0 else np.nan,
        count[_BELOW] / n,
        count[_ABOVE] / n,
    )
    for i in range(9):
        if column[i] >= 0:
            out[column[i]] = statistics[i]
    if column[10] >= 0:
        out[column[10]] = (as_of - count[_LAST_AT]) / 3.6e9
