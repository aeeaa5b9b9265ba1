"""Calibration at every stage of a batch: error with its floor, slope, intercept, Brier score.

Slope and intercept are those of logistic recalibration (Cox 1958): log-odds of failure = intercept + slope * stated
log-odds. A slope below 1 means probabilities too extreme, above 1 too timid. The intercept is the one at a slope of 1
("calibration in the large"): above 0 means probabilities too low. A calibrated predictor has 1 and 0.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.special import expit, logit

from models.evaluation.bands import banded, counts
from models.evaluation.intervals import RESAMPLES, batch_weights, mean_with_interval, percentiles, weighted_sums
from models.evaluation.metrics import calibration_floor, expected_calibration_error
from models.evaluation.trajectories import require

_CLOSEST = 1e-6  # a stated 0 or 1 has no log-odds
_CELLS = 400  # of log-odds, in resamples
_STEPS, _HALVINGS, _STEP_MAX, _CONVERGED = 50, 30, 3.0, 1e-6


def calibration_by_band(scores: pd.DataFrame, *, resamples: int = RESAMPLES) -> pd.DataFrame:
    """Calibration per maturity band; every score counts once, and a batch's scores are resampled together.

    Args:
        scores: `batch_id`, `checkpoint_h`, `failed`, `failure_probability` (0 to 1, no NaN).
        resamples: Of whole batches, for slope and intercept.

    Returns:
        One row per band: `band`, `from_h`, `to_h`, `n` (scores), `n_batches`, `n_failed` (batches), `base_rate`,
        `stated` (mean probability), `ece`, `ece_floor` (what a perfect model would show on as many batches), and with
        `_low` and `_high`: `slope`, `intercept`, `brier`. NaN where a class is absent or probabilities do not vary.
    """
    require(scores, ("batch_id", "checkpoint_h", "failed", "failure_probability"))
    rows = []
    for band, part in banded(scores):
        failed, p = part["failed"].to_numpy(bool), part["failure_probability"].to_numpy(float)
        batch = part["batch_id"].to_numpy()
        row = band | counts(part) | {"base_rate": float(failed.mean()), "stated": float(p.mean())}
        row["ece"] = expected_calibration_error(failed, p)
        row["ece_floor"] = calibration_floor(p, batch=batch)
        row |= recalibration(failed, p, batch, resamples=resamples)
        rows.append(row | mean_with_interval((p - failed) ** 2, batch).named("brier"))
    return pd.DataFrame(rows)


def recalibration(
    failed: np.ndarray, p: np.ndarray, batch: np.ndarray, *, resamples: int = RESAMPLES
) -> dict[str, float]:
    """Slope and intercept of logistic recalibration with 95 % intervals over resampled batches.

    Args:
        failed: Outcomes, shape (n,).
        p: Probabilities, shape (n,); those at 0 and 1 are moved inside by a millionth.
        batch: Batch of each row, shape (n,).
        resamples: Number of resamples.

    Returns:
        `slope`, `intercept`, each with `_low` and `_high`; NaN where they have no finite best value.
    """
    x, y = logit(np.clip(p, _CLOSEST, 1 - _CLOSEST)), np.asarray(failed, dtype=float)
    one = np.ones((1, len(y)))
    best, large = _fit(x, y[None], one, np.array([0.0, 1.0])), _shift(x, y[None], one, 0.0)
    centre, of_failed, of_all = _cells(x, y, batch)
    drawn: list[np.ndarray] = []
    for w in batch_weights(of_all.shape[1], resamples=resamples):
        failed_w, all_w = ((cells @ w.T.astype(float)).T for cells in (of_failed, of_all))
        drawn.append(
            np.stack([_fit(centre, failed_w, all_w, best[0])[:, 1], _shift(centre, failed_w, all_w, large[0])])
        )
    slopes, shifts = np.hstack(drawn)
    slope, intercept = percentiles(float(best[0, 1]), slopes), percentiles(float(large[0]), shifts)
    return slope.named("slope") | intercept.named("intercept")


def _cells(x: np.ndarray, y: np.ndarray, batch: np.ndarray) -> tuple[np.ndarray, sparse.csr_array, sparse.csr_array]:
    """Rows of nearly equal log-odds pooled, so that a resample is refitted on hundreds of cells, not on every row.

    Returns:
        Mean log-odds of each cell, shape (c,); how many failed rows, and how many rows, each batch has in each cell,
        both of shape (c, batches).
    """
    width = max(float(np.ptp(x)), 1e-9) / _CELLS
    cell, _ = pd.factorize(np.floor((x - x.min()) / width).astype(int))
    places, names = pd.factorize(batch)
    shape = (int(cell.max()) + 1, len(names))
    of_failed, of_all = (sparse.coo_array((v, (cell, places)), shape=shape).tocsr() for v in (y, np.ones(len(y))))
    return np.bincount(cell, weights=x) / np.bincount(cell), of_failed, of_all


def _fit(x: np.ndarray, failed: np.ndarray, total: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Newton's method for r logistic regressions at once.

    Args:
        x: Log-odds, shape (c,).
        failed: Weight of the failures at each, shape (r, c).
        total: Weight of all rows at each, shape (r, c).
        start: Intercept and slope to start from, shape (2,).

    Returns:
        Intercept and slope, shape (r, 2); NaN where there is no finite best value.
    """
    at = np.tile(np.nan_to_num(start, nan=0.0), (len(total), 1))
    step = np.full(at.shape, np.inf)
    for _ in range(_STEPS):
        q = expit(at[:, :1] + at[:, 1:] * x)
        residual, curve = failed - total * q, total * q * (1 - q)
        g0, g1 = residual.sum(axis=1), weighted_sums(residual, x)
        h00, h01, h11 = curve.sum(axis=1), weighted_sums(curve, x), weighted_sums(curve, x**2)
        flat = h00 * h11 - h01**2
        flat = np.where(flat > 1e-9 * h00 * h11, flat, np.nan)
        step = np.stack([(h11 * g0 - h01 * g1) / flat, (h00 * g1 - h01 * g0) / flat], axis=1)
        at = at + _not_too_far(x, failed, total, at, step)
        if not (np.abs(step) > _CONVERGED).any():  # a NaN stays one
            break
    found = (np.abs(step) <= _CONVERGED).all(axis=1) & _both(failed, total)
    return np.where(found[:, None], at, np.nan)


def _not_too_far(x: np.ndarray, failed: np.ndarray, total: np.ndarray, at: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Newton's steps, each halved until it makes its regression no worse: a whole one can overshoot for ever."""
    step = step * np.minimum(1.0, _STEP_MAX / np.maximum(np.abs(step).max(axis=1, keepdims=True), 1e-300))
    before = _loss(x, failed, total, at)
    for _ in range(_HALVINGS):
        worse = _loss(x, failed, total, at + step) > before + 1e-9 * np.abs(before)
        if not worse.any():
            break
        step = np.where(worse[:, None], step / 2, step)
    return step


def _loss(x: np.ndarray, failed: np.ndarray, total: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Minus the log-likelihood of each regression, shape (r,)."""
    z = at[:, :1] + at[:, 1:] * x
    with np.errstate(invalid="ignore"):  # a regression without a best value is NaN and stays so
        return (total * np.logaddexp(0, z) - failed * z).sum(axis=1)


def _shift(x: np.ndarray, failed: np.ndarray, total: np.ndarray, start: float) -> np.ndarray:
    """Intercept at a slope of 1, shape (r,); NaN where a class is absent. Takes the same as `_fit`."""
    at = np.full(len(total), np.nan_to_num(start, nan=0.0))
    for _ in range(_STEPS):
        q = expit(at[:, None] + x)
        step = (failed - total * q).sum(axis=1) / np.maximum((total * q * (1 - q)).sum(axis=1), 1e-12)
        at = at + np.clip(step, -_STEP_MAX, _STEP_MAX)
        if np.abs(step).max() < _CONVERGED:
            break
    return np.where(_both(failed, total), at, np.nan)


def _both(failed: np.ndarray, total: np.ndarray) -> np.ndarray:
    share = failed.sum(axis=1) / total.sum(axis=1)
    return (share > 0) & (share < 1)
