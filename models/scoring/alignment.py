"""A predictor and the columns of feature rows, aligned once by name: what the predictor takes from any number of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from features.errors import ContractError
from models.predictor import AGE, Predictor
from models.scoring.rows import FeatureColumns, FeatureRows

NOT_A_VALUE = frozenset({"n", AGE, "n_missing", "n_bad"})  # known even where nothing was measured
NOT_MEASURED = ("lot.", "event.")  # subjects whose age is not that of a value: a lot in use, a deviation
# subjects of the start and of the plant's record, known of any batch: no value of a parameter
_START = frozenset({"progress", "phase", "completeness", "product", "process_version", "scale_l"})
_OF_THE_PLANT = _START | {"site", "equipment", "subject", "operators"}
_RECORDS_OF = ("lot.", "supplier.", "event.")
ROUNDING_H = 1e-6  # an age is this much above the usual one before it is stale


@dataclass(frozen=True, eq=False)
class UsualAges:
    """Usual age of the newest value of several parameters, at any time after the start.

    Between the checkpoints of training the usual age lies on a straight line. Past the last one it grows by the hours
    since then, so what is measured once, at the start, is as old as the batch and never stale.

    Attributes:
        hours: Times after the start at which one of the parameters has a known age, increasing, shape (knots,).
        ages: Usual ages there, hours, shape (parameters, knots); NaN (never stale) before a parameter's first one.
    """

    hours: np.ndarray
    ages: np.ndarray

    @classmethod
    def of(cls, usual: Sequence[Mapping[str, float]]) -> UsualAges:
        """From the ages of each parameter by checkpoint (as text)."""
        hours = np.array(sorted({float(hour) for each in usual for hour in each}), np.float64)
        return cls(hours, np.array([_on_a_line(each, hours) for each in usual]).reshape(len(usual), len(hours)))

    def at(self, elapsed_h: np.ndarray) -> np.ndarray:
        """Usual ages at times after the start, shape (n, parameters); NaN where there is none yet."""
        if not len(self.hours):
            return np.full((len(elapsed_h), len(self.ages)), np.nan)
        place = np.clip(np.searchsorted(self.hours, elapsed_h, side="right") - 1, 0, len(self.hours) - 1)
        after = np.minimum(place + 1, len(self.hours) - 1)
        low, high, past = self.ages.T[place], self.ages.T[after], elapsed_h - self.hours[place]
        width = self.hours[after] - self.hours[place]
        share = np.divide(past, width, out=np.zeros_like(past), where=width > 0)[:, None]
        between = np.where(share == 0, low, low + (high - low) * share)  # a NaN behind must not reach back to a knot
        ages = np.where((width > 0)[:, None], between, low + past[:, None])
        return np.where((elapsed_h < self.hours[0])[:, None], np.nan, ages)


def _on_a_line(usual: Mapping[str, float], hours: np.ndarray) -> np.ndarray:
    known = sorted((float(hour), age) for hour, age in usual.items())
    if not known:
        return np.full(len(hours), np.nan)
    at, ages = (np.array(each) for each in zip(*known, strict=True))
    return np.interp(hours, at, ages, left=np.nan) + np.maximum(0.0, hours - at[-1])


@dataclass(frozen=True, eq=False)
class FeatureAligner:
    """Places of a predictor's columns among those of feature rows.

    Attributes:
        predictor: Frozen.
        columns: Of the rows; a feature of the predictor that they lack is not known of any batch.

    Raises:
        ContractError: A column holds categories where the predictor takes numbers, or the other way round.
    """

    predictor: Predictor
    columns: FeatureColumns

    def __post_init__(self) -> None:
        encoder = self.predictor.encoder
        for name in encoder.columns:
            place = self.columns.place.get(name)
            if place is not None and (place in self.columns.categories) != (name in encoder.categories):
                kinds = ("numbers", "categories") if name in encoder.categories else ("categories", "numbers")
                raise ContractError(f"feature {name!r} holds {kinds[0]}", expected=kinds[1])

    def matrix(self, rows: FeatureRows) -> np.ndarray:
        """The predictor's matrix, shape (n, k): columns by name, categories as the predictor numbers them.

        Raises:
            ContractError: A value is infinite.
        """
        X = rows.values[:, self._take]
        X[:, self._absent] = np.nan
        for place, codes in self._recode:
            column = X[:, place]
            X[:, place] = codes[np.where(np.isnan(column), -1, column).astype(np.int64)]
        if np.isinf(X).any():
            row, place = np.argwhere(np.isinf(X))[0]
            raise ContractError(
                f"batch {rows.batch_ids[row]}: feature {self.predictor.encoder.columns[place]!r} is infinite"
                f" ({int(np.isinf(X).sum())} such values in all)",
                expected="a finite number or nothing",
                remedy="Correct the reading in the run history.",
            )
        return X

    def missing(self, values: np.ndarray) -> tuple[list[str], ...]:
        """Parameters that the predictor uses and of which a row knows no value, per row of (n, columns)."""
        names, places, first = self._valued
        if not names:
            return tuple([] for _ in values)
        unknown = np.isnan(values[:, places])
        unknown[:, places < 0] = True
        absent = np.logical_and.reduceat(unknown, first, axis=1)
        return tuple([names[i] for i in np.flatnonzero(row)] for row in absent)

    def without_values(self, missing: Sequence[str]) -> bool:
        """Whether none of the parameters of the predictor has a value, by those that have none (`missing`).

        The hour, the place and the plant's record are known of any batch; they are no parameters. False where the
        predictor uses nothing else.
        """
        return bool(self._parameters) and self._parameters <= set(missing)

    def stale(self, values: np.ndarray, elapsed_h: np.ndarray) -> tuple[dict[str, float], ...]:
        """Parameters whose newest value is older than usual at that time, with its age in hours, per row."""
        names, places, usual = self._ages
        ages = values[:, places]
        old = ages > usual.at(elapsed_h) + ROUNDING_H
        return tuple(
            {names[i]: float(row[i]) for i in np.flatnonzero(is_old)} for row, is_old in zip(ages, old, strict=True)
        )

    def signs(self, values: np.ndarray) -> np.ndarray:
        """What the sensor checks look at, shape (n, checks); NaN where there is no such column."""
        places = self._signs
        return np.where(places >= 0, values[:, places], np.nan) if len(places) else np.empty((len(values), 0))

    def named(self, row: np.ndarray) -> dict[str, float | str | None]:
        """Values of one row that the applicability domain looks up by the name of a feature."""
        return {name: self.columns.value(name, row) for name in self._named}

    @cached_property
    def _take(self) -> np.ndarray:
        place = self.columns.place
        return np.array([place.get(name, -1) for name in self.predictor.encoder.columns], np.int64)

    @cached_property
    def _absent(self) -> np.ndarray:
        return np.flatnonzero(self._take < 0)

    @cached_property
    def _recode(self) -> list[tuple[int, np.ndarray]]:
        """Columns of categories, and the predictor's number for each of the rows' names; the last is for an unknown one."""
        encoder, made = self.predictor.encoder, []
        for column, place in enumerate(self._take.tolist()):
            names = self.columns.categories.get(place)
            if names is not None:
                known = encoder.categories.get(encoder.columns[column], ())
                code = {category: float(i) for i, category in enumerate(known)}
                made.append((column, np.array([*(code.get(name, np.nan) for name in names), np.nan])))
        return made

    @cached_property
    def _valued(self) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Parameters with a value of their own, places of the columns that are one, and where each parameter's begin."""
        columns: dict[str, list[int]] = {}
        for feature in self.predictor.features:
            if feature.statistic not in NOT_A_VALUE:
                columns.setdefault(feature.parameter, []).append(self.columns.place.get(feature.name, -1))
        places = np.array([place for each in columns.values() for place in each], np.int64)
        first = np.cumsum([0, *(len(each) for each in columns.values())])[:-1]
        return list(columns), places, first

    @cached_property
    def _parameters(self) -> frozenset[str]:
        names, _, _ = self._valued
        return frozenset(n for n in names if n not in _OF_THE_PLANT and not n.startswith(_RECORDS_OF))

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
    def _named(self) -> tuple[str, ...]:
        domain = self.predictor.applicability
        names = () if domain is None else dict.fromkeys((*domain.support, *domain.categories))
        return tuple(name for name in names if name in self.columns.place)

    @cached_property
    def _signs(self) -> np.ndarray:
        return np.array([self.columns.place.get(c.feature, -1) for c in self.predictor.sensors.checks], np.int64)
