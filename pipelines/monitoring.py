"""How fresh the data and the scores are, and whether the batches in progress have drifted."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from models.evaluation.drift import drift
from models.registry import Registry
from pipelines.plant import Plant
from pipelines.risk_scores import serving_model

STALE_AFTER_H = 24.0


@dataclass(frozen=True)
class Monitoring:
    """State of the scores.

    Attributes:
        data_age_h: Hours from the newest moment of the run history to the as-of time.
        n_in_progress: Batches in progress.
        drift: `models.evaluation.drift.drift` of the features that matter most.
    """

    data_age_h: float
    n_in_progress: int
    drift: pd.DataFrame

    @property
    def fresh(self) -> bool:
        """Whether something arrived within the last day."""
        return self.data_age_h <= STALE_AFTER_H

    @property
    def drifted(self) -> list[str]:
        """Features that have drifted."""
        return list(self.drift.loc[self.drift["verdict"] == "drifted", "feature"])


def monitor(plant: Plant, *, top: int = 20) -> Monitoring:
    """Compare the batches in progress with the training batches at the nearest checkpoint."""
    model = serving_model(plant).model
    predictor = Registry(plant.settings.data_dir).predictor(model)
    training = plant.features.read("training_set").to_pandas()
    current = plant.features.read("in_progress_features").to_pandas()
    numeric = [f.name for f in predictor.features if f.name in current and current[f.name].dtype == "float64"]
    strength = predictor.contributions(training)[numeric].abs().mean() if len(training) else pd.Series(0.0, numeric)
    wanted = list(strength.nlargest(top).index)
    age_h = (plant.as_of() - plant.newest_moment).total_seconds() / 3600
    return Monitoring(age_h, len(current), drift(_alike(training, current), current, wanted))


def _alike(training: pd.DataFrame, current: pd.DataFrame) -> pd.DataFrame:
    """One training snapshot a batch, at the checkpoint nearest to the usual age of the batches in progress."""
    if not len(current):
        return training.head(0)
    typical_h = current["checkpoint_h"].median()
    nearest = training.assign(away=(training["checkpoint_h"] - typical_h).abs()).sort_values("away", kind="stable")
    return nearest.drop_duplicates("batch_id").drop(columns="away")
