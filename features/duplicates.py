"""Rows that come twice: of repetitions one row is kept, of contradictory rows none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Duplicates:
    """Masks over the rows: exact repetitions of a kept row, and rows of one key that contradict each other."""

    repeated: np.ndarray
    conflicting: np.ndarray

    def any(self) -> bool:
        """Whether there are any."""
        return bool(self.repeated.any() or self.conflicting.any())


def find_duplicates(rows: pd.DataFrame, key: Sequence[str]) -> Duplicates:
    """Which rows cannot stay beside each other under a unique key.

    Args:
        rows: Typed rows; missing values equal each other.
        key: Columns of the key.

    Returns:
        Of rows equal in every column the first stays and the others are `repeated`; where one key has rows of
        different content none stays, all are `conflicting` (their repetitions too).
    """
    twice = rows.duplicated(list(key), keep=False).to_numpy()
    repeated, conflicting = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    if not twice.any():
        return Duplicates(repeated, conflicting)
    some = rows[twice]
    again = some.duplicated(keep="first")
    distinct = some[~again]
    against = distinct.duplicated(list(key), keep=False)
    group = some.groupby(list(key), sort=False, dropna=False).ngroup()
    contradicted = set(group[distinct.index][against])
    conflict = group.isin(contradicted).to_numpy()
    conflicting[twice] = conflict
    repeated[twice] = again.to_numpy() & ~conflict
    return Duplicates(repeated, conflicting)
