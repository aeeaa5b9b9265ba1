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


@njit(cache=True, nogil=True)
def bin_of(at, started, bin_us):
    """The bin in which a time lies: 0 up to the start, then `ceil(elapsed / bin)`."""
    elapsed = at - started
    if elapsed <= 0:
        return np.int64(0)
    return (elapsed + bin_us - 1) // bin_us


@njit(cache=True, nogil=True)
def bin_edges(batch, parameter, observed, started, bin_us):
    """End of the first bin and start of the last one, as places in the rows; (n, n) where there is only one bin."""
    n = len(observed)
    if n == 0:
        return 0, 0
    first = bin_of(observed[0], started[batch[0]], bin_us)
    head = 0
    while (
        head < n
        and batch[head] == batch[0]
        and parameter[head] == parameter[0]
        and bin_of(observed[head], started[batch[0]], bin_us) == first
    ):
        head += 1
    if head == n:
        return n, n
    z = n - 1
    last = bin_of(observed[z], started[batch[z]], bin_us)
    tail = z
    while (
        tail > head
        and batch[tail - 1] == batch[z]
        and parameter[tail - 1] == parameter[z]
        and bin_of(observed[tail - 1], started[batch[z]], bin_us) == last
    ):
        tail -= 1
    return head, tail


@njit(cache=True, nogil=True)
def summarise_rows(batch, parameter, observed, available, value, bad, started, low, high, bin_us, counts, moments):
    """Summaries of sorted rows that hold whole bins.

    Returns:
        (rows used, summaries made). It stops before a bin for whose summaries there may be no room.
    """
    n, made, i = len(observed), 0, 0
    while i < n:
        b, p = batch[i], parameter[i]
        k = bin_of(observed[i], started[b], bin_us)
        bin_end = started[b] + k * bin_us
        # one walk over the bin: find its end, whether a reading in it was corrected, and how many rows are late
        j, corrected, n_late = i, False, 0
        while j < n and batch[j] == b and parameter[j] == p and observed[j] <= bin_end:
            if j > i and observed[j] == observed[j - 1]:
                corrected = True
            if available[j] > bin_end:
                n_late += 1
            j += 1
        room = 2 * (j - i) + 1 if corrected else n_late + 1
        if made + room > len(counts):
            return i, made
        if corrected:
            made = _corrected_bin(
                i,
                j,
                b,
                p,
                k,
                bin_end,
                observed,
                available,
                value,
                bad,
                started[b],
                low[p],
                high[p],
                bin_us,
                counts,
                moments,
                made,
            )
        else:
            made = _plain_bin(
                i,
                j,
                b,
                p,
                k,
                bin_end,
                n_late,
                observed,
                available,
                value,
                bad,
                started[b],
                low[p],
                high[p],
                bin_us,
                counts,
                moments,
                made,
            )
        i = j
    return n, made


@njit(cache=True, nogil=True)
def _plain_bin(
    i, j, b, p, k, bin_end, n_late, observed, available, value, bad, start, low, high, bin_us, counts, moments, made
):
    if n_late < j - i:
        _begin(counts, moments, made, b, p, k, 0, k, FOREVER)
        _accumulate(i, j, bin_end, observed, available, value, bad, start, low, high, counts, moments, made)
        made += 1
    if n_late:
        for r in range(i, j):
            if available[r] > bin_end:
                _single(
                    r,
                    b,
                    p,
                    k,
                    bin_of(available[r], start, bin_us),
                    FOREVER,
                    observed,
                    value,
                    bad,
                    start,
                    low,
                    high,
                    counts,
                    moments,
                    made,
                )
                made += 1
    return made


@njit(cache=True, nogil=True)
def _accumulate(i, j, bin_end, observed, available, value, bad, start, low, high, counts, moments, at):
    """Fill one summary from the rows of a bin that were available in it.

    Sums run over deviations from the first reading, which keeps them small whatever offset the sensor has.
    """
    n, n_bad, n_below, n_above = 0, 0, 0, 0
    v0, t0 = 0.0, np.int64(0)
    sv, svv, st, stt, stv = 0.0, 0.0, 0.0, 0.0, 0.0
    lowest, highest, last, last_at = np.inf, -np.inf, 0.0, np.int64(0)
    for r in range(i, j):
        if available[r] > bin_end:
            continue
        if bad[r]:
            n_bad += 1
            continue
        v = value[r]
        if n == 0:
            v0, t0 = v, observed[r]
        dv = v - v0
        dt = (observed[r] - t0) / _US_PER_H
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
def _begin(counts, moments, at, b, p, k, late, valid_from, valid_until):
    counts[at, _BATCH], counts[at, _PARAMETER], counts[at, _BIN] = b, p, k
    counts[at, _LATE], counts[at, _FROM], counts[at, _UNTIL] = late, valid_from, valid_until


@njit(cache=True, nogil=True)
def _single(r, b, p, k, valid_from, valid_until, observed, value, bad, start, low, high, counts, moments, at):
    """The summary of one late row."""
    _begin(counts, moments, at, b, p, k, 1, valid_from, valid_until)
    counts[at, _FIRST_AT] = counts[at, _LAST_AT] = observed[r]
    if bad[r]:
        counts[at, _N], counts[at, _BAD], counts[at, _BELOW], counts[at, _ABOVE] = 0, 1, 0, 0
        moments[at, :] = np.nan
        return
    v = value[r]
    counts[at, _N], counts[at, _BAD], counts[at, _BELOW], counts[at, _ABOVE] = 1, 0, v < low, v > high
    m = moments[at]
    m[_MEAN] = m[_MIN] = m[_MAX] = m[_FIRST] = m[_LAST] = v
    m[_M2] = m[_T_M2] = m[_TV] = 0.0
    m[_T_MEAN] = (observed[r] - start) / _US_PER_H


@njit(cache=True, nogil=True)
def _corrected_bin(
    i, j, b, p, k, bin_end, observed, available, value, bad, start, low, high, bin_us, counts, moments, made
):
    """A bin in which a reading was corrected: one summary for each span of time in which the same rows count."""
    size = j - i
    valid_from = np.empty(size, np.int64)
    valid_until = np.full(size, FOREVER, np.int64)
    for r in range(size):
        valid_from[r] = bin_of(available[i + r], start, bin_us)
    for r in range(size):  # a row counts until the first of its later revisions is available
        s = r + 1
        while s < size and observed[i + s] == observed[i + r]:
            valid_until[r] = min(valid_until[r], valid_from[s])
            s += 1
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
            _begin(counts, moments, made, b, p, k, 0, since, until)
            _accumulate(
                0, size, 0, observed[i:j], hidden, value[i:j], bad[i:j], start, low, high, counts, moments, made
            )
            made += 1
    for r in range(size):
        if k < valid_from[r] < valid_until[r]:
            _single(
                i + r,
                b,
                p,
                k,
                valid_from[r],
                valid_until[r],
                observed,
                value,
                bad,
                start,
                low,
                high,
                counts,
                moments,
                made,
            )
            made += 1
    return made


@njit(cache=True, nogil=True)
def merge(count, moment, more_count, more_moment):
    """Merge a summary into another, in place (Chan, Golub and LeVeque 1983, pairwise moments).

    `count` and `moment` are rows of `COUNTS` and `MOMENTS`; an empty summary has n = 0 and is replaced.
    """
    na, nb = count[_N], more_count[_N]
    count[_BAD] += more_count[_BAD]
    count[_BELOW] += more_count[_BELOW]
    count[_ABOVE] += more_count[_ABOVE]
    if nb == 0:
        return
    if na == 0:
        count[_N], count[_FIRST_AT], count[_LAST_AT] = nb, more_count[_FIRST_AT], more_count[_LAST_AT]
        moment[:] = more_moment
        return
    n = na + nb
    dv = more_moment[_MEAN] - moment[_MEAN]
    dt = more_moment[_T_MEAN] - moment[_T_MEAN]
    share = nb / n
    both = na * share
    moment[_MEAN] += dv * share
    moment[_T_MEAN] += dt * share
    moment[_M2] += more_moment[_M2] + dv * dv * both
    moment[_T_M2] += more_moment[_T_M2] + dt * dt * both
    moment[_TV] += more_moment[_TV] + dv * dt * both
    moment[_MIN] = min(moment[_MIN], more_moment[_MIN])
    moment[_MAX] = max(moment[_MAX], more_moment[_MAX])
    if more_count[_FIRST_AT] < count[_FIRST_AT]:
        moment[_FIRST], count[_FIRST_AT] = more_moment[_FIRST], more_count[_FIRST_AT]
    if more_count[_LAST_AT] >= count[_LAST_AT]:
        moment[_LAST], count[_LAST_AT] = more_moment[_LAST], more_count[_LAST_AT]
    count[_N] = n
