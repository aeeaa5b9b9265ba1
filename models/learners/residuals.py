"""What each sensor is expected to read, from the other sensors and from its own last hours, and how far it departs.

Two linear expectations per sensor and block of hours, fitted on successful batches: from the other sensors now and all
sensors a day before (cross), and from all sensors one lag before (ahead). A fault that every single reading hides inside
its normal range departs from them within hours. Ridge regression (Hoerl and Kennard, 1970), one step of Huber's weights
(1964) for what lies ahead, residuals in robust standard deviations.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from features.course import CoursePlan, Lags
from features.dictionary import Feature, feature
from features.process import ProcessDefinition
from models.cohort.course import Course
from models.learners.design import location_and_spread, standardised
from models.persistence import Floats, Persistent

PENALTY = 30.0
USUAL = 3.0  # standard deviations of a residual that say nothing
MOST_RANK = 5
_HUBER = 3.0  # median absolute deviations from which an error weighs less
_MAD = 1.4826
_LEAST_ROWS = 60  # of successful batches in a block, below which nothing is expected there
_LEAST_BATCHES = 30  # successful ones of a process version, below which nothing is expected of it
_LEAST_SPREAD = 1e-6
_PARTS = 5
_TAIL = 4.1  # 2 % and 98 % of a normal distribution lie 4.1 standard deviations apart
LEVELS = 5  # columns of a sensor: now, a short mean one lag ago, the level then, two lags ago, long ago
NOW, SHORT, LAGGED, TWICE, LONG = range(LEVELS)


@dataclass(frozen=True, eq=False)
class Residuals(Persistent):
    """Expectations of every sensor, frozen.

    Attributes:
        columns: Levels that they are made from, `LEVELS` for every sensor, named as in the encoded matrix.
        sensors: Parameter and label of every sensor.
        known: Whether enough successful batches of each process version were seen: others have no expectation. Empty where
            there are no versions to tell apart.
        block_h: Length of a block; block i covers the hours (i, i + 1] * block_h.
        location: Of the inputs, shape (blocks, inputs); NaN in a block without expectations.
        spread: The same.
        cross: Weights of the inputs and, last, a constant, shape (blocks, inputs + 1, sensors).
        ahead: The same.
        middle: Median of the residuals, shape (blocks, 2, sensors): cross, ahead.
        scale: Their standard deviation.
    """

    columns: tuple[str, ...]
    sensors: tuple[tuple[str, str], ...]
    known: tuple[bool, ...]
    block_h: float
    location: Floats
    spread: Floats
    cross: Floats
    ahead: Floats
    middle: Floats
    scale: Floats

    @cached_property
    def features(self) -> tuple[Feature, ...]:
        """One entry per column of `columns_of`: ranks of the cross residuals, then each sensor above and below."""
        ranks = [
            _entry("sensors", f"rank_{k}", "Sensors", f"{k}. largest departure of a sensor from the others")
            for k in self._ranks
        ]
        signed = [
            _entry(name, side, label, f"{label} {side} what its last hours let expect")
            for side in ("above", "below")
            for name, label in self.sensors
        ]
        return (*ranks, *signed)

    def z(self, levels: np.ndarray, group: np.ndarray, elapsed_h: np.ndarray) -> np.ndarray:
        """Residuals in standard deviations, shape (n, 2, sensors): cross, ahead; NaN where a level is not known.

        Args:
            levels: Shape (n, columns), in the order of `columns`.
            group: Place of each row's group, NaN where not known; shape (n,).
            elapsed_h: Hours since the start, shape (n,).
        """
        inputs, now = _inputs(levels, group, len(self.known)), levels[:, NOW::LEVELS]
        block = np.minimum(blocks_of(elapsed_h, self.block_h), len(self.location) - 1)
        out = np.full((len(levels), 2, len(self.sensors)), np.nan)
        n = len(self.sensors)
        for number in np.unique(block):
            rows = np.flatnonzero(block == number)
            location, spread = self.location[number], self.spread[number]
            known = np.column_stack([standardised(inputs[rows], location, spread), np.ones(len(rows))])
            target = standardised(now[rows], location[:n], spread[:n])
            for kind, weights in enumerate((self.cross[number], self.ahead[number])):
                # no matrix product: BLAS rounds a row by the number of rows, and a score must not depend on the others
                expected = np.einsum("ni,is->ns", known, weights, optimize=False)
                out[rows, kind] = (target - expected - self.middle[number, kind]) / self.scale[number, kind]
        out[np.isnan(now)[:, None, :].repeat(2, axis=1)] = np.nan
        out[~self._expected(group)] = np.nan
        return out

    def _expected(self, group: np.ndarray) -> np.ndarray:
        """Whether the process version of each row is one that was learnt."""
        if not self.known:
            return np.ones(len(group), bool)
        return np.append(self.known, False)[np.where(np.isnan(group), len(self.known), group).astype(int)]

    def columns_of(self, z: np.ndarray) -> np.ndarray:
        """Columns of the evidence from residuals, shape (n, features): excess beyond `USUAL`, 0 where not known.

        Few sensors departing from the others are a probe at fault or a fault that a batch survives; a contamination moves
        several, so the third and further ranks count and the first two do not.
        """
        cross, above, below = excess(np.abs(z[:, 0])), excess(z[:, 1]), excess(-z[:, 1])
        ranked = -np.sort(-cross, axis=1)[:, [k - 1 for k in self._ranks]]
        return np.concatenate([ranked, above, below], axis=1)

    def shares(self, z: np.ndarray) -> np.ndarray:
        """How much of each feature stands on each sensor, shape (n, features, sensors); they sum to 1.

        A rank is handed to the sensors up to it in proportion to their excess, a signed excess to its own sensor.
        """
        n, s = len(z), len(self.sensors)
        cross = excess(np.abs(z[:, 0]))
        order = np.argsort(np.argsort(-cross, axis=1, kind="stable"), axis=1, kind="stable")
        parts = []
        for k in self._ranks:
            own = np.where(order < k, cross, 0.0)
            total = own.sum(axis=1, keepdims=True)
            parts.append(np.where(total > 0, own / np.where(total > 0, total, 1.0), 1.0 / s))
        ranked = np.stack(parts, axis=1) if parts else np.empty((n, 0, s))
        own = np.broadcast_to(np.eye(s), (n, s, s))
        return np.concatenate([ranked, own, own], axis=1)

    @cached_property
    def _ranks(self) -> range:
        return range(3, min(MOST_RANK, len(self.sensors)) + 1)


def excess(z: np.ndarray) -> np.ndarray:
    """log(1 + what a residual exceeds `USUAL` by), 0 where it does not or is not known."""
    return np.log1p(np.maximum(np.where(np.isnan(z), 0.0, z) - USUAL, 0.0))


def blocks_of(elapsed_h: np.ndarray, block_h: float) -> np.ndarray:
    """Block of each hour; those up to the start lie in the first."""
    return np.maximum(np.ceil(np.asarray(elapsed_h, float) / block_h - 1e-9).astype(int) - 1, 0)


def level_columns(process: ProcessDefinition) -> tuple[str, ...]:
    """Names of the levels that residuals are made from, `LEVELS` for each sensor; empty where the process has none."""
    return tuple(feature.name for feature in CoursePlan.of(process).features)


def fit_residuals(
    process: ProcessDefinition, course: Course, failed: pd.Series, groups: int
) -> tuple[Residuals, np.ndarray] | None:
    """Fit on the successful batches.

    Args:
        process: Gives sensors and lags.
        course: Levels of training batches.
        failed: Outcome by batch_id.
        groups: Number of process versions.

    Returns:
        The expectations, and the residuals of all rows, shape (n, 2, sensors): those of a successful batch by fits without
        its fifth of the batches. None where the process has no such levels, or no block has rows enough.
    """
    lags, entries = Lags.of(process), CoursePlan.of(process).features
    if lags is None:
        return None
    good = ~course.rows["batch_id"].map(failed).to_numpy(bool)
    batch, _ = pd.factorize(course.rows["batch_id"][good])
    inputs, now = _inputs(course.levels[good], course.version[good], groups), course.levels[good, NOW::LEVELS]
    block = blocks_of(course.hours[good], lags.lag_h)
    errors = np.full((len(now), 2, now.shape[1]), np.nan)
    fitted = []
    for rows in (np.flatnonzero(block == number) for number in range(block.max(initial=-1) + 1)):
        *made, errors[rows] = _block(inputs[rows], now[rows], batch[rows], groups)
        fitted.append(made)
    if not any(np.isfinite(made[0]).any() for made in fitted):
        return None
    version = course.version[good]
    known = tuple(len(np.unique(batch[version == number])) >= _LEAST_BATCHES for number in range(groups))
    sensors = tuple((entry.parameter, entry.label) for entry in entries[NOW::LEVELS])
    arrays = [np.stack(made) for made in zip(*fitted, strict=True)]
    model = Residuals(level_columns(process), sensors, known, lags.lag_h, *arrays)
    z = model.z(course.levels, course.version, course.hours)
    held_out = (errors - model.middle[block]) / model.scale[block]
    z[good] = np.where(np.isnan(z[good]), np.nan, held_out)
    return model, z


def _inputs(levels: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """Now, long ago, a short mean one lag ago, changes since two lags and since long ago, and the group as 0 or 1."""
    now, short, lagged, twice, long = (levels[:, i::LEVELS] for i in range(LEVELS))
    named = np.where(np.isnan(group)[:, None], np.nan, group[:, None] == np.arange(groups))
    return np.concatenate([now, long, short, lagged - twice, lagged - long, named], axis=1)


def _allowed(sensors: int, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Which inputs each sensor is expected from, shape (inputs + 1, sensors): cross, ahead; the constant always."""
    now = ~np.eye(sensors, dtype=bool)
    yes, no = np.ones((sensors, sensors), bool), np.zeros((sensors, sensors), bool)
    rest = np.ones((groups + 1, sensors), bool)
    return np.concatenate([now, yes, no, no, no, rest]), np.concatenate([no, yes, yes, yes, yes, rest])


def _block(inputs: np.ndarray, now: np.ndarray, part: np.ndarray, groups: int) -> tuple[np.ndarray, ...]:
    """Location, spread, cross and ahead weights, middle and scale of one block, and the errors of its rows, held out."""
    sensors, width = now.shape[1], inputs.shape[1]
    errors = np.full((len(now), 2, sensors), np.nan)
    weights, middle, scale = (
        np.zeros((2, width + 1, sensors)),
        np.full((2, sensors), np.nan),
        np.full((2, sensors), np.nan),
    )
    if len(inputs) < _LEAST_ROWS:
        nothing = np.full(width, np.nan)
        return nothing, nothing, *weights, middle, scale, errors
    location, spread = location_and_spread(inputs)
    z = np.column_stack([standardised(inputs, location, spread), np.ones(len(inputs))])
    target = np.where(np.isnan(now), np.nan, standardised(now, location[:sensors], spread[:sensors]))
    for sensor in range(sensors):
        known = ~np.isnan(target[:, sensor])
        if known.sum() < _LEAST_ROWS or np.isnan(spread[sensor]):
            continue
        for kind, allowed in enumerate(_allowed(sensors, groups)):
            own = np.flatnonzero(allowed[:, sensor])
            made, error = _expectation(z[known][:, own], target[known, sensor], part[known], huber=kind == 1)
            weights[kind, own, sensor], errors[known, kind, sensor] = made, error
            middle[kind, sensor], scale[kind, sensor] = _middle_and_scale(error)
    return location, spread, *weights, middle, scale, errors


def _expectation(x: np.ndarray, y: np.ndarray, part: np.ndarray, *, huber: bool) -> tuple[np.ndarray, np.ndarray]:
    """Weights by all rows, and the errors of each fifth of the batches by the weights of the others."""
    weight = np.ones(len(y))
    if huber:
        error = np.abs(y - x @ _ridge(x.T @ x, x.T @ y))
        weight = np.minimum(1.0, _HUBER * _MAD * np.median(error) / np.maximum(error, 1e-12))
    fifth, weighted = part % _PARTS, x * weight[:, None]
    sums = [(weighted[rows].T @ x[rows], weighted[rows].T @ y[rows]) for rows in (fifth == i for i in range(_PARTS))]
    gram, moment = sum(g for g, _ in sums), sum(m for _, m in sums)
    error = np.empty(len(y))
    for i, (g, m) in enumerate(sums):
        rows = fifth == i
        error[rows] = y[rows] - x[rows] @ _ridge(gram - g, moment - m)
    return _ridge(gram, moment), error


def _ridge(gram: np.ndarray, moment: np.ndarray) -> np.ndarray:
    penalty = np.full(len(gram), PENALTY)
    penalty[-1] = _LEAST_SPREAD  # the constant is free
    return np.linalg.solve(gram + np.diag(penalty), moment)


def _middle_and_scale(error: np.ndarray) -> tuple[float, float]:
    """Median, and the larger of the standard deviations that 16-84 % and 2-98 % of the errors suggest."""
    least, low, middle, high, most = np.percentile(error, (2, 16, 50, 84, 98))
    return float(middle), float(max((high - low) / 2, (most - least) / _TAIL, _LEAST_SPREAD))


def _entry(parameter: str, statistic: str, label: str, meaning: str) -> Feature:
    return feature(parameter, "residual", statistic, label=label, meaning=meaning)
