"""The practice that a predictor would stand beside: an alarm where a parameter leaves its normal range.

Score of a snapshot: how far the worst parameter lies outside its normal range, in widths of that range; below 0 how far
inside. Of a sensor the mean of the shortest window counts, since plants let a limit be exceeded for some time before they
alarm; of everything else the newest value. The plain practice alarms above 0. At a fixed share of good batches all limits
are moved together, so that both sides spend the same false alarms.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.process import Parameter, ProcessDefinition
from models.evaluation.recall import paired_difference, recall_at_threshold
from models.evaluation.trajectories import trajectories

PLAIN = 0.0
_NEWEST = ("since_start.last", "before_start.value", "lot.value")


def limit_scores(snapshots: pd.DataFrame, process: ProcessDefinition) -> pd.Series:
    """The score of each snapshot, indexed as they are; NaN where no parameter with a normal range has a value.

    Args:
        snapshots: `features.contracts.SNAPSHOT`.
        process: For the normal ranges; excluded parameters decide the outcome and are no alarm.
    """
    worst = np.full(len(snapshots), np.nan)
    for parameter in process.features_of("sensor", "assay", "attribute"):
        column = _column(parameter, process, snapshots)
        low, high = parameter.normal
        if column is None or parameter.is_category or (low is None and high is None):
            continue
        values = snapshots[column].to_numpy(float)
        for gap in ([] if high is None else [values - high]) + ([] if low is None else [low - values]):
            worst = np.fmax(worst, gap / _width(low, high))
    return pd.Series(worst, index=snapshots.index)


def against_limits(scores: pd.DataFrame, limits: pd.DataFrame, *, share: float, ahead_h: float) -> pd.DataFrame:
    """The predictor beside the alarm limits on the same batches, at the same share of good batches ever alarmed.

    Args:
        scores: `models.evaluation.sealed_test.Scored.rows`.
        limits: `batch_id`, `checkpoint_h`, `limit_score` of the same snapshots.
        share: Of the good batches that may ever be alarmed.
        ahead_h: Hours before the end of the batch that count as an early warning.

    Returns:
        The rows of `models.evaluation.recall.paired_difference` (ours: the predictor) with `share`, and of the plain
        limits, which set no share, `plain_n_caught`, `plain_n_good_alarmed` and `plain_good_alarmed`; empty where no batch
        is good, none failed, or no parameter has a normal range and a value.
    """
    merged = scores.merge(limits, on=["batch_id", "checkpoint_h"], how="left")
    failed = merged.groupby("batch_id")["failed"].first()
    if merged["limit_score"].isna().all() or failed.all() or not failed.any():
        return pd.DataFrame()
    practice = trajectories(merged.assign(failure_probability=merged["limit_score"]))
    table = paired_difference(trajectories(merged), practice, share, ahead_h=ahead_h)
    plain = recall_at_threshold(practice, PLAIN, ahead_h=ahead_h)
    names = ("n_caught", "n_good_alarmed", "good_alarmed")
    return table.assign(share=share, **{f"plain_{name}": plain[name] for name in names})


def _column(parameter: Parameter, process: ProcessDefinition, snapshots: pd.DataFrame) -> str | None:
    shortest = [f"last_{hours:g}h.mean" for hours in sorted(process.process.windows_h)[:1]]
    endings = [*(shortest if parameter.kind == "sensor" else []), *_NEWEST]
    return next((c for ending in endings if (c := f"{parameter.name}.{ending}") in snapshots), None)


def _width(low: float | None, high: float | None) -> float:
    """Width of a normal range; of one that is open on a side the size of its limit."""
    if low is not None and high is not None:
        return high - low
    return abs(low if low is not None else high or 0.0) or 1.0
