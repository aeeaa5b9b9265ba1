"""The result of a run as JSON, and the newest scores of a plant; `pipelines.console` prints them."""

from __future__ import annotations

import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.errors import BatchguardError
from models.cohort.labels import labels_as_of
from models.registry import CHALLENGER, RegisteredModel, Registry
from models.scoring.score import Score
from pipelines.plant import Plant
from pipelines.risk_scores import serving_model
from pipelines.score_table import read_scores

CHECKPOINT_FIGURES = ("checkpoint_h", "n", "n_failed", "auroc", "auroc_low", "auroc_high", "auprc", "brier")


def result_of(plant: Plant) -> dict[str, Any]:
    """What `batchguard run --json` writes: data, figures of the newest challenger, scores of the batches in progress."""
    model = challenger_of(plant)
    registry = Registry(plant.settings.data_dir)
    evaluation = registry.evaluation(model)
    overall = evaluation.overall
    result = {
        "process": plant.process.id,
        "data": data_of(plant),
        "test": {
            "n_batches": overall["n"], "n_failed": overall["n_failed"], "base_rate": overall["base_rate"],
            "auroc": overall["auroc"], "auroc_ci": [overall["auroc_low"], overall["auroc_high"]],
            "auprc": overall["auprc"], "brier": overall["brier"], "ece": overall["ece"], "ece_floor": overall["ece_floor"],
            "auroc_of_timing": overall.get("auroc_of_timing", math.nan),
            "taken_at": "each batch's last checkpoint before its outcome was known",
            "prequential": registry.seal(model).learnt, "read": evaluation.read_test, "readings": evaluation.readings,
        },
        "by_checkpoint": [{name: row[name] for name in CHECKPOINT_FIGURES} for row in evaluation.checkpoints.to_dict("records")],
        "random_split": _claims(evaluation.splits),
        "model": {"name": model.name, "version": model.version, "sha256": model.sha256, "review": model.review},
        "serving": _serving(plant),
        "scores": [score.to_json() for score in newest_scores(plant)],
    }  # fmt: skip
    return {name: _plain(value) for name, value in result.items()}


def challenger_of(plant: Plant) -> RegisteredModel:
    """The newest challenger, which a run has just made."""
    model = Registry(plant.settings.data_dir).by_alias(plant.process.id, CHALLENGER)
    if model is None:
        raise RuntimeError(f"no challenger of {plant.process.id!r} after training")
    return model


def _serving(plant: Plant) -> dict[str, Any]:
    """The version whose scores are shown: its release, or none where they are a preview."""
    serving = serving_model(plant)
    release = serving.release
    return {
        "version": serving.model.version, "status": serving.status, "release_id": release and release.release_id,
        "released_by": release and release.released_by,
    }  # fmt: skip


def data_of(plant: Plant) -> dict[str, Any]:
    """Rows in, kept and quarantined, the mere repetitions among them; batches, failed and censored."""
    from pipelines.history import last_report

    report = last_report(plant.history)
    labels = labels_as_of(plant.labels())
    return {
        "rows_in": report.rows_in, "rows_kept": report.rows_kept, "rows_quarantined": report.rows_quarantined,
        "rows_repeated": report.rows_repeated, "rows_planned": report.rows_planned,
        "batches": plant.history.rows("batches"), "failed": int(labels["failed"].sum()),
        "censored": int(labels["censored"].sum()), "data_version": plant.data_version(),
        "findings": report.findings(), "conversions": report.conversions(),
    }  # fmt: skip


def _claims(splits: pd.DataFrame) -> dict[str, Any]:
    """What random splits would have claimed; the first question is the process's own."""
    if splits.empty:
        return {"auroc": None}
    questions: list[dict[str, Any]] = [
        {"question": question}
        | {
            row["split"]: {k: row[k] for k in ("auroc", "auroc_low", "auroc_high", "n", "n_failed")}
            for row in rows.to_dict("records")
        }
        for question, rows in splits.groupby("question", sort=False)
    ]
    return {"auroc": questions[0]["random"]["auroc"], "questions": questions}


def newest_scores(plant: Plant) -> list[Score]:
    """Scores of the newest time, highest risk first; empty where nothing is in progress."""
    now = plant.features.read("in_progress_features", columns=["batch_id", "as_of"]).to_pandas()
    if now.empty:
        return []
    running, version, serving = set(now["batch_id"]), plant.data_version(), serving_model(plant)
    wanted = (serving.model.sha256, serving.release and serving.release.release_id)
    stored = read_scores(plant.scores, as_of=now["as_of"].max())  # all of one moment
    of_version = sorted(stored, key=lambda s: (s.model.sha256, s.model.release_id) == wanted)  # those that count, last
    scores = {s.batch_id: s for s in of_version if s.data_sha256 == version and s.batch_id in running}
    return sorted(scores.values(), key=lambda score: (-score.failure_probability, score.batch_id))


def write_json(path: Path, result: dict[str, Any]) -> None:
    """Write it beside its place and move it there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def can_be_written(path: Path) -> None:
    """Make a file's folder, before the work whose result it shall hold.

    Raises:
        BatchguardError: Nothing can be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise BatchguardError(f"{path}: {error.strerror}", remedy="Name a file that can be written.") from None


def plain_rows(table: pd.DataFrame) -> list[object]:
    """A table's rows as plain JSON values."""
    return [_plain(row) for row in table.astype(object).to_dict("records")]


def _plain(value: object) -> object:
    """Only what JSON can say: NaN becomes null, a time its ISO text."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if value is None or value is pd.NaT:
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value
