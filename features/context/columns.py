"""How blocks of context are put together: names, tables, columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.context.asof import HOUR, Ints
from features.contracts import RUN_HISTORY
from features.dictionary import Block, Feature

Cell = tuple[Feature, NDArray | pd.Series]


def slug(name: str) -> str:
    """A name of the plant as part of a feature's name: `Vector lot 2` becomes `vector_lot_2`."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "unnamed"


def feature(subject: str, window: str, statistic: str, *, label: str, meaning: str, unit: str = "") -> Feature:
    """One entry of the feature dictionary, named `subject.window.statistic`."""
    return Feature(f"{subject}.{window}.{statistic}", subject, label, unit, window, statistic, meaning)


def block(rows: pd.DataFrame, cells: Iterable[Cell]) -> Block:
    """Columns beside the rows they belong to, by position."""
    cells = tuple(cells)
    values = {f.name: v.to_numpy() if isinstance(v, pd.Series) else v for f, v in cells}
    frame = pd.DataFrame(values, index=rows.index)
    types = {f.name: "str" if f.unit == "category" else "float64" for f, _ in cells}
    return Block(frame.astype(types), tuple(f for f, _ in cells))


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
