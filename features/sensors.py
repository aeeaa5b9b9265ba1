"""Signs of a sensor at fault: it departs from off-line results, no longer changes, or spikes.

They say nothing of the batch. A model reads them to tell a probe that drifts from a process that does.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pyarrow as pa

from features.dictionary import Block, Feature
from features.process import Parameter, ProcessDefinition
from features.runs import Places, kernel_columns
from features.sensor_kernel import fill_gaps, fill_signals
from features.series import THREADS
from features.summaries import Grid
from features.units import convert

AROUND_H = 1.0  # on either side of a sample; with the sample's own bin longer than a historian's usual 2 h gap
GAPS = ("gap", "gap_median", "gap_change")
SIGNALS = ("flat_h", "spike_share")


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
    wanted = process.features_of("sensor")
    features = [feature for sensor in wanted for feature in _features(sensor, process)]
    column = {feature.name: i for i, feature in enumerate(features)}
    place = Places.of(rows, summaries, grid)
    counts, moments = kernel_columns(summaries)
    out = np.full((len(rows), len(features)), np.nan)
    _signals(place, grid, process, counts, moments, column, out)
    for sensor in wanted:
        if sensor.checked_by:
            places = np.array([column[f.name] for f in _gap_features(sensor)])
            _gaps(place, grid, sensor, process[sensor.checked_by], counts, moments, places, out)
    values = pd.DataFrame(out[place.back], index=rows.index, columns=list(column))
    return Block(values, tuple(features))


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


def _signals(
    place: Places, grid: Grid, process: ProcessDefinition, counts: np.ndarray, moments: np.ndarray,
    column: dict[str, int], out: np.ndarray,
) -> None:  # fmt: skip
    hours = _window_h(process)
    bins = max(1, round(hours / process.process.bin_h))
    flat, spike = (
        np.array([column.get(f"{name}.{of}", -1) for name in grid.parameters], np.int64)
        for of in ("now.flat_h", f"last_{hours:g}h.spike_share")
    )
    ranges = [process[name].range for name in grid.parameters]
    low = np.array([-np.inf if r[0] is None else r[0] for r in ranges])
    high = np.array([np.inf if r[1] is None else r[1] for r in ranges])

    def fill(share: slice) -> None:
        spans = (place.run_start[:-1][share], place.run_start[1:][share], place.run_parameter[share])
        of_rows = (place.row_from[share], place.row_until[share])
        fill_signals(place.at_bin, *spans, *of_rows, counts, moments, bins, low, high, flat, spike, out)

    # each run of a batch and parameter has cells of its own, so threads do not meet
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(fill, (slice(i, None, THREADS) for i in range(THREADS))))


def _gaps(
    place: Places, grid: Grid, sensor: Parameter, assay: Parameter, counts: np.ndarray, moments: np.ndarray,
    columns: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    number = grid.parameters.get_indexer(pd.Index([sensor.name, assay.name]))
    of_sensor, of_assay = (np.flatnonzero(place.run_parameter == n) for n in number)
    _, left, right = np.intersect1d(place.run_batch[of_sensor], place.run_batch[of_assay], return_indices=True)
    inline, offline = of_sensor[left], of_assay[right]
    offset, one = convert([0.0, 1.0], assay.unit, sensor.unit)
    spans = (
        place.run_start[inline],
        place.run_start[inline + 1],
        place.run_start[offline],
        place.run_start[offline + 1],
    )
    around = round(AROUND_H * 3.6e9 / grid.bin_us)
    of_rows = (place.row_from[inline], place.row_until[inline])
    fill_gaps(place.at_bin, *spans, *of_rows, counts, moments, around, one - offset, offset, columns, out)
