"""One batch's row of numbers to what a model says of it: probability, reasons, what is missing or stale. No frame.

The same numbers as `serving.scorer` gives for a frame of snapshots (`tests/serving/test_engine.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from features.dictionary import Feature
from features.errors import ContractError
from features.live import Columns
from features.process import ProcessDefinition
from models.explain.reasons import NOT_A_VALUE, NOT_MEASURED, ROUNDING_H, SMALLEST, reason_of, usual_age
from models.predictor import AGE, Predictor, mean_slope


@dataclass(frozen=True)
class Said:
    """What a model says of a batch at a moment.

    Attributes:
        failure_probability: Calibrated.
        base_probability: Before anything is known of a batch.
        reasons: `models.explain.reasons.Reason` as JSON values, largest first.
        missing: Parameters that the model uses and of which no value is known.
        stale: Age in hours of newest values that are older than usual, by parameter.
    """

    failure_probability: float
    base_probability: float
    reasons: list[dict[str, Any]]
    missing: list[str]
    stale: dict[str, float]


class Speaker:
    """A predictor and the columns that a state gives it, joined once by name.

    Args:
        predictor: Frozen.
        process: For labels and normal ranges.
        columns: Of the rows that will come.
        top: Reasons at most.
    """

    def __init__(self, predictor: Predictor, process: ProcessDefinition, columns: Columns, *, top: int = 5) -> None:
        self._predictor, self._process, self._columns, self._top = predictor, process, columns, top
        self._join()
        self._groups: dict[str, list[Feature]] = {}
        for feature in predictor.features:
            self._groups.setdefault(feature.parameter, []).append(feature)
        self._sorted = sorted(self._groups)  # the order in which equal contributions stand
        code = {name: i for i, name in enumerate(self._sorted)}
        self._parameter = np.array([code[f.parameter] for f in predictor.features], np.int64)
        self._is_value = np.array([f.statistic not in NOT_A_VALUE for f in predictor.features])
        self._valued = [n for n, g in self._groups.items() if any(f.statistic not in NOT_A_VALUE for f in g)]
        self._valued_code = np.array([code[n] for n in self._valued], np.int64)
        self._ages = {
            f.parameter: place
            for place, f in enumerate(columns.features)
            if f.statistic == AGE and f.parameter in predictor.usual_ages and not f.parameter.startswith(NOT_MEASURED)
        }
        self._age_places = np.array(list(self._ages.values()), np.int64)
        self._usual_ages = UsualAges.of([predictor.usual_ages[name] for name in self._ages])
        self._places_of = {f.name: i for i, f in enumerate(predictor.features)}

    @property
    def names(self) -> Collection[str]:
        """The model's features."""
        return self._places_of

    @property
    def columns(self) -> Columns:
        """The columns it was joined with."""
        return self._columns

    def matrix(self, values: np.ndarray) -> np.ndarray:
        """The model's row, shape (1, its columns): selected by name, categories as the model knows them.

        Raises:
            ContractError: A value is infinite.
        """
        X = values[self._take][None, :]
        X[0, self._absent] = np.nan
        for place, codes in self._recode:
            X[0, place] = codes[-1 if np.isnan(X[0, place]) else int(X[0, place])]
        if np.isinf(X).any():
            name = self._predictor.encoder.columns[int(np.flatnonzero(np.isinf(X[0]))[0])]
            raise ContractError(
                f"feature {name!r} is infinite",
                expected="a finite number or nothing",
                remedy="Correct the reading in the run history.",
            )
        return X

    def say(self, values: np.ndarray) -> Said:
        """What the model says of one row of `columns`.

        Raises:
            ContractError: A value is infinite.
        """
        predictor, X = self._predictor, self.matrix(values)
        raw = np.asarray(predictor.booster.predict(X, num_threads=1, raw_score=True))
        contributions = np.asarray(predictor.booster.predict(X, num_threads=1, pred_contrib=True))[0, :-1]
        log_odds = predictor.calibration.slope * contributions
        per_log_odds = mean_slope(predictor.base_log_odds, np.asarray(predictor.base_log_odds + log_odds.sum()))
        return Said(
            float(expit(predictor.calibration.log_odds(raw))[0]),
            predictor.base_probability,
            self._reasons(100.0 * per_log_odds * log_odds, values),
            self._missing(values),
            self._stale(values),
        )

    def _join(self) -> None:
        encoder = self._predictor.encoder
        place = {f.name: i for i, f in enumerate(self._columns.features)}
        take = np.array([place.get(name, -1) for name in encoder.columns], np.int64)
        self._take, self._absent = take, np.flatnonzero(take < 0)
        self._recode = []
        for column, name in enumerate(encoder.columns):
            names = self._columns.categories.get(int(take[column])) if take[column] >= 0 else None
            if names is not None:
                code = {category: float(i) for i, category in enumerate(encoder.categories.get(name, ()))}
                self._recode.append((column, np.array([*(code.get(n, np.nan) for n in names), np.nan])))

    def _reasons(self, points: np.ndarray, values: np.ndarray) -> list[dict[str, Any]]:
        total = np.bincount(self._parameter, points, minlength=len(self._sorted))
        order = np.argsort(-np.abs(total), kind="stable")[: self._top]
        of_features = dict(zip(self._places_of, points.tolist(), strict=True))
        known = _Known(self, values)
        return [
            reason_of(name, self._groups[name], float(total[i]), of_features, known, self._process).to_json()
            for i, name in ((i, self._sorted[i]) for i in order)
            if abs(total[i]) >= SMALLEST
        ]

    def value(self, name: str, values: np.ndarray) -> float | str | None:
        """The value of one of the model's features in a row; None where it is not known."""
        at = int(self._take[self._places_of[name]])
        if at < 0 or np.isnan(values[at]):
            return None
        names = self._columns.categories.get(at)
        return float(values[at]) if names is None else names[int(values[at])]

    def _missing(self, values: np.ndarray) -> list[str]:
        known = ~np.isnan(values[self._take]) & self._is_value
        known[self._absent] = False
        number = np.bincount(self._parameter, known, minlength=len(self._sorted))[self._valued_code]
        return [self._valued[i] for i in np.flatnonzero(number == 0)]

    def _stale(self, values: np.ndarray) -> dict[str, float]:
        ages = values[self._age_places]
        old, names = np.flatnonzero(ages > self._usual_ages.at(float(values[0])) + ROUNDING_H), list(self._ages)
        return {names[i]: float(ages[i]) for i in old}


@dataclass(frozen=True)
class _Known(Mapping[str, "float | str | None"]):
    """Values of a row by the names of the model's features, looked up when they are asked for."""

    speaker: Speaker
    row: np.ndarray

    def __getitem__(self, name: str) -> float | str | None:
        return self.speaker.value(name, self.row)

    def __iter__(self) -> Iterator[str]:
        return iter(self.speaker.names)

    def __len__(self) -> int:
        return len(self.speaker.names)


@dataclass(frozen=True)
class UsualAges:
    """`models.explain.reasons.usual_age` of several parameters at every hour at which one of them has a knot.

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
