"""Rivals that read the hourly sensor series of an ingested plant, as the product does, beside the snapshot rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from benchmarks.baselines import mspc, tsfresh_lightgbm
from benchmarks.baselines.signals import signals
from benchmarks.field.rivals import KEYS, Rival, TestRows, TrainRows, boosted, one_class
from pipelines.plant import Plant

Scores = Callable[[Plant, pd.Series, tuple[str, ...]], pd.DataFrame]  # `scores` of a module of `benchmarks.baselines`


def of_series(plant: Plant) -> dict[str, Rival]:
    """Rivals that read the hourly sensor series of an ingested plant beside the rows."""
    return {
        "hourly MSPC T2": at_checkpoints(mspc.scores_t2, plant),
        "hourly MSPC SPE": at_checkpoints(mspc.scores_spe, plant),
        "tsfresh + LightGBM": tsfresh_rival(plant),
    }


def at_checkpoints(method: Scores, plant: Plant) -> Rival:
    """An hourly method of `benchmarks.baselines` as a rival: its highest score so far; 0 before its first."""

    def rival(train: TrainRows, test: TestRows) -> np.ndarray:
        found = method(plant, train.failed.astype(bool), tuple(test.rows["batch_id"].unique()))
        found = found.sort_values(["checkpoint_h", "batch_id"])
        found["score"] = found.groupby("batch_id")["score"].cummax()
        asked = test.rows[KEYS].assign(place=np.arange(len(test.rows))).sort_values("checkpoint_h", kind="stable")
        asked = asked.astype({"checkpoint_h": "float64"})
        joined = pd.merge_asof(asked, found, on="checkpoint_h", by="batch_id").sort_values("place")
        return joined["score"].fillna(0.0).to_numpy(float)

    return rival


def tsfresh_rival(plant: Plant) -> Rival:
    """LightGBM with the same settings on tsfresh's minimal features of each sensor, computed once for all batches."""
    stored: list[pd.DataFrame] = []

    def rival(train: TrainRows, test: TestRows) -> np.ndarray:
        if not stored:
            data = signals(plant)
            stored.append(tsfresh_lightgbm.features_of(plant, data, data.is_sensor, data.batch_ids))
        rows, failed = train.labelled()
        if one_class(failed):
            return np.zeros(len(test.rows))
        mine, theirs = (given[KEYS].merge(stored[0], how="left", on=KEYS) for given in (rows, test.rows))
        return boosted(mine, failed, theirs)

    return rival
