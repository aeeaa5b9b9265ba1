"""Rows of features as arrays: what the scorer reads. A frame of snapshots is turned into them at the edge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from features.dictionary import Feature
from features.errors import ContractError
from models.cohort.encode import is_category

_US_PER_H = 3_600_000_000


@dataclass(frozen=True, eq=False)
class FeatureColumns:
    """What the columns of a matrix of features are.

    Attributes:
        features: One entry per column.
        categories: Names of the categories by place of the column; such a column holds the place of a name.
    """

    features: tuple[Feature, ...]
    categories: Mapping[int, tuple[str, ...]]

    @cached_property
    def place(self) -> dict[str, int]:
        """Place of each column by the name of its feature."""
        return {feature.name: i for i, feature in enumerate(self.features)}

    def value(self, name: str, row: np.ndarray) -> float | str | None:
        """Value of a feature in one row: a number, a category, or None where it is not known."""
        place = self.place.get(name, -1)
        if place < 0 or np.isnan(row[place]):
            return None
        names = self.categories.get(place)
        return float(row[place]) if names is None else names[int(row[place])]


@dataclass(frozen=True, eq=False)
class FeatureRows:
    """Snapshots of n batches, each at its own time.

    Attributes:
        columns: What the columns of `values` are.
        values: Shape (n, columns), float64; NaN where not known.
        batch_ids: One per row.
        as_of_us: Moment of each row, microseconds UTC, shape (n,).
        elapsed_h: Hours since the batch's start, shape (n,).
    """

    columns: FeatureColumns
    values: np.ndarray
    batch_ids: tuple[str, ...]
    as_of_us: np.ndarray
    elapsed_h: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    @classmethod
    def of_frame(cls, snapshots: pd.DataFrame, features: tuple[Feature, ...]) -> FeatureRows:
        """Rows of a frame.

        Args:
            snapshots: `features.contracts.SNAPSHOT`, n rows.
            features: Dictionary of their columns; entries without a column are left out.
        """
        present = tuple(feature for feature in features if feature.name in snapshots)
        columns, categories = [], {}
        for place, feature in enumerate(present):
            series = snapshots[feature.name]
            if is_category(series):
                codes, names = pd.factorize(series)
                categories[place] = tuple(str(name) for name in names)
                columns.append(np.where(codes < 0, np.nan, codes))
            else:
                columns.append(series.to_numpy("float64", na_value=np.nan))
        values = np.column_stack(columns) if columns else np.empty((len(snapshots), 0))
        return cls(
            FeatureColumns(present, categories),
            values,
            tuple(snapshots["batch_id"].astype("str")),
            snapshots["as_of"].to_numpy("datetime64[us]").astype(np.int64),
            snapshots["checkpoint_h"].to_numpy("float64"),
        )

    def take(self, places: Sequence[int]) -> FeatureRows:
        """Some of the rows, by place."""
        ids = tuple(self.batch_ids[i] for i in places)
        at = np.asarray(places, np.int64)
        return FeatureRows(self.columns, self.values[at], ids, self.as_of_us[at], self.elapsed_h[at])

    def frame(self, categorical: Mapping[str, object], numeric: tuple[str, ...]) -> pd.DataFrame:
        """The rows as `features.contracts.SNAPSHOT`.

        Args:
            categorical: Names of columns of categories that have to be there; empty where the rows lack them.
            numeric: Names of columns of numbers that have to be there; NaN where the rows lack them.
        """
        started_us = self.as_of_us - np.round(self.elapsed_h * _US_PER_H).astype(np.int64)
        times = [pd.to_datetime(at, unit="us", utc=True).as_unit("us") for at in (started_us, self.as_of_us)]
        head = {
            "batch_id": pd.array(self.batch_ids, dtype="str"),
            "checkpoint_h": self.elapsed_h,
            "started_at": times[0],
            "as_of": times[1],
        }
        own = {feature.name: self._column(place) for place, feature in enumerate(self.columns.features)}
        absent: dict[str, object] = {name: np.full(len(self), np.nan) for name in numeric if name not in own}
        absent |= {name: pd.array([None] * len(self), dtype="str") for name in categorical if name not in own}
        return pd.DataFrame({**head, **own, **absent})

    def _column(self, place: int) -> object:
        names, values = self.columns.categories.get(place), self.values[:, place]
        if names is None:
            return values
        return pd.array([None if np.isnan(value) else names[int(value)] for value in values], dtype="str")


def require_features(columns: FeatureColumns, names: tuple[str, ...]) -> None:
    """Whether a frame brings the features that a predictor was trained on.

    Raises:
        ContractError: A feature is absent.
    """
    absent = [name for name in names if name not in columns.place]
    if absent:
        raise ContractError(
            f"snapshots lack the feature {absent[0]!r} ({len(absent)} in all)",
            expected=f"the {len(names)} features that the predictor was trained on",
            remedy="Rebuild the features with the process definition of the model.",
        )
