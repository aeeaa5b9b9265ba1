"""Rows that a client posts, by the contract of the run history: typed, with a verdict for each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd

from features.checks import canonical_column, check_columns, check_rows, duplicate_reason
from features.contracts import Table
from features.errors import BatchguardError
from features.parsing import EXACT
from features.process import ProcessDefinition
from features.rules import attribute_columns
from serving.interfaces import RowVerdict

Row: TypeAlias = Mapping[str, object]
PlainRow: TypeAlias = dict[str, object]  # JSON values
_PLAIN = frozenset((str, float, bool))  # types of which any number of values are of one kind


def repeated(table: Table) -> RowVerdict:
    """The verdict on a row that says nothing new."""
    return RowVerdict("duplicate", reason=duplicate_reason("repeated", table))


def contradicts(table: Table) -> RowVerdict:
    """The verdict on a row of other content than the one that is held under its key."""
    return RowVerdict("rejected", "duplicate_key", duplicate_reason("duplicate_key", table))


@dataclass(frozen=True)
class TypedRows:
    """Rows that keep the contract, and verdicts on the others.

    Attributes:
        frame: Typed rows, all columns of the contract (and all attributes), index 0 to n - 1.
        plain: The same rows as plain JSON values, absent ones left out.
        places: Place of each row among those posted.
        rejected: Verdicts on the other rows by their place.
    """

    frame: pd.DataFrame
    plain: list[PlainRow]
    places: np.ndarray
    rejected: dict[int, RowVerdict]


def typed(
    table: Table,
    rows: Sequence[Row],
    process: ProcessDefinition,
    batches: Collection[str] | None = None,
    *,
    without: Mapping[int, RowVerdict] | None = None,
    stored: bool = False,
) -> TypedRows:
    """Type and check rows by the rules of the ingest.

    Keys are not compared here: which of two rows with one key stays depends on the rows held.

    Args:
        table: Their contract.
        rows: As posted; a row may leave out what may be absent.
        process: Parameters with units and ranges.
        batches: Known batch ids; rows of others are rejected. None: not checked.
        without: Rows that are rejected already, by their place.
        stored: Whether the rows were accepted before.
    """
    if table.attributes and process.aliases:
        rows = [{canonical_column(name, table, process): value for name, value in row.items()} for row in rows]
    rejected = _unknown_columns(table, rows, process) | dict(without or {})
    places = np.array([i for i in range(len(rows)) if i not in rejected], np.int64)
    names = [*table.names, *(attribute_columns(process) if table.attributes else ())]
    columns = {name: [rows[i].get(name) for i in places] for name in names}
    parts = []
    for alike in _alike(columns, len(places)):
        own = {name: _series([values[i] for i in alike]) for name, values in columns.items()}
        checked = check_rows(
            pd.DataFrame(own), table, process, source=table.name, batches=batches, whole=False, validated=False,
            stored=stored,
        )  # fmt: skip
        gone = checked.quarantined
        for number, code, reason in zip(gone["row"], gone["code"], gone["reason"], strict=True):
            rejected[int(places[alike[number - 1]])] = RowVerdict("rejected", str(code), str(reason))
        parts.append((checked.kept, places[alike[checked.rows - 1]]))
    kept = np.concatenate([at for _, at in parts])
    order = np.argsort(kept)
    frame = parts[0][0] if len(parts) == 1 else pd.concat([f for f, _ in parts]).iloc[order].reset_index(drop=True)
    return TypedRows(frame, plain_rows(frame), kept[order], rejected)


def plain_rows(frame: pd.DataFrame) -> list[PlainRow]:
    """Typed rows as plain JSON values: times in ISO 8601 UTC with microseconds; absent values and "" are left out."""
    columns = [_plain(frame[name]) for name in frame.columns]
    names = [str(name) for name in frame.columns]
    return [
        {name: value for name, value in zip(names, values, strict=True) if value is not None and value != ""}
        for values in zip(*columns, strict=True)
    ]


def _plain(column: pd.Series) -> list[object]:
    absent = column.isna().to_numpy()
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        stamps = column.to_numpy(dtype="datetime64[us]")
        values: list[object] = [f"{text}+00:00" for text in np.datetime_as_string(stamps, unit="us")]
    else:
        values = column.tolist()
    return [None if gone else value for value, gone in zip(values, absent, strict=True)]


def _alike(columns: Mapping[str, list[object]], n: int) -> list[np.ndarray]:
    """Places of rows that can be checked together: a column of mixed types would be read as text."""
    kinds = [[_kind(value, i) for i, value in enumerate(each)] for each in columns.values() if _may_be_mixed(each)]
    mixed = [each for each in kinds if len(set(each) - {""}) > 1]
    if not mixed:
        return [np.arange(n)]
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, signature in enumerate(zip(*mixed, strict=True)):
        groups.setdefault(signature, []).append(i)
    return [np.array(members, np.int64) for members in groups.values()]


def _may_be_mixed(values: list[object]) -> bool:
    types = {*map(type, values)} - {type(None)}
    return len(types) > 1 or not types <= _PLAIN


def _kind(value: object, place: int) -> str:
    """Kind of column that holds a value without loss; a value that no column holds is a kind of its own."""
    if value is None:
        return ""
    if type(value) in (float, str, bool) or (type(value) is int and abs(value) < EXACT):
        return type(value).__name__
    return f"{type(value).__name__} {place}"


def _series(values: list[object]) -> pd.Series:
    """A column for the rules: objects as they came but for floats, since pandas makes integers beside gaps floats."""
    return pd.Series(values, dtype="float64" if {*map(type, values)} - {type(None)} == {float} else "object")


def _unknown_columns(table: Table, rows: Sequence[Row], process: ProcessDefinition) -> dict[int, RowVerdict]:
    """Rows with columns that the contract does not know."""
    verdicts: dict[frozenset[str], RowVerdict | None] = {}
    found = {}
    for i, row in enumerate(rows):
        names = frozenset(row)
        if names not in verdicts:
            verdicts[names] = _unknown_column(table, names, process)
        verdict = verdicts[names]
        if verdict is not None:
            found[i] = verdict
    return found


def _unknown_column(table: Table, names: frozenset[str], process: ProcessDefinition) -> RowVerdict | None:
    try:
        check_columns([*table.must_have, *sorted(names - set(table.must_have))], table, process, source=table.name)
    except BatchguardError as error:
        return RowVerdict("rejected", "unknown_column", str(error))
    return None
