"""Stated probability against observed rate, in bins of equal numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.evaluation.bands import banded
from models.evaluation.intervals import share_with_interval


def reliability_by_band(scores: pd.DataFrame, *, bins: int = 6) -> pd.DataFrame:
    """Per maturity band; a batch has several scores and is resampled whole.

    Args:
        scores: `batch_id`, `checkpoint_h`, `failed`, `failure_probability`.
        bins: Per band.

    Returns:
        `band`, `stated`, `failed` (share of the scores), `low`, `high`, `n` (scores), `n_failed` (batches).
    """
    rows = []
    for band, inside in banded(scores):
        for part in _bins(inside, bins):
            span = share_with_interval(part["failed"].to_numpy(bool), part["batch_id"].to_numpy())
            head = {"band": band["band"], "stated": part["failure_probability"].mean(), "failed": span.value}
            n_failed = part.loc[part["failed"].astype(bool), "batch_id"].nunique()
            rows.append(head | {"low": span.low, "high": span.high, "n": len(part), "n_failed": n_failed})
    return pd.DataFrame(rows)


def _bins(rows: pd.DataFrame, bins: int) -> list[pd.DataFrame]:
    ordered = rows.sort_values("failure_probability", kind="stable")
    return [ordered.iloc[places] for places in np.array_split(np.arange(len(ordered)), min(bins, len(ordered)))]
