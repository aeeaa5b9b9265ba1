"""The Arrow schema of the score record, derived from its declaration, and scores to and from a table of that schema."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Annotated, Literal, Union, get_args, get_origin, get_type_hints

import pyarrow as pa

from models.scoring.score import Score, scores_of

_PLAIN: dict[object, pa.DataType] = {
    str: pa.string(),
    float: pa.float64(),
    int: pa.int64(),
    bool: pa.bool_(),
    datetime: pa.timestamp("us", tz="UTC"),
}
_NUMBER, _TEXT = "number", "text"  # fields of the struct that holds a value of either kind


@cache
def schema() -> pa.Schema:
    """Stored schema of `risk_scores`: one column per field of `Score`, nested values as structs, lists and maps."""
    hints = get_type_hints(Score, include_extras=True)
    return pa.schema([_field(name, hints[name]) for name in Score.model_fields])


def to_table(scores: Sequence[Score]) -> pa.Table:
    """Scores as a table of `schema()`, in their order."""
    rows = [_stored(score.model_dump(), dict(get_type_hints(Score, include_extras=True))) for score in scores]
    return pa.Table.from_pylist(rows, schema=schema())


def from_table(table: pa.Table) -> list[Score]:
    """Scores back from a table made by `to_table`.

    Raises:
        pydantic.ValidationError: A row is no score.
    """
    hints = dict(get_type_hints(Score, include_extras=True))
    return scores_of([_read(row, hints) for row in table.to_pylist(maps_as_pydicts="strict")])


def _field(name: str, hint: object) -> pa.Field:
    bare, optional = _bare(hint)
    return pa.field(name, _type(bare), nullable=optional)


def _bare(hint: object) -> tuple[object, bool]:
    """A type without its annotations, and whether it may be None."""
    if get_origin(hint) is Annotated:
        return _bare(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not type(None)]
        optional = len(kinds) < len(get_args(hint))
        return (_bare(kinds[0])[0] if len(kinds) == 1 else tuple(kinds)), optional
    return hint, False


def _type(bare: object) -> pa.DataType:
    if bare in _PLAIN:
        return _PLAIN[bare]
    if isinstance(bare, tuple):  # a number or a text
        return pa.struct([pa.field(_NUMBER, pa.float64()), pa.field(_TEXT, pa.string())])
    origin, args = get_origin(bare), get_args(bare)
    if origin is Literal:
        return pa.string()
    if origin is dict:
        return pa.map_(pa.string(), _field("value", args[1]))
    if origin in (list, tuple):
        return pa.list_(_field("item", args[0]))
    if dataclasses.is_dataclass(bare) and isinstance(bare, type):
        hints = _hints(bare)
        return pa.struct([_field(name, hint) for name, hint in hints.items()])
    raise TypeError(f"no stored type for {bare}")


@cache
def _hints(record: type) -> dict[str, object]:
    hints = get_type_hints(record, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(record)}  # ty: ignore[invalid-argument-type] - a dataclass


def _stored(plain: Mapping[str, object], hints: Mapping[str, object]) -> dict[str, object]:
    return {name: _each(plain[name], hint, store=True) for name, hint in hints.items() if name in plain}


def _read(stored: Mapping[str, object], hints: Mapping[str, object]) -> dict[str, object]:
    return {name: _each(stored[name], hint, store=False) for name, hint in hints.items() if name in stored}


def _each(value: object, hint: object, *, store: bool) -> object:
    """A plain value with the values that are a number or a text packed (or unpacked) at any depth."""
    bare, _ = _bare(hint)
    if value is None:
        return None
    if isinstance(bare, tuple):
        if store:
            return {_TEXT: value} if isinstance(value, str) else {_NUMBER: value}
        packed = dict(value) if isinstance(value, Mapping) else {}
        return packed.get(_TEXT) if packed.get(_TEXT) is not None else packed.get(_NUMBER)
    if get_origin(bare) in (list, tuple) and isinstance(value, Sequence):
        return [_each(item, get_args(bare)[0], store=store) for item in value]
    if dataclasses.is_dataclass(bare) and isinstance(bare, type) and isinstance(value, Mapping):
        return (_stored if store else _read)(value, _hints(bare))
    return value
