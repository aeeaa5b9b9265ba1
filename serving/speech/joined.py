"""A predictor and the columns of a state, joined once by name: what the model takes of a row of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from features.errors import ContractError
from features.live import Columns
from models.explain.completeness import NOT_A_VALUE, NOT_MEASURED, ROUNDING_H, by_parameter, usual_age
from models.judge import Rows, names_looked_up
from models.predictor import AGE, Predictor


@dataclass(frozen=True)
class UsualAges:
    """`models.explain.completeness.usual_age` of several parameters at every hour at which one of them has a knot.

    Attributes:
        hours: The knots, increasing.
        ages: Usual ages there, shape (parameters, knots); NaN before a parameter's first one.
    """

    hours: np.ndarray
    ages: np.ndarray

    @classmethod
    def of(cls, usual: Sequence[dict[str, float]]) -> UsualAges:
        """Work the knots out: between them the usual age is a straight line."""
        hours = np.array(sorted({float(hour) for each in usual for hour in each}), np.float64)
        ages = [[usual_age(each, float(hour)) for hour in hours] for each in usual]
        return cls(hours, np.array(ages, np.float64).reshape(len(usual), len(hours)))

    def at(self, elapsed_h: float) -> np.ndarray:
        """Usual age of each parameter, NaN where it has none yet."""
        if not len(self.hours) or elapsed_h < self.hours[0]:
            return np.full(len(self.ages), np.nan)
        i = int(np.searchsorted(self.hours, elapsed_h, side="right")) - 1
        past = elapsed_h - self.hours[i]
        if i + 1 == len(self.hours):
            return self.ages[:, i] + past
        if past == 0.0:
            return self.ages[:, i]
        return self.ages[:, i] + (self.ages[:, i + 1] - self.ages[:, i]) * (past / (self.hours[i + 1] - self.hours[i]))


@dataclass(frozen=True, eq=False)
class Joined:
    """Places of the model's columns among those of a state.

    Attributes:
        predictor: Frozen.
        columns: Of the rows that will come.
    """

    predictor: Predictor
    columns: Columns

    def rows(self, values: np.ndarray) -> Rows:
        """One row of the state as the predictor takes it.

        Raises:
            ContractError: A value is infinite.
        """
        X = self.matrix(values)
        signs = np.where(self._signs >= 0, values[self._signs], np.nan)
        named = {name: self.value(place, values) for name, place in self._named.items()}
        missing, stale = (self.missing(values),), (self.stale(values),)
        return Rows(X, values[:1], missing, stale, (named,), signs[None, :])

    def matrix(self, values: np.ndarray) -> np.ndarray:
        """The model's row, shape (1, k): selected by name, categories as the model knows them.

        Raises:
            ContractError: A value is infinite.
        """
        X = values[self.take][None, :]
        X[0, self._absent] = np.nan
        for place, codes in self._recode:
            X[0, place] = codes[-1 if np.isnan(X[0, place]) else int(X[0, place])]
        if np.isinf(X).any():
            name = self.predictor.encoder.columns[int(np.flatnonzero(np.isinf(X[0]))[0])]
            raise ContractError(
                f"feature {name!r} is infinite",
                expected="a finite number or nothing",
                remedy="Correct the reading in the run history.",
            )
        return X

    def value(self, place: int, values: np.ndarray) -> float | str | None:
        """What a column of the state says; None where nothing is known."""
        if place < 0 or np.isnan(values[place]):
            return None
        names = self.columns.categories.get(place)
        return float(values[place]) if names is None else names[int(values[place])]

    def missing(self, values: np.ndarray) -> list[str]:
        """`models.explain.completeness.missing` of one row."""
        names, group, places = self._valued
        known = ~np.isnan(values[places])
        return [names[i] for i in np.flatnonzero(np.bincount(group, known, minlength=len(names)) == 0)]

    def stale(self, values: np.ndarray) -> dict[str, float]:
        """`models.explain.completeness.stale` of one row."""
        names, places, usual = self._ages
        ages = values[places]
        return {names[i]: float(ages[i]) for i in np.flatnonzero(ages > usual.at(float(values[0])) + ROUNDING_H)}

    @cached_property
    def place(self) -> dict[str, int]:
        """Place of each column of the state by name."""
        return {feature.name: i for i, feature in enumerate(self.columns.features)}

    @cached_property
    def take(self) -> np.ndarray:
        """Place of each column of the model in the state, -1 where it is not there."""
        return np.array([self.place.get(name, -1) for name in self.predictor.encoder.columns], np.int64)

    @cached_property
    def _absent(self) -> np.ndarray:
        return np.flatnonzero(self.take < 0)

    @cached_property
    def _recode(self) -> list[tuple[int, np.ndarray]]:
        """Columns of categories, and the model's number for each of the state's; the last is for an unknown one."""
        encoder, made = self.predictor.encoder, []
        for column, place in enumerate(self.take.tolist()):
            names = self.columns.categories.get(place)
            if names is not None:
                known = encoder.categories.get(encoder.columns[column], ())
                code = {category: float(i) for i, category in enumerate(known)}
                made.append((column, np.array([*(code.get(name, np.nan) for name in names), np.nan])))
        return made

    @cached_property
    def _valued(self) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Parameters with a value of their own; of each column that is one, its parameter and its place in the state.

        A column that the state does not have is left out: it is known of no batch.
        """
        groups = by_parameter(self.predictor.features).items()
        of = {p: [f.name for f in fs if f.statistic not in NOT_A_VALUE] for p, fs in groups}
        names = [parameter for parameter, features in of.items() if features]
        there = [(i, self.place[f]) for i, name in enumerate(names) for f in of[name] if f in self.place]
        return names, np.array([i for i, _ in there], np.int64), np.array([at for _, at in there], np.int64)

    @cached_property
    def _ages(self) -> tuple[list[str], np.ndarray, UsualAges]:
        usual = self.predictor.usual_ages
        ages = {
            f.parameter: i
            for i, f in enumerate(self.columns.features)
            if f.statistic == AGE and f.parameter in usual and not f.parameter.startswith(NOT_MEASURED)
        }
        return list(ages), np.array(list(ages.values()), np.int64), UsualAges.of([usual[name] for name in ages])

    @cached_property
    def _named(self) -> dict[str, int]:
        return {name: self.place[name] for name in names_looked_up(self.predictor) if name in self.place}

    @cached_property
    def _signs(self) -> np.ndarray:
        return np.array([self.place.get(c.feature, -1) for c in self.predictor.sensors.checks], np.int64)


def plain(value: Any) -> Any:
    """A number that JSON can say; an infinite one, which is an open limit, as None."""
    return None if isinstance(value, float) and not np.isfinite(value) else value
