"""Snapshots of the batches in progress to published risk scores."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from features.digests import features_digest, process_digest
from features.errors import StorageError
from models.registry import CHALLENGER, CHAMPION, RegisteredModel, Registry
from models.scoring.score import Model, Score, scores_of
from models.scoring.snapshots import SnapshotScorer, score_snapshots
from pipelines.feature_tables import read_dictionary
from pipelines.plant import Plant
from pipelines.score_table import append_scores

VERSIONS_BACK = 50  # a day of scoring every half hour: further back nothing is looked for


def serving_model(plant: Plant) -> RegisteredModel:
    """The model whose scores count: the champion, or the challenger where nobody has a champion.

    Raises:
        StorageError: There is no model yet.
    """
    registry = Registry(plant.settings.data_dir)
    model = registry.by_alias(plant.process.id, CHAMPION) or registry.by_alias(plant.process.id, CHALLENGER)
    if model is None:
        raise StorageError(
            f"no model of {plant.process.id!r} is registered", remedy="Run 'batchguard run', or the job 'retrain'."
        )
    return model


def identity_of(plant: Plant, model: RegisteredModel) -> Model:
    """A registered model as its scores name it."""
    review = "released" if model.review == "released" else "unreviewed"
    return Model(
        model.name,
        model.version,
        model.sha256,
        review,
        plant.process.id,
        process_digest(plant.process),
        features_digest(),
    )


def predictors_of(folder: Path) -> list[Path]:
    """Folders of predictors, each named by its digest."""
    return sorted(path for path in folder.glob("?" * 64) if path.is_dir())


def last_scored(plant: Plant, snapshots: pd.DataFrame) -> pd.DataFrame | None:
    """The batches in progress as they stood when they were last scored, from the versions of their table.

    Args:
        plant: Where they are stored.
        snapshots: As they stand now.

    Returns:
        Snapshots of the newest version with an earlier `as_of`; None where there is none, or its features were others.
    """
    if snapshots.empty:
        return None
    newest, now = plant.features.version("in_progress_features"), snapshots["as_of"].max()
    for version in range(newest - 1, max(newest - 1 - VERSIONS_BACK, -1), -1):
        earlier = plant.features.read("in_progress_features", version=version).to_pandas()
        if len(earlier) and earlier["as_of"].max() < now:
            return earlier if list(earlier.columns) == list(snapshots.columns) else None
    return None


def publish_scores(plant: Plant) -> tuple[list[Score], RegisteredModel]:
    """Score the batches in progress and append the records; a record once published never changes.

    Raises:
        StorageError: There is no model, or it knows outcomes from after the moment that is scored.
    """
    model, registry = serving_model(plant), Registry(plant.settings.data_dir)
    predictor, cut = registry.predictor(model), registry.seal(model).cut
    snapshots = plant.features.read("in_progress_features").to_pandas()
    if (snapshots["as_of"] < cut).any():
        raise StorageError(
            f"as-of time {snapshots['as_of'].min().isoformat()} lies before {cut.isoformat()}, up to which model version "
            f"{model.version} knows outcomes",
            remedy="Score a later moment: at that one, the model would know the future.",
        )
    scorer = SnapshotScorer(predictor, plant.process, identity_of(plant, model), read_dictionary(plant))
    scores = score_snapshots(scorer, snapshots, data_sha256=plant.data_version(), before=last_scored(plant, snapshots))
    scores_of([score.model_dump() for score in scores])  # each within the bounds of the record
    append_scores(plant.scores, scores)
    return scores, model
