"""Calibration by stage: raw log-odds to probabilities that agree with the observed rates at every hour.

An affine map of the log-odds with a slope that is never negative (Platt, 1999; Cox, 1958): the order of batches
stays, and contributions to the log-odds still add up. Its two numbers lie on straight lines between the middles of
maturity bands, so a batch does not jump where one band ends. Fitted on forward out-of-fold scores only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.special import expit

from models.persistence import Persistent

PRIOR_FAILURES = 5.0  # how many failures it takes to outweigh the prior: a slope of 1, a band like all bands, no shift
_BANDS = 4
_LEVEL_PRECISION = 0.25  # of the level of scores that nothing was observed of
_FARTHEST = 1e5  # beyond any shift that the precision allows
_INTERVAL_Z = 1.645  # 90 % of a normal distribution


@dataclass(frozen=True)
class Calibration(Persistent):
    """Calibrated log-odds = intercept(h) + slope(h) * raw log-odds, slope >= 0.

    Attributes:
        hours: Middles of the maturity bands, increasing.
        intercepts: At each of them.
        slopes: At each of them.
        covariances: Of (intercept, slope) at each of them, as (variance, covariance, variance).
    """

    hours: tuple[float, ...] = (0.0,)
    intercepts: tuple[float, ...] = (0.0,)
    slopes: tuple[float, ...] = (1.0,)
    covariances: tuple[tuple[float, float, float], ...] = ((0.0, 0.0, 0.0),)

    def intercept(self, checkpoint_h: np.ndarray) -> np.ndarray:
        """Intercept at hours since the start."""
        return np.interp(checkpoint_h, self.hours, self.intercepts)

    def slope(self, checkpoint_h: np.ndarray) -> np.ndarray:
        """Slope at hours since the start."""
        return np.interp(checkpoint_h, self.hours, self.slopes)

    def shifted(self, by: float) -> Calibration:
        """The same map with all calibrated log-odds raised."""
        return replace(self, intercepts=tuple(intercept + by for intercept in self.intercepts))

    def log_odds(self, raw: np.ndarray, checkpoint_h: np.ndarray) -> np.ndarray:
        """Calibrated log-odds, the shape of `raw`."""
        return self.intercept(checkpoint_h) + self.slope(checkpoint_h) * raw

    def probability(self, raw: np.ndarray, checkpoint_h: np.ndarray) -> np.ndarray:
        """Calibrated probability, the shape of `raw`."""
        return expit(self.log_odds(raw, checkpoint_h))

    def half_width(self, raw: np.ndarray, checkpoint_h: np.ndarray) -> np.ndarray:
        """Half the 90 % interval of the calibrated log-odds that the failures behind the calibration leave open."""
        parts = np.asarray(self.covariances)
        a, ab, b = (np.interp(checkpoint_h, self.hours, parts[:, i]) for i in range(3))
        return _INTERVAL_Z * np.sqrt(np.maximum(a + 2 * ab * raw + b * raw**2, 0.0))


def fit_calibration(
    raw: np.ndarray, failed: np.ndarray, weight: np.ndarray, checkpoint_h: np.ndarray | None = None
) -> Calibration:
    """Fit the map by penalised likelihood: first one for all stages, then each band held near it.

    Args:
        raw: Raw log-odds of batches that the predicting model had not seen, shape (n,).
        failed: Outcomes, shape (n,).
        weight: 1 / (most snapshots of any batch): a batch counts at most once, shape (n,).
        checkpoint_h: Hours since the start, shape (n,); None takes one stage.
    """
    y = failed.astype(float)
    hours = np.zeros(len(raw)) if checkpoint_h is None else np.asarray(checkpoint_h, float)
    whole, _ = _fit(raw, y, weight, np.array([0.0, 1.0]), np.array([0.0, PRIOR_FAILURES]))
    edges = np.linspace(hours.min(), hours.max(), min(_BANDS, len(np.unique(hours))) + 1)
    middles, fitted = [], []
    for i, (low, high) in enumerate(pairwise(edges)):
        inside = (hours >= low) & ((hours < high) | (i == len(edges) - 2))
        if not inside.any():
            continue
        # within a band a batch counts once, by the checkpoints it can have there: its snapshots are nearly the same
        share = weight[inside] * (len(np.unique(hours)) / len(np.unique(hours[inside])))
        middles.append(float(np.average(hours[inside])))
        fitted.append(_fit(raw[inside], y[inside], share, whole, np.full(2, PRIOR_FAILURES)))
    return Calibration(
        tuple(middles),
        tuple(float(best[0]) for best, _ in fitted),
        tuple(float(best[1]) for best, _ in fitted),
        tuple((float(v[0, 0]), float(v[0, 1]), float(v[1, 1])) for _, v in fitted),
    )


def fit_intercept(raw: np.ndarray, failed: np.ndarray, weight: np.ndarray) -> Calibration:
    """A shift of all log-odds alike towards as many stated failures as observed ones, held near 0 by few failures.

    Args:
        raw: Log-odds of scores of batches that the scoring model had not seen, shape (n,).
        failed: Outcomes, shape (n,).
        weight: Of each score, shape (n,); the weights of a batch sum to at most 1.
    """
    from scipy.optimize import brentq

    def excess(shift: float) -> float:
        return float(weight @ (expit(raw + shift) - failed)) + PRIOR_FAILURES * shift

    shift = float(brentq(excess, -_FARTHEST, _FARTHEST, xtol=1e-9))
    return Calibration((0.0,), (shift,), (1.0,), ((_level_variance(raw + shift, weight, PRIOR_FAILURES), 0.0, 0.0),))


def as_stated(raw: np.ndarray, weight: np.ndarray) -> Calibration:
    """The log-odds as they are, with the variance of their level that the failures behind them leave open.

    Args:
        raw: Log-odds of scores of batches that the scoring model had not seen, shape (n,).
        weight: Of each score, shape (n,); the weights of a batch sum to at most 1.
    """
    return Calibration(covariances=((_level_variance(raw, weight, _LEVEL_PRECISION), 0.0, 0.0),))


def _level_variance(log_odds: np.ndarray, weight: np.ndarray, precision: float) -> float:
    p = expit(log_odds)
    return 1.0 / (float(weight @ (p * (1 - p))) + precision)


def _fit(
    raw: np.ndarray, y: np.ndarray, weight: np.ndarray, prior: np.ndarray, precision: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(intercept, slope) and their covariance, from the curvature of the penalised likelihood."""
    from scipy.optimize import minimize

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        z = parameters[0] + parameters[1] * raw
        residual, away = weight * (expit(z) - y), parameters - prior
        value = weight @ (np.logaddexp(0, z) - y * z) + 0.5 * precision @ away**2
        return value, np.array([residual.sum(), residual @ raw]) + precision * away

    best = minimize(loss, x0=prior, jac=True, bounds=[(None, None), (0.0, None)], method="L-BFGS-B").x
    p = expit(best[0] + best[1] * raw)
    spread = weight * p * (1 - p)
    curvature = np.array([[spread.sum(), spread @ raw], [spread @ raw, spread @ raw**2]]) + np.diag(precision)
    return best, np.linalg.pinv(curvature)
