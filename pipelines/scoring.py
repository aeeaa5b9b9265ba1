"""Snapshots of the batches in progress to published risk scores."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from features.checks import validate
from features.contracts import RISK_SCORE
from features.errors import StorageError
from models.registry import CHALLENGER, CHAMPION, RegisteredModel, Registry
from pipelines.featuring import read_dictionary
from pipelines.plant import Plant
from serving.scorer import Release, score


def speaking_model(plant: Plant) -> RegisteredModel:
    """The model whose scores count: the champion, or the challenger where nobody has a champion.

    Raises:
        StorageError: There is no model yet.
    """
    registry = Registry(plant.settings.data_dir)
    model = registry.by_alias(plant.process.id, CHAMPION) or registry.by_alias(plant.process.id, CHALLENGER)
    if model is None:
        raise StorageError(f"no model of {plant.process.id!r} is registered", remedy="Run the job 'retrain'.")
    return model


def publish_scores(plant: Plant) -> tuple[pd.DataFrame, RegisteredModel]:
    """Score the batches in progress and append the records; a record once published never changes."""
    model = speaking_model(plant)
    predictor = Registry(plant.settings.data_dir).predictor(model)
    snapshots = plant.features.read("in_progress_features").to_pandas()
    scores = score(
        predictor, snapshots, read_dictionary(plant), plant.process,
        release=Release(model.name, model.version, "released" if model.review == "released" else "unreviewed"),
        data_version=plant.data_version(),
    )  # fmt: skip
    validate(scores, RISK_SCORE)
    if len(scores):
        rows = pa.Table.from_pandas(scores, schema=RISK_SCORE.arrow(), preserve_index=False).replace_schema_metadata(
            None
        )
        plant.scores.append("risk_scores", None, rows, key=list(RISK_SCORE.key))
    return scores, model
