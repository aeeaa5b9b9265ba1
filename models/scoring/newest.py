"""The newest value of a parameter in a row of features, and when it was measured."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeAlias

import numpy as np
from pydantic import PlainSerializer

from models.explain.words import Value
from models.predictor import AGE
from models.scoring.rows import FeatureColumns

STATISTICS = ("last", "value")  # statistics that are the newest value itself
_FIXED = ("before_start", "lot")  # windows whose values stood before the batch ran
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _iso(at: datetime) -> str:
    return at.isoformat()


IsoTime: TypeAlias = Annotated[datetime, PlainSerializer(_iso, when_used="json")]
"""A time in UTC; as JSON `2026-01-31T06:00:00+00:00`."""


@dataclass(frozen=True)
class Newest:
    """The newest known value of one parameter.

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
    at: datetime | None
    at_start: bool

    @property
    def number(self) -> float | None:
        """The value where it is a number."""
        return None if isinstance(self.value, str) else self.value


class NewestValues:
    """Newest values of the parameters of feature rows.

    Args:
        columns: Columns of the rows.
    """

    def __init__(self, columns: FeatureColumns) -> None:
        self._columns = columns
        self._values = {f.parameter: f for f in columns.features if f.statistic in STATISTICS}
        self._ages = {f.parameter: columns.place[f.name] for f in columns.features if f.statistic == AGE}

    def of(self, row: np.ndarray, as_of_us: int, parameters: Iterable[str] | None = None) -> dict[str, Newest]:
        """Newest values by parameter; parameters without a value of their own, such as a lot, are left out.

        Args:
            row: Shape (columns,).
            as_of_us: Moment of the row, microseconds UTC.
            parameters: Which ones; None: all.
        """
        names = self._values if parameters is None else [name for name in parameters if name in self._values]
        return {name: self._newest(name, row, as_of_us) for name in names}

    def _newest(self, parameter: str, row: np.ndarray, as_of_us: int) -> Newest:
        feature = self._values[parameter]
        value, place = self._columns.value(feature.name, row), self._ages.get(parameter)
        age_h = math.nan if place is None else float(row[place])
        at = None if value is None or math.isnan(age_h) else utc(as_of_us) - timedelta(hours=age_h)
        return Newest(feature.label, feature.unit, value, at, feature.window in _FIXED)


def utc(at_us: int) -> datetime:
    """Microseconds since 1970 as a time in UTC."""
    return _EPOCH + timedelta(microseconds=int(at_us))
