"""Alarms: a batch is alarmed from its first score above a threshold on.

What an alarm costs is counted per batch, not per score: a good batch is a false alarm if it is EVER alarmed, because
that is when somebody has to act. Functions take score frames (`trajectories` lists the columns) or, for an on-delay
or to arrange the scores only once, `models.evaluation.trajectories.Trajectories`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.errors import ContractError
from models.evaluation.intervals import RESAMPLES, batch_weights, share_percentiles
from models.evaluation.metrics import divide
from models.evaluation.trajectories import Trajectories, as_trajectories


def threshold_at_share(scores: pd.DataFrame | Trajectories, share: float) -> float:
    """The lowest threshold at which no more than a share of the good batches is ever alarmed.

    Good batches are ordered by their highest score; the threshold is the highest score of the first one that the
    budget no longer pays for, and only scores above it alarm. Batches with equal scores stay below together, so the
    share is never exceeded, and is fallen short of only by less than one batch or by ties.

    Args:
        scores: At least one good batch; for a threshold to be used on later batches, scores of training folds.
        share: Between 0 and 1; 1 alarms every batch that has a score.

    Raises:
        ContractError: The share is no share, or there is no good batch.
    """
    arranged = as_trajectories(scores)
    good = arranged.highest[~arranged.failed]
    if not 0 <= share <= 1:
        raise ContractError(f"share of good batches {share}", expected="a number from 0 to 1")
    if not len(good):
        raise ContractError("no good batch among the scores", expected="at least one, to set a threshold by")
    return float(thresholds_at_share(good, np.ones((1, len(good)), dtype=np.int64), share)[0])


def thresholds_at_share(good: np.ndarray, weight: np.ndarray, share: float) -> np.ndarray:
    """`threshold_at_share` for many resamples at once.

    Args:
        good: Highest score of each good batch, shape (n,).
        weight: How often each counts, whole numbers, shape (r, n).
        share: Between 0 and 1.

    Returns:
        Shape (r,); -inf where the share allows every batch to be alarmed, NaN where a resample has no good batch.
    """
    if not len(good):
        return np.full(len(weight), np.nan)
    order = np.argsort(-good, kind="stable")
    alarmed = np.cumsum(weight[:, order], axis=1)  # batches at or above each score
    total = weight.sum(axis=1)
    budget = np.floor(share * total + 1e-9)
    beyond = alarmed > budget[:, None]
    first = beyond.argmax(axis=1)
    threshold = np.where(beyond.any(axis=1), good[order][first], -np.inf)
    return np.where(total > 0, threshold, np.nan)


def first_alarms(scores: pd.DataFrame | Trajectories, threshold: float, *, useful_lead_h: float = 0.0) -> pd.DataFrame:
    """When each batch was first alarmed, and how long before its end.

    Args:
        scores: Of any batches.
        threshold: A score must exceed it. For a threshold per stage, subtract it from the scores and pass 0.
        useful_lead_h: Hours before its end at which a batch can last be saved (`[cost]` of the process).

    Returns:
        Indexed by batch_id: `failed`, `alarmed`, `first_alarm_at`, `first_alarm_h` (hours since the start), `lead_h`
        (to the end) and `lead_to_action_h` (to the last useful action: negative means too late).
        NaT and NaN where there was no alarm.
    """
    arranged = as_trajectories(scores)
    column = arranged.first_above(threshold)
    alarmed = column < arranged.running_max.shape[1]
    at = (np.arange(len(column)), np.where(alarmed, column, 0))
    lead_h = np.where(alarmed, arranged.lead_h[at], np.nan)
    first_at = pd.DatetimeIndex(np.where(alarmed, arranged.as_of[at], np.datetime64("NaT"))).tz_localize("UTC")
    return pd.DataFrame(
        {
            "failed": arranged.failed,
            "alarmed": alarmed,
            "first_alarm_at": first_at,
            "first_alarm_h": np.where(alarmed, arranged.elapsed_h[at], np.nan),
            "lead_h": lead_h,
            "lead_to_action_h": lead_h - useful_lead_h,
        },
        index=pd.Index(arranged.batch_id, name="batch_id", dtype="str"),
    )


def first_alarm_curve(
    scores: pd.DataFrame | Trajectories, threshold: float, *, resamples: int = RESAMPLES
) -> pd.DataFrame:
    """Share of the failures, and of the good batches, alarmed by each hour since the start.

    A batch that has ended stays in the denominator: the curves only rise, and end at the recall and at the share of
    good batches ever alarmed. The bounds are pointwise, over resampled batches at this threshold.

    Args:
        scores: Of any batches.
        threshold: A score must exceed it.
        resamples: Number of resamples.

    Returns:
        `batches` (failed or good), `hour`, `n`, `n_failed`, `n_alarmed`, `share`, `share_low`, `share_high`;
        ascending hours per kind of batch, one row at each checkpoint.
    """
    arranged = as_trajectories(scores)
    hours = np.unique(arranged.elapsed_h[~np.isnan(arranged.elapsed_h)])
    hour = first_alarms(arranged, threshold)["first_alarm_h"].to_numpy()
    alarmed = hour[:, None] <= hours + 1e-9  # NaN is never by any hour
    blocks = []
    for kind, rows in (("failed", arranged.failed), ("good", ~arranged.failed)):
        drawn = [
            divide((w[:, rows] @ alarmed[rows]).astype(float), w[:, rows].sum(axis=1, keepdims=True))
            for w in batch_weights(len(hour), resamples=resamples)
        ]
        n, count = int(rows.sum()), alarmed[rows].sum(axis=0)
        share = count / n if n else np.full(len(hours), np.nan)
        bounds = [share_percentiles(value, seen, n) for value, seen in zip(share, np.vstack(drawn).T, strict=True)]
        block = {"batches": kind, "hour": hours, "n": n, "n_failed": int(arranged.failed.sum()), "n_alarmed": count}
        spans = {"share": share, "share_low": [b.low for b in bounds], "share_high": [b.high for b in bounds]}
        blocks.append(pd.DataFrame(block | spans))
    return pd.concat(blocks, ignore_index=True)
