"""Snapshots of the batches in progress to published risk scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from features.digests import features_digest, process_digest
from features.errors import StorageError
from models.registry import CHALLENGER, RegisteredModel, Registry
from models.scoring.score import Model, Score, scores_of
from models.scoring.snapshots import SnapshotScorer, score_snapshots
from pipelines.effective import EffectiveVersion, effective_version
from pipelines.feature_tables import read_dictionary
from pipelines.plant import Plant
from pipelines.score_table import append_scores

VERSIONS_BACK = 50  # a day of scoring every half hour: further back nothing is looked for


@dataclass(frozen=True)
class ServingVersion:
    """The version that scores.

    Attributes:
        model: In the registry.
        release: Its release; None: the scores are a preview by the newest challenger.
        because: Why a version that is effective does not score; empty where there is none.
    """

    model: RegisteredModel
    release: EffectiveVersion | None
    because: str = ""

    @property
    def status(self) -> str:
        """Whether it is released, and by whose keys, in words."""
        if self.release is not None:
            return f"released by {self.release.released_by}"
        return f"not released: {self.because}" if self.because else "not released"


def serving_model(plant: Plant) -> ServingVersion:
    """The version that the records call effective, or the newest challenger as a preview where there is none.

    Aliases and tags of the registry decide nothing here.

    Raises:
        StorageError: There is no model yet, the effective one is not in the registry, or the records cannot be read.
    """
    registry = Registry(plant.settings.data_dir)
    release = effective_version(plant.settings, plant.process.id)
    because = "" if release is None else _not_as_sealed(plant, release)
    if release is not None and not because:
        model = registry.by_version(plant.process.id, release.version)
        if model.sha256 != release.model_sha256:
            raise StorageError(
                f"version {model.version} of {model.name!r} in the registry is not the predictor that was released",
                expected=f"predictor {release.model_sha256[:12]}", remedy="Restore the registry.",
            )  # fmt: skip
        return ServingVersion(model, release)
    challenger = registry.by_alias(plant.process.id, CHALLENGER)
    if challenger is None:
        raise StorageError(
            f"no model of {plant.process.id!r} is registered", remedy="Run 'batchguard run', or the job 'retrain'."
        )
    return ServingVersion(challenger, None, because)


def _not_as_sealed(plant: Plant, release: EffectiveVersion) -> str:
    """What a score would be made with that was not sealed with the effective version; empty where nothing is."""
    if release.process_sha256 != process_digest(plant.process):
        return f"the process definition is not the one that version {release.version} was released with"
    if release.features_sha256 != features_digest():
        return f"the feature code is not the one that version {release.version} was released with"
    return ""


def identity_of(plant: Plant, model: RegisteredModel, release: EffectiveVersion | None = None) -> Model:
    """A registered model as its scores name it; without a release: a preview."""
    return Model(
        model.name,
        model.version,
        model.sha256,
        "unreviewed" if release is None else "released",
        plant.process.id,
        process_digest(plant.process),
        features_digest(),
        release_id=None if release is None else release.release_id,
        released_by=None if release is None else release.released_by,
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


def publish_scores(plant: Plant) -> tuple[list[Score], ServingVersion]:
    """Score the batches in progress and append the records; a record once published never changes.

    Scores without a release are a preview: they stay in files and on the console.

    Raises:
        StorageError: There is no model, or it knows outcomes from after the moment that is scored.
    """
    serving, registry = serving_model(plant), Registry(plant.settings.data_dir)
    model = serving.model
    predictor, cut = registry.predictor(model), registry.seal(model).cut
    snapshots = plant.features.read("in_progress_features").to_pandas()
    if (snapshots["as_of"] < cut).any():
        raise StorageError(
            f"as-of time {snapshots['as_of'].min().isoformat()} lies before {cut.isoformat()}, up to which model version "
            f"{model.version} knows outcomes",
            remedy="Score a later moment: at that one, the model would know the future.",
        )
    scorer = SnapshotScorer(
        predictor, plant.process, identity_of(plant, model, serving.release), read_dictionary(plant)
    )
    scores = score_snapshots(scorer, snapshots, data_sha256=plant.data_version(), before=last_scored(plant, snapshots))
    scores_of([score.model_dump() for score in scores])  # each within the bounds of the record
    append_scores(plant.scores, scores)
    return scores, serving
