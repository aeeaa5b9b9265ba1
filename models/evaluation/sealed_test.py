"""The scores of the sealed test, on which every figure of a report rests.

Rows are assessed as the endpoint assesses them (`models.scoring.assessment`), a bounded number at a time: the contributions
of a hundred thousand snapshots to a thousand features are never held at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.dictionary import Feature
from features.errors import TrainingError
from features.process import ProcessDefinition
from models.cohort.labels import labels_as_of
from models.cohort.splits import Seal
from models.cohort.table import before_the_label, end_of_batches
from models.evaluation.figures import last_checkpoint
from models.evaluation.subgroups import BY
from models.learners.forecasts import final_results
from models.predictor import Predictor
from models.scoring.assessment import AssessedRows, assess_frame

ADDITIVE = 1e-6  # how far base + contributions may be from the calibrated log-odds
MODE = "mode."  # before a failure mode's name: its probability


@dataclass(frozen=True, eq=False)
class Scored:
    """Every snapshot of the sealed test, assessed.

    Attributes:
        rows: `batch_id`, `checkpoint_h`, `as_of`, `end_at`, `failed`, `label_available_at`, `failure_probability`,
            `probability_low`, `probability_high` (90 %), `call`, `call_cause`, `support`, `support_causes`, `may_fail`,
            `may_succeed`, `sensors` (those hidden, with what was found), `site_id`, `process_version`, `scale_l` (missing where the batches do not have
            them); per release attribute with a forecast `<attribute>.expected`, `.low`, `.high`, `.actual` in its own
            unit; per failure mode with a model `mode.<name>`, its probability. In order of start and checkpoint.
        importance: `parameter`, `label`, `mean_abs_points`: how far a parameter moves a score, the mean over batches of
            the mean over a batch's scores, largest first.
        additivity: Largest |base + contributions - log-odds| of any row.
    """

    rows: pd.DataFrame
    importance: pd.DataFrame
    additivity: float


def score_test(
    process: ProcessDefinition,
    predictor: Predictor,
    snapshots: pd.DataFrame,
    features: tuple[Feature, ...],
    batches: pd.DataFrame,
    log: pd.DataFrame,
    seal: Seal,
    *,
    observations: pd.DataFrame | None = None,
    contributions: bool = True,
) -> Scored:
    """Score the sealed test. Once per predictor; the caller records the reading (`models.cohort.ledger.record_reading`).

    Args:
        process: The process.
        predictor: Frozen.
        snapshots: `features.contracts.SNAPSHOT`.
        features: Dictionary of their columns.
        batches: `features.contracts.BATCHES`.
        log: `features.contracts.LABELS`.
        seal: The test set.
        observations: Of the release attributes, for their actual values; None knows none.
        contributions: Whether to compute and check them, which takes most of the time; without, there is no importance.

    Raises:
        TrainingError: No snapshot of the test was taken before its batch's outcome was known, or contributions do not
            add up to a score.
    """
    keys = _keys(snapshots, log, seal)
    if keys.empty:
        raise TrainingError(
            f"{seal.process_id}: none of the {len(seal.batch_ids)} test batches has a snapshot before its outcome",
            remedy="Move the checkpoints of the process definition to an earlier time.",
        )
    weight = 1.0 / keys.groupby("batch_id")["batch_id"].transform("size").to_numpy(float)
    parameters = [feature.parameter for feature in predictor.features]
    names, codes = np.unique(parameters, return_inverse=True)
    blocks, worst, moved = [], 0.0, np.zeros(len(names))
    start = 0
    chosen = snapshots.iloc[keys["place"].to_numpy()]
    for found in assess_frame(predictor, chosen, features, contributions=contributions):
        behind = start + len(found.rows)
        if contributions:
            worst = max(worst, _checked_additivity(found))
            by_parameter = found.points @ (codes[:, None] == np.arange(len(names)))
            moved += weight[start:behind] @ np.abs(by_parameter)
        blocks.append(_block(predictor, found, keys.iloc[start:behind]))
        start = behind
    points = pd.Series(moved, index=names)
    rows = pd.concat(blocks, ignore_index=True)
    rows = _with_outcomes(rows, process, batches, log)
    rows = _with_actual_values(rows, predictor, observations)
    return Scored(rows, _importance(predictor, points / keys["batch_id"].nunique()), worst)


def sealed_rows(snapshots: pd.DataFrame, log: pd.DataFrame, seal: Seal, *, only_last: bool = False) -> pd.DataFrame:
    """Snapshots of the test taken before their batch's label, in order of start and checkpoint.

    Args:
        snapshots: `features.contracts.SNAPSHOT`.
        log: `features.contracts.LABELS`.
        seal: The test set.
        only_last: Keep each batch at its last one.
    """
    keys = _keys(snapshots, log, seal)
    kept = last_checkpoint(keys) if only_last else keys
    return snapshots.iloc[kept["place"].to_numpy()].reset_index(drop=True)


def _keys(snapshots: pd.DataFrame, log: pd.DataFrame, seal: Seal) -> pd.DataFrame:
    """What orders the rows of the test and where they stand: a copy of all their features would fill the memory."""
    keys = snapshots[["batch_id", "started_at", "checkpoint_h", "as_of"]].assign(place=np.arange(len(snapshots)))
    usable = before_the_label(keys[keys["batch_id"].isin(seal.batch_ids)], log)
    return usable.sort_values(["started_at", "batch_id", "checkpoint_h"]).reset_index(drop=True)


def _checked_additivity(found: AssessedRows) -> float:
    assessment, rows = found.assessment, found.rows
    added = assessment.base_log_odds + np.asarray(assessment.contributions).sum(axis=1)
    gap = np.abs(added - assessment.log_odds)
    worst = int(gap.argmax())
    if not gap[worst] <= ADDITIVE:
        raise TrainingError(
            f"batch {rows.batch_ids[worst]} at {rows.elapsed_h[worst]:g} h: base and contributions miss the log-odds"
            f" by {gap[worst]:.2g}",
            expected=f"at most {ADDITIVE:g}",
            remedy="This is an error of the software: report it with this line.",
        )
    return float(gap[worst])


def _block(predictor: Predictor, found: AssessedRows, keys: pd.DataFrame) -> pd.DataFrame:
    """Scores of some rows, without outcomes."""
    assessment = found.assessment
    low, high = assessment.interval
    columns: dict[str, object] = {
        "failure_probability": assessment.probability,
        "probability_low": low,
        "probability_high": high,
        "call": pd.array(found.calls, dtype="str"),
        "call_cause": pd.array(found.call_causes, dtype="str"),
        "support": pd.array(found.supports, dtype="str"),
        "support_causes": pd.array(["; ".join(causes) for causes in found.support_causes], dtype="str"),
        "may_fail": found.may_fail,
        "may_succeed": found.may_succeed,
        "sensors": pd.array(["; ".join(f"{f.parameter} {f.kind}" for f in fs) for fs in found.sensors], dtype="str"),
    }
    if assessment.seen.expected is not None:
        for name, values in zip(("expected", "low", "high"), assessment.seen.expected.in_units, strict=True):
            for i, attribute in enumerate(assessment.seen.expected.attributes):
                columns[f"{attribute.name}.{name}"] = values[:, i]
    columns |= {MODE + name: p for name, p in predictor.mode_probabilities(assessment, found.rows.elapsed_h).items()}
    return keys[["batch_id", "checkpoint_h", "as_of"]].assign(**columns)


def _with_outcomes(
    rows: pd.DataFrame, process: ProcessDefinition, batches: pd.DataFrame, log: pd.DataFrame
) -> pd.DataFrame:
    labels = labels_as_of(log)
    end = end_of_batches(batches, log, process).set_index("batch_id")["end_at"]
    known = batches.set_index("batch_id")
    groups = {name: rows["batch_id"].map(known[name]) if name in known else None for name in BY}
    groups["scale_l"] = pd.to_numeric(groups["scale_l"]) if groups["scale_l"] is not None else np.nan
    return rows.assign(
        end_at=rows["batch_id"].map(end),
        failed=rows["batch_id"].map(labels["failed"]).astype(bool),
        label_available_at=rows["batch_id"].map(labels["first_available_at"]),
        **groups,
    )


def _with_actual_values(rows: pd.DataFrame, predictor: Predictor, observations: pd.DataFrame | None) -> pd.DataFrame:
    forecasts = predictor.evidence.forecasts
    if forecasts is None:
        return rows
    names = [attribute.name for attribute in forecasts.attributes]
    if observations is None:
        return rows.assign(**{f"{name}.actual": np.nan for name in names})
    actual = final_results(forecasts.attributes, observations)
    return rows.assign(**{f"{name}.actual": rows["batch_id"].map(actual[name]) for name in names})


def _importance(predictor: Predictor, points: pd.Series) -> pd.DataFrame:
    labels = {feature.parameter: feature.label for feature in predictor.features}
    mean = points.sort_values(ascending=False, kind="stable")
    names = mean.index.astype("str")
    return pd.DataFrame({"parameter": names, "label": [labels[n] for n in names], "mean_abs_points": mean.to_numpy()})
