"""Figures of a predictor: plain functions over frames, each with its number of failures and its interval."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.evaluation.bands import per_checkpoint
from models.evaluation.intervals import with_interval
from models.evaluation.metrics import (
    auprc,
    auroc,
    auroc_with_interval,
    brier,
    calibration_floor,
    expected_calibration_error,
)


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
    out |= auroc_with_interval(failed, p, batch).named("auroc")
    for name, metric in (("auprc", auprc), ("brier", brier)):
        out |= with_interval(metric, failed, p, batch).named(name)
    out["ece"] = expected_calibration_error(failed, p)
    out["ece_floor"] = calibration_floor(p, batch=batch)
    out["brier_of_base_rate"] = out["base_rate"] * (1 - out["base_rate"])
    return out


def last_checkpoint(scores: pd.DataFrame) -> pd.DataFrame:
    """Each batch at its last checkpoint before its label: one row per batch, what overall figures rest on."""
    return scores.sort_values("checkpoint_h", kind="stable").groupby("batch_id", sort=False).tail(1)


def auroc_of_timing(last: pd.DataFrame) -> float:
    """AUROC of the last checkpoint's hour alone, earlier meaning worse; NaN where a class is absent.

    A batch that is stopped has an earlier last checkpoint, which was unknown at that time. An overall AUROC
    counts for the predictor only as far as it exceeds this one; the figures per checkpoint do not have the effect.
    """
    one = np.ones((1, len(last)))
    return float(auroc(last["failed"].to_numpy(bool), -last["checkpoint_h"].to_numpy(float), one)[0])


def by_checkpoint(scores: pd.DataFrame) -> pd.DataFrame:
    """`figures` at every checkpoint: `checkpoint_h` and one column per figure."""
    return per_checkpoint(scores, figures)
