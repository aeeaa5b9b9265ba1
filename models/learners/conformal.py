"""Which outcomes are still possible: class-conditional conformal sets by maturity band.

An outcome stays in the set while the batch's score is not stranger than all but a stated share of the scores that batches
with that outcome had, out of fold, at the same stage (Vovk, 2012, Mondrian conformal prediction). The stated share holds
for each class by itself, however rare it is, as long as later batches come from the same process.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from models.persistence import Lower, Persistent, Upper

ERROR = 0.1  # nominal 90 % sets


@dataclass(frozen=True)
class Conformal(Persistent):
    """Bounds of the calibrated log-odds, by maturity band.

    Attributes:
        starts_h: First hour of each band, increasing.
        lowest_failed: A failure stays possible from here up.
        highest_good: A success stays possible up to here.
        error_failed: Stated share of failures whose set lacks failure.
        error_good: Stated share of successes whose set lacks success.
    """

    starts_h: tuple[float, ...]
    lowest_failed: tuple[Lower, ...]
    highest_good: tuple[Upper, ...]
    error_failed: float = ERROR
    error_good: float = ERROR

    def may_fail(self, log_odds: np.ndarray, checkpoint_h: np.ndarray) -> np.ndarray:
        """Whether failure is in the set of each score, booleans of its shape."""
        return ~(log_odds < np.asarray(self.lowest_failed)[self._band(checkpoint_h)])  # NaN rules nothing out

    def may_succeed(self, log_odds: np.ndarray, checkpoint_h: np.ndarray) -> np.ndarray:
        """Whether success is in the set of each score."""
        return ~(log_odds > np.asarray(self.highest_good)[self._band(checkpoint_h)])

    def _band(self, checkpoint_h: np.ndarray) -> np.ndarray:
        return np.maximum(np.searchsorted(self.starts_h, checkpoint_h, side="right") - 1, 0)


def fit_conformal(
    log_odds: np.ndarray,
    failed: np.ndarray,
    checkpoint_h: np.ndarray,
    edges_h: np.ndarray,
    batch_id: np.ndarray,
    *,
    error_failed: float = ERROR,
    error_good: float = ERROR,
) -> Conformal:
    """Take the bounds from out-of-fold scores.

    Args:
        log_odds: Calibrated, of batches the predicting model had not seen, shape (n,).
        failed: Outcomes, shape (n,).
        checkpoint_h: Hours since the start, shape (n,).
        edges_h: Edges of the maturity bands, increasing, at least two.
        batch_id: Of each score, shape (n,): scores of one batch are not independent, so n counts batches.
        error_failed: Share of failures that may be left out.
        error_good: Share of successes that may be left out.
    """
    starts = np.asarray(edges_h, float)[:-1]
    band = np.maximum(np.searchsorted(starts, checkpoint_h, side="right") - 1, 0)
    lowest, highest = [], []
    for i in range(len(starts)):
        bad, good = (band == i) & failed, (band == i) & ~failed
        lowest.append(-_upper_bound(-log_odds[bad], batch_id[bad], error_failed))
        highest.append(_upper_bound(log_odds[good], batch_id[good], error_good))
    return Conformal(tuple(float(h) for h in starts), tuple(lowest), tuple(highest), error_failed, error_good)


def _upper_bound(scores: np.ndarray, batch_id: np.ndarray, error: float) -> float:
    """The ceil((n + 1)(1 - error)) / n quantile of scores of n batches; infinite where n is too small to leave any out.

    With one score a batch it is the usual one. The scores of batches are pooled (Dunn, Wasserman and Ramdas, 2023).
    """
    n = len(np.unique(batch_id))
    place = math.ceil((n + 1) * (1 - error) - 1e-9)
    if not 0 < place <= n:
        return math.inf
    return float(np.sort(scores)[math.ceil(place / n * len(scores) - 1e-9) - 1])
