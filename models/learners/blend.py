"""Trees and a few well-chosen numbers in one score: few failures lean on the numbers, many on the trees.

Deviation from the usual course, or the predicted margin of a release attribute, orders batches with hardly a failure to
learn from; trees over hundreds of columns need many. Both enter one logistic regression on out-of-fold scores (stacking;
Wolpert, 1992) whose slopes cannot be negative (Breiman, 1996) and are held near a prior by a penalty worth a number of
failures. It is affine in the log-odds: contributions of trees and numbers still add up, and it calibrates as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

from models.persistence import Persistent

ALIKE = 50.0  # failures in training at which the prior slope of the trees is a half
_SLOPE_PRECISION = 25.0  # penalty on leaving a prior of the stack, and on any slope of the evidence, in log-likelihood
_EVIDENCE_PRECISION = 1.0


@dataclass(frozen=True)
class Blend(Persistent):
    """Log-odds = intercept + trees_slope * trees + sum of slope * (evidence - usual) / scale.

    Attributes:
        names: Columns of the evidence; each rises with the risk.
        usual: Mean of each over the training rows; an unknown one is taken as usual.
        scale: Standard deviation of each over the training rows.
        slopes: Of each standardised column, never negative.
        trees_slope: Of the trees' raw log-odds, never negative.
        intercept: Log-odds of a batch that is usual in all.
    """

    names: tuple[str, ...]
    usual: tuple[float, ...]
    scale: tuple[float, ...]
    slopes: tuple[float, ...]
    trees_slope: float
    intercept: float

    def log_odds(self, trees: np.ndarray, evidence: np.ndarray) -> np.ndarray:
        """Log-odds of rows, shape (n,).

        Args:
            trees: Raw log-odds of the trees, shape (n,).
            evidence: In the order of `names`, shape (n, names); NaN where not known.
        """
        return self.intercept + self.trees_slope * trees + self.contributions(evidence).sum(axis=1)

    def contributions(self, evidence: np.ndarray) -> np.ndarray:
        """What each column adds to the log-odds of a batch that is usual, shape (n, names)."""
        return np.asarray(self.slopes) * _standardised(evidence, np.asarray(self.usual), np.asarray(self.scale))


TREES_ALONE = Blend((), (), (), (), 1.0, 0.0)
"""The raw log-odds of the trees as they are."""


def fit_linear(evidence: np.ndarray, failed: np.ndarray, weight: np.ndarray, *, names: tuple[str, ...]) -> Blend:
    """A logistic regression on the evidence alone, with slopes that cannot be negative: what the trees start from.

    Args:
        evidence: Of training rows, shape (n, names); NaN where not known.
        failed: Outcomes, shape (n,).
        weight: 1 / (most snapshots of any batch): a batch counts at most once, shape (n,).
        names: Columns of the evidence.
    """
    usual, scale = _moments(evidence)
    inputs = _standardised(evidence, usual, scale)
    best = _logistic(inputs, failed, weight, np.zeros(len(names)), np.full(len(names), _EVIDENCE_PRECISION))
    return Blend(names, tuple(usual.tolist()), tuple(scale.tolist()), tuple(best[1:].tolist()), 0.0, float(best[0]))


def fit_stack(
    linear: np.ndarray, trees: np.ndarray, failed: np.ndarray, weight: np.ndarray, *, n_failed: int
) -> tuple[float, float, float]:
    """How far to believe the linear score, and the trees that started from it (stacking).

    Args:
        linear: Log-odds of the linear score, of batches that it had not seen, shape (n,).
        trees: What the trees add to it, shape (n,).
        failed: Outcomes, shape (n,).
        weight: 1 / (most snapshots of any batch), shape (n,).
        n_failed: Failed batches that the final trees learn from: the prior of their slope is n_failed / (n_failed +
            `ALIKE`), that of the linear score 1.

    Returns:
        Intercept, slope of the linear score, slope of the trees.
    """
    prior = np.array([1.0, n_failed / (n_failed + ALIKE)])
    best = _logistic(np.column_stack([linear, trees]), failed, weight, prior, np.full(2, _SLOPE_PRECISION))
    return float(best[0]), float(best[1]), float(best[2])


def stacked(linear: Blend, stack: tuple[float, float, float]) -> Blend:
    """A linear score and the trees in one blend."""
    intercept, slope, trees_slope = stack
    return replace(
        linear,
        slopes=tuple(slope * own for own in linear.slopes),
        trees_slope=trees_slope,
        intercept=intercept + slope * linear.intercept,
    )


def _logistic(
    inputs: np.ndarray, failed: np.ndarray, weight: np.ndarray, prior: np.ndarray, precision: np.ndarray
) -> np.ndarray:
    """Intercept and slopes, which are never negative, by penalised likelihood."""
    from scipy.optimize import minimize

    y = failed.astype(float)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        z = parameters[0] + inputs @ parameters[1:]
        residual = weight * (expit(z) - y)
        away = parameters[1:] - prior
        value = weight @ (np.logaddexp(0, z) - y * z) + 0.5 * (precision @ away**2)
        return value, np.r_[residual.sum(), inputs.T @ residual + precision * away]

    bounds = [(None, None)] + [(0.0, None)] * inputs.shape[1]
    return minimize(loss, x0=np.r_[0.0, prior], jac=True, bounds=bounds, method="L-BFGS-B").x


def _moments(evidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column's known values; 0 and 1 where none is known, 1 where none differs."""
    known = ~np.isnan(evidence)
    n = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, evidence, 0.0).sum(axis=0) / n
    sd = np.sqrt(np.where(known, (evidence - mean) ** 2, 0.0).sum(axis=0) / n)
    return mean, np.where(sd > 0, sd, 1.0)


def _standardised(evidence: np.ndarray, usual: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(evidence), 0.0, (evidence - usual) / scale)
