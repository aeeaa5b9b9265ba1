"""Figures of a predictor: plain functions over frames, each with its number of failures and its interval.

Intervals come from resampling whole batches, so the snapshots of one batch never count as independent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

Metric = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # failed (n,), p (n,), weight (r, n) -> (r,)

RESAMPLES = 1000
_CHUNK = 2_000_000  # resampled weights held at once


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval; NaN where the rows do not allow it (one class only)."""

    value: float
    low: float
    high: float


def auroc(failed: np.ndarray, p: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Chance that a failed batch scores above one that did not fail; ties count half.

    Args:
        failed: Outcomes, shape (n,).
        p: Scores, shape (n,).
        weight: How often each row counts, shape (r, n).

    Returns:
        Shape (r,); NaN where a class is absent.
    """
    order, ties = _by_score(p)
    w, y = weight[:, order], failed[order]
    good = np.add.reduceat(w * ~y, ties, axis=1)
    bad = np.add.reduceat(w * y, ties, axis=1)
    below = np.cumsum(good, axis=1) - good / 2
    return _divide((bad * below).sum(axis=1), bad.sum(axis=1) * good.sum(axis=1))


def auprc(failed: np.ndarray, p: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Average precision: precision at each score, weighted by the failures found there. Shapes as in `auroc`."""
    order, ties = _by_score(-p)
    w, y = weight[:, order], failed[order]
    found = np.add.reduceat(w * y, ties, axis=1)
    flagged = np.cumsum(np.add.reduceat(w, ties, axis=1), axis=1)
    precision = _divide(np.cumsum(found, axis=1), flagged)
    total = found.sum(axis=1)
    return _divide(np.nansum(precision * found, axis=1), total)


def brier(failed: np.ndarray, p: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mean squared distance between probability and outcome. Shapes as in `auroc`."""
    return _divide(weight @ (p - failed) ** 2, weight.sum(axis=1))


def expected_calibration_error(failed: np.ndarray, p: np.ndarray, *, bins: int = 10) -> float:
    """Mean distance between stated probability and observed rate, over bins of equal numbers of rows."""
    error = 0.0
    for rows in np.array_split(np.argsort(p, kind="stable"), min(bins, len(p))):
        error += abs(p[rows].mean() - failed[rows].mean()) * len(rows) / len(p)
    return float(error)


def calibration_floor(p: np.ndarray, *, bins: int = 10, draws: int = 200, seed: int = 0) -> float:
    """The calibration error that a perfect model with these probabilities would show on so few rows, on average."""
    rng = np.random.default_rng(seed)
    outcomes = rng.random((draws, len(p))) < p
    return float(np.mean([expected_calibration_error(y, p, bins=bins) for y in outcomes]))


def with_interval(metric: Metric, failed: np.ndarray, p: np.ndarray, batch: np.ndarray, *, seed: int = 0) -> Interval:
    """A metric with its 95 % percentile interval over resampled batches.

    Args:
        metric: Takes outcomes, scores and weights.
        failed: Outcomes, shape (n,).
        p: Scores, shape (n,).
        batch: Batch of each row, shape (n,): all rows of a batch are drawn together.
        seed: Of the resampling.
    """
    failed = np.asarray(failed, dtype=bool)
    value = float(metric(failed, p, np.ones((1, len(p))))[0])
    with np.errstate(invalid="ignore"):
        drawn = np.concatenate([metric(failed, p, w) for w in _resamples(batch, seed)])
    drawn = drawn[~np.isnan(drawn)]
    if np.isnan(value) or len(drawn) < RESAMPLES / 2:
        return Interval(value, np.nan, np.nan)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(value, float(low), float(high))


def figures(scores: pd.DataFrame) -> dict[str, float]:
    """All figures of a set of scored snapshots.

    Args:
        scores: `batch_id`, `failed`, `failure_probability`.

    Returns:
        `n`, `n_batches`, `n_failed` (batches), `base_rate`, `auroc`, `auprc`, `brier` each with `_low` and `_high`,
        `ece`, `ece_floor`, `brier_of_base_rate`.
    """
    failed = scores["failed"].to_numpy(bool)
    p = scores["failure_probability"].to_numpy(float)
    batch = scores["batch_id"].to_numpy()
    out: dict[str, float] = {
        "n": len(scores),
        "n_batches": scores["batch_id"].nunique(),
        "n_failed": scores.loc[failed, "batch_id"].nunique(),
        "base_rate": float(failed.mean()) if len(failed) else np.nan,
    }
    if not len(scores):
        return out
    for name, metric in (("auroc", auroc), ("auprc", auprc), ("brier", brier)):
        found = with_interval(metric, failed, p, batch)
        out |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    out["ece"] = expected_calibration_error(failed, p)
    out["ece_floor"] = calibration_floor(p)
    out["brier_of_base_rate"] = out["base_rate"] * (1 - out["base_rate"])
    return out


def last_checkpoint(scores: pd.DataFrame) -> pd.DataFrame:
    """Each batch at its last checkpoint before its label: one row per batch, what overall figures rest on."""
    return scores.sort_values("checkpoint_h", kind="stable").groupby("batch_id", sort=False).tail(1)


def auroc_of_timing(last: pd.DataFrame) -> float:
    """AUROC of the last checkpoint's hour alone, earlier meaning worse; NaN where a class is absent.

    A batch that is stopped has an earlier last checkpoint, which nobody could know at that time. An overall AUROC
    says something of the predictor only as far as it exceeds this, and the figures per checkpoint do not have it.
    """
    one = np.ones((1, len(last)))
    return float(auroc(last["failed"].to_numpy(bool), -last["checkpoint_h"].to_numpy(float), one)[0])


def by_checkpoint(scores: pd.DataFrame) -> pd.DataFrame:
    """`figures` at every checkpoint: `checkpoint_h` and one column per figure."""
    rows = [{"checkpoint_h": float(str(hours)), **figures(rows)} for hours, rows in scores.groupby("checkpoint_h")]
    return pd.DataFrame(rows)


def false_alarm_threshold(out_of_fold: pd.DataFrame, rate: float) -> float:
    """The score that a given share of the batches that did not fail ever exceeds; from training folds only.

    Args:
        out_of_fold: `batch_id`, `failed`, `failure_probability`.
        rate: Share of the good batches, between 0 and 1.
    """
    good = out_of_fold[~out_of_fold["failed"].astype(bool)]
    return float(good.groupby("batch_id")["failure_probability"].max().quantile(1 - rate))


def lead_times(scores: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """How long before its label each batch was first scored above a threshold.

    Args:
        scores: `batch_id`, `as_of`, `failed`, `label_available_at`, `failure_probability`.
        threshold: Failure probability; a score must exceed it.

    Returns:
        Indexed by batch_id: `failed`, `lead_h` (hours; NaN where it never was).
    """
    above = scores[scores["failure_probability"] > threshold]
    first = above.groupby("batch_id")["as_of"].min()
    batches = scores.groupby("batch_id").agg(failed=("failed", "first"), known=("label_available_at", "first"))
    lead = (batches["known"] - first.reindex(batches.index)) / pd.Timedelta(hours=1)
    return pd.DataFrame({"failed": batches["failed"], "lead_h": lead})


def lead_time_figures(
    scores: pd.DataFrame, out_of_fold: pd.DataFrame, rates: tuple[float, ...] = (0.05, 0.1, 0.2)
) -> pd.DataFrame:
    """Failures caught, and how early, at thresholds that cost a given share of false alarms in training folds.

    Returns:
        `planned_false_alarm_rate`, `threshold`, `n_failed`, `caught`, `median_lead_h`, `n_good`, `false_alarms`.
    """
    rows = []
    for rate in rates:
        threshold = false_alarm_threshold(out_of_fold, rate)
        leads = lead_times(scores, threshold)
        flagged, failed = leads["lead_h"].notna(), leads["failed"]
        rows.append(
            {
                "planned_false_alarm_rate": rate,
                "threshold": threshold,
                "n_failed": int(failed.sum()),
                "caught": int((flagged & failed).sum()),
                "median_lead_h": float(leads.loc[flagged & failed, "lead_h"].median()),
                "n_good": int((~failed).sum()),
                "false_alarms": int((flagged & ~failed).sum()),
            }
        )
    return pd.DataFrame(rows)


def _by_score(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order of ascending scores, and where each run of equal scores begins."""
    order = np.argsort(p, kind="stable")
    ordered = p[order]
    return order, np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])


def _resamples(batch: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """Weights of the rows in each resample, in chunks of shape (r, n)."""
    places, names = pd.factorize(batch)
    rng = np.random.default_rng(seed)
    left = RESAMPLES
    while left:
        size = min(left, max(1, _CHUNK // max(1, len(batch))))
        drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=size)
        yield drawn[:, places].astype(float)
        left -= size


def _divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)
