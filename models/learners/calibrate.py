"""Calibration: raw scores to probabilities that mean what they say.

An affine map of the log-odds with a slope that is never negative (Platt, 1999; Cox, 1958): the order of batches
stays, and contributions to the log-odds still add up. Fitted on forward out-of-fold scores only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

PRIOR_FAILURES = 5.0  # how many failures it takes to outweigh the prior of a slope of 1


@dataclass(frozen=True)
class Calibration:
    """Calibrated log-odds = intercept + slope * raw log-odds, slope >= 0."""

    intercept: float = 0.0
    slope: float = 1.0

    def log_odds(self, raw: np.ndarray) -> np.ndarray:
        """Calibrated log-odds, the shape of `raw`."""
        return self.intercept + self.slope * raw

    def probability(self, raw: np.ndarray) -> np.ndarray:
        """Calibrated probability, the shape of `raw`."""
        return expit(self.log_odds(raw))


def fit_calibration(raw: np.ndarray, failed: np.ndarray, weight: np.ndarray) -> Calibration:
    """Fit the map by penalised likelihood: with few failures the slope stays near 1.

    Args:
        raw: Raw log-odds of batches that the predicting model had not seen, shape (n,).
        failed: Outcomes, shape (n,).
        weight: 1 / (most snapshots of any batch): a batch counts at most once, shape (n,).
    """
    from scipy.optimize import minimize

    y = failed.astype(float)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        intercept, slope = parameters
        z = intercept + slope * raw
        residual = weight * (expit(z) - y)
        value = weight @ (np.logaddexp(0, z) - y * z) + 0.5 * PRIOR_FAILURES * (slope - 1) ** 2
        return value, np.array([residual.sum(), residual @ raw + PRIOR_FAILURES * (slope - 1)])

    best = minimize(loss, x0=[0.0, 1.0], jac=True, bounds=[(None, None), (0.0, None)], method="L-BFGS-B")
    return Calibration(float(best.x[0]), float(best.x[1]))
