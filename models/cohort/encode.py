"""Snapshots to the matrix of LightGBM: columns by name, categories as integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from features.contracts import SNAPSHOT
from features.errors import ContractError
from models.persistence import Persistent

UNKNOWN = np.nan  # a category never seen in training is treated as a missing one


@dataclass(frozen=True)
class Encoder(Persistent):
    """What each column of the matrix is.

    Attributes:
        columns: Feature names in the matrix's order, which is alphabetical, whatever order the snapshots came in.
        categories: Names of categories per categorical column; the place in the list is the integer.
        version: Of the stored form.
    """

    columns: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    version: Literal[1] = 1

    def encode(self, snapshots: pd.DataFrame) -> np.ndarray:
        """The matrix, float64, one row per snapshot; NaN where not known or never seen in training.

        Raises:
            ContractError: A column is absent or is of another type, or a value is infinite.
        """
        absent = [name for name in self.columns if name not in snapshots]
        if absent:
            raise ContractError(
                f"snapshots lack the feature {absent[0]!r} ({len(absent)} in all)",
                expected=f"the {len(self.columns)} features that the predictor was trained on",
                remedy="Rebuild the features with the process definition of the model.",
            )
        columns = [self._column(snapshots[name]) for name in self.columns]
        X = np.column_stack(columns) if columns else np.empty((len(snapshots), 0))
        _refuse_infinite(X, self.columns, snapshots)
        return X

    def _column(self, values: pd.Series) -> np.ndarray:
        name = str(values.name)
        if (name in self.categories) != is_category(values):
            kind = "categories" if name in self.categories else "numbers"
            raise ContractError(f"feature {name!r} has type {values.dtype}", expected=kind)
        if name not in self.categories:
            return values.to_numpy(dtype="float64", na_value=np.nan)
        codes = {category: float(code) for code, category in enumerate(self.categories[name])}
        return values.map(codes).to_numpy(dtype="float64", na_value=UNKNOWN)


def fit_encoder(snapshots: pd.DataFrame) -> Encoder:
    """Take the columns that can tell batches apart: constant and empty ones are left out.

    Args:
        snapshots: `features.contracts.SNAPSHOT` of the training part only.
    """
    names = sorted(name for name in snapshots.columns if name not in SNAPSHOT.names)
    kept = tuple(name for name in names if _differs(snapshots[name]))
    categories = {
        name: tuple(sorted(snapshots[name].dropna().unique())) for name in kept if is_category(snapshots[name])
    }
    return Encoder(kept, categories)


def is_category(values: pd.Series) -> bool:
    """Whether a column holds names rather than numbers."""
    return bool(pd.api.types.is_string_dtype(values.dtype))


def _differs(values: pd.Series) -> bool:
    known = values.dropna()
    return bool(len(known)) and bool((known != known.iloc[0]).any())


def _refuse_infinite(X: np.ndarray, columns: tuple[str, ...], snapshots: pd.DataFrame) -> None:
    rows, places = np.nonzero(np.isinf(X))
    if len(rows):
        batch = snapshots["batch_id"].iloc[rows[0]]
        raise ContractError(
            f"batch {batch}: feature {columns[places[0]]!r} is infinite ({len(rows)} such values in all)",
            expected="a finite number or nothing",
            remedy="Correct the reading in the run history.",
        )
