"""The compiled core of the levels: means of bins, carried over bins without a reading."""

from __future__ import annotations

import numpy as np
from numba import njit

from features.summary_kernel import behind_bin

_BIN, _FROM, _UNTIL, _N = 2, 4, 5, 6
_MEAN = 0


@njit(cache=True, nogil=True)
def fill_levels(
    at_bin, run_start, run_end, run_parameter, row_from, row_until, counts, moments, lags, lengths, carried,
    first_of, out,
) -> None:  # fmt: skip
    """For each run of a sensor and each row of its batch: the levels of some hours ago, as known at the row's bin.

    `first_of` gives the first of a parameter's columns in `out` (-1: not a sensor), one for each of `lags`.
    """
    deepest = (lags + lengths).max()
    means = np.empty(deepest)
    for run in range(len(run_parameter)):
        p = run_parameter[run]
        if p < 0 or first_of[p] < 0:
            continue
        reached = run_start[run]
        for row in range(row_from[run], row_until[run]):
            k = at_bin[row]
            reached = behind_bin(counts, reached, run_end[run], k)
            _bin_means(counts, moments, run_start[run], reached, k, carried, means)
            for i in range(len(lags)):
                out[row, first_of[p] + i] = means[lags[i] : lags[i] + lengths[i]].mean()


@njit(cache=True, nogil=True)
def _bin_means(counts, moments, first, end, k, carried, means) -> None:
    """Mean of the readings of bin `k - i` valid at `k`, at place `i`; that of the newest bin before it where it has none.

    NaN where none of the `carried` bins before it has a reading either.
    """
    means[:] = np.nan
    while end > first and k - counts[end - 1, _BIN] < len(means) + carried:
        number, n, total = counts[end - 1, _BIN], 0, 0.0
        while end > first and counts[end - 1, _BIN] == number:
            end -= 1
            if counts[end, _N] and counts[end, _FROM] <= k < counts[end, _UNTIL]:
                n += counts[end, _N]
                total += counts[end, _N] * moments[end, _MEAN]
        if n:
            own = k - number
            for place in range(max(0, own - carried), min(own + 1, len(means))):
                if np.isnan(means[place]):  # newer bins were seen first
                    means[place] = total / n
