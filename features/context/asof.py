"""What was known when: counts and windows over rows of groups, as of any number of moments at once.

All times are whole microseconds since 1970 in UTC, so that nothing rounds. Rows are put in a canonical order before
anything is added up: neither their arrival order nor rows that were not yet available change a single bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

from features.contracts import Table

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

HOUR = 3_600_000_000  # microseconds
NEVER = np.iinfo(np.int64).max  # later than every moment
ALWAYS = np.iinfo(np.int64).min  # earlier than every moment


def micros(times: pd.Series, absent: int = NEVER) -> Ints:
    """Microseconds since 1970 (UTC); `absent` where there is no time."""
    stamps = times.to_numpy(dtype="datetime64[us]")
    return np.where(np.isnat(stamps), absent, stamps.astype(np.int64))


def known_us(frame: pd.DataFrame, table: Table) -> Ints:
    """Microseconds from which each row of a run-history table counts; `NEVER` where it counts from its batch's start.

    A row that was announced before the time it reports counts from that time on.
    """
    column = table[table.known_from]
    if column.not_before is None:
        return micros(frame[column.name])
    return np.maximum(micros(frame[column.not_before]), micros(frame[column.name], absent=ALWAYS))


def codes(values: pd.Series, of: pd.Index) -> Ints:
    """Position of each value in the unique index `of`, -1 where it is not there."""
    return of.get_indexer(pd.Index(values)).astype(np.int64)


def earlier(group: Ints, when: Ints) -> tuple[Ints, Ints]:
    """Rows of the same group with a strictly earlier time: their number, and the latest such time (0 where none)."""
    order = np.lexsort((when, group))
    sorted_group, sorted_when = group[order], when[order]
    is_first = np.r_[True, np.diff(sorted_group) != 0][: len(order)]
    is_later = is_first | np.r_[True, np.diff(sorted_when) != 0][: len(order)]
    place = np.arange(len(order))
    begin, same_time = (np.maximum.accumulate(np.where(new, place, 0)) for new in (is_first, is_later))
    number, latest = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
    number[order] = same_time - begin
    latest[order] = np.where(same_time > begin, sorted_when[same_time - 1], 0)
    return number, latest


def ranks(keys: Sequence[NDArray]) -> Ints:
    """Rank of each row by the first key, ties by the second, and so on: 0 to n - 1, all different."""
    rank = np.empty(len(keys[0]), dtype=np.int64)
    rank[np.lexsort(tuple(reversed(keys)))] = np.arange(len(rank))
    return rank


def starts(group: Ints, size: int) -> Ints:
    """Where the rows of each group 0 to size - 1 begin among rows sorted by group; one more at the end."""
    return running(np.bincount(group, minlength=size))


def joined(parts: Sequence[NDArray], kind: type = np.int64) -> NDArray:
    """Arrays behind each other; an empty one of a type where there are none."""
    return np.concatenate([np.empty(0, kind), *parts])


def running(amounts: Ints) -> Ints:
    """Totals of the first 0, 1, 2, ... rows."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(amounts)])


@njit(cache=True, nogil=True)
def upto(when, low, high, at):
    """Behind the last of the sorted times `when[low:high]` that is not later than `at`."""
    while low < high:
        middle = (low + high) // 2
        if when[middle] <= at:
            low = middle + 1
        else:
            high = middle
    return low
