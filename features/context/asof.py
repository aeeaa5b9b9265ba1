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

    def total(self, amounts: Ints, group: Ints, at: Ints) -> Ints:
        """Sum of whole numbers (in the original order of rows) of each group up to and including a moment."""
        running = np.concatenate([[0], np.cumsum(amounts[self.order])])
        return running[self.reach(group, at)] - running[self.begin(group)]

    def best(self, rank: Ints, group: Ints, at: Ints) -> Ints:
        """Original row with the highest rank of each group up to a moment, -1 where there is none.

        Args:
            rank: One different number per row, 0 to n - 1, in the original order of rows.
            group: Groups asked for.
            at: A moment for each.
        """
        if not len(self.order):
            return np.full(len(group), -1)
        size = len(rank)
        leader = np.maximum.accumulate(self.group * size + rank[self.order]) % size
        row_of_rank = np.empty(size, dtype=np.int64)
        row_of_rank[rank] = np.arange(size)
        stop = self.reach(group, at)
        return np.where(stop > self.begin(group), row_of_rank[leader[stop - 1]], -1)


def ranks(keys: Sequence[NDArray]) -> Ints:
    """Rank of each row by the first key, ties by the second, and so on: 0 to n - 1, all different."""
    rank = np.empty(len(keys[0]), dtype=np.int64)
    rank[np.lexsort(tuple(reversed(keys)))] = np.arange(len(rank))
    return rank


def matches(left: Ints, right: Ints) -> tuple[Ints, Ints]:
    """Positions of all pairs of equal codes, sorted by `left`'s position, then by `right`'s; `right` is sorted."""
    first = np.searchsorted(right, left, side="left")
    number = np.searchsorted(right, left, side="right") - first
    which = np.repeat(np.arange(len(left)), number)
    return which, np.arange(len(which)) + np.repeat(first - (np.cumsum(number) - number), number)


@dataclass(frozen=True)
class Window:
    """What lay in each window: number of rows, their mean and maximum, time of the newest (`ALWAYS` where none)."""

    number: Ints
    mean: Floats
    maximum: Floats
    newest: Ints


def window(  # the rows as columns, then one window per question
    group: Ints, observed: Ints, available: Ints, value: Floats, *, of: Ints, after: Ints, as_of: Ints
) -> Window:
    """Rows of a group observed in `(after, as_of]` and available at `as_of`.

    Args:
        group: Group of each row, at least 0.
        observed: When each row was observed or began.
        available: When each row could be seen.
        value: What it says.
        of: Group asked for; -1 has no rows.
        after: Open begin of each window.
        as_of: Closed end of each window, and what was known.
    """
    line = Timeline.of(group, observed, available, value)
    first = np.maximum(line.reach(of, after), line.begin(of))
    columns = line.when, available[line.order], value[line.order]
    return Window(*_scan(first, line.reach(of, as_of), *columns, as_of))


@njit(cache=True)
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


@njit(cache=True)
def _scan(first, stop, observed, available, value, as_of):
    number = np.zeros(len(first), dtype=np.int64)
    mean = np.full(len(first), np.nan)
    maximum = np.full(len(first), np.nan)
    newest = np.full(len(first), np.iinfo(np.int64).min, dtype=np.int64)
    for i in range(len(first)):
        total = 0.0
        for j in range(first[i], stop[i]):
            if available[j] <= as_of[i]:
                if number[i] == 0 or value[j] > maximum[i]:
                    maximum[i] = value[j]
                number[i] += 1
                total += value[j]
                newest[i] = observed[j]
        if number[i]:
            mean[i] = total / number[i]
    return number, mean, maximum, newest
