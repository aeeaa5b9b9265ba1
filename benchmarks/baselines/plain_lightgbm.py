"""LightGBM on the snapshots with the predictor's default settings, and nothing else: no attribute models, no bag."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.baselines import snapshots
from models.cohort.encode import fit_encoder
from models.cohort.table import training_table
from models.learners.trees import Bins, Plan, Settings
from pipelines.plant import Plant


def scores(plant: Plant, train: pd.Series, test: tuple[str, ...]) -> pd.DataFrame:
    """Log-odds of test batches at their checkpoints: `batch_id, checkpoint_h, score`."""
    return fit_and_score(snapshots.of(plant, train.index), snapshots.of(plant, test), train)


def fit_and_score(mine: pd.DataFrame, theirs: pd.DataFrame, train: pd.Series) -> pd.DataFrame:
    """Train on some rows (`features.contracts.SNAPSHOT` and feature columns) and score others."""
    table = training_table(mine, fit_encoder(mine))
    failed = table.rows["batch_id"].map(train).to_numpy(bool)
    bins = Bins(table, Plan(threads=2))
    booster, _ = bins.fit(bins.rows(np.arange(len(failed)), failed), Settings())
    score = booster.predict(table.encoder.encode(theirs), raw_score=True, num_threads=2)
    return snapshots.scored(theirs, np.asarray(score))
