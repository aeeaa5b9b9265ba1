"""Functions for people who work with a stored plant in Python: features at a time, a predictor, scores, reasons, figures.

Everything here calls what the assets call, and writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd

from features.dictionary import Feature
from features.errors import BatchguardError
from models.cohort.labels import labels_as_of
from models.cohort.table import before_the_label
from models.evaluation.evaluate import Evaluation
from models.evaluation.figures import figures
from models.predictor import Predictor
from models.registry import Registry
from models.scoring.assessment import assess_frame
from models.scoring.score import Model, Score
from models.scoring.snapshots import SnapshotScorer, score_snapshots
from pipelines.feature_tables import PlantContext, snapshots_as_of
from pipelines.plant import Plant
from pipelines.risk_scores import ServingVersion, identity_of, serving_model
from pipelines.settings import Settings


@dataclass(frozen=True, eq=False)
class LoadedPredictor:
    """A predictor from the registry.

    Attributes:
        predictor: Frozen, checked byte by byte.
        model: Its identity, as its scores name it.
        cut: The predictor knows no outcome that became known from this moment on.
        sealed: Batches of its sealed test; none where batches tested the versions before it and it has learnt from them.
    """

    predictor: Predictor
    model: Model
    cut: pd.Timestamp
    sealed: frozenset[str]


@dataclass(frozen=True)
class Figures:
    """How scores compare with the outcomes known today, one row per score.

    Attributes:
        values: `models.evaluation.figures.figures`: `n`, `n_batches`, `n_failed`, `auroc` with `_low` and `_high`, `brier`, ...
        n_known_at_training: Batches whose outcome was known before the predictor's cut. If not 0, the figures are no test.
    """

    values: dict[str, float]
    n_known_at_training: int


def open_plant(process: Path, data_dir: Path) -> Plant:
    """The stored history, features, scores and models of a process in a data directory."""
    return Plant(Settings(process, Path(), data_dir, as_of="history"))


def features_as_of(
    plant: Plant, as_of: datetime, batch_ids: Sequence[str] | None = None
) -> tuple[pd.DataFrame, tuple[Feature, ...]]:
    """Features of batches with everything known at a moment, and nothing later.

    Args:
        plant: From `open_plant`.
        as_of: The moment, with an offset.
        batch_ids: Which batches; None: those in progress at that moment.

    Returns:
        `features.contracts.SNAPSHOT`, one row per batch that had started, NaN where nothing was known; and the
        dictionary of its feature columns.

    Raises:
        BatchguardError: The moment has no offset, or a named batch is not in the run history.
    """
    if as_of.tzinfo is None:
        raise BatchguardError(f"as_of {as_of} has no offset", expected="for example 2026-01-31T08:00+01:00")
    context = PlantContext.of(plant)
    unknown = set(batch_ids or ()) - set(context.tables["batches"]["batch_id"])
    if unknown:
        raise BatchguardError(
            f"batch {min(unknown)} is not in the run history", remedy="Ingest its rows, or correct the id."
        )
    moment = pd.to_datetime([as_of], utc=True).as_unit("us")[0]
    return snapshots_as_of(plant, context, moment, batch_ids)


def load_predictor(plant: Plant, version: str | None = None) -> LoadedPredictor:
    """A version of the registry; None: the one whose scores count.

    Raises:
        StorageError: There is no such version, or its files were changed.
    """
    registry, serving = Registry(plant.settings.data_dir), _registered(plant, version)
    model, seal = serving.model, registry.seal(serving.model)
    sealed = frozenset(() if seal.learnt else seal.batch_ids)
    identity = identity_of(plant, model, serving.release)
    return LoadedPredictor(registry.predictor(model), identity, seal.cut, sealed)


def score(loaded: LoadedPredictor, plant: Plant, snapshots: pd.DataFrame, features: tuple[Feature, ...]) -> list[Score]:
    """Scores of snapshots, by batch and time, as the asset `risk_scores` makes them.

    Raises:
        ContractError: The snapshots lack a feature of the predictor, or hold an infinite value.
    """
    scorer = SnapshotScorer(loaded.predictor, plant.process, loaded.model, features)
    return score_snapshots(scorer, snapshots, data_sha256=plant.data_version())


def explain(loaded: LoadedPredictor, snapshots: pd.DataFrame, features: tuple[Feature, ...]) -> pd.DataFrame:
    """Percentage points that each parameter adds to the probability.

    Returns:
        Indexed by `batch_id` and `as_of` in the snapshots' order, one column per parameter; a row sums to
        100 times the probability less the base probability of its hour.
    """
    parameters = [feature.parameter for feature in loaded.predictor.features]
    parts = [pd.DataFrame(found.points) for found in assess_frame(loaded.predictor, snapshots, features)]
    points = pd.concat(parts).T.groupby(parameters, sort=True).sum().T
    return points.set_index(pd.MultiIndex.from_frame(snapshots[["batch_id", "as_of"]]))


def evaluate(plant: Plant, loaded: LoadedPredictor, scores: Sequence[Score]) -> Figures:
    """Compare scores with the outcomes that are known today.

    Censored batches, batches without an outcome and scores made when the outcome was already known are left out. Figures
    over batches whose outcome the predictor knew are no test of it: the result counts these batches.

    Raises:
        BatchguardError: A score is of another model or of a batch of the sealed test, or there are not both failures and
            successes.
    """
    _refuse_foreign(loaded, scores)
    log = plant.labels()
    labels = labels_as_of(log)
    labels = labels[~labels["censored"].astype(bool)]
    given = [(s.batch_id, pd.Timestamp(s.as_of), s.failure_probability) for s in scores]
    rows = pd.DataFrame(given, columns=["batch_id", "as_of", "failure_probability"])
    rows = before_the_label(rows[rows["batch_id"].isin(labels.index)], log)
    rows = rows.assign(failed=rows["batch_id"].map(labels["failed"]).astype(bool))
    if rows["failed"].nunique() != 2:
        raise BatchguardError(
            f"{len(rows)} of {len(scores)} scores came before an outcome, {int(rows['failed'].sum())} of them before a failure",
            expected="failures and successes",
            remedy="Score more batches, at an earlier moment.",
        )
    known = labels.index[labels["first_available_at"] < loaded.cut]
    return Figures(figures(rows), int(rows.loc[rows["batch_id"].isin(known), "batch_id"].nunique()))


def _refuse_foreign(loaded: LoadedPredictor, scores: Sequence[Score]) -> None:
    for one in scores:
        if one.model.sha256 != loaded.model.sha256:
            raise BatchguardError(
                f"the score of batch {one.batch_id} is of model version {one.model.version}",
                expected=f"version {loaded.model.version}, the loaded one",
            )
        if one.batch_id in loaded.sealed:
            raise BatchguardError(
                f"batch {one.batch_id} is in the sealed test of model version {loaded.model.version}, which is scored once",
                remedy="Take its figures from sealed_evaluation, and leave its batches out here.",
            )


def sealed_evaluation(plant: Plant, version: str | None = None) -> Evaluation:
    """The evaluation on the sealed test that was made with a version; the test is not read again."""
    return Registry(plant.settings.data_dir).evaluation(_registered(plant, version).model)


def _registered(plant: Plant, version: str | None) -> ServingVersion:
    """A version of the registry, as a preview, or the one that scores."""
    if version is None:
        return serving_model(plant)
    return ServingVersion(Registry(plant.settings.data_dir).by_version(plant.process.id, version), None)
