"""How high the score of a good batch usually is at each hour: an alarm is held against it.

One threshold for all hours spends most of its budget where scores scatter most. Held against the 80 % quantile of good
batches at that hour, the same budget is spent more evenly; no probability changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.persistence import Persistent

QUANTILE = 0.8
SMOOTHED_H = 25.0  # length of the running mean
_LEAST_BATCHES = 50  # good batches at an hour, below which its quantile is noise


@dataclass(frozen=True)
class Boundary(Persistent):
    """Log-odds that a threshold is raised by at each hour, on straight lines between the hours; mean 0.

    Attributes:
        hours: Increasing; none: nothing is raised.
        log_odds: At each of them.
    """

    hours: tuple[float, ...] = ()
    log_odds: tuple[float, ...] = ()

    def at(self, elapsed_h: np.ndarray) -> np.ndarray:
        """What is added to a threshold at hours since the start, in log-odds."""
        if not self.hours:
            return np.zeros(np.shape(elapsed_h))
        return np.interp(elapsed_h, self.hours, self.log_odds)


NO_BOUNDARY = Boundary()


def fit_boundary(log_odds: np.ndarray, elapsed_h: np.ndarray) -> Boundary:
    """Fit on scores of good batches that the predictor had not seen.

    Args:
        log_odds: Calibrated, shape (n,).
        elapsed_h: Hours since the start, shape (n,), the same hours for all batches.
    """
    hours, counts = np.unique(elapsed_h, return_counts=True)
    hours = hours[counts >= _LEAST_BATCHES]
    if len(hours) < 2:
        return Boundary()
    high = np.array([np.quantile(log_odds[elapsed_h == hour], QUANTILE) for hour in hours])
    near = np.abs(hours[:, None] - hours) <= SMOOTHED_H / 2
    smooth = (near * high).sum(axis=1) / near.sum(axis=1)
    return Boundary(tuple(hours.tolist()), tuple((smooth - smooth.mean()).tolist()))
