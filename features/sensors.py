"""Signs of a sensor at fault: it departs from off-line results, no longer changes, or spikes.

They say nothing of the batch. A model reads them to tell a probe that drifts from a process that does.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from features.dictionary import Block, Feature
from features.process import Parameter, ProcessDefinition
from features.runs import Places, Runs, kernel_columns
from features.sensor_kernel import fill_gaps, fill_signals
from features.series import THREADS
from features.summaries import Grid
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
    """The columns of all sensors of a process: one plan for a pass over a history and for single readings.

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
            np.array([-np.inf if p.range[0] is None else p.range[0] for p in parameters]),
            np.array([np.inf if p.range[1] is None else p.range[1] for p in parameters]),
            flat,
            spike,
            tuple(_gap(sensor, process, column) for sensor in process.features_of("sensor") if sensor.checked_by),
        )

    def fill(self, runs: Runs, out: np.ndarray) -> None:
        """Write the signs of one batch at one moment into `out`, shape (1, columns), filled with NaN."""
        summaries = (runs.counts, runs.moments)
        spans = (runs.start, runs.end, runs.parameter, runs.row_from, runs.row_until)
        self.signals(runs.at_bin, *spans, *summaries, out)
        for gap in self.gaps:
            inline, offline = slice(gap.sensor, gap.sensor + 1), slice(gap.assay, gap.assay + 1)
            pair = (runs.start[inline], runs.end[inline], runs.start[offline], runs.end[offline])
            self.gap(gap, runs.at_bin, *pair, runs.row_from[inline], runs.row_until[inline], *summaries, out)

    def signals(self, at_bin: np.ndarray, *arrays: np.ndarray) -> None:
        """Signs of the sensors alone; the arrays are those of `fill_signals`."""
        *spans, counts, moments, out = arrays
        limits = (self.window_bins, self.low, self.high, self.flat, self.spike)
        fill_signals(at_bin, *spans, counts, moments, *limits, out)

    def gap(self, gap: _Gap, at_bin: np.ndarray, *arrays: np.ndarray) -> None:
        """Signs against off-line results; the arrays are those of `fill_gaps`."""
        *spans, counts, moments, out = arrays
        fill_gaps(at_bin, *spans, counts, moments, self.around_bins, gap.scale, gap.offset, gap.columns, out)


def sensors(rows: pd.DataFrame, summaries: pa.Table, grid: Grid, process: ProcessDefinition) -> Block:
    """Signs of a fault of every sensor at every row.

    Args:
        rows: Columns `batch_id`, `checkpoint_h`, `started_at`, `as_of`; unique index.
        summaries: `features.summaries.SUMMARIES`, for each batch its parameters in unbroken runs in order of time.
        grid: The grid the summaries were made with.
        process: Gives the sensors, the assays that check them, and the bins.

    Returns:
        float64 columns. For every sensor `.now.flat_h` (hours over which the newest readings are one value; NaN with
        fewer than two readings, or at an end of its range) and `.<longest window>.spike_share` (share of bins with an
        isolated extreme; NaN where no bin has neighbours to be judged by). For a sensor with `checked_by`: `.now.gap`
        (in line less off line at the newest sample whose result is known, in the sensor's unit), `.now.gap_median`
        (of the newest three samples; NaN with fewer) and `.since_start.gap_change` (that median less the median of the
        first three; NaN with fewer than six). A sample without in-line readings around it has no gap.
    """
    signs, place = SensorSigns.of(process), Places.of(rows, summaries, grid)
    counts, moments = kernel_columns(summaries)
    out = np.full((len(rows), len(signs.features)), np.nan)

    def share_of(share: slice) -> None:
        spans = (place.run_start[:-1][share], place.run_start[1:][share], place.run_parameter[share])
        signs.signals(
            place.at_bin, *spans, place.row_from[share], place.row_until[share], counts, moments, out
        )  # fmt: skip

    # each run of a batch and parameter has cells of its own, so threads do not meet
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(share_of, (slice(i, None, THREADS) for i in range(THREADS))))
    for gap in signs.gaps:
        inline, offline = _pairs(place, gap)
        ends = (place.run_start[inline], place.run_start[inline + 1])
        pair = (*ends, place.run_start[offline], place.run_start[offline + 1])
        signs.gap(gap, place.at_bin, *pair, place.row_from[inline], place.row_until[inline], counts, moments, out)
    values = pd.DataFrame(out[place.back], index=rows.index, columns=[f.name for f in signs.features])
    return Block(values, signs.features)


def _gap(sensor: Parameter, process: ProcessDefinition, column: dict[str, int]) -> _Gap:
    names = [p.name for p in process.features_of("sensor", "assay")]
    assay = process[str(sensor.checked_by)]
    offset, one = (float(value) for value in convert([0.0, 1.0], assay.unit, sensor.unit))
    columns = np.array([column[f.name] for f in _gap_features(sensor)])
    return _Gap(names.index(sensor.name), names.index(assay.name), one - offset, offset, columns)


def _pairs(place: Places, gap: _Gap) -> tuple[np.ndarray, np.ndarray]:
    """Runs of the sensor and of its assay, of each batch that has both."""
    of_sensor, of_assay = (np.flatnonzero(place.run_parameter == n) for n in (gap.sensor, gap.assay))
    _, left, right = np.intersect1d(place.run_batch[of_sensor], place.run_batch[of_assay], return_indices=True)
    return of_sensor[left], of_assay[right]


def _features(sensor: Parameter, process: ProcessDefinition) -> list[Feature]:
    hours = _window_h(process)
    over = f"share of bins with a spike of {sensor.label} over the last {hours:g} h"
    flat = _feature(sensor, "now", "flat_h", "h", f"hours for which {sensor.label} has not changed")
    spikes = _feature(sensor, f"last_{hours:g}h", "spike_share", "", over)
    return [flat, spikes, *(_gap_features(sensor) if sensor.checked_by else ())]


def _gap_features(sensor: Parameter) -> tuple[Feature, ...]:
    against = f"{sensor.label} less its off-line result"
    return (
        _feature(sensor, "now", "gap", sensor.unit, f"{against} at the newest sample"),
        _feature(sensor, "now", "gap_median", sensor.unit, f"{against}, median of the newest three samples"),
        _feature(sensor, "since_start", "gap_change", sensor.unit, f"{against}, change since the first three samples"),
    )


def _feature(sensor: Parameter, window: str, statistic: str, unit: str, meaning: str) -> Feature:
    name = f"{sensor.name}.{window}.{statistic}"
    return Feature(name, sensor.name, sensor.label, unit, window, statistic, meaning)


def _window_h(process: ProcessDefinition) -> float:
    """The longest recent window; the planned duration where there is none."""
    return max(process.process.windows_h, default=process.process.planned_duration_h)
