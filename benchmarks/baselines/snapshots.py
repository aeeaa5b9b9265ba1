"""The snapshots that the predictor sees, for methods that learn from them: the same rows, nothing taken out or added."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd

from models.cohort.table import before_the_label
from pipelines.plant import Plant


@lru_cache(maxsize=2)
def usable(plant: Plant) -> pd.DataFrame:
    """Snapshots taken before their batch had a label, in order of start, batch and checkpoint."""
    stored = before_the_label(plant.features.read("snapshot_features").to_pandas(), plant.labels())
    return stored.sort_values(["started_at", "batch_id", "checkpoint_h"]).reset_index(drop=True)


def of(plant: Plant, batch_ids: pd.Index | tuple[str, ...]) -> pd.DataFrame:
    """Those of some batches."""
    rows = usable(plant)
    return rows[rows["batch_id"].isin(set(batch_ids))].reset_index(drop=True)


def scored(rows: pd.DataFrame, score: np.ndarray) -> pd.DataFrame:
    """`batch_id, checkpoint_h, score`."""
    return rows[["batch_id", "checkpoint_h"]].assign(score=np.asarray(score, dtype="float64"))
