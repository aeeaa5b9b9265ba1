"""Choices of a baseline are made on forward folds inside the training part, by the recall at small alarm budgets."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd

from models.cohort.folds import Fold, most_folds
from models.cohort.labels import labels_as_of
from models.cohort.splits import subject_groups
from pipelines.plant import Plant

BUDGETS = (0.01, 0.02, 0.03, 0.04, 0.05)


def folds_of(plant: Plant, train: pd.Series) -> list[tuple[pd.Series, pd.Series]]:
    """Forward folds: outcomes as known at the fold's cut, and outcomes of its validation block as `train` has them."""
    return [(_then(plant, fold), train.reindex(list(fold.validation))) for fold in _folds(plant, tuple(train.index))]


def recall_at_budgets(score: np.ndarray, failed: np.ndarray) -> float:
    """Mean recall over `BUDGETS` (shares of good batches ever alarmed); a tie with the threshold is no alarm.

    Args:
        score: Highest score of each batch.
        failed: Its outcome; both classes occur.
    """
    good = np.sort(score[~failed])[::-1]
    thresholds = good[[int(np.floor(budget * len(good))) for budget in BUDGETS]]
    return float((score[failed][:, None] > thresholds).mean())


@lru_cache(maxsize=4)
def _folds(plant: Plant, train: tuple[str, ...]) -> tuple[Fold, ...]:
    batches = plant.table("batches")
    log = plant.labels()
    return most_folds(batches, log, pd.Index(train), groups=subject_groups(batches))


def _then(plant: Plant, fold: Fold) -> pd.Series:
    log = plant.labels()
    return labels_as_of(log[log["label_available_at"] < fold.cut])["failed"].reindex(list(fold.train))
