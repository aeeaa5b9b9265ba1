"""The versions of a replay: what was made when, from what, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.evaluation.figures import last_checkpoint
from models.evaluation.metrics import auroc

LEAST = 5  # batches of each outcome before anything is trained, or before a test is read
TRAINED, RECALIBRATED = "trained", "recalibrated"
SERVED, REFUSED, TOO_LITTLE = "served", "refused", "too little known"


@dataclass(frozen=True)
class Version:
    """One version of the model, as it came to be used or not.

    Attributes:
        number: From 1, trainings and recalibrations together.
        kind: `trained`, or `recalibrated`: the trees of an earlier version with new thresholds, calibration and limits.
        trees_of: Number of the version whose trees it has; its own where it was trained.
        made_at: What became known before it was used to make it.
        serves_from: When it came into use; None where it never did.
        status: `served`, `refused`, or `too little known`: no model can be made of what the policy leaves to train on.
        sha256: Digest of the predictor; empty where none was made.
        n_known: Batches with a known outcome then.
        n_failed: How many of them failed.
        test_auroc: Of the batches that tested it, each at its last checkpoint; NaN where too few were known.
        test_batches: How many tested it.
        test_failed: How many of these failed.
    """

    number: int
    kind: str
    trees_of: int
    made_at: pd.Timestamp
    serves_from: pd.Timestamp | None
    status: str
    sha256: str
    n_known: int
    n_failed: int
    test_auroc: float
    test_batches: int
    test_failed: int


def reading(scores: pd.DataFrame) -> tuple[float, int, int]:
    """What a test says: AUROC of each batch at its last score, number of batches, and of failures.

    Args:
        scores: `batch_id`, `checkpoint_h`, `failed`, `log_odds`; may be empty.

    Returns:
        The AUROC is NaN where a class has fewer than `LEAST` batches.
    """
    if scores.empty:
        return np.nan, 0, 0
    last = last_checkpoint(scores)
    n, n_failed = len(last), int(last["failed"].sum())
    if min(n_failed, n - n_failed) < LEAST:
        return np.nan, n, n_failed
    values = last["failed"].to_numpy(bool), last["log_odds"].to_numpy(float), np.ones((1, n), dtype=np.int64)
    return float(auroc(*values)[0]), n, n_failed
