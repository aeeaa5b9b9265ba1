"""The compiled core of a query of a moment before the newest reading: bins without rows that were not known yet."""

from __future__ import annotations

import numpy as np
from numba import njit

from features.summary_kernel import COUNTS, bin_of, summarise_rows

UNCHANGED = -1
_BIN = COUNTS.index("bin")


@njit(cache=True, nogil=True)
def known_run(
    observed, available, value, quality, late, late_observed, counts, moments, first, end,
    at_bin, as_of, started, low, high, bin_us, is_bad, at,
):  # fmt: skip
    """Write one parameter's summaries up to a bin, as of a moment within it, beyond those that are held.

    Only rows that became available after the moment and within its bin are missing from the summaries held: of rows
    observed in that bin, and of `late` ones. Their bins are summarised again from the rows that were known.

    Args:
        observed: When each row of the parameter was observed, sorted.
        available: When each became available.
        value: Value of each.
        quality: Quality of each.
        late: When the rows became available that were observed in an earlier bin, sorted.
        late_observed: When those were observed.
        counts: `COUNTS` of the summaries held, and room from `at` on.
        moments: `MOMENTS` of them.
        first: First summary of the parameter.
        end: Behind its last one.
        at_bin: Bin of the moment.
        as_of: The moment.
        started: Start of the batch, array of one.
        low: Lower normal limit, array of one.
        high: Upper normal limit, array of one.
        bin_us: Length of a bin.
        is_bad: Whether a quality is bad.
        at: Where to write.

    Returns:
        (`UNCHANGED`, 0) where the summaries held are right; else where the new ones end, and 0; where there is no room
        for them nothing is written: (`at`, the room they need).
    """
    bin_end = started[0] + at_bin * bin_us
    bins = _bins_with_unknown(observed, available, late, late_observed, at_bin, as_of, bin_end, started[0], bin_us)
    if len(bins) == 0:
        return UNCHANGED, 0
    spans = np.empty((len(bins), 2), np.int64)
    room = end - first
    for i in range(len(bins)):
        spans[i, 0] = np.searchsorted(observed, started[0] + (bins[i] - 1) * bin_us, side="right") if bins[i] else 0
        spans[i, 1] = np.searchsorted(observed, started[0] + bins[i] * bin_us, side="right")
        room += 2 * (spans[i, 1] - spans[i, 0]) + 2
    if at + room > len(counts):
        return at, room
    none = np.zeros(1, np.int32)
    for i in range(len(bins)):
        while first < end and counts[first, _BIN] < bins[i]:
            counts[at], moments[at] = counts[first], moments[first]
            first, at = first + 1, at + 1
        while first < end and counts[first, _BIN] == bins[i]:
            first += 1
        own = slice(spans[i, 0], spans[i, 1])
        known = (available[own] <= as_of) | (available[own] > bin_end)
        rows = (observed[own][known], available[own][known], value[own][known], quality[own][known])
        which = np.zeros(len(rows[0]), np.int32)
        _, made = summarise_rows(
            which, which, rows[0], rows[1], rows[2], rows[3], none, none, is_bad, started, low, high, bin_us,
            counts[at:], moments[at:],
        )  # fmt: skip
        at += made
    while first < end and counts[first, _BIN] <= at_bin:
        counts[at], moments[at] = counts[first], moments[first]
        first, at = first + 1, at + 1
    return at, 0


@njit(cache=True, nogil=True)
def _bins_with_unknown(observed, available, late, late_observed, at_bin, as_of, bin_end, started, bin_us):
    """Bins of the rows that became available in `(as_of, bin_end]`, in order."""
    first, behind = np.searchsorted(late, as_of, side="right"), np.searchsorted(late, bin_end, side="right")
    bins = np.empty(behind - first + 1, np.int64)
    for i in range(first, behind):
        bins[i - first] = bin_of(late_observed[i], started, bin_us)
    found = behind - first
    row = np.searchsorted(observed, bin_end - bin_us, side="right")
    while row < len(observed) and observed[row] <= bin_end:
        if as_of < available[row] <= bin_end:
            bins[found] = at_bin
            found += 1
            break
        row += 1
    return np.unique(bins[:found])
