"""The field replay of a stored plant: its tables as JSON, its report, its run in MLflow."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pandas as pd

from features.errors import BatchguardError
from models.backtest.calendar import Retraining, retrainings
from models.backtest.figures import field_table, side_by_side
from models.backtest.fits import Fits
from models.backtest.replay import LEAST, Replayed, replay
from models.evaluation.evaluate import SIMULATED
from models.policy import Policy
from models.registry import Registry
from models.report.field import field_report
from pipelines.model_history import history_of
from pipelines.plant import Plant
from pipelines.progress import in_tenths
from pipelines.result import plain_rows

Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Backtest:
    """A replay and its figures.

    Attributes:
        policy: The rules that were replayed.
        replayed: Versions and scores, from the first version on.
        scores: Scores of the batches that started in the stretch asked for.
        table: `models.backtest.figures.field_table` of these.
    """

    policy: Policy
    replayed: Replayed
    scores: pd.DataFrame
    table: pd.DataFrame


def fits_of(plant: Plant, policy: Policy, made: Callable[[str], None] = lambda _: None) -> Fits:
    """Where the models of a plant's replays are made and kept."""
    return Fits(plant.models_dir / "fits", policy, trials=plant.settings.trials, made=made)


def known_until(plant: Plant) -> pd.Timestamp:
    """What became known from this moment on trains and tests nothing: just after the newest outcome before the as-of time."""
    labels, as_of = plant.labels()["label_available_at"], plant.as_of()
    newest = labels[labels < as_of].max()
    return as_of if pd.isna(newest) else min(as_of, newest + pd.Timedelta(microseconds=1))


def training_dates(plant: Plant, policy: Policy, until: pd.Timestamp | None = None) -> tuple[Retraining, ...]:
    """The trainings that a replay of a plant needs."""
    history = history_of(plant)
    return retrainings(history.outcomes, policy, least=LEAST, started=history.started, until=until, log=history.log)


def backtest(
    plant: Plant,
    policy: Policy,
    *,
    from_: pd.Timestamp | None = None,
    until: pd.Timestamp | None = None,
    progress: Progress = lambda _: None,
) -> Backtest:
    """Replay a plant under a policy.

    Args:
        plant: With its snapshots stored.
        policy: The rules.
        from_: Batches that started earlier are replayed, and count in no figure; None: all.
        until: End of the replay; None: the history's.
        progress: Receives lines.

    Raises:
        TrainingError: Too little is known at any time.
        BatchguardError: No scored batch started in that stretch.
    """
    history = history_of(plant)
    report = in_tenths(progress)
    found = replay(history, policy, fits_of(plant, policy), until=until, progress=report)
    rows = found.scores
    started = history.started
    if from_ is not None:
        rows = rows[rows["batch_id"].map(started) >= from_]
    if rows.empty:
        raise BatchguardError(
            f"no batch that started from {from_} on was scored",
            expected=f"a time before {started.reindex(found.scores['batch_id']).max().isoformat()}",
            remedy="Give an earlier --from.",
        )
    return Backtest(policy, found, rows, field_table(rows, started, history.process))


def result_of(plant: Plant, ours: Backtest, theirs: Backtest | None) -> dict[str, object]:
    """A backtest as plain JSON values."""
    out: dict[str, object] = {
        "process": plant.process.id,
        "from": ours.table["from"].iloc[0].isoformat(),
        "until": ours.table["to"].iloc[0].isoformat(),
        "data_version": plant.data_version(),
        "policy": ours.policy.model_dump(mode="json"),
        "versions": plain_rows(ours.replayed.versions),
        "blocks": plain_rows(ours.table),
    }
    if theirs is not None:
        out["against"] = {
            "policy": theirs.policy.model_dump(mode="json"),
            "versions": plain_rows(theirs.replayed.versions),
            "blocks": plain_rows(theirs.table),
        }
        out["side_by_side"] = plain_rows(side_by_side(ours.scores, theirs.scores))
    return out


def write_backtest(plant: Plant, folder: Path, ours: Backtest, theirs: Backtest | None = None) -> dict[str, object]:
    """Write `backtest.json`, `backtest.html` and `scores.parquet` into a folder; the JSON's values."""
    found = result_of(plant, ours, theirs)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "backtest.json").write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    pairs = None if theirs is None else side_by_side(ours.scores, theirs.scores)
    other = None if theirs is None else theirs.table
    simulated = (plant.table("batches")["origin"] == "simulated").any()
    text = field_report(
        plant.process,
        ours.policy,
        ours.replayed.versions,
        ours.table,
        other,
        pairs,
        note=SIMULATED if simulated else "",
    )
    (folder / "backtest.html").write_text(text, encoding="utf-8")
    ours.scores.to_parquet(folder / "scores.parquet", index=False)
    return found


def log_backtest(plant: Plant, result: Mapping[str, object], folder: Path) -> str:
    """Log a replay as a run of MLflow, with its files; where the UI shows it."""
    blocks = cast("list[dict[str, object]]", result["blocks"])
    pooled = {f"field.{name}": value for name, value in blocks[0].items()}
    params = {f"policy.{name}": value for name, value in cast("dict[str, object]", result["policy"]).items()}
    return Registry(plant.settings.data_dir).log_replay(plant.process.id, params, pooled, folder)
