"""Forecasts of the release attributes: one ridge regression per attribute and checkpoint.

Every released batch teaches them, not only the few that failed: with a hundred failures among two thousand batches
the margin to the specification orders batches better than trees that learn from failures alone. A linear model follows
a rare low value where trees, whose leaves are means, stop (Hoerl and Kennard, 1970, for the penalty).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.special import ndtr

from features.dictionary import Feature
from features.process import QualityAttribute
from models.cohort.encode import Encoder
from models.learners.design import Design, design_of, location_and_spread, standardised
from models.learners.transforms import from_scale, limits_on_scale, to_scale
from models.persistence import Floats, LaterField, Persistent

COVERAGE = 0.9
MIN_RESULTS = 60  # batches with a final result without which an attribute is not forecast
_DISTINCT = 10  # an attribute with fewer different results is a yes or no, and has no margin
_PENALTIES = (10.0, 30.0, 100.0, 300.0, 1000.0)
_PARTS = 5
_ODD = 3.0  # standard deviations beyond which an error counts no more in choosing the penalty
_LEAST_ROWS = 30
_FARTHEST = 3.0  # standard deviations of the forecasts beyond which an error grows no further
_LEAST_ERROR = 0.01  # of the median error: the logarithm of an error near 0 says nothing of its size
_SHAPE_PRECISION = 20.0  # results that it takes to believe that errors differ in size


@dataclass(frozen=True, eq=False)
class ErrorShape(Persistent):
    """How the size of an error grows with the forecast, arrays of shape (checkpoints, attributes).

    Attributes:
        centre: Median forecast.
        span: Robust standard deviation of the forecasts.
        tilt: How the logarithm of an error's size grows with the standardised forecast u.
        curve: How it grows with u^2.
    """

    centre: Floats
    span: Floats
    tilt: Floats
    curve: Floats

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The four of them."""
        return self.centre, self.span, self.tilt, self.curve


@dataclass(frozen=True, eq=False)
class Forecasts(Persistent):
    """What every release attribute is expected to be, frozen.

    Attributes:
        attributes: Those with a model, in the order of every array here.
        not_enough: Results by attribute that has no model for want of them (or of different values).
        design: Columns of the linear models.
        checkpoints_h: Hours at which models were fitted, increasing; between them forecasts lie on a straight line.
        location: Of the design's columns, shape (checkpoints, width).
        spread: The same.
        weights: Per standardised column, shape (checkpoints, width, attributes).
        usual: Forecast of a batch that is usual in all, shape (checkpoints, attributes), on the modelling scale.
        low: 5 % quantile of the out-of-fold errors over their width, shape (checkpoints, attributes).
        high: 95 % quantile.
        error: Half the distance from 16 % to 84 % of them: a standard deviation that odd results do not move.
        shape: How an error grows with the forecast; None: it does not, as in a predictor stored before.
    """

    attributes: tuple[QualityAttribute, ...]
    not_enough: dict[str, int]
    design: Design
    checkpoints_h: tuple[float, ...]
    location: Floats
    spread: Floats
    weights: Floats
    usual: Floats
    low: Floats
    high: Floats
    error: Floats
    shape: LaterField[ErrorShape] = None

    def expected(self, X: np.ndarray, checkpoint_h: np.ndarray) -> Expected:
        """Forecasts of encoded rows.

        Args:
            X: Shape (n, k).
            checkpoint_h: Hours since the start, shape (n,).
        """
        columns = self.design.columns(X)
        before, after, share = self._between(checkpoint_h)
        value = self._at(columns, before)
        if share.any():  # never on the checkpoints themselves
            value += share[:, None] * (self._at(columns, after) - value)
        low, high, error, *form = (
            a[before] + share[:, None] * (a[after] - a[before])
            for a in (self.low, self.high, self.error, *(self.shape.arrays if self.shape else ()))
        )
        width = _width(value, *form) if form else 1.0
        return Expected(self.attributes, value, value + low * width, value + high * width, error * width)

    def contributions(self, X: np.ndarray, checkpoint_h: np.ndarray) -> np.ndarray:
        """What each column of the design adds to the usual forecast of encoded rows, shape (n, width, attributes).

        With the forecast of a batch that is usual in all, a row sums to its expected value.
        """
        columns = self.design.columns(X)
        before, after, share = self._between(checkpoint_h)
        out = self._z(columns, before)[:, :, None] * self.weights[before]
        if share.any():
            out += share[:, None, None] * (self._z(columns, after)[:, :, None] * self.weights[after] - out)
        return out

    def _at(self, columns: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Values at checkpoints, shape (n, attributes); rows of one checkpoint together, which spares memory."""
        out = np.empty((len(columns), len(self.attributes)))
        for stage in np.unique(place):
            rows = place == stage
            # not a matrix product: BLAS rounds a row by the number of rows, and a score must not depend on the others
            moved = np.einsum("nw,wa->na", self._z(columns[rows], stage), self.weights[stage], optimize=False)
            out[rows] = self.usual[stage] + moved
        return out

    def _z(self, columns: np.ndarray, place: np.ndarray | int) -> np.ndarray:
        return standardised(columns, self.location[place], self.spread[place])

    def _between(self, checkpoint_h: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        hours = np.asarray(self.checkpoints_h)
        after = np.minimum(np.searchsorted(hours, checkpoint_h, side="left"), len(hours) - 1)
        before = np.where(hours[after] <= checkpoint_h, after, np.maximum(after - 1, 0))
        gap = hours[after] - hours[before]
        share = np.divide(checkpoint_h - hours[before], gap, out=np.zeros(len(checkpoint_h)), where=gap > 0)
        return before, after, np.clip(share, 0.0, 1.0)


_ARRAYS = ("location", "spread", "weights", "usual", "low", "high", "error")


@dataclass(frozen=True, eq=False)
class Expected:
    """Forecasts of n rows; all values on the attributes' modelling scales.

    Attributes:
        attributes: In the order of the last axis.
        value: Shape (n, attributes).
        low: Lower end of the 90 % interval.
        high: Upper end.
        error: Standard deviation of the forecast.
    """

    attributes: tuple[QualityAttribute, ...]
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    error: np.ndarray

    @cached_property
    def margins(self) -> np.ndarray:
        """Distance to the nearer limit in standard deviations, below 0 outside; shape (n, attributes)."""
        low, high = self._limits
        return np.minimum(self.value - low, high - self.value) / self.error

    @cached_property
    def miss_probability(self) -> np.ndarray:
        """Probability of a result outside the specification, by a normal distribution of the error."""
        low, high = self._limits
        return ndtr((low - self.value) / self.error) + ndtr((self.value - high) / self.error)

    @cached_property
    def _limits(self) -> np.ndarray:
        """Lower and upper specification of the attributes, shape (2, attributes)."""
        return np.array([limits_on_scale(attribute) for attribute in self.attributes]).T

    @cached_property
    def in_units(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Value, low and high in the attributes' own units, each of shape (n, attributes)."""
        value, low, high = (
            np.column_stack([from_scale(a, scaled[:, i]) for i, a in enumerate(self.attributes)])
            for scaled in (self.value, self.low, self.high)
        )
        return value, low, high


def final_results(
    attributes: Sequence[QualityAttribute], observations: pd.DataFrame, *, before: pd.Timestamp | None = None
) -> pd.DataFrame:
    """The newest result of each attribute as it was known at a time.

    Args:
        attributes: Release attributes.
        observations: `features.contracts.OBSERVATIONS` of their parameters; a newest revision of bad quality takes
            the result back.
        before: Results that became available at or after it do not count; None takes all.

    Returns:
        Indexed by batch_id, one column per attribute in its own unit; NaN where there is no result.
    """
    rows = observations if before is None else observations[observations["available_at"] < before]
    rows = rows.sort_values(["observed_at", "revision"], kind="stable")
    newest = rows.groupby(["batch_id", "parameter"], observed=True).tail(1)
    newest = newest[newest["quality"] != "bad"].set_index("batch_id")
    by_name = {a.name: newest.loc[newest["parameter"] == a.parameter, "value"] for a in attributes}
    return pd.DataFrame(by_name, index=pd.Index(newest.index.unique(), name="batch_id"), dtype="float64")


def fit_forecasts(
    attributes: Sequence[QualityAttribute],
    encoder: Encoder,
    features: Sequence[Feature],
    X: np.ndarray,
    rows: pd.DataFrame,
    results: pd.DataFrame,
) -> tuple[Forecasts | None, Expected | None]:
    """Fit the models of every attribute with enough results.

    Args:
        attributes: Release attributes of the process.
        encoder: Of the matrix.
        features: One entry per column.
        X: Encoded training rows, shape (n, k), in order of start.
        rows: `batch_id`, `checkpoint_h` of each row.
        results: From `final_results`, as known at the cut.

    Returns:
        The forecasts, and out-of-fold those of the training rows themselves: each batch by models that knew neither it nor
        its neighbours in time, which share its lots. None, None where no attribute has enough results.
    """
    of_batch = results.reindex(pd.unique(rows["batch_id"]))
    counts = {a.name: int(of_batch[a.name].notna().sum()) for a in attributes if a.name in of_batch}
    enough = [a for a in attributes if counts.get(a.name, 0) >= MIN_RESULTS and of_batch[a.name].nunique() >= _DISTINCT]
    not_enough = {a.name: counts.get(a.name, 0) for a in attributes if a not in enough}
    if not enough:
        return None, None
    target = np.column_stack([to_scale(a, rows["batch_id"].map(of_batch[a.name]).to_numpy(float)) for a in enough])
    design = design_of(encoder, features, X)
    if not design.width or not _stages(rows["checkpoint_h"].to_numpy(float), np.isfinite(target)):
        return None, None
    return _fit(tuple(enough), not_enough, design, X, rows, target)


def _fit(
    attributes: tuple[QualityAttribute, ...],
    not_enough: dict[str, int],
    design: Design,
    X: np.ndarray,
    rows: pd.DataFrame,
    target: np.ndarray,
) -> tuple[Forecasts, Expected]:
    hours = rows["checkpoint_h"].to_numpy(float)
    columns, known = design.columns(X), np.isfinite(target)
    stages = _stages(hours, known)
    shape = (len(hours), len(attributes))
    value, width = np.full(shape, np.nan), np.full(shape, np.nan)
    fitted: dict[str, list[np.ndarray]] = {name: [] for name in _ARRAYS}
    forms = []
    for hour in stages:
        at = np.flatnonzero(hours == hour)
        location, spread = location_and_spread(columns[at])
        z = standardised(columns[at], location, spread)
        usual, weights, held_out = _each(z, target[at], known[at])
        form = _error_shape(held_out, target[at] - held_out)
        value[at], width[at] = held_out, _width(held_out, *form)
        errors = (target[at] - held_out) / width[at]
        low, lower, upper, high = np.nanquantile(errors, [0.05, 0.16, 0.84, 0.95], axis=0)
        made = (location, spread, weights, usual, low, high, np.maximum((upper - lower) / 2, 1e-6))
        forms.append(form)
        for name, array in zip(_ARRAYS, made, strict=True):
            fitted[name].append(array)
    stacked = {name: np.stack(arrays) for name, arrays in fitted.items()}
    form = ErrorShape(*(np.stack(arrays) for arrays in zip(*forms, strict=True)))
    hours_ = tuple(float(h) for h in stages)
    forecasts = Forecasts(attributes, not_enough, design, hours_, **stacked, shape=form)
    before, _, _ = forecasts._between(hours)
    low, high, error = (a[before] * width for a in (forecasts.low, forecasts.high, forecasts.error))
    return forecasts, Expected(attributes, value, value + low, value + high, error)


def _error_shape(value: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, ...]:
    """Centre and span of forecasts, and how the logarithm of an error's size grows with them, shape (attributes,) each.

    Least squares of log |error| on 1, u and u^2 - 1, u being the standardised forecast (Harvey, 1976), held near a constant.
    """
    low, centre, high = np.nanquantile(value, [0.16, 0.5, 0.84], axis=0)
    span = np.maximum((high - low) / 2, 1e-9)
    tilt, curve = np.zeros(value.shape[1]), np.zeros(value.shape[1])
    for i in range(value.shape[1]):
        size = np.abs(error[:, i])
        known = np.isfinite(size)
        u = _standard(value[known, i], centre[i], span[i])
        logged = np.log(np.maximum(size[known], _LEAST_ERROR * np.median(size[known])))
        inputs = np.column_stack([np.ones(len(u)), u, u**2 - 1])
        penalty = np.diag([0.0, _SHAPE_PRECISION, _SHAPE_PRECISION])
        _, tilt[i], curve[i] = np.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ logged)
    return centre, span, tilt, curve


def _standard(value: np.ndarray, centre: np.ndarray, span: np.ndarray) -> np.ndarray:
    return np.clip((value - centre) / span, -_FARTHEST, _FARTHEST)


def _width(value: np.ndarray, centre: np.ndarray, span: np.ndarray, tilt: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """What an error is expected to be larger by than at the median forecast."""
    u = _standard(value, centre, span)
    return np.exp(tilt * u + curve * u**2)


def _stages(hours: np.ndarray, known: np.ndarray) -> list[float]:
    """Hours at which every attribute has results enough for a model."""
    return [h for h in np.unique(hours) if (known[hours == h].sum(axis=0) >= _LEAST_ROWS).all()]


def _each(z: np.ndarray, target: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`_ridge` of every attribute at one checkpoint by the batches that have its result, those with the same ones together."""
    usual, weights = np.empty(target.shape[1]), np.empty((z.shape[1], target.shape[1]))
    held_out = np.empty(target.shape)
    patterns, which = np.unique(known, axis=1, return_inverse=True)
    for i, pattern in enumerate(patterns.T):
        of = np.flatnonzero(which == i)
        made = _ridge(z, target[:, of], pattern, _time_blocks(pattern))
        usual[of], weights[:, of], held_out[:, of] = made
    return usual, weights, held_out


def _ridge(
    z: np.ndarray, target: np.ndarray, known: np.ndarray, part: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One checkpoint: usual value, weights, and out-of-fold predictions of all rows.

    The penalty of each attribute is the one with the least out-of-fold error, odd errors cut.
    """
    inputs = np.column_stack([z, np.ones(len(z))])
    parts = [known & (part == i) for i in range(_PARTS)]
    products = [(inputs[rows].T @ inputs[rows], inputs[rows].T @ target[rows]) for rows in parts]
    gram, moment = sum(g for g, _ in products), sum(m for _, m in products)
    penalty = np.ones(inputs.shape[1])
    penalty[-1] = 1e-9  # the usual value is free
    best: tuple[np.ndarray, ...] | None = None
    for strength in _PENALTIES:
        ridge = np.diag(strength * penalty)
        held_out = np.stack([np.linalg.solve(gram - g + ridge, moment - m) for g, m in products])
        predicted = _by_part(inputs, held_out, part)
        loss = _loss(target[known] - predicted[known])
        whole = np.linalg.solve(gram + ridge, moment)
        if best is None:
            best = (loss, whole, predicted)
        else:
            better = loss < best[0]
            new = (loss, whole, predicted)
            best = tuple(np.where(better, b, a) for a, b in zip(best, new, strict=True))
    if best is None:
        raise ValueError("no penalties to choose from")
    _, whole, predicted = best
    return whole[-1], whole[:-1], predicted


def _by_part(inputs: np.ndarray, weights: np.ndarray, part: np.ndarray) -> np.ndarray:
    out = np.empty((len(inputs), weights.shape[2]))
    for i in range(_PARTS):
        out[part == i] = inputs[part == i] @ weights[i]
    return out


def _loss(errors: np.ndarray) -> np.ndarray:
    """Mean squared error of each attribute, errors cut at `_ODD` standard deviations."""
    return np.mean(np.minimum(np.abs(errors), _ODD * errors.std(axis=0)) ** 2, axis=0)


def _time_blocks(known: np.ndarray) -> np.ndarray:
    """Part of each batch, in order of start: five blocks with as many results each, so that a lot mostly stays in one.

    By results and not by batches: an assay introduced late would otherwise lie in one block, which nothing then predicts.
    """
    before = np.cumsum(known) - known
    return np.minimum(before * _PARTS // max(known.sum(), 1), _PARTS - 1).astype(int)
