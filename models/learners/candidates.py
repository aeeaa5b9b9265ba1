"""Which learner predicts a process without forecasts of release attributes: chosen on scores forward in time.

Trees need failures to learn from. How far the farthest parameter strays from the good batches needs none: with a few dozen
batches of many sensors it can order batches better. Trees are left for it only where it did so beyond chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.evaluation.champion import paired_auroc
from models.evaluation.figures import last_checkpoint
from models.learners.blend import TREES_ALONE, Blend, fit_linear
from models.learners.deviations import LARGEST
from models.learners.trees import Learner
from models.persistence import Persistent

LEAST = 5  # batches of each outcome below which nothing is compared


@dataclass(frozen=True)
class Choice(Persistent):
    """What was chosen, and by which figures.

    Attributes:
        learner: `trees`, or `deviations`.
        asked: What the policy asked for: `auto` compared them.
        n_batches: Validated batches of the forward folds.
        n_failed: How many of them failed.
        trees: AUROC of the trees, each batch at its last checkpoint; None where too few batches were validated.
        deviations: The same of the largest deviation.
        low: Lower end of the 95 % interval of deviations less trees, over resampled batches; None as above.
        high: Upper end.
    """

    learner: Learner
    asked: Learner
    n_batches: int
    n_failed: int
    trees: float | None = None
    deviations: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def words(self) -> str:
        """One sentence for the report."""
        counted = f"{self.n_failed} of {self.n_batches} batches of the forward folds failed"
        if self.trees is None or self.deviations is None or self.low is None or self.high is None:
            return f"{self.learner} ({self.asked} asked for): {counted}, too few to compare"
        return (
            f"{self.learner} ({self.asked} asked for): AUROC of the trees {self.trees:.3f}, of the largest deviation "
            f"{self.deviations:.3f}, difference {self.low:+.3f} to {self.high:+.3f}; {counted}"
        )


def choose(rows: pd.DataFrame, asked: Learner) -> Choice:
    """Compare trees and the largest deviation where batches were scored by what had not seen them.

    Args:
        rows: `batch_id`, `checkpoint_h`, `failed`, `trees` (raw log-odds) and `deviation` (`LARGEST`; one that is not known
            is taken as usual).
        asked: By the policy; only `auto` leaves a choice.
    """
    last = last_checkpoint(rows)
    failed, n = last["failed"].to_numpy(bool), len(last)
    n_failed = int(failed.sum())
    learner: Learner = "trees" if asked == "auto" else asked
    if min(n_failed, n - n_failed) < LEAST:
        return Choice(learner, asked, n, n_failed)
    far = last["deviation"].fillna(last["deviation"].mean()).fillna(0.0).to_numpy(float)
    deviations, trees, span = paired_auroc(failed, far, last["trees"].to_numpy(float))
    if asked == "auto" and span.low > 0:
        learner = "deviations"
    return Choice(learner, asked, n, n_failed, trees, deviations, span.low, span.high)


def blend_of(learner: Learner, deviation: np.ndarray, failed: np.ndarray, weight: np.ndarray) -> Blend:
    """Trees as they are, or the largest deviation with an intercept and a slope of its own.

    Args:
        learner: `trees` or `deviations`.
        deviation: `LARGEST`, out of fold, shape (n, 1); NaN where not known.
        failed: Outcomes, shape (n,).
        weight: 1 / (most snapshots of any batch), shape (n,).
    """
    if learner == "trees":
        return TREES_ALONE
    return fit_linear(deviation, failed, weight, names=(LARGEST,))
