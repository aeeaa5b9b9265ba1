"""Statistics of a batch's own series, at each row of a snapshot: since the start and over recent windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.dictionary import Feature, feature
from features.process import Parameter, ProcessDefinition
from features.runs import Runs
from features.series_kernel import fill_statistics

PREVIOUS = "previous"  # what a newest value is compared with; no model learns from it
STATISTICS = (
    "mean", "sd", "min", "max", "last", "delta", "slope", "below_normal_share", "above_normal_share", "bad_share", "age_h",
    "previous",
)  # fmt: skip
_MEANING = {
    "mean": "mean", "sd": "standard deviation", "min": "lowest value", "max": "highest value", "last": "newest value",
    "delta": "change from first to newest value", "slope": "slope", "below_normal_share": "share of readings below normal",
    "above_normal_share": "share of readings above normal", "bad_share": "share of readings of bad quality",
    "age_h": "age of the newest value", "previous": "value before the newest",
}  # fmt: skip
# How often something was measured is not among the statistics: people measure more often when they worry, and a
# model that sees it repeats their worry instead of adding to it (docs/decisions/0003-informative-sampling.md).
_SINCE_START = {
    "sensor": tuple(statistic for statistic in STATISTICS if statistic not in ("delta", PREVIOUS)),
    "assay": ("last", "delta", "slope", "age_h", PREVIOUS),
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
    """Statistics of every sensor and assay of a process, for a pass over a history and for single readings.

    Columns are `parameter.window.statistic`. NaN where there is no reading, or too few for the statistic (two for `sd`,
    two different times for `slope`, readings in two bins for `previous`).

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
        """Write the statistics into `out`, one row per row of `runs`, filled with NaN."""
        columns = (runs.counts, runs.moments, self.windows, self.column_of, out)
        fill_statistics(
            runs.at_bin, runs.as_of_us, runs.start, runs.end, runs.parameter, runs.row_from, runs.row_until, *columns
        )


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
    meaning = f"{_MEANING[statistic]} of {parameter.label}" + (
        "" if statistic in ("last", "age_h", PREVIOUS) else f" {words}"
    )
    entry = feature(parameter.name, name, statistic, label=parameter.label, unit=unit, meaning=meaning)
    return _Wanted(entry, number, window, STATISTICS.index(statistic))
