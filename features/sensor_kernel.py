"""The compiled core of the sensor checks: readings that do not change, spikes, and the gap to off-line results.

It reads summaries of the same runs as `features.series` does, bin by bin: what is valid at a row's bin, in the order
in which the summaries stand. So neither order of arrival nor what became available later changes a bit.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from features.summary_kernel import behind_bin, merge

NEAR_BINS = 2  # bins on either side that a spike must depart from
SPIKE_SPREADS = 3.0  # how far, in spreads of those bins; for Gaussian noise about ten standard deviations
LEAST_NEAR = 4  # readings in those bins, below which their spread is no measure
NEWEST_GAPS = 3  # off-line results whose median counts, so that one mistyped result changes little

_BIN, _FROM, _UNTIL, _N = 2, 4, 5, 6
_FIRST_AT, _LAST_AT = 10, 11
_MEAN, _MIN, _MAX, _LAST = 0, 2, 3, 5
_US_PER_H = 3.6e9


@njit(cache=True, nogil=True)
def fill_signals(
    at_bin, run_start, run_end, run_parameter, row_from, row_until,
    counts, moments, window, low_end, high_end, flat_of, spike_of, out,
) -> None:  # fmt: skip
    """For each run of a sensor and each row of its batch: hours without change, and share of bins with a spike.

    `flat_of` and `spike_of` give a parameter's columns in `out` (-1: not a sensor); `window` counts bins;
    `low_end` and `high_end` are the ends of what is physically possible.
    """
    low, high, n = np.empty(window), np.empty(window), np.empty(window, np.int64)
    for run in range(len(run_parameter)):
        p = run_parameter[run]
        if p < 0 or flat_of[p] < 0:
            continue
        reached = run_start[run]
        for row in range(row_from[run], row_until[run]):
            k = at_bin[row]
            reached = behind_bin(counts, reached, run_end[run], k)
            out[row, flat_of[p]] = _flat_h(counts, moments, run_start[run], reached, k, low_end[p], high_end[p])
            found, end = 0, reached
            while end > run_start[run] and counts[end - 1, _BIN] > k - window:
                end, readings, lowest, highest, _, _, _ = _bin_before(counts, moments, run_start[run], end, k)
                if readings:
                    low[found], high[found], n[found] = lowest, highest, readings
                    found += 1
            spikes = _spike_share(low[:found], high[:found], n[:found], low_end[p], high_end[p])
            out[row, spike_of[p]] = spikes


@njit(cache=True, nogil=True)
def _bin_before(counts, moments, first, end, k):
    """What is valid at bin `k` of the bin whose summaries stand before `end`.

    Returns:
        Where its summaries begin, its readings, lowest and highest value, newest value, times of first and newest.
    """
    number, at = counts[end - 1, _BIN], end
    n, low, high, last = np.int64(0), np.inf, -np.inf, np.nan
    first_at, last_at = np.int64(2**63 - 1), np.int64(-(2**63))
    while at > first and counts[at - 1, _BIN] == number:
        at -= 1
        if counts[at, _N] == 0 or not counts[at, _FROM] <= k < counts[at, _UNTIL]:
            continue
        n += counts[at, _N]
        low, high = min(low, moments[at, _MIN]), max(high, moments[at, _MAX])
        first_at = min(first_at, counts[at, _FIRST_AT])
        if counts[at, _LAST_AT] > last_at:
            last, last_at = moments[at, _LAST], counts[at, _LAST_AT]
    return at, n, low, high, last, first_at, last_at


@njit(cache=True, nogil=True)
def _flat_h(counts, moments, first, end, k, low_end, high_end):
    """Hours over which the newest readings have been one value, as far as whole bins show it.

    NaN with fewer than two readings, and at an end of the range: there a signal rests because the plant is off or
    saturated, which is no fault of the sensor.
    """
    value, since, until, readings = 0.0, np.int64(0), np.int64(0), 0
    while end > first:
        end, n, low, high, last, first_at, last_at = _bin_before(counts, moments, first, end, k)
        if n == 0:
            continue
        if readings == 0:
            value, since, until = last, last_at, last_at
            if value <= low_end or value >= high_end:
                return np.nan
        readings += n
        if low != value or high != value:
            if last == value:  # its newest reading begins the run
                since = last_at
            break
        since = first_at
    return (until - since) / _US_PER_H if readings > 1 else np.nan


@njit(cache=True, nogil=True)
def _spike_share(low, high, n, low_end, high_end):
    """Share of the bins, newest first, that hold a spike; NaN where no bin has neighbours to compare it with.

    A spike departs from the bins on both sides by more than their spread explains, in one direction, while the rest
    of its bin does not: a step or an excursion of the process stays for longer than a reading. Bins that touch an end
    of the range are no measure: there noise is cut off, and a pump that stands still seems to spike.
    """
    compared, spikes = 0, 0
    for i in range(1, len(low) - 1):
        floor, ceiling, near = np.inf, -np.inf, 0
        for j in range(max(0, i - NEAR_BINS), min(len(low), i + NEAR_BINS + 1)):
            if j != i:
                floor, ceiling, near = min(floor, low[j]), max(ceiling, high[j]), near + n[j]
        spread = ceiling - floor
        if near < LEAST_NEAR or spread <= 0.0 or floor <= low_end or ceiling >= high_end:
            continue
        compared += 1
        far = SPIKE_SPREADS * spread
        up = high[i] - ceiling > far and (n[i] == 1 or low[i] - ceiling <= spread)
        down = floor - low[i] > far and (n[i] == 1 or floor - high[i] <= spread)
        spikes += up or down
    return spikes / compared if compared else np.nan


@njit(cache=True, nogil=True)
def fill_gaps(
    at_bin, sensor_start, sensor_end, assay_start, assay_end, row_from, row_until,
    counts, moments, around, scale, offset, columns, out,
) -> None:  # fmt: skip
    """For each batch with both runs and each of its rows: newest gap, median of the newest, change since the first.

    `around` counts the bins on either side of a sample whose in-line readings are averaged. An off-line result `y`
    reads `scale * y + offset` in the sensor's unit. `columns` are the places of the three in `out`.
    """
    count = np.empty(counts.shape[1], np.int64)
    moment = np.empty(moments.shape[1], np.float64)
    for pair in range(len(sensor_start)):
        gaps = np.empty(assay_end[pair] - assay_start[pair])
        for row in range(row_from[pair], row_until[pair]):
            k, s, found = at_bin[row], assay_start[pair], 0
            low = sensor_start[pair]
            while s < assay_end[pair] and counts[s, _BIN] <= k:
                sample_bin, begin = counts[s, _BIN], s
                s = behind_bin(counts, s, assay_end[pair], sample_bin)
                _merge_valid(counts, moments, begin, s, k, count, moment)
                if count[_N] == 0:
                    continue
                result = scale * moment[_MEAN] + offset
                low = behind_bin(counts, low, sensor_end[pair], sample_bin - around - 1)
                high = behind_bin(counts, low, sensor_end[pair], min(k, sample_bin + around))
                _merge_valid(counts, moments, low, high, k, count, moment)
                if count[_N]:
                    gaps[found] = moment[_MEAN] - result
                    found += 1
            if found == 0:
                continue
            out[row, columns[0]] = gaps[found - 1]
            if found >= NEWEST_GAPS:
                out[row, columns[1]] = np.median(gaps[found - NEWEST_GAPS : found])
            if found >= 2 * NEWEST_GAPS:  # no sample counts on both sides
                out[row, columns[2]] = out[row, columns[1]] - np.median(gaps[:NEWEST_GAPS])


@njit(cache=True, nogil=True)
def _merge_valid(counts, moments, begin, end, k, count, moment) -> None:
    """Merge the summaries of a span that are valid at bin `k`, in the order in which they stand."""
    count[:] = 0
    for s in range(begin, end):
        if counts[s, _FROM] <= k < counts[s, _UNTIL]:
            merge(count, moment, counts, moments, s)
