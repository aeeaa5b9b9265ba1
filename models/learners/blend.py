"""Trees and a few well-chosen numbers in one score: few failures lean on the numbers, many on the trees.

Deviation from the usual course, or the predicted margin of a release attribute, orders batches with hardly a failure to
learn from; trees over hundreds of columns need many. Both enter one logistic regression on out-of-fold scores (stacking;
Wolpert, 1992) whose slopes cannot be negative (Breiman, 1996) and are held near a prior by a penalty worth a number of
failures. It is affine in the log-odds: contributions of trees and numbers still add up, and it calibrates as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from models.persistence import Persistent

ALIKE = 50.0  # failures in training at which the prior slope of the trees is a half
_TREES_PRECISION = 25.0  # penalty on leaving that prior, and on any slope of the evidence, in log-likelihood
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


def fit_blend(
    trees: np.ndarray,
    evidence: np.ndarray,
    failed: np.ndarray,
    weight: np.ndarray,
    *,
    names: tuple[str, ...],
    n_failed: int,
) -> Blend:
    """Fit on scores of batches that neither the trees nor the evidence had seen.

    Args:
        trees: Out-of-fold raw log-odds of the trees, shape (n,).
        evidence: Out-of-fold, shape (n, names); NaN where not known.
        failed: Outcomes, shape (n,).
        weight: 1 / (most snapshots of any batch): a batch counts at most once, shape (n,).
        names: Columns of the evidence.
        n_failed: Failed batches that the final trees learn from: the prior of the trees' slope is
            n_failed / (n_failed + `ALIKE`).
    """
    from scipy.optimize import minimize

    usual, scale = _moments(evidence)
    inputs = np.column_stack([trees, _standardised(evidence, usual, scale)])
    prior = np.r_[n_failed / (n_failed + ALIKE), np.zeros(len(names))]
    precision = np.r_[_TREES_PRECISION, np.full(len(names), _EVIDENCE_PRECISION)]
    y = failed.astype(float)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        z = parameters[0] + inputs @ parameters[1:]
        residual = weight * (expit(z) - y)
        away = parameters[1:] - prior
        value = weight @ (np.logaddexp(0, z) - y * z) + 0.5 * (precision @ away**2)
        return value, np.r_[residual.sum(), inputs.T @ residual + precision * away]

    bounds = [(None, None)] + [(0.0, None)] * inputs.shape[1]
    best = minimize(loss, x0=np.r_[0.0, prior], jac=True, bounds=bounds, method="L-BFGS-B").x
    slopes = tuple(float(slope) for slope in best[2:])
    return Blend(names, tuple(usual.tolist()), tuple(scale.tolist()), slopes, float(best[1]), float(best[0]))


def _moments(evidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column's known values; 0 and 1 where none is known, 1 where none differs."""
    known = ~np.isnan(evidence)
    n = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, evidence, 0.0).sum(axis=0) / n
    sd = np.sqrt(np.where(known, (evidence - mean) ** 2, 0.0).sum(axis=0) / n)
    return mean, np.where(sd > 0, sd, 1.0)


def _standardised(evidence: np.ndarray, usual: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(evidence), 0.0, (evidence - usual) / scale)
