"""Rows of the tables around a batch, by key: those held, which new rows are accepted, and their frame."""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.contracts import Table
from features.process import ProcessDefinition
from serving.interfaces import RowVerdict
from serving.live.rows import PlainRow, Row, TypedRows, contradicts, repeated, typed


class HeldRows:
    """Typed rows of one table; their frame is joined when it is read.

    Args:
        table: Their contract.
        empty: A frame of the table without rows, from `no_rows`; many may share it.
    """

    def __init__(self, table: Table, empty: pd.DataFrame) -> None:
        self.table = table
        self._frames, self._replaced = [empty], False
        self._by_key: dict[tuple[object, ...], PlainRow] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def get(self, *key: object) -> PlainRow | None:
        """The row of a key as plain values."""
        return self._by_key.get(key)

    def key(self, row: Row) -> tuple[object, ...]:
        """Key of a plain row; an empty text is left out of such a row."""
        return tuple(row.get(name, "") for name in self.table.key)

    def frame(self) -> pd.DataFrame:
        """All rows, `features.contracts` types, unique keys."""
        if len(self._frames) > 1:
            whole = pd.concat(self._frames, ignore_index=True)
            if self._replaced:
                whole = whole.drop_duplicates(list(self.table.key), keep="last", ignore_index=True)
            self._frames, self._replaced = [whole], False
        return self._frames[0]

    def put(self, rows: TypedRows) -> list[tuple[PlainRow | None, PlainRow]]:
        """Insert rows, each in the place of the one with its key; returns the former and the new row of each."""
        changes = []
        for row in rows.plain:
            key = self.key(row)
            changes.append((self._by_key.get(key), row))
            self._by_key[key] = row
        self._replaced |= any(former is not None for former, _ in changes)
        if len(rows.frame):
            self._frames.append(rows.frame)
        return changes

    def new_rows(self, rows: TypedRows) -> tuple[TypedRows, dict[int, RowVerdict]]:
        """Rows that are new, and verdicts on all by their place among those posted.

        A row with the key of a held row is a duplicate if both are equal, and is rejected otherwise: the first row of a
        key stays. Only the end of an open event may be added later (`closes`).
        """
        verdicts, new, fresh = dict(rows.rejected), [], {}
        for i, (row, place) in enumerate(zip(rows.plain, rows.places, strict=True)):
            key = self.key(row)
            known = fresh.get(key, self._by_key.get(key))
            if known is None or closes(self.table, known, row):
                fresh[key] = row
                new.append(i)
                verdicts[int(place)] = RowVerdict("accepted", row=row)
            else:
                verdicts[int(place)] = repeated(self.table) if known == row else contradicts(self.table)
        kept = np.array(new, np.int64)
        taken = TypedRows(rows.frame.iloc[kept], [rows.plain[i] for i in new], rows.places[kept], {})
        return taken, verdicts


def no_rows(table: Table, process: ProcessDefinition) -> pd.DataFrame:
    """A typed frame of a table without rows."""
    return typed(table, [], process).frame


def closes(table: Table, known: Row, row: Row) -> bool:
    """Whether a row completes a held one (adds the end of an event that was open), and changes nothing else."""
    column = table.completed_by
    return bool(column) and column in row and known == {k: v for k, v in row.items() if k != column}
