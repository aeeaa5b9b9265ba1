"""One batch's row of numbers to what a model says of it: probability, reasons, what is missing or stale. No frame.

The same numbers as `serving.scorer` gives for a frame of snapshots (`tests/serving/test_engine.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from features.dictionary import Feature
from features.errors import ContractError
from features.live import Columns
from features.process import ProcessDefinition
from models.explain.completeness import NOT_A_VALUE, NOT_MEASURED, ROUNDING_H, usual_age
from models.explain.newest import STATISTICS, Newest, newest_of
from models.explain.reasons import SMALLEST, Moment, reason_of
from models.explain.stages import CURRENT, measured_in, running, stage_labels, stage_rule
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
        self._newest_places = {f.parameter: i for i, f in enumerate(columns.features) if f.statistic in STATISTICS}
        self._age_of = {f.parameter: i for i, f in enumerate(columns.features) if f.statistic == AGE}
        self._stages = _Stages(predictor, process, columns)
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

    def say(self, values: np.ndarray, as_of_us: int) -> Said:
        """What the model says of one row of `columns`, asked at a time in microseconds UTC.

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
            self._reasons(100.0 * per_log_odds * log_odds, values, _timestamp(as_of_us)),
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

    def _reasons(self, points: np.ndarray, values: np.ndarray, as_of: pd.Timestamp) -> list[dict[str, Any]]:
        stages, n = self._stages.at(values), len(self._stages.names)
        staged = np.bincount(self._parameter * n + stages, points, minlength=len(self._sorted) * n).reshape(-1, n)
        total = staged.sum(axis=1)
        order = [int(i) for i in np.argsort(-np.abs(total), kind="stable")[: self._top] if abs(total[i]) >= SMALLEST]
        moment = Moment(
            points=dict(zip(self._places_of, points.tolist(), strict=True)),
            staged={self._sorted[i]: dict(zip(self._stages.names, staged[i].tolist(), strict=True)) for i in order},
            snapshot=_Known(self, values, as_of),
            newest={self._sorted[i]: known for i in order if (known := self._newest(self._sorted[i], values, as_of))},
            sensors={},
            reference=None,
            checkpoint_h=float(values[0]),
            group=None,
            process=self._process,
        )
        names = ((i, self._sorted[i]) for i in order)
        return [reason_of(name, self._groups[name], float(total[i]), moment).to_json() for i, name in names]

    def _newest(self, parameter: str, values: np.ndarray, as_of: pd.Timestamp) -> Newest | None:
        place, age = self._newest_places.get(parameter), self._age_of.get(parameter)
        if place is None:
            return None
        age_h = None if age is None else float(values[age])
        return newest_of(self._columns.features[place], self._at(place, values), age_h, as_of)

    def value(self, name: str, values: np.ndarray) -> float | str | None:
        """The value of one of the model's features in a row; None where it is not known."""
        at = int(self._take[self._places_of[name]])
        return None if at < 0 else self._at(at, values)

    def _at(self, place: int, values: np.ndarray) -> float | str | None:
        if np.isnan(values[place]):
            return None
        names = self._columns.categories.get(place)
        return float(values[place]) if names is None else names[int(values[place])]

    def _missing(self, values: np.ndarray) -> list[str]:
        known = ~np.isnan(values[self._take]) & self._is_value
        known[self._absent] = False
        number = np.bincount(self._parameter, known, minlength=len(self._sorted))[self._valued_code]
        return [self._valued[i] for i in np.flatnonzero(number == 0)]

    def _stale(self, values: np.ndarray) -> dict[str, float]:
        ages = values[self._age_places]
        old, names = np.flatnonzero(ages > self._usual_ages.at(float(values[0])) + ROUNDING_H), list(self._ages)
        return {names[i]: float(ages[i]) for i in old}


def _timestamp(at_us: int) -> pd.Timestamp:
    return pd.to_datetime(at_us, unit="us", utc=True).as_unit("us")


@dataclass(frozen=True)
class _Known(Mapping[str, Any]):
    """A row as a snapshot: values by the names of the model's features, looked up when they are asked for."""

    speaker: Speaker
    row: np.ndarray
    as_of: pd.Timestamp

    def __getitem__(self, name: str) -> Any:
        return self.as_of if name == "as_of" else self.speaker.value(name, self.row)

    def __iter__(self) -> Iterator[str]:
        return iter(("as_of", *self.speaker.names))

    def __len__(self) -> int:
        return len(self.speaker.names) + 1


class _Stages:
    """`models.explain.stages` of the model's features in one row."""

    def __init__(self, predictor: Predictor, process: ProcessDefinition, columns: Columns) -> None:
        place = {f.name: i for i, f in enumerate(columns.features)}
        rules = [stage_rule(feature, place, process) for feature in predictor.features]
        self.names = sorted({*stage_labels(process), *(rule.stage for rule in rules if rule.stage)})
        self._process, self._code = process, {name: i for i, name in enumerate(self.names)}
        self._fixed = np.array([self._code.get(rule.stage, 0) for rule in rules], np.int64)
        self._running = np.flatnonzero([not rule.stage and not rule.age for rule in rules])
        self._measured = np.flatnonzero([bool(rule.age) for rule in rules])
        self._ages = np.array([place[rule.age] for rule in rules if rule.age], np.int64)
        self._current = place.get(CURRENT)
        self._phases = {} if self._current is None else dict(enumerate(columns.categories[self._current]))

    def at(self, values: np.ndarray) -> np.ndarray:
        """Place of each feature's stage among `names`."""
        codes, elapsed_h = self._fixed.copy(), values[:1]
        recorded = None
        if self._current is not None:
            code = values[self._current]
            recorded = np.array([None if np.isnan(code) else self._phases[int(code)]], object)
        codes[self._running] = self._code[str(running(elapsed_h, recorded, self._process)[0])]
        if len(self._measured):
            found = measured_in(elapsed_h, values[self._ages], self._process)
            codes[self._measured] = [self._code[str(name)] for name in found]
        return codes


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
