"""Figures of a predictor: plain functions over frames, each with its number of failures and its interval."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.evaluation.intervals import with_interval
from models.evaluation.metrics import auprc, auroc, brier, calibration_floor, expected_calibration_error


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
    out["ece_floor"] = calibration_floor(p, batch=batch)
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
