"""The result of a run: as JSON for programs, as tables for people."""

from __future__ import annotations

import json
import math
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from features.errors import BatchguardError
from models.cohort.labels import labels_as_of
from models.registry import CHALLENGER, RegisteredModel, Registry
from models.scoring.score import Score
from pipelines.plant import Plant
from pipelines.score_table import read_scores

if TYPE_CHECKING:
    from rich.console import Console

LIKELY_MISS = 0.1  # chance of missing a limit from which the console names a release attribute
CHECKPOINT_FIGURES = ("checkpoint_h", "n", "n_failed", "auroc", "auroc_low", "auroc_high", "auprc", "brier")


def result_of(plant: Plant) -> dict[str, Any]:
    """What `batchguard run --json` writes: data, figures of the newest challenger, scores of the batches in progress."""
    registry = Registry(plant.settings.data_dir)
    model = registry.by_alias(plant.process.id, CHALLENGER)
    if model is None:
        raise RuntimeError(f"no challenger of {plant.process.id!r} after training")
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
        },
        "by_checkpoint": [{name: row[name] for name in CHECKPOINT_FIGURES} for row in evaluation.checkpoints.to_dict("records")],
        "random_split": _claims(evaluation.splits),
        "model": {"name": model.name, "version": model.version, "sha256": model.sha256, "review": model.review},
        "scores": [score.to_json() for score in newest_scores(plant)],
    }  # fmt: skip
    return {name: _plain(value) for name, value in result.items()}


def data_of(plant: Plant) -> dict[str, Any]:
    """Rows in, kept and quarantined; batches, failed and censored."""
    from pipelines.history import last_report

    report = last_report(plant.history)
    labels = labels_as_of(plant.labels())
    return {
        "rows_in": report.rows_in, "rows_kept": report.rows_kept, "rows_quarantined": report.rows_quarantined,
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
    running, version = set(now["batch_id"]), plant.data_version()
    stored = read_scores(plant.scores, as_of=now["as_of"].max())  # all of one moment
    scores = {s.batch_id: s for s in stored if s.data_sha256 == version and s.batch_id in running}
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


def _plain(value: object) -> object:
    """Only what JSON can say: NaN becomes null."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value


def show(result: dict[str, Any], plant: Plant, console: Console) -> None:
    """Print figures, scores and where to read on."""
    from rich.table import Table

    test, data = result["test"], result["data"]
    console.print(
        f"\n{data['rows_in']:,} rows in, {data['rows_kept']:,} kept, {data['rows_quarantined']:,} quarantined; {data['batches']} batches, {data['failed']} failed, {data['censored']} censored"
    )
    table = Table(
        title=f"Sealed test: {test['n_batches']} newest batches, {test['n_failed']} failed", title_justify="left"
    )
    for name in ("at", "batches", "failed", "AUROC (95 %)", "AUPRC", "Brier"):
        table.add_column(name, justify="right")
    for row in result["by_checkpoint"]:
        table.add_row(
            f"{row['checkpoint_h']:g} h",
            str(row["n"]),
            str(row["n_failed"]),
            _interval(row),
            _number(row["auprc"]),
            _number(row["brier"]),
        )
    console.print(table)
    console.print(
        f"A random split would have claimed AUROC {_number(result['random_split']['auroc'])}; it is shown only as a warning."
    )
    note = Registry(plant.settings.data_dir).evaluation(_challenger(plant)).note
    if note:
        console.print(note)
    show_scores(plant, console)
    console.print(
        f"\nreport  {plant.report_path}\nmodel   {result['model']['name']} version {result['model']['version']}, {result['model']['review']}, sha256 {result['model']['sha256'][:16]}"
    )


def _challenger(plant: Plant) -> RegisteredModel:
    model = Registry(plant.settings.data_dir).by_alias(plant.process.id, CHALLENGER)
    if model is None:
        raise RuntimeError("no challenger")
    return model


def show_scores(plant: Plant, console: Console, *, most: int | None = None) -> None:
    """Print the batches in progress, highest risk first, `most` of them."""
    from rich.table import Table

    scores = newest_scores(plant)
    if not scores:
        console.print("\nNo batch is in progress: every one has a disposition or a label.")
        return
    table = Table(
        title=f"Batches in progress as of {scores[0].as_of:%Y-%m-%d %H:%M} UTC", title_justify="left", show_lines=True
    )
    for name in ("batch", "hours", "risk", "decision", "why", "missing, stale"):
        table.add_column(name, justify="right" if name in ("hours", "risk") else "left")
    for score in scores[: most or len(scores)]:
        low, high = score.interval
        absent = [f"{len(score.missing)} missing"]
        absent += [f"{name} {age_h:.0f} h old" for name, age_h in list(score.stale.items())[:3]]
        table.add_row(
            score.batch_id,
            f"{score.elapsed_h:.0f}",
            f"{score.failure_probability:.0%}\n{low:.0%}-{high:.0%}",
            "\n".join([score.decision, *(score.cause or "").split("; ")]).strip(),
            "\n".join([*(reason.sentence for reason in (score.reasons or [])[:3]), *_more(score)]),
            "\n".join(absent),
        )
    console.print(table)


def _more(score: Score) -> list[str]:
    """Release attributes that may well miss their limit, sensors out of the score, changes, and what would help."""
    more = [a.sentence for a in score.attributes if a.missing_probability >= LIKELY_MISS]
    more += [finding.sentence for finding in score.sensors]
    more += [score.changes.sentence] if score.changes else []
    # a move of what is normal already is the model's arithmetic: the record keeps it, nobody is told to do it
    if score.what_if and any(move.now_is != "normal" for change in score.what_if.changes for move in change.moves):
        more.append(score.what_if.sentence)
    return more


def _interval(row: dict[str, Any]) -> str:
    return f"{_number(row['auroc'])} ({_number(row['auroc_low'])} to {_number(row['auroc_high'])})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
