"""The compiled core of the summaries: what turns rows into summaries, and merges summaries.

Plain loops over arrays, compiled by numba without reordering of floating-point operations, so that the same rows
give the same bits on any number of threads.
"""

from __future__ import annotations

import numpy as np
from numba import njit

FOREVER = np.int64(2**31 - 1)

# Integer columns of a summary. `late` is 0 or 1; times are microseconds since the epoch.
COUNTS = (
    "batch", "parameter", "bin", "late", "valid_from", "valid_until",
    "n", "n_bad", "n_below", "n_above", "first_at", "last_at",
)  # fmt: skip
# Real columns. `m2` is the sum of squared deviations from the mean; `t_*` the same of the time in hours since the
# batch's start; `tv` the sum of products of both deviations.
MOMENTS = ("mean", "m2", "min", "max", "first", "last", "t_mean", "t_m2", "tv")

_BATCH, _PARAMETER, _BIN, _LATE, _FROM, _UNTIL, _N, _BAD, _BELOW, _ABOVE, _FIRST_AT, _LAST_AT = range(12)
_MEAN, _M2, _MIN, _MAX, _FIRST, _LAST, _T_MEAN, _T_M2, _TV = range(9)
_US_PER_H = 3.6e9
_H_PER_US = 1 / 3.6e9


@njit(cache=True, nogil=True)
def bin_of(at, started, bin_us):
    """The bin in which a time lies: 0 up to the start, then `ceil(elapsed / bin)`."""
    elapsed = at - started
    if elapsed <= 0:
        return np.int64(0)
    return (elapsed + bin_us - 1) // bin_us


@njit(cache=True, nogil=True)
def behind_bin(counts, first, end, number):
    """Behind the last of the summaries `first` to `end`, which are in order of bins, up to a bin."""
    while first < end and counts[first, _BIN] <= number:
        first += 1
    return first


@njit(cache=True, nogil=True)
def bin_edges(batch, parameter, observed, batch_of, started, bin_us):
    """End of the first bin and start of the last one, as places in the rows; (n, n) where there is only one bin.

    Rows of a batch that is not in the grid (`batch_of` is -1) count as bins of their own.
    """
    n = len(observed)
    if n == 0:
        return 0, 0
    head, tail = 1, n - 1
    while head < n and _same_bin(batch, parameter, observed, 0, head, batch_of, started, bin_us):
        head += 1
    if head == n:
        return n, n
    while tail > head and _same_bin(batch, parameter, observed, n - 1, tail - 1, batch_of, started, bin_us):
        tail -= 1
    return head, tail


@njit(cache=True, nogil=True)
def _same_bin(batch, parameter, observed, i, j, batch_of, started, bin_us):
    if batch[i] != batch[j] or parameter[i] != parameter[j] or batch_of[batch[i]] < 0:
        return False
    start = started[batch_of[batch[i]]]
    return bin_of(observed[i], start, bin_us) == bin_of(observed[j], start, bin_us)


@njit(cache=True, nogil=True)
def summarise_rows(
    batch, parameter, observed, available, value, quality, batch_of, parameter_of, is_bad,
    started, low, high, bin_us, counts, moments,
):  # fmt: skip
    """Summaries of sorted rows that hold whole bins.

    Batch, parameter and quality are codes; `batch_of`, `parameter_of` (place in the grid, -1: not wanted) and `is_bad`
    translate a code. That spares a translation of every row.

    Returns:
        (rows used, summaries made). It stops before a bin for whose summaries there may be no room.
    """
    n, made, i = len(observed), 0, 0
    while i < n:
        b, p = batch_of[batch[i]], parameter_of[parameter[i]]
        if b < 0 or p < 0:
            i += 1
            continue
        k = bin_of(observed[i], started[b], bin_us)
        bin_end = started[b] + k * bin_us
        size, n_late, corrected = _extent(batch[i:], parameter[i:], observed[i:], available[i:], bin_end)
        room = 2 * size + 1 if corrected else n_late + 1
        if made + room > len(counts):
            return i, made
        made = _bin(
            b, p, k, bin_end, n_late, corrected,
            observed[i : i + size], available[i : i + size], value[i : i + size], quality[i : i + size], is_bad,
            started[b], low[p], high[p], bin_us, counts, moments, made,
        )  # fmt: skip
        i += size
    return n, made


# The loops below run over slices from 0 on: the compiler then knows that no index is negative.


@njit(cache=True, nogil=True)
def _extent(batch, parameter, observed, available, bin_end):
    """Rows in the bin that begins here, how many of them are late, and whether a reading in it was corrected."""
    b, p = batch[0], parameter[0]
    n_late, corrected, before = 0, False, observed[0] - 1
    for r in range(len(observed)):
        if observed[r] > bin_end or parameter[r] != p or batch[r] != b:
            return r, n_late, corrected
        corrected |= observed[r] == before
        before = observed[r]
        n_late += available[r] > bin_end
    return len(observed), n_late, corrected


@njit(cache=True, nogil=True)
def _bin(
    b, p, k, bin_end, n_late, corrected,
    observed, available, value, quality, is_bad, start, low, high, bin_us, counts, moments, made,
):  # fmt: skip
    if corrected:
        return _corrected_bin(
            b, p, k, observed, available, value, quality, is_bad, start, low, high, bin_us, counts, moments, made
        )
    size = len(observed)
    if n_late < size:
        _begin(counts, made, b, p, k, 0, k, FOREVER)
        _accumulate(bin_end, observed, available, value, quality, is_bad, start, low, high, counts, moments, made)
        made += 1
    if n_late:
        for r in range(size):
            if available[r] > bin_end:
                late_in = bin_of(available[r], start, bin_us)
                _begin(counts, made, b, p, k, 1, late_in, FOREVER)
                _single(observed[r], value[r], is_bad[quality[r]], start, low, high, counts, moments, made)
                made += 1
    return made


@njit(cache=True, nogil=True)
def _accumulate(bin_end, observed, available, value, quality, is_bad, start, low, high, counts, moments, at) -> None:
    """Fill one summary from the rows of a bin that were available in it.

    Sums run over deviations from the first reading, which keeps them small whatever offset the sensor has.
    """
    n, n_bad, n_below, n_above = 0, 0, 0, 0
    v0, t0 = 0.0, np.int64(0)
    sv, svv, st, stt, stv = 0.0, 0.0, 0.0, 0.0, 0.0
    lowest, highest, last, last_at = np.inf, -np.inf, 0.0, np.int64(0)
    for r in range(len(observed)):
        if available[r] > bin_end:
            continue
        if is_bad[quality[r]]:
            n_bad += 1
            continue
        v = value[r]
        if n == 0:
            v0, t0 = v, observed[r]
        dv = v - v0
        dt = (observed[r] - t0) * _H_PER_US
        sv += dv
        svv += dv * dv
        st += dt
        stt += dt * dt
        stv += dt * dv
        lowest = min(lowest, v)
        highest = max(highest, v)
        n_below += v < low
        n_above += v > high
        last, last_at = v, observed[r]
        n += 1
    counts[at, _N], counts[at, _BAD], counts[at, _BELOW], counts[at, _ABOVE] = n, n_bad, n_below, n_above
    counts[at, _FIRST_AT], counts[at, _LAST_AT] = t0, last_at
    if n == 0:
        moments[at, :] = np.nan
        return
    m = moments[at]
    m[_MEAN] = v0 + sv / n
    m[_M2] = max(0.0, svv - sv * sv / n)
    m[_MIN], m[_MAX], m[_FIRST], m[_LAST] = lowest, highest, v0, last
    m[_T_MEAN] = (t0 - start) / _US_PER_H + st / n
    m[_T_M2] = max(0.0, stt - st * st / n)
    m[_TV] = stv - st * sv / n


@njit(cache=True, nogil=True)
def _begin(counts, at, b, p, k, late, valid_from, valid_until) -> None:
    counts[at, _BATCH], counts[at, _PARAMETER], counts[at, _BIN] = b, p, k
    counts[at, _LATE], counts[at, _FROM], counts[at, _UNTIL] = late, valid_from, valid_until


@njit(cache=True, nogil=True)
def _single(observed, value, bad, start, low, high, counts, moments, at) -> None:
    """The summary of one late row."""
    counts[at, _FIRST_AT] = counts[at, _LAST_AT] = observed
    if bad:
        counts[at, _N], counts[at, _BAD], counts[at, _BELOW], counts[at, _ABOVE] = 0, 1, 0, 0
        moments[at, :] = np.nan
        return
    counts[at, _N], counts[at, _BAD], counts[at, _BELOW], counts[at, _ABOVE] = 1, 0, value < low, value > high
    m = moments[at]
    m[_MEAN] = m[_MIN] = m[_MAX] = m[_FIRST] = m[_LAST] = value
    m[_M2] = m[_T_M2] = m[_TV] = 0.0
    m[_T_MEAN] = (observed - start) / _US_PER_H


@njit(cache=True, nogil=True)
def _corrected_bin(
    b, p, k, observed, available, value, quality, is_bad, start, low, high, bin_us, counts, moments, made
):
    """A bin in which a reading was corrected: one summary for each span of time in which the same rows count."""
    size = len(observed)
    valid_from, valid_until = _validity(observed, available, start, bin_us)
    changes = np.empty(size + 1, np.int64)
    changes[0] = k
    for r in range(size):
        changes[r + 1] = valid_until[r] if valid_from[r] == k else FOREVER
    changes = np.unique(changes)
    hidden = np.empty(size, np.int64)
    for c in range(len(changes)):
        since = changes[c]
        if since == FOREVER:
            break
        until = changes[c + 1] if c + 1 < len(changes) else FOREVER
        counted = 0
        for r in range(size):
            counts_now = valid_from[r] == k and valid_from[r] <= since < valid_until[r]
            hidden[r] = 0 if counts_now else FOREVER
            counted += counts_now
        if counted:
            _begin(counts, made, b, p, k, 0, since, until)
            _accumulate(0, observed, hidden, value, quality, is_bad, start, low, high, counts, moments, made)
            made += 1
    for r in range(size):
        if k < valid_from[r] < valid_until[r]:
            _begin(counts, made, b, p, k, 1, valid_from[r], valid_until[r])
            _single(observed[r], value[r], is_bad[quality[r]], start, low, high, counts, moments, made)
            made += 1
    return made


@njit(cache=True, nogil=True)
def _validity(observed, available, start, bin_us):
    """Bins in which each row counts: until the first of its later revisions is available."""
    size = len(observed)
    valid_from, valid_until = np.empty(size, np.int64), np.full(size, FOREVER, np.int64)
    for r in range(size):
        valid_from[r] = bin_of(available[r], start, bin_us)
    for r in range(size):
        s = r + 1
        while s < size and observed[s] == observed[r]:
            valid_until[r] = min(valid_until[r], valid_from[s])
            s += 1
    return valid_from, valid_until


@njit(cache=True, nogil=True)
def merge(count, moment, counts, moments, s) -> None:
    """Merge summary `s` into another one, in place (Chan, Golub and LeVeque 1983, pairwise moments).

    `count` and `moment` are rows of `COUNTS` and `MOMENTS`; with n = 0 they are replaced.
    """
    na, nb = count[_N], counts[s, _N]
    count[_BAD] += counts[s, _BAD]
    count[_BELOW] += counts[s, _BELOW]
    count[_ABOVE] += counts[s, _ABOVE]
    if nb == 0:
        return
    if na == 0:
        count[_N], count[_FIRST_AT], count[_LAST_AT] = nb, counts[s, _FIRST_AT], counts[s, _LAST_AT]
        for m in range(len(moment)):
            moment[m] = moments[s, m]
        return
    n = na + nb
    dv = moments[s, _MEAN] - moment[_MEAN]
    dt = moments[s, _T_MEAN] - moment[_T_MEAN]
    share = nb / n
    both = na * share
    moment[_MEAN] += dv * share
    moment[_T_MEAN] += dt * share
    moment[_M2] += moments[s, _M2] + dv * dv * both
    moment[_T_M2] += moments[s, _T_M2] + dt * dt * both
    moment[_TV] += moments[s, _TV] + dv * dt * both
    moment[_MIN] = min(moment[_MIN], moments[s, _MIN])
    moment[_MAX] = max(moment[_MAX], moments[s, _MAX])
    if counts[s, _FIRST_AT] < count[_FIRST_AT]:
        moment[_FIRST], count[_FIRST_AT] = moments[s, _FIRST], counts[s, _FIRST_AT]
    if counts[s, _LAST_AT] >= count[_LAST_AT]:
        moment[_LAST], count[_LAST_AT] = moments[s, _LAST], counts[s, _LAST_AT]
    count[_N] = n
