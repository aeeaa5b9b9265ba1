"""Failures found, and how early, at a fixed share of good batches ever alarmed; and the difference of two predictors.

Where the share is fixed, the threshold is part of the figure: every resample sets its own on its own good batches,
so that the intervals hold the doubt about the threshold too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from features.errors import ContractError
from models.evaluation.alarms import threshold_at_share, thresholds_at_share
from models.evaluation.intervals import RESAMPLES, batch_weights, percentiles, share_percentiles
from models.evaluation.metrics import divide
from models.evaluation.trajectories import Trajectories, as_trajectories

WARNED_AHEAD_H = 48.0
_FIGURES = ("recall", "warned", "median_lead_h", "good_alarmed")


def recall_at_shares(
    scores: pd.DataFrame | Trajectories,
    shares: Sequence[float] = (0.02, 0.05, 0.1),
    *,
    ahead_h: float = WARNED_AHEAD_H,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Recall and warning at thresholds that alarm a given share of these good batches.

    Args:
        scores: `models.evaluation.trajectories.trajectories`; at least one good batch. Where only some failures count,
            pass `Trajectories.counting` of them.
        shares: Of the good batches that may ever be alarmed.
        ahead_h: Hours before the end of the batch for `warned`.
        resamples: Number of resamples of whole batches.

    Returns:
        One row per share: `share`, `threshold`, `n`, `n_good`, `n_failed`, `n_good_alarmed`, `n_caught`,
        `n_warned`, `ahead_h`, `good_alarmed` (share of the good batches ever alarmed: never above `share`), and each
        with `_low` and `_high`: `recall` (failures ever alarmed), `warned` (failures alarmed at least `ahead_h` before
        their end), `median_lead_h` (first alarm to end, over the failures found; NaN where none was).
    """
    arranged = as_trajectories(scores)
    rows = []
    for share in shares:
        threshold = threshold_at_share(arranged, share)
        drawn = _resampled(arranged, _at_share(arranged, share), ahead_h, resamples)
        rows.append({"share": share} | _row(arranged, threshold, ahead_h, drawn))
    return pd.DataFrame(rows)


def recall_at_threshold(
    scores: pd.DataFrame | Trajectories,
    threshold: float,
    *,
    ahead_h: float = WARNED_AHEAD_H,
    resamples: int = RESAMPLES,
) -> dict[str, float]:
    """The same figures at a threshold set elsewhere, on training folds: `good_alarmed` is the realised share.

    Args and returned names as in `recall_at_shares`, without `share` and with bounds of `good_alarmed` too: beside the
    budget they show whether the threshold carried over.
    """
    arranged = as_trajectories(scores)
    drawn = _resampled(arranged, lambda weight: np.full(len(weight), threshold), ahead_h, resamples)
    row = _row(arranged, threshold, ahead_h, drawn)
    return row | share_percentiles(row["good_alarmed"], drawn["good_alarmed"], int(row["n_good"])).named("good_alarmed")


def paired_difference(
    ours: pd.DataFrame | Trajectories,
    theirs: pd.DataFrame | Trajectories,
    share: float,
    *,
    ahead_h: float = WARNED_AHEAD_H,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Ours minus theirs at the same share of good batches ever alarmed, on the same batches.

    Both are resampled together, batch by batch, and each sets its own threshold in each resample. What makes a batch
    easy or hard for both cancels, so the interval is narrower than that of two separate figures. The two may be scored
    at different grains (every hour, every twelve).

    Args:
        ours: Scores.
        theirs: Scores of the same batches with the same outcomes.
        share: Of the good batches that may ever be alarmed.
        ahead_h: Hours before the end of the batch for `warned`.
        resamples: Number of resamples of whole batches.

    Returns:
        Rows `recall`, `warned`, `median_lead_h`: `figure`, `ours`, `theirs`, `difference`, `low`, `high`, `n`,
        `n_good`, `n_failed`.

    Raises:
        ContractError: The batches or their outcomes differ, or none of them is good.
    """
    a, b = (as_trajectories(scores) for scores in (ours, theirs))
    _same_batches(a, b)
    one = np.ones((1, len(a.failed)), dtype=np.int64)
    found = [_figures(t, np.array([threshold_at_share(t, share)]), one, ahead_h) for t in (a, b)]
    of_a, of_b = (_resampled(t, _at_share(t, share), ahead_h, resamples) for t in (a, b))  # the same batches are drawn
    rows = []
    for name in ("recall", "warned", "median_lead_h"):
        mine, other = (float(f[name][0]) for f in found)
        span = percentiles(mine - other, of_a[name] - of_b[name])
        head = {"figure": name, "ours": mine, "theirs": other}
        rows.append(head | {"difference": span.value, "low": span.low, "high": span.high} | _counts(a))
    return pd.DataFrame(rows)


def _row(arranged: Trajectories, threshold: float, ahead_h: float, drawn: dict[str, np.ndarray]) -> dict[str, float]:
    one = np.ones((1, len(arranged.failed)), dtype=np.int64)
    value = {name: float(v[0]) for name, v in _figures(arranged, np.array([threshold]), one, ahead_h).items()}
    row = {"threshold": threshold, "ahead_h": ahead_h} | _counts(arranged)
    alarmed, warned = arranged.highest > threshold, arranged.highest_until(ahead_h) > threshold
    row["n_good_alarmed"] = int((alarmed & ~arranged.failed).sum())
    row["n_caught"], row["n_warned"] = (int((hit & arranged.failed).sum()) for hit in (alarmed, warned))
    for name in ("recall", "warned"):
        row |= share_percentiles(value[name], drawn[name], int(row["n_failed"])).named(name)
    row |= percentiles(value["median_lead_h"], drawn["median_lead_h"]).named("median_lead_h")
    return row | {"good_alarmed": value["good_alarmed"]}


def _counts(arranged: Trajectories) -> dict[str, float]:
    n, failed = len(arranged.failed), int(arranged.failed.sum())
    return {"n": n, "n_good": n - failed, "n_failed": failed}


def _at_share(arranged: Trajectories, share: float) -> Callable[[np.ndarray], np.ndarray]:
    good = ~arranged.failed
    return lambda weight: thresholds_at_share(arranged.highest[good], weight[:, good], share)


def _resampled(
    arranged: Trajectories, threshold_of: Callable[[np.ndarray], np.ndarray], ahead_h: float, resamples: int
) -> dict[str, np.ndarray]:
    """`_FIGURES` of all resamples, each of shape (resamples,); a threshold may depend on the resample's weights."""
    weights = batch_weights(len(arranged.failed), resamples=resamples)
    chunks = [_figures(arranged, threshold_of(weight), weight, ahead_h) for weight in weights]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in _FIGURES}


def _figures(
    arranged: Trajectories, threshold: np.ndarray, weight: np.ndarray, ahead_h: float
) -> dict[str, np.ndarray]:
    """`_FIGURES` of r resamples: thresholds (r,), weights (r, n), figures (r,)."""
    failed = arranged.failed
    above = arranged.highest > threshold[:, None]
    early = arranged.highest_until(ahead_h)[failed] > threshold[:, None]
    bad, good = weight[:, failed], weight[:, ~failed]
    found = {
        "recall": divide((bad * above[:, failed]).sum(axis=1), bad.sum(axis=1)),
        "warned": divide((bad * early).sum(axis=1), bad.sum(axis=1)),
        "median_lead_h": _weighted_median(_leads(arranged.of(failed), threshold), bad),
        "good_alarmed": divide((good * above[:, ~failed]).sum(axis=1), good.sum(axis=1)),
    }
    return {name: np.where(np.isnan(threshold), np.nan, values) for name, values in found.items()}


def _leads(arranged: Trajectories, threshold: np.ndarray) -> np.ndarray:
    """Hours from the first alarm to the end, shape (r, n); NaN where there is none."""
    out = np.empty((len(threshold), len(arranged.failed)))
    for place, (highest, lead_h) in enumerate(zip(arranged.running_max, arranged.lead_h, strict=True)):
        out[:, place] = np.append(lead_h, np.nan)[np.searchsorted(highest, threshold, side="right")]
    return out


def _weighted_median(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Median of each row with every value counted `weight` times, NaN left out; shapes (r, n), (r, n) -> (r,)."""
    if not values.shape[1]:
        return np.full(len(values), np.nan)
    weight = np.where(np.isnan(values), 0, weight)
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, 1)
    reached: np.ndarray = np.cumsum(np.take_along_axis(weight, order, 1), axis=1)
    total = reached[:, -1:]
    middle = [np.argmax(reached > place, axis=1)[:, None] for place in ((total - 1) // 2, total // 2)]
    low, high = (np.take_along_axis(ordered, place, 1)[:, 0] for place in middle)
    return np.where(total[:, 0] > 0, (low + high) / 2, np.nan)


def _same_batches(a: Trajectories, b: Trajectories) -> None:
    odd = np.setxor1d(a.batch_id, b.batch_id)
    if len(odd):
        raise ContractError(f"batch {odd[0]} and {len(odd) - 1} more are scored by one side only", expected="the same")
    differ = a.batch_id[a.failed != b.failed]
    if len(differ):
        raise ContractError(f"batch {differ[0]} has two outcomes", expected="the same outcomes on both sides")
