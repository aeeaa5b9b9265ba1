"""The field replay of a stored plant: its tables as JSON, its report, its run in MLflow."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pandas as pd

from features.errors import BatchguardError
from models.backtest.calendar import Retraining, retrainings
from models.backtest.figures import field_table, side_by_side
from models.backtest.fits import Fits
from models.backtest.history import first_outcomes_of
from models.backtest.replay import Replayed, replay, too_short
from models.backtest.versions import LEAST
from models.evaluation.evaluate import SIMULATED
from models.policy import Policy
from models.registry import Registry
from models.report.field import field_report
from pipelines.model_history import history_of
from pipelines.plant import Plant
from pipelines.progress import in_tenths
from pipelines.result import plain_rows, write_json

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
    return Fits(plant.models_dir / "fits", policy, made=made)


def known_until(plant: Plant) -> pd.Timestamp:
    """What became known from this moment on trains and tests nothing: just after the newest outcome before the as-of time."""
    labels, as_of = plant.labels()["label_available_at"], plant.as_of()
    newest = labels[labels < as_of].max()
    return as_of if pd.isna(newest) else min(as_of, newest + pd.Timedelta(microseconds=1))


def training_dates(plant: Plant, policy: Policy, until: pd.Timestamp | None = None) -> tuple[Retraining, ...]:
    """The trainings that a replay of a plant needs.

    Raises:
        TrainingError: Too little is known at any time before the newest batches.
    """
    batches = plant.table("batches")
    outcomes, started = first_outcomes_of(batches, plant.labels()), batches.set_index("batch_id")["started_at"]
    dates = retrainings(outcomes, policy, least=LEAST, started=started, until=until)
    if not dates:
        raise too_short(plant.process.id, outcomes)
    return dates


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


def write_backtest(plant: Plant, folder: Path, ours: Backtest, theirs: Backtest | None = None) -> dict[str, object]:
    """Write `backtest.json`, `backtest.html` and `scores.parquet` into a folder, each beside its place first; the JSON's values."""
    pairs = None if theirs is None else side_by_side(ours.scores, theirs.scores)
    found = _plain(plant, ours)
    if theirs is not None and pairs is not None:
        found |= {"against": _replay_of(theirs), "side_by_side": plain_rows(pairs)}
    other = None if theirs is None else theirs.table
    note = SIMULATED if (plant.table("batches")["origin"] == "simulated").any() else ""
    text = field_report(plant.process, ours.policy, ours.replayed.versions, ours.table, other, pairs, note=note)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=folder.parent) as name:
        beside = Path(name)
        (beside / "backtest.html").write_text(text, encoding="utf-8")
        ours.scores.to_parquet(beside / "scores.parquet", index=False)
        write_json(beside / "backtest.json", found)
        for path in beside.iterdir():
            path.replace(folder / path.name)
    return found


def _plain(plant: Plant, ours: Backtest) -> dict[str, object]:
    first = ours.table.iloc[0]
    span = {"from": first["from"].isoformat(), "until": first["to"].isoformat()}
    return {"process": plant.process.id, **span, "data_version": plant.data_version(), **_replay_of(ours)}


def _replay_of(one: Backtest) -> dict[str, object]:
    return {
        "policy": one.policy.model_dump(mode="json"),
        "versions": plain_rows(one.replayed.versions),
        "blocks": plain_rows(one.table),
    }


def log_backtest(plant: Plant, result: Mapping[str, object], folder: Path) -> str:
    """Log a replay as a run of MLflow, with its files; where the UI shows it."""
    blocks = cast("list[dict[str, object]]", result["blocks"])
    pooled = {f"field.{name}": value for name, value in blocks[0].items()}
    params = {f"policy.{name}": value for name, value in cast("dict[str, object]", result["policy"]).items()}
    return Registry(plant.settings.data_dir).log_replay(plant.process.id, params, pooled, folder)
