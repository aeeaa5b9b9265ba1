"""Rows that come twice: of repetitions one row is kept, of contradictory rows none, and the newest of a row completed later."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.contracts import Table


@dataclass(frozen=True)
class Duplicates:
    """Masks over the rows: exact repetitions of a kept row, rows that a kept row completes, rows of one key that contradict."""

    repeated: np.ndarray
    completed: np.ndarray
    conflicting: np.ndarray

    @property
    def gone(self) -> np.ndarray:
        """Rows that do not stay."""
        return self.repeated | self.completed | self.conflicting

    def any(self) -> bool:
        """Whether there are any."""
        return bool(self.gone.any())


def find_duplicates(rows: pd.DataFrame, table: Table) -> Duplicates:
    """Which rows cannot stay beside each other under a table's unique key.

    Args:
        rows: Typed rows; missing values equal each other.
        table: Their contract.

    Returns:
        Of rows equal in every column the first stays and the others are `repeated`. Where one key has a row and the same
        row with `table.completed_by`, the former is `completed` by the latter. Where one key has other rows of different
        content none stays, all are `conflicting` (their repetitions too).
    """
    key = list(table.key)
    twice = rows.duplicated(key, keep=False).to_numpy()
    repeated, conflicting = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    completed = np.zeros(len(rows), bool)
    if not twice.any():
        return Duplicates(repeated, completed, conflicting)
    if table.completed_by:
        completed[twice] = _completed(rows[twice], table.completed_by)
        twice = twice & ~completed
    some = rows[twice]
    again = some.duplicated(keep="first")
    distinct = some[~again]
    against = distinct.duplicated(key, keep=False)
    group = some.groupby(key, sort=False, dropna=False).ngroup()
    contradicted = set(group[distinct.index][against])
    conflict = group.isin(contradicted).to_numpy()
    conflicting[twice] = conflict
    repeated[twice] = again.to_numpy() & ~conflict
    return Duplicates(repeated, completed, conflicting)


def _completed(rows: pd.DataFrame, column: str) -> np.ndarray:
    """Rows without a value of the column that equal a row with one in all others."""
    others = [name for name in rows.columns if name != column]
    group = rows.groupby(others, sort=False, dropna=False).ngroup()
    has = rows[column].notna()
    return (~has & has.groupby(group).transform("any")).to_numpy(dtype=bool)


def folded(spelled: str) -> str:
    """An id without blanks and capitals: equal for ids that a person would take for one."""
    return "".join(spelled.split()).casefold()


def lookalikes(ids: pd.Series) -> dict[int, str]:
    """Places of ids that differ from an earlier one only by capitals or inner blanks, with that earlier id."""
    first: dict[str, str] = {}
    found = {}
    for place, spelled in enumerate(ids.tolist()):
        earlier = first.setdefault(folded(spelled), spelled)
        if earlier != spelled:
            found[place] = earlier
    return found
