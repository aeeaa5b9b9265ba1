"""The newest value of every parameter of a snapshot, and when it was measured."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pandas as pd

from features.dictionary import Feature
from models.explain.words import Value, plain
from models.predictor import AGE

STATISTICS = ("last", "value")  # statistics that are the newest value itself
_LONGEST_H = 2_500_000
_FIXED = ("before_start", "lot")  # windows whose values stood before the batch ran


@dataclass(frozen=True)
class Newest:
    """What was known last of one parameter.

    Attributes:
        label: In the process's words.
        unit: Unit of the value.
        value: A number or a category; None where nothing is known.
        at: When it was measured, UTC; None where nothing is known, or where its age is not.
        at_start: Whether it is a value that stood before the batch ran: an attribute, or a test of a lot.
    """

    label: str
    unit: str
    value: Value
    at: pd.Timestamp | None
    at_start: bool

    @property
    def number(self) -> float | None:
        """The value where it is a number."""
        return None if isinstance(self.value, str) else self.value


def newest(snapshots: pd.DataFrame, features: tuple[Feature, ...]) -> list[dict[str, Newest]]:
    """The newest value of each parameter that has one, per snapshot.

    Args:
        snapshots: `features.contracts.SNAPSHOT`.
        features: Dictionary of their columns; columns that the snapshots lack are passed over.

    Returns:
        One dictionary by parameter per snapshot, in its order. Subjects without a value of their own, such as a lot
        or the deviations, are not in it.
    """
    values = {f.parameter: f for f in features if f.statistic in STATISTICS and f.name in snapshots}
    ages = {f.parameter: f.name for f in features if f.statistic == AGE and f.name in snapshots}
    columns = {p: (f, snapshots[f.name].tolist()) for p, f in values.items()}
    hours = {p: snapshots[ages[p]].tolist() for p in values if p in ages}
    out = []
    for row, as_of in enumerate(snapshots["as_of"]):
        known = {}
        for parameter, (feature, column) in columns.items():
            age_h = hours[parameter][row] if parameter in hours else None
            known[parameter] = newest_of(feature, column[row], age_h, as_of)
        out.append(known)
    return out


def newest_of(feature: Feature, value: Any, age_h: Any, as_of: pd.Timestamp) -> Newest:
    """What was known last of a parameter, by the feature that is its newest value.

    Args:
        feature: Its statistic is one of `STATISTICS`.
        value: A number, a category, or something that means nothing is known.
        age_h: Age of the value in hours, where that is known.
        as_of: When the question was asked.
    """
    value, age_h = plain(value), plain(age_h)
    at = None if value is None or not isinstance(age_h, float) else as_of - _span(age_h)
    return Newest(feature.label, feature.unit, value, at, feature.window in _FIXED)


def _span(age_h: float) -> timedelta:
    """Hours, to the nanosecond where that many can be held: not beyond 292 years, where a mistyped year leads."""
    return timedelta(hours=age_h) if age_h > _LONGEST_H else pd.Timedelta(hours=age_h)  # ty: ignore[invalid-explicit-return] - NaT never
