"""Levels of a batch's sensors now and some hours ago: what a sensor is expected to read is worked out from them.

A sensor's level is a mean over a few bins; a bin without a reading takes the mean of the newest one before it. The lags
are the two shortest windows of the process, so a process without two windows has no such columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.course_kernel import fill_levels
from features.dictionary import Feature, feature
from features.process import Parameter, ProcessDefinition
from features.runs import Runs

LAG = "lag_"  # how the window of every column of this family begins
_LEAST_SENSORS = 2  # with one there is nothing to expect it from


@dataclass(frozen=True)
class Lags:
    """Hours of a process from which its levels are made.

    Attributes:
        lag_h: Its shortest window.
        long_h: Its second shortest.
        level_h: Length of a level: half the lag, one bin at least.
        short_h: Length of the shortest mean: a sixth of the lag, one bin at least.
    """

    lag_h: float
    long_h: float
    level_h: float
    short_h: float

    @classmethod
    def of(cls, process: ProcessDefinition) -> Lags | None:
        """Of a process; None where it has fewer than two windows or sensors."""
        windows, bin_h = sorted(process.process.windows_h)[:2], process.process.bin_h
        if len(windows) < 2 or len(process.features_of("sensor")) < _LEAST_SENSORS:
            return None
        level, short = (max(1, round(windows[0] / part / bin_h)) * bin_h for part in (2, 6))
        return cls(windows[0], windows[1], level, short)

    @property
    def levels(self) -> tuple[tuple[float, float, str], ...]:
        """Hours ago, hours averaged and kind of each column of a sensor; kinds differ where hours may be the same."""
        lag, level = self.lag_h, self.level_h
        return (
            (0.0, level, "mean"),
            (lag, self.short_h, "short"),
            (lag, level, "mean"),
            (2 * lag, level, "mean"),
            (self.long_h, level, "long"),
        )


@dataclass(frozen=True)
class CoursePlan:
    """Levels of every sensor, for a pass over a history and for single readings.

    Columns are `sensor.lag_<h>h.<kind>_<h>h`, for each sensor in the order of `Lags.levels`. A level counts what is known
    at the row's moment of the bins it spans; it is NaN where one of them has no reading in itself or within a lag before.

    Attributes:
        features: One entry per column.
        lags: Bins between the row and the newest bin of each level.
        lengths: Bins that each level averages.
        carried: Bins before a bin without a reading in which one is looked for.
        first_of: First column by place of the parameter in the grid; -1 where it is no sensor.
    """

    features: tuple[Feature, ...]
    lags: np.ndarray
    lengths: np.ndarray
    carried: int
    first_of: np.ndarray

    @classmethod
    def of(cls, process: ProcessDefinition) -> CoursePlan:
        """The plan of all sensors that are not excluded."""
        hours, parameters = Lags.of(process), process.features_of("sensor", "assay")
        levels = hours.levels if hours else ()
        entries: list[Feature] = []
        first_of = np.full(len(parameters), -1, np.int64)
        for number, parameter in enumerate(parameters if hours else ()):
            if parameter.kind == "sensor":
                first_of[number] = len(entries)
                entries += [_level(parameter, *level) for level in levels]
        hours_of = [level[:2] for level in levels]
        bins = np.rint(np.array(hours_of, float).reshape(-1, 2) / process.process.bin_h).astype(np.int64)
        carried = round(hours.lag_h / process.process.bin_h) if hours else 0
        return cls(tuple(entries), bins[:, 0], bins[:, 1], carried, first_of)

    def fill(self, runs: Runs, out: np.ndarray) -> None:
        """Write the levels into `out`, one row per row of `runs`, filled with NaN."""
        if self.features:
            where = (runs.at_bin, runs.start, runs.end, runs.parameter, runs.row_from, runs.row_until)
            plan = (self.lags, self.lengths, self.carried, self.first_of)
            fill_levels(*where, runs.counts, runs.moments, *plan, out)


def is_course(entry: Feature) -> bool:
    """Whether a column belongs to this family: input of expectations, and of nothing else."""
    return entry.window.startswith(LAG)


def reaches_back_h(entry: Feature) -> float:
    """Hours from the row back to the oldest bin of a level."""
    return sum(float(part.split("_")[1].removesuffix("h")) for part in (entry.window, entry.statistic))


def _level(sensor: Parameter, ago_h: float, mean_h: float, kind: str) -> Feature:
    when = f"{ago_h:g} h ago" if ago_h else "now"
    meaning = f"mean of {sensor.label} over {mean_h:g} h, {when}"
    window, statistic = f"{LAG}{ago_h:g}h", f"{kind}_{mean_h:g}h"
    return feature(sensor.name, window, statistic, label=sensor.label, unit=sensor.unit, meaning=meaning)
