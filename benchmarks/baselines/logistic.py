"""Logistic regression on the snapshots that the predictor sees: standardised, medians for gaps, gaps marked, L2.

Whether a feature is standardised over all checkpoints or at each, and the penalty, is chosen on forward folds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from benchmarks.baselines import snapshots
from benchmarks.baselines.folds import folds_of, recall_at_budgets
from models.cohort.encode import Encoder, fit_encoder
from pipelines.plant import Plant

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)  # C of scikit-learn; weights of a batch's rows sum to 1 at most
_CLIP = 5.0  # standard deviations: a slip of the pen must not decide
_CHOICE_EVERY = 3  # of the checkpoints serve to choose, which is most of the time that this takes


@dataclass(frozen=True)
class Scaling:
    """Training medians, means and deviations of the encoded columns, one row per checkpoint (or one for all)."""

    encoder: Encoder
    checkpoints_h: np.ndarray
    median: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    marked: np.ndarray

    def matrix(self, rows: pd.DataFrame) -> np.ndarray:
        """Standardised columns, then a column per category, then marks of gaps; float32, no NaN."""
        X = self.encoder.encode(rows)
        place = np.searchsorted(self.checkpoints_h, rows["checkpoint_h"].to_numpy()) if len(self.median) > 1 else 0
        place = np.broadcast_to(place, len(rows))
        gap = np.isnan(X)
        filled = np.where(gap, self.median[place], X)
        scaled = np.clip((filled - self.mean[place]) / self.deviation[place], -_CLIP, _CLIP)
        numeric = [i for i, name in enumerate(self.encoder.columns) if name not in self.encoder.categories]
        known = [
            X[:, i] == code
            for i, name in enumerate(self.encoder.columns)
            for code in range(len(self.encoder.categories.get(name, ())))
        ]
        return np.column_stack([scaled[:, numeric], *known, gap[:, self.marked]]).astype(np.float32)


def scores(plant: Plant, train: pd.Series, test: tuple[str, ...]) -> pd.DataFrame:
    """Log-odds of test batches at their checkpoints: `batch_id, checkpoint_h, score`."""
    by_checkpoint, penalty = choose(plant, train)
    mine, theirs = snapshots.of(plant, train.index), snapshots.of(plant, test)
    scaling = fit_scaling(mine, by_checkpoint=by_checkpoint)
    model = fit(scaling.matrix(mine), mine["batch_id"].map(train).to_numpy(bool), mine, penalty)
    return snapshots.scored(theirs, model.decision_function(scaling.matrix(theirs)))


def choose(plant: Plant, train: pd.Series) -> tuple[bool, float]:
    """Standardise by checkpoint or not, and C: the best recall at small budgets over forward folds."""
    some = plant.process.checkpoints_h[_CHOICE_EVERY - 1 :: _CHOICE_EVERY]
    caught = dict.fromkeys(product((False, True), PENALTIES), 0.0)
    for then, now in folds_of(plant, train):
        mine, theirs = (snapshots.of(plant, outcome.index) for outcome in (then, now))
        mine, theirs = (rows[rows["checkpoint_h"].isin(some)].reset_index(drop=True) for rows in (mine, theirs))
        failed = mine["batch_id"].map(then).to_numpy(bool)
        for by_checkpoint in (False, True):
            scaling = fit_scaling(mine, by_checkpoint=by_checkpoint)
            X, later = scaling.matrix(mine), scaling.matrix(theirs)
            for penalty in PENALTIES:
                score = pd.Series(fit(X, failed, mine, penalty).decision_function(later))
                highest = score.groupby(theirs["batch_id"]).max().reindex(now.index).fillna(-np.inf)
                recall = recall_at_budgets(highest.to_numpy(), now.to_numpy(bool))
                caught[by_checkpoint, penalty] += recall * now.sum()
    return max(caught, key=lambda choice: caught[choice])


def fit_scaling(rows: pd.DataFrame, *, by_checkpoint: bool) -> Scaling:
    """Learn medians, means and deviations; a column without a value at a checkpoint is 0 there."""
    encoder = fit_encoder(rows)
    X = pd.DataFrame(encoder.encode(rows))
    group = rows["checkpoint_h"] if by_checkpoint else pd.Series(0.0, rows.index)
    median = X.groupby(group).median()
    filled = X.fillna(median.reindex(group).set_axis(X.index)).fillna(0.0)
    means = filled.groupby(group).mean()
    deviations = filled.groupby(group).std(ddof=0)
    return Scaling(
        encoder,
        median.index.to_numpy(),
        median.fillna(0.0).to_numpy(),
        means.to_numpy(),
        deviations.where(deviations > 1e-12, 1.0).to_numpy(),
        X.isna().any().to_numpy(),
    )


def fit(X: np.ndarray, failed: np.ndarray, rows: pd.DataFrame, penalty: float) -> LogisticRegression:
    """The regression at one penalty; every row weighs the same, a batch of the most rows 1."""
    weight = np.full(len(rows), 1.0 / rows.groupby("batch_id").size().max())
    return LogisticRegression(C=penalty, max_iter=200, tol=1e-3).fit(X, failed, sample_weight=weight)
