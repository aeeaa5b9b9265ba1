"""What was known when: counts and windows over rows of groups, as of any number of moments at once.

All times are whole microseconds since 1970 in UTC, so that nothing rounds. Rows are put in a canonical order before
anything is added up: neither their arrival order nor rows that were not yet available change a single bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

HOUR = 3_600_000_000  # microseconds
NEVER = np.iinfo(np.int64).max  # later than every moment
ALWAYS = np.iinfo(np.int64).min  # earlier than every moment


def micros(times: pd.Series, absent: int = NEVER) -> Ints:
    """Microseconds since 1970 (UTC); `absent` where there is no time."""
    stamps = times.to_numpy(dtype="datetime64[us]")
    return np.where(np.isnat(stamps), absent, stamps.astype(np.int64))


def codes(values: pd.Series, of: pd.Index) -> Ints:
    """Position of each value in the unique index `of`, -1 where it is not there."""
    return of.get_indexer(pd.Index(values)).astype(np.int64)


@dataclass(frozen=True)
class Timeline:
    """Rows sorted by group, then by time.

    Attributes:
        order: Positions of the original rows in the sorted order; carry other columns along with `column[order]`.
        group: Group of each row, at least 0, increasing.
        when: Time of each row, increasing within its group.
    """

    order: Ints
    group: Ints
    when: Ints

    @classmethod
    def of(cls, group: Ints, at: Ints, *ties: NDArray) -> Timeline:
        """Sort rows; `ties` decide, first to last, where group and time are equal."""
        order = np.lexsort((*reversed(ties), at, group))
        return cls(order, group[order], at[order])

    def reach(self, group: Ints, at: Ints) -> Ints:
        """Number of sorted rows in front of those of `group` later than `at`; an unknown group is -1 and has no rows."""
        return _reach(self.group, self.when, group, at)

    def begin(self, group: Ints) -> Ints:
        """Position of each group's first row."""
        return np.searchsorted(self.group, group, side="left")

    def count(self, group: Ints, at: Ints) -> Ints:
        """Rows of each group up to and including a moment."""
        return self.reach(group, at) - self.begin(group)


def ranks(keys: Sequence[NDArray]) -> Ints:
    """Rank of each row by the first key, ties by the second, and so on: 0 to n - 1, all different."""
    rank = np.empty(len(keys[0]), dtype=np.int64)
    rank[np.lexsort(tuple(reversed(keys)))] = np.arange(len(rank))
    return rank


def starts(group: Ints, size: int) -> Ints:
    """Where the rows of each group 0 to size - 1 begin among rows sorted by group; one more at the end."""
    return running(np.bincount(group, minlength=size))


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


@njit(cache=True, nogil=True)
def _reach(group, when, of, at):
    """Bisection by (group, time), for each question."""
    found = np.empty(len(of), dtype=np.int64)
    for i in range(len(of)):
        low, high = 0, len(group)
        while low < high:
            middle = (low + high) // 2
            if group[middle] < of[i] or (group[middle] == of[i] and when[middle] <= at[i]):
                low = middle + 1
            else:
                high = middle
        found[i] = low
    return found
