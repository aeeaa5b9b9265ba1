"""The sealed test, scored once per model, and all that a report says of a predictor."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from features.errors import TrainingError
from features.process import ProcessDefinition
from models.cohort.labels import labels_as_of
from models.cohort.splits import Seal
from models.cohort.table import before_the_label
from models.evaluation.figures import auroc_of_timing, by_checkpoint, figures, last_checkpoint, lead_time_figures
from models.predictor import Predictor
from models.train import Trained

SIMULATED = "Simulated batches are among these rows: the figures verify the software and validate no model."

_FRAMES = ("scores", "checkpoints", "leads", "importance", "splits", "excluded")
_PLAIN = "figures.json"


@dataclass(frozen=True)
class Evaluation:
    """Figures of one predictor on its sealed test; everything in it is a frame or a plain value.

    Attributes:
        scores: Every scored snapshot of the test (`score_test`).
        overall: `models.evaluation.figures.figures` of each test batch at its last checkpoint before its label, and
            `auroc_of_timing`: what the hour of that checkpoint alone would reach.
        checkpoints: The same figures per checkpoint.
        leads: Failures caught and how early (`models.evaluation.figures.lead_time_figures`).
        importance: `parameter`, `label`, `mean_abs_points`: how far a parameter moves test scores, largest first.
        splits: What a random split would have claimed (`models.evaluation.compare.compare_splits`); may be empty.
        excluded: Where every snapshot went (`models.cohort.table.exclusions`).
        counts: Batches of the training part and of the test, and how many of them failed.
        note: What must stand beside the figures, for example that rows were simulated; may be empty.
    """

    scores: pd.DataFrame
    overall: dict[str, float]
    checkpoints: pd.DataFrame
    leads: pd.DataFrame
    importance: pd.DataFrame
    splits: pd.DataFrame
    excluded: pd.DataFrame
    counts: dict[str, int]
    note: str

    def save(self, folder: Path) -> None:
        """Write it as Parquet and JSON, so that the sealed test never has to be scored again."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in _FRAMES:
            getattr(self, name).to_parquet(folder / f"{name}.parquet", index=False)
        plain = {"overall": _without_nan(self.overall), "counts": self.counts, "note": self.note}
        (folder / _PLAIN).write_text(json.dumps(plain, indent=1, allow_nan=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Evaluation:
        """Read it back."""
        plain = json.loads((folder / _PLAIN).read_text(encoding="utf-8"))
        plain["overall"] = {name: math.nan if value is None else value for name, value in plain["overall"].items()}
        frames: dict[str, Any] = {name: pd.read_parquet(folder / f"{name}.parquet") for name in _FRAMES}
        return cls(**frames, **plain)


def score_test(predictor: Predictor, snapshots: pd.DataFrame, log: pd.DataFrame, seal: Seal) -> pd.DataFrame:
    """Score the sealed test. Once per predictor; the caller records the reading (`models.cohort.splits.record_reading`).

    Args:
        predictor: Frozen.
        snapshots: `features.contracts.SNAPSHOT`.
        log: `features.contracts.LABELS`.
        seal: The test set.

    Returns:
        `batch_id`, `checkpoint_h`, `as_of`, `failed`, `label_available_at`, `failure_probability`, by start; snapshots
        taken when the outcome was already known are left out.

    Raises:
        TrainingError: No snapshot of the test was taken before its batch's outcome was known.
    """
    usable = sealed_rows(snapshots, log, seal)
    if usable.empty:
        raise TrainingError(
            f"{seal.process_id}: none of the {len(seal.batch_ids)} test batches has a snapshot before its outcome",
            remedy="Move the checkpoints of the process definition to an earlier time.",
        )
    labels = labels_as_of(log)
    return usable[["batch_id", "checkpoint_h", "as_of"]].assign(
        failed=usable["batch_id"].map(labels["failed"]).astype(bool),
        label_available_at=usable["batch_id"].map(labels["first_available_at"]),
        failure_probability=predictor.predict(usable),
    )


def evaluate(
    process: ProcessDefinition,
    trained: Trained,
    snapshots: pd.DataFrame,
    batches: pd.DataFrame,
    log: pd.DataFrame,
    *,
    splits: pd.DataFrame | None = None,
) -> Evaluation:
    """Judge a predictor on its sealed test.

    Args:
        process: The process.
        trained: What was trained, with its seal.
        snapshots: `features.contracts.SNAPSHOT`.
        batches: `batch_id`, `origin`.
        log: `features.contracts.LABELS`.
        splits: From `models.evaluation.compare.compare_splits`.
    """
    scores = score_test(trained.predictor, snapshots, log, trained.seal)
    rows = last_checkpoint(sealed_rows(snapshots, log, trained.seal))
    part = batches[batches["batch_id"].isin([*trained.failed.index, *trained.seal.batch_ids])]
    last = last_checkpoint(scores)
    return Evaluation(
        scores=scores,
        overall=figures(last) | {"auroc_of_timing": auroc_of_timing(last)},
        checkpoints=by_checkpoint(scores),
        leads=lead_time_figures(scores, trained.out_of_fold),
        importance=parameter_importance(trained.predictor, rows),
        splits=pd.DataFrame() if splits is None else splits,
        excluded=trained.excluded,
        counts={
            "training_batches": len(trained.failed),
            "training_failed": int(trained.failed.sum()),
            "test_batches": len(trained.seal.batch_ids),
            "test_failed": int(last["failed"].sum()),
        },
        note=SIMULATED if (part["origin"] == "simulated").any() else "",
    )


def summary(evaluation: Evaluation, *, question: str) -> dict[str, Any]:
    """The figures as plain JSON values: `test`, `by_checkpoint`, `random_split`.

    Args:
        evaluation: Of one predictor.
        question: Which question of `evaluation.splits` is the process's own.

    Returns:
        A figure that cannot be computed is None.
    """
    overall = _without_nan(evaluation.overall)
    names = ("n_batches", "n_failed", "base_rate", "auroc", "auprc", "brier", "ece")
    test: dict[str, Any] = {name: overall.get(name) for name in names}
    test["auroc_ci"] = [overall.get("auroc_low"), overall.get("auroc_high")]
    columns = [name for name in ("checkpoint_h", "n", "n_failed", "auroc", "auprc") if name in evaluation.checkpoints]
    checkpoints = [_without_nan(row) for row in evaluation.checkpoints[columns].to_dict("records")]
    return {"test": test, "by_checkpoint": checkpoints, "random_split": _random(evaluation.splits, question)}


def _random(splits: pd.DataFrame, question: str) -> dict[str, Any]:
    if splits.empty:
        return {"auroc": None}
    row = splits[(splits["question"] == question) & (splits["split"] == "random")].iloc[0]
    names = ("n", "n_failed", "auroc", "auroc_low", "auroc_high")
    return _without_nan({name: row[name].item() for name in names})


def sealed_rows(snapshots: pd.DataFrame, log: pd.DataFrame, seal: Seal) -> pd.DataFrame:
    """Snapshots of the test taken before their batch's label, in order of start and checkpoint."""
    usable = before_the_label(snapshots[snapshots["batch_id"].isin(seal.batch_ids)], log)
    return usable.sort_values(["started_at", "batch_id", "checkpoint_h"]).reset_index(drop=True)


def parameter_importance(predictor: Predictor, rows: pd.DataFrame) -> pd.DataFrame:
    """Mean absolute contribution per parameter in percentage points: `parameter`, `label`, `mean_abs_points`."""
    points = predictor.by_parameter(
        predictor.percentage_points(predictor.contributions(rows), rows["checkpoint_h"].to_numpy(float))
    )
    labels = {feature.parameter: feature.label for feature in predictor.features}
    mean = points.abs().mean().sort_values(ascending=False, kind="stable")
    names = mean.index.astype("str")
    return pd.DataFrame({"parameter": names, "label": [labels[n] for n in names], "mean_abs_points": mean.to_numpy()})


def _without_nan(values: dict[Any, Any]) -> dict[str, float | None]:
    return {str(name): None if math.isnan(value) else value for name, value in values.items()}
