"""Rows of the tables around a batch, by key: what is held, what a new row says, and the frame they make."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from features.contracts import Table
from features.process import ProcessDefinition
from serving.interfaces import RowVerdict
from serving.live.rows import CONTRADICTS, REPEATED, TypedRows, typed

Plain = dict[str, Any]


class HeldRows:
    """Typed rows of one table. Their frame is joined when it is asked for.

    Args:
        table: Their contract.
        empty: A frame of the table without rows, from `no_rows`; many may share it.
    """

    def __init__(self, table: Table, empty: pd.DataFrame) -> None:
        self.table = table
        self._frames, self._replaced = [empty], False
        self._by_key: dict[tuple, Plain] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def get(self, *key: object) -> Plain | None:
        """The row of a key as plain values."""
        return self._by_key.get(key)

    def key(self, row: Plain) -> tuple:
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

    def put(self, rows: TypedRows) -> list[tuple[Plain | None, Plain]]:
        """Take rows in, each in the place of the one with its key; the former and the new row of each that changes."""
        changes = []
        for row in rows.plain:
            key = self.key(row)
            changes.append((self._by_key.get(key), row))
            self._by_key[key] = row
        self._replaced |= any(former is not None for former, _ in changes)
        if len(rows.frame):
            self._frames.append(rows.frame)
        return changes

    def judged(self, rows: TypedRows) -> tuple[TypedRows, dict[int, RowVerdict]]:
        """Which rows say something new, and verdicts on all by their place among those sent.

        A row with the key of a held one is a duplicate where it says the same, and contradicts it otherwise: the one
        that came first stays. Only the end of an open event may be told later (`closes`).
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
                verdicts[int(place)] = REPEATED if known == row else CONTRADICTS
        kept = np.array(new, np.int64)
        taken = TypedRows(rows.frame.iloc[kept], [rows.plain[i] for i in new], rows.places[kept], {})
        return taken, verdicts


def no_rows(table: Table, process: ProcessDefinition) -> pd.DataFrame:
    """A typed frame of a table without rows."""
    return typed(table, [], process).frame


def closes(table: Table, known: Plain, row: Plain) -> bool:
    """Whether a row tells the end of an event that was open, and changes nothing else."""
    return table.name == "events" and "ended_at" in row and known == {k: v for k, v in row.items() if k != "ended_at"}
