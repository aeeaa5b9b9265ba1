"""The compiled core of the statistics of series: summaries merged up to a row, and over its windows."""

from __future__ import annotations

import numpy as np
from numba import njit

from features.summary_kernel import behind_bin, merge

_BIN, _LATE, _FROM, _UNTIL, _N, _BAD, _BELOW, _ABOVE, _FIRST_AT, _LAST_AT = range(2, 12)
_MEAN, _M2, _MIN, _MAX, _FIRST, _LAST, _T_MEAN, _T_M2, _TV = range(9)
_PREVIOUS = 11  # place of the statistic in `features.series.STATISTICS`


@njit(cache=True, nogil=True)
def fill_statistics(
    at_bin, as_of, run_start, run_end, run_parameter, row_from, row_until, counts, moments, windows, column_of, out
) -> None:
    """For each run of summaries, each row of its batch and each window: merge, then write the statistics.

    The arguments are those of `features.runs.Runs` (`run_parameter` is -1 where the parameter is not wanted) and of
    `features.series.SeriesPlan`; `out` has rows by columns and is filled with NaN beforehand.
    """
    count, prefix_count = np.empty(counts.shape[1], np.int64), np.empty(counts.shape[1], np.int64)
    moment, prefix_moment = np.empty(moments.shape[1], np.float64), np.empty(moments.shape[1], np.float64)
    for run in range(len(run_parameter)):
        first, end, p = run_start[run], run_end[run], run_parameter[run]
        if p < 0:
            continue
        has_late, has_versions = _kinds(counts, first, end)
        prefix_count[:] = 0
        reached = first
        for row in range(row_from[run], row_until[run]):
            k = at_bin[row]
            if has_versions:  # a bin may have changed since the row before: no prefix to build on
                reached = first
                prefix_count[:] = 0
            begin, reached = reached, behind_bin(counts, reached, end, k)
            _merge_valid(prefix_count, prefix_moment, counts, moments, begin, reached, k, 0)
            for w in range(len(windows)):
                if w == 0:
                    count[:], moment[:] = prefix_count, prefix_moment
                    back = first
                else:
                    count[:] = 0
                    back = _window_start(counts, first, reached, k - windows[w])
                    _merge_valid(count, moment, counts, moments, back, reached, k, 0)
                if has_late:
                    _merge_valid(count, moment, counts, moments, back, reached, k, 1)
                _write(count, moment, as_of[row], column_of[p, w], out[row])
            if column_of[p, 0, _PREVIOUS] >= 0:
                out[row, column_of[p, 0, _PREVIOUS]] = _previous(counts, moments, first, reached, k)


@njit(cache=True, nogil=True)
def _window_start(counts, first, end, number):
    """The first of the summaries `first` to `end` of a bin above a number, looked for from the end."""
    while end > first and counts[end - 1, _BIN] > number:
        end -= 1
    return end


@njit(cache=True, nogil=True)
def _kinds(counts, first, end):
    """Whether a run has late rows, and whether a bin of it was corrected."""
    has_late, has_versions = False, False
    for s in range(first, end):
        has_late |= counts[s, _LATE] == 1
        has_versions |= counts[s, _LATE] == 0 and counts[s, _UNTIL] != 2**31 - 1
    return has_late, has_versions


@njit(cache=True, nogil=True)
def _merge_valid(count, moment, counts, moments, begin, end, k, late) -> None:
    """Merge the summaries of a span that are valid at bin `k`, those of late rows or the others."""
    for s in range(begin, end):
        if counts[s, _LATE] == late and counts[s, _FROM] <= k < counts[s, _UNTIL]:
            merge(count, moment, counts, moments, s)


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


@njit(cache=True, nogil=True)
def _previous(counts, moments, first, end, k):
    """Newest value of the bin before the newest bin, of what is valid at bin `k`; NaN with readings in one bin only.

    Readings of one bin are repeats of one sample: the newest of them is not compared with the others.
    """
    newest, before = np.int64(-1), np.int64(-1)
    value, at = np.nan, np.int64(-(2**63))
    while end > first:
        end -= 1
        number = counts[end, _BIN]
        if before >= 0 and number != before:
            break
        if counts[end, _N] == 0 or not counts[end, _FROM] <= k < counts[end, _UNTIL]:
            continue
        if newest < 0:
            newest = number
        if number == newest:
            continue
        before = number
        if counts[end, _LAST_AT] > at:
            value, at = moments[end, _LAST], counts[end, _LAST_AT]
    return value
