"""Signs of a sensor at fault: it departs from off-line results, no longer changes, or spikes.

The signs are no property of the batch. With them a model tells a drifting probe from a drifting process.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.dictionary import Feature, feature
from features.process import Parameter, ProcessDefinition
from features.runs import Runs
from features.sensor_kernel import fill_gaps, fill_signals
from features.summaries import limits
from features.units import convert

AROUND_H = 1.0  # on either side of a sample; with the sample's own bin longer than a historian's usual 2 h gap
GAPS = ("gap", "gap_median", "gap_change")
SIGNALS = ("flat_h", "spike_share")


@dataclass(frozen=True)
class _Gap:
    """A sensor and the assay that checks it: places in the grid, unit of the assay into the sensor's, columns."""

    sensor: int
    assay: int
    scale: float
    offset: float
    columns: np.ndarray


@dataclass(frozen=True)
class SensorSigns:
    """Signs of a fault of every sensor of a process, for a pass over a history and for single readings.

    For every sensor `.now.flat_h` (hours over which the newest readings are one value; NaN with fewer than two readings,
    or at an end of its range) and `.<longest window>.spike_share` (share of bins with an isolated extreme; NaN where no
    bin has neighbours to compare it with). For a sensor with `checked_by`: `.now.gap` (in line less off line at the
    newest sample whose result is known, in the sensor's unit), `.now.gap_median` (of the newest three samples; NaN with
    fewer) and `.since_start.gap_change` (that median less the median of the first three; NaN with fewer than six). A
    sample without in-line readings around it has no gap.

    Attributes:
        features: One entry per column.
        window_bins: Length of the window in which spikes are counted.
        around_bins: Bins on either side of a sample whose in-line readings count.
        low: Lower end of the range of each parameter of the grid, -inf where open.
        high: Upper end, inf where open.
        flat: Column of `flat_h` by parameter, -1 where it is no sensor.
        spike: Column of `spike_share` by parameter, -1 where it is no sensor.
        gaps: Sensors that an assay checks.
    """

    features: tuple[Feature, ...]
    window_bins: int
    around_bins: int
    low: np.ndarray
    high: np.ndarray
    flat: np.ndarray
    spike: np.ndarray
    gaps: tuple[_Gap, ...]

    @classmethod
    def of(cls, process: ProcessDefinition) -> SensorSigns:
        """The plan of all sensors that are not excluded."""
        features = [feature for sensor in process.features_of("sensor") for feature in _features(sensor, process)]
        column = {feature.name: i for i, feature in enumerate(features)}
        hours, bin_h = _window_h(process), process.process.bin_h
        parameters = process.features_of("sensor", "assay")
        flat, spike = (
            np.array([column.get(f"{p.name}.{of}", -1) for p in parameters], np.int64)
            for of in ("now.flat_h", f"last_{hours:g}h.spike_share")
        )
        return cls(
            tuple(features),
            max(1, round(hours / bin_h)),
            round(AROUND_H / bin_h),
            *limits(p.range for p in parameters),
            flat,
            spike,
            tuple(_gap(sensor, process, column) for sensor in process.features_of("sensor") if sensor.checked_by),
        )

    def fill(self, runs: Runs, out: np.ndarray) -> None:
        """Write the signs into `out`, one row per row of `runs`, filled with NaN."""
        spans, summaries = (runs.start, runs.end), (runs.counts, runs.moments)
        plan = (self.window_bins, self.low, self.high, self.flat, self.spike)
        fill_signals(runs.at_bin, *spans, runs.parameter, runs.row_from, runs.row_until, *summaries, *plan, out)
        for gap in self.gaps:
            inline, offline = runs.pairs(gap.sensor, gap.assay)
            pair = (runs.start[inline], runs.end[inline], runs.start[offline], runs.end[offline])
            own_rows = (runs.row_from[inline], runs.row_until[inline])
            scale = (self.around_bins, gap.scale, gap.offset)
            fill_gaps(runs.at_bin, *pair, *own_rows, *summaries, *scale, gap.columns, out)


def _gap(sensor: Parameter, process: ProcessDefinition, column: dict[str, int]) -> _Gap:
    names = [p.name for p in process.features_of("sensor", "assay")]
    assay = process[str(sensor.checked_by)]
    offset, one = (float(value) for value in convert([0.0, 1.0], assay.unit, sensor.unit))
    columns = np.array([column[f.name] for f in _gap_features(sensor)])
    return _Gap(names.index(sensor.name), names.index(assay.name), one - offset, offset, columns)


def _features(sensor: Parameter, process: ProcessDefinition) -> list[Feature]:
    hours = _window_h(process)
    over = f"share of bins with a spike of {sensor.label} over the last {hours:g} h"
    name, label = sensor.name, sensor.label
    flat = feature(name, "now", "flat_h", label=label, unit="h", meaning=f"hours for which {label} has not changed")
    spikes = feature(name, f"last_{hours:g}h", "spike_share", label=label, meaning=over)
    return [flat, spikes, *(_gap_features(sensor) if sensor.checked_by else ())]


def _gap_features(sensor: Parameter) -> tuple[Feature, ...]:
    kinds = (
        ("now", "gap", " at the newest sample"),
        ("now", "gap_median", ", median of the newest three samples"),
        ("since_start", "gap_change", ", change since the first three samples"),
    )
    name, label, unit = sensor.name, sensor.label, sensor.unit
    return tuple(
        feature(name, window, statistic, label=label, unit=unit, meaning=f"{label} less its off-line result{which}")
        for window, statistic, which in kinds
    )


def _window_h(process: ProcessDefinition) -> float:
    """The longest recent window; the planned duration where there is none."""
    return max(process.process.windows_h, default=process.process.planned_duration_h)
