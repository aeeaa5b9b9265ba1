"""The figures of a predictor on its sealed test, which is scored once per model."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.dictionary import Feature
from features.process import ProcessDefinition
from models.cohort.splits import Seal
from models.evaluation import calls, stability
from models.evaluation.alarm_limits import against_limits, limit_scores
from models.evaluation.between import between_table, score_between
from models.evaluation.calibration import calibration_by_band
from models.evaluation.coverage import interval_coverage, set_coverage
from models.evaluation.figures import auroc_of_timing, by_checkpoint, figures, last_checkpoint
from models.evaluation.missed import missed_failures
from models.evaluation.modes import mode_table
from models.evaluation.reliability import reliability_by_band
from models.evaluation.sealed_test import Scored, score_test, sealed_rows
from models.evaluation.subgroups import BY, subgroup_table
from models.evaluation.top_features import top_features
from models.learners.failure_modes import modes_before
from models.predictor import Predictor
from models.train import Trained

SIMULATED = "Simulated batches are among these rows: the figures verify the software and validate no model."
_LOOKED_AT = 200  # newest test batches from which the top features come
COMMON = 0.95  # share of the batches that must have a score at the checkpoint at which subgroups are compared

_PLAIN = "figures.json"
_LATER = ("read_test", "criteria_sha256", "readings")  # absent from evaluations that were stored before 0.3.0


@dataclass(frozen=True)
class Evaluation:
    """Figures of one predictor on its sealed test; everything in it is a frame or a plain value.

    A frame is empty where the process or the test has no data for it; `absent` gives the reason.

    Attributes:
        scores: Every scored snapshot of the test (`models.evaluation.sealed_test.Scored.rows`).
        overall: `models.evaluation.figures.figures` of each test batch at its last checkpoint before its label, and
            `auroc_of_timing`: what the hour of that checkpoint alone would reach.
        checkpoints: The same figures per checkpoint.
        alarms: What came of the calls (`models.evaluation.calls.alarm_table`).
        shares: Recall at fixed shares of the good batches (`models.evaluation.recall.recall_at_shares`).
        first_calls: Share of failed and good batches called high by each hour.
        calls: What failed and good batches were called at each stage (`models.evaluation.calls.calls_by_band`).
        costs: `models.evaluation.calls.cost_table`.
        calibration: `models.evaluation.calibration.calibration_by_band`.
        reliability: `models.evaluation.reliability.reliability_by_band`.
        sets: `models.evaluation.coverage.set_coverage` of the nominal 90 % sets.
        set_sizes: `models.evaluation.stability.set_sizes`.
        attributes: `models.evaluation.coverage.interval_coverage` of the release attributes.
        flips: `models.evaluation.calls.flips_table`.
        calls_by_checkpoint: `models.evaluation.stability.calls_by_checkpoint`.
        no_call_causes: `models.evaluation.stability.no_call_causes`.
        support: `models.evaluation.stability.support_by_checkpoint`.
        support_causes: `models.evaluation.stability.support_causes`.
        between: `models.evaluation.between.between_table`: the test scored between checkpoints.
        field: `models.backtest.figures.field_table`: the field replay, pooled and block by block.
        subgroups: `models.evaluation.subgroups.subgroup_table` of the attributes with several values.
        modes: `models.evaluation.modes.mode_table`.
        sensors: `models.evaluation.calls.sensors_table`.
        importance: `parameter`, `label`, `mean_abs_points`: how far a parameter moves test scores, largest first.
        top_features: `models.evaluation.top_features.top_features` on the newest test batches.
        splits: What a random split would have claimed (`models.evaluation.compare.compare_splits`).
        excluded: Where every snapshot went (`models.cohort.table.exclusions`).
        missed: Failures that were not called high in time (`models.evaluation.missed.missed_failures`).
        against_limits: The predictor beside the alarm limits (`models.evaluation.alarm_limits.against_limits`).
        counts: Batches of the training part and of the test, and how many of them failed.
        compared_at_h: Checkpoint at which subgroups are compared; NaN takes each batch's last.
        additivity: Largest |base + contributions - log-odds| of any test row.
        absent: Why a frame is empty, by its name.
        note: What must stand beside the figures, for example that rows were simulated; may be empty.
        read_test: Whether the figures come from the test; if not, from out-of-fold scores of the training batches.
        criteria_sha256: Digest of the acceptance criteria that were signed before the test was read; empty without.
        readings: How often this test has been read, as the ledger counts.
    """

    scores: pd.DataFrame
    overall: dict[str, float]
    checkpoints: pd.DataFrame
    alarms: pd.DataFrame
    shares: pd.DataFrame
    first_calls: pd.DataFrame
    calls: pd.DataFrame
    costs: pd.DataFrame
    calibration: pd.DataFrame
    reliability: pd.DataFrame
    sets: pd.DataFrame
    set_sizes: pd.DataFrame
    attributes: pd.DataFrame
    flips: pd.DataFrame
    calls_by_checkpoint: pd.DataFrame
    no_call_causes: pd.DataFrame
    support: pd.DataFrame
    support_causes: pd.DataFrame
    between: pd.DataFrame
    field: pd.DataFrame
    subgroups: pd.DataFrame
    modes: pd.DataFrame
    sensors: pd.DataFrame
    importance: pd.DataFrame
    top_features: pd.DataFrame
    splits: pd.DataFrame
    excluded: pd.DataFrame
    missed: pd.DataFrame
    against_limits: pd.DataFrame
    counts: dict[str, int]
    compared_at_h: float
    additivity: float
    absent: dict[str, str]
    note: str
    read_test: bool = True
    criteria_sha256: str = ""
    readings: int = 0

    @property
    def simulated(self) -> bool:
        """Whether any batch of the training part or of the test was simulated: then nothing is validated."""
        return SIMULATED in self.note

    def save(self, folder: Path) -> None:
        """Write it as Parquet and JSON, so that the sealed test never has to be scored again."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in _frame_names():
            getattr(self, name).to_parquet(folder / f"{name}.parquet", index=False)
        plain = {name: getattr(self, name) for name in ("counts", "additivity", "absent", "note", *_LATER)}
        plain |= {"overall": _without_nan(self.overall)} | _without_nan({"compared_at_h": self.compared_at_h})
        (folder / _PLAIN).write_text(json.dumps(plain, indent=1, allow_nan=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Evaluation:
        """Read it back."""
        files = {name: folder / f"{name}.parquet" for name in _frame_names()}
        # an evaluation that was stored before a table was known has none
        frames: dict[str, Any] = {
            name: pd.read_parquet(path) if path.exists() else pd.DataFrame() for name, path in files.items()
        }
        plain = json.loads((folder / _PLAIN).read_text(encoding="utf-8"))
        later: dict[str, Any] = {name: plain[name] for name in _LATER if name in plain}
        return cls(
            **frames,
            counts=plain["counts"],
            additivity=plain["additivity"],
            absent=plain["absent"],
            note=plain["note"],
            **later,
            overall={name: math.nan if value is None else value for name, value in plain["overall"].items()},
            compared_at_h=math.nan if plain["compared_at_h"] is None else plain["compared_at_h"],
        )


def _frame_names() -> list[str]:
    return [field.name for field in fields(Evaluation) if field.type == "pd.DataFrame"]


def evaluate(
    process: ProcessDefinition,
    trained: Trained,
    snapshots: pd.DataFrame,
    features: tuple[Feature, ...],
    batches: pd.DataFrame,
    log: pd.DataFrame,
    *,
    observations: pd.DataFrame | None = None,
    dispositions: pd.DataFrame | None = None,
    splits: pd.DataFrame | None = None,
    between: pd.DataFrame | None = None,
    tested: Scored | None = None,
    field: pd.DataFrame | None = None,
) -> Evaluation:
    """Evaluate a predictor on its sealed test, or on the scores that were given by it and those before it.

    Args:
        process: The process.
        trained: What was trained, with its seal.
        snapshots: `features.contracts.SNAPSHOT`.
        features: Dictionary of their columns.
        batches: `features.contracts.BATCHES`.
        log: `features.contracts.LABELS`.
        observations: `features.contracts.OBSERVATIONS` of the release attributes.
        dispositions: `features.contracts.DISPOSITIONS`, for failure modes.
        splits: From `models.evaluation.compare.compare_splits`.
        between: `features.contracts.SNAPSHOT` at times between the checkpoints (`models.cohort.between`), of the test
            at least; None leaves out what is said of them.
        tested: The scores that are the test, at checkpoints and between them (`models.backtest.replay.Replayed.scores`);
            None scores the sealed test.
        field: `models.backtest.figures.field_table`; None: there was no replay.
    """
    seal, predictor = trained.seal, trained.predictor
    if tested is None:
        scored = score_test(process, predictor, snapshots, features, batches, log, seal, observations=observations)
        in_test = between is not None and between["batch_id"].isin(seal.batch_ids).any()
        later = score_between(predictor, between, features, log, seal) if in_test else pd.DataFrame()
    else:
        at = tested.rows["checkpoint_h"].isin(process.checkpoints_h)
        scored = replace(tested, rows=tested.rows[at].reset_index(drop=True))
        later = tested.rows[~at].reset_index(drop=True)
    last = last_checkpoint(scored.rows)
    part = batches[batches["batch_id"].isin([*trained.failed.index, *seal.batch_ids])]
    modes = None if dispositions is None else modes_before(process, dispositions)
    common_h = common_checkpoint(scored.rows)
    frames: dict[str, Any] = _frames(process, predictor, scored, modes, common_h)
    frames["between"] = between_table(scored.rows, later) if len(later) else later
    frames["field"] = pd.DataFrame() if field is None else field
    frames["top_features"] = top_features(predictor, _newest(snapshots, log, seal))
    frames["against_limits"] = _against_limits(process, scored.rows, snapshots)
    return Evaluation(
        **frames,
        overall=figures(last) | {"auroc_of_timing": auroc_of_timing(last)},
        splits=pd.DataFrame() if splits is None else splits,
        excluded=trained.excluded,
        counts={
            "training_batches": len(trained.failed),
            "training_failed": int(trained.failed.sum()),
            "test_batches": len(seal.batch_ids),
            "test_scored": len(last),
            "test_failed": int(last["failed"].sum()),
        },
        compared_at_h=math.nan if common_h is None else common_h,
        additivity=scored.additivity,
        absent=_absent(process, predictor, frames),
        note=SIMULATED if (part["origin"] == "simulated").any() else "",
    )


def _frames(
    process: ProcessDefinition, predictor: Predictor, scored: Scored, modes: pd.DataFrame | None, common_h: float | None
) -> dict[str, pd.DataFrame]:
    rows, cost = scored.rows, process.cost
    useful_lead_h = cost.useful_lead_h if cost else 0.0
    ahead_h = ahead_of(process)
    return {
        "scores": rows,
        "checkpoints": by_checkpoint(rows),
        "alarms": calls.alarm_table(rows, predictor.thresholds, useful_lead_h=useful_lead_h, ahead_h=ahead_h),
        "shares": calls.alarms_at_shares(rows, ahead_h=ahead_h),
        "first_calls": calls.first_calls(rows),
        "calls": calls.calls_by_band(rows, missed_asked=process.decision.missed_failures),
        "costs": calls.cost_table(rows, cost),
        "calibration": calibration_by_band(rows),
        "reliability": reliability_by_band(rows),
        "sets": set_coverage(rows),
        "set_sizes": stability.set_sizes(rows),
        "attributes": interval_coverage(rows),
        "flips": calls.flips_table(rows),
        "calls_by_checkpoint": stability.calls_by_checkpoint(rows),
        "no_call_causes": stability.no_call_causes(rows),
        "support": stability.support_by_checkpoint(rows),
        "support_causes": stability.support_causes(rows),
        "subgroups": _subgroups(rows, common_h),
        "modes": pd.DataFrame() if modes is None else mode_table(rows, predictor.modes, predictor.few_cases, modes),
        "sensors": calls.sensors_table(rows),
        "importance": scored.importance,
        "missed": missed_failures(rows, useful_lead_h=useful_lead_h),
    }


def _newest(snapshots: pd.DataFrame, log: pd.DataFrame, seal: Seal) -> pd.DataFrame:
    """Snapshots of the newest test batches, from before their outcome was known."""
    rows = sealed_rows(snapshots, log, seal)
    return rows[rows["batch_id"].isin(rows["batch_id"].drop_duplicates().tail(_LOOKED_AT))]


def _against_limits(process: ProcessDefinition, rows: pd.DataFrame, snapshots: pd.DataFrame) -> pd.DataFrame:
    """The predictor beside the alarm limits at the alarm budget, on the snapshots that were scored."""
    same = snapshots[snapshots["batch_id"].isin(rows["batch_id"])]
    limits = same[["batch_id", "checkpoint_h"]].assign(limit_score=limit_scores(same, process))
    return against_limits(rows, limits, share=process.decision.alarm_budget, ahead_h=ahead_of(process))


def ahead_of(process: ProcessDefinition) -> float:
    """Hours ahead that count as an early warning: 48, or a quarter of a process shorter than 8 days."""
    return min(calls.WARNED_AHEAD_H, process.process.planned_duration_h / 4)


def common_checkpoint(scores: pd.DataFrame, share: float = COMMON) -> float | None:
    """The latest checkpoint at which this share of the batches has a score; None where there is none."""
    n_batches = scores["batch_id"].nunique()
    hours, n = np.unique(scores["checkpoint_h"].to_numpy(float), return_counts=True)
    enough = hours[n >= share * n_batches]
    return float(enough[-1]) if len(enough) else None


def _subgroups(rows: pd.DataFrame, common_h: float | None) -> pd.DataFrame:
    several = [name for name in BY if len(rows[name].dropna().unique()) > 1]
    if not several:
        return pd.DataFrame()
    return subgroup_table(rows, by=several, at_h=common_h)


def _absent(process: ProcessDefinition, predictor: Predictor, frames: dict[str, pd.DataFrame]) -> dict[str, str]:
    """Why frames are empty, in the order of the report."""
    why = {
        "shares": "No batch of the test succeeded: there is no share of good batches to alarm.",
        "costs": "The process definition has no [cost]: savings cannot be computed.",
        "attributes": _no_forecasts(process, predictor),
        "between": "No test batch was scored between checkpoints.",
        "field": "The history was not replayed.",
        "missed": "Every failure of the test was called high in time."
        if frames["scores"]["failed"].any()
        else "No batch of the test failed.",
        "against_limits": "There is nothing to compare with alarm limits: no parameter of a snapshot has a normal range, "
        "or one outcome is missing.",
        "subgroups": "All test batches are of one site, process version and scale.",
        "modes": "No failed training batch has a failure mode.",
        "sensors": "No sensor was found at fault in the test."
        if predictor.sensors.checks
        else "No sensor has enough batches, or an assay to check it by.",
    }
    return {name: text for name, text in why.items() if frames[name].empty}


def _no_forecasts(process: ProcessDefinition, predictor: Predictor) -> str:
    if not process.quality_attribute:
        return "The process definition names no release attribute."
    if predictor.evidence.forecasts is None:
        return "No release attribute has enough results in training."
    return "No forecast of a release attribute could be made."


def _without_nan(values: dict[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in values.items()}
