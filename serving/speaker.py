"""One batch's row of numbers to what a model says of it: probability, reasons, what is missing or stale. No frame.

The same numbers as `serving.scorer` gives for a frame of snapshots (`tests/serving/test_engine.py`).
"""

from __future__ import annotations

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


@dataclass(frozen=True)
class _Group:
    """The features of one parameter in the model, and their places in its matrix."""

    features: list[Feature]
    places: list[int]


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
        self._groups: dict[str, _Group] = {}
        for place, feature in enumerate(predictor.features):
            group = self._groups.setdefault(feature.parameter, _Group([], []))
            group.features.append(feature)
            group.places.append(place)
        self._sorted = sorted(self._groups)  # the order in which equal contributions stand
        code = {name: i for i, name in enumerate(self._sorted)}
        self._parameter = np.array([code[f.parameter] for f in predictor.features], np.int64)
        self._is_value = np.array([f.statistic not in NOT_A_VALUE for f in predictor.features])
        self._valued = [n for n, g in self._groups.items() if any(f.statistic not in NOT_A_VALUE for f in g.features)]
        self._valued_code = np.array([code[n] for n in self._valued], np.int64)
        self._ages = {
            f.parameter: place
            for place, f in enumerate(columns.features)
            if f.statistic == AGE and f.parameter in predictor.usual_ages and not f.parameter.startswith(NOT_MEASURED)
        }
        self._age_places = np.array(list(self._ages.values()), np.int64)
        usual = (predictor.usual_ages[name].values() for name in self._ages)
        self._least_age = np.array([min(ages, default=np.inf) for ages in usual], np.float64)

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
        return [self._reason(self._sorted[i], float(total[i]), points, values) for i in order
                if abs(total[i]) >= SMALLEST]  # fmt: skip

    def _reason(self, parameter: str, total: float, points: np.ndarray, values: np.ndarray) -> dict[str, Any]:
        group = self._groups[parameter]
        of_features = {f.name: float(points[i]) for f, i in zip(group.features, group.places, strict=True)}
        known = {f.name: self._value(i, values) for f, i in zip(group.features, group.places, strict=True)}
        return reason_of(parameter, group.features, total, of_features, known, self._process).to_json()

    def _value(self, place: int, values: np.ndarray) -> float | str | None:
        at = int(self._take[place])
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
        found, names = {}, list(self._ages)
        for i in np.flatnonzero(ages > self._least_age):
            limit = usual_age(self._predictor.usual_ages[names[i]], float(values[0]))
            if ages[i] > limit + ROUNDING_H:
                found[names[i]] = float(ages[i])
        return found
