"""How blocks of context are put together: names, tables, columns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.context.asof import HOUR, Floats, Ints, codes, micros
from features.contracts import RUN_HISTORY
from features.dictionary import Block, Feature


@dataclass(frozen=True)
class Batches:
    """The batches of a plant, each once.

    Attributes:
        frame: `features.contracts.BATCHES` with attributes, a batch's first row.
        index: Their ids; families know a batch by its place here.
        started: When each began.
    """

    frame: pd.DataFrame
    index: pd.Index
    started: Ints

    @classmethod
    def of(cls, batches: pd.DataFrame) -> Batches:
        """Batches of a table."""
        frame = batches.drop_duplicates("batch_id")
        return cls(frame, pd.Index(frame["batch_id"]), micros(frame["started_at"]))


@dataclass(frozen=True)
class ContextQuery:
    """Batches and moments to make features for, as parallel arrays.

    Attributes:
        batch: Place of the batch in the index that a family was prepared with, -1 where it is not there.
        started: When it began, microseconds.
        as_of: The moment.
    """

    batch: Ints
    started: Ints
    as_of: Ints

    @classmethod
    def of(cls, rows: pd.DataFrame, index: pd.Index) -> ContextQuery:
        """The query for rows of snapshots."""
        return cls(codes(rows["batch_id"], index), micros(rows["started_at"]), micros(rows["as_of"]))


NO_CATEGORIES: Mapping[int, tuple[str, ...]] = MappingProxyType({})


class Family(Protocol):
    """Features made together: prepared from frames once, then written for any number of rows without a frame."""

    @property
    def features(self) -> tuple[Feature, ...]:
        """One entry per column."""
        ...

    @property
    def categories(self) -> Mapping[int, tuple[str, ...]]:
        """Names of the categories by column; such a column holds a name's place in them."""
        ...

    def fill(self, query: ContextQuery, out: Floats) -> None:
        """Write one row per row of the query into `out`, which has a column per feature and holds NaN."""
        ...


def slug(name: str) -> str:
    """A name of the plant as part of a feature's name: `Vector lot 2` becomes `vector_lot_2`."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "unnamed"


def block(family: Family, rows: pd.DataFrame, index: pd.Index) -> Block:
    """A family's columns beside the rows they belong to, by position."""
    out = np.full((len(rows), len(family.features)), np.nan)
    family.fill(ContextQuery.of(rows, index), out)
    columns = {f.name: out[:, place] for place, f in enumerate(family.features)}
    for place, names in family.categories.items():
        which = np.where(np.isnan(out[:, place]), len(names), out[:, place]).astype(np.int64)
        columns[family.features[place].name] = np.array([*names, None], dtype=object)[which]
    types = {f.name: "str" if i in family.categories else "float64" for i, f in enumerate(family.features)}
    return Block(pd.DataFrame(columns, index=rows.index).astype(types), family.features)


def table(history: Mapping[str, pd.DataFrame], name: str) -> pd.DataFrame:
    """A table of the run history, every row once; empty where the history has none."""
    frame = history.get(name)
    return _empty(name).copy() if frame is None else frame.drop_duplicates()


def hours(microseconds: Ints | NDArray) -> NDArray[np.float64]:
    """Microseconds in hours."""
    return np.asarray(microseconds) / HOUR


def last(duration_h: float) -> str:
    """Name of a recent window: `last_24h`."""
    return f"last_{duration_h:g}h"


@cache
def _empty(name: str) -> pd.DataFrame:
    return RUN_HISTORY[name].arrow().empty_table().to_pandas()
