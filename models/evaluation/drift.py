"""Whether the batches in progress still look like the ones the predictor learned from."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, ks_2samp

MIN_BATCHES = 20


def drift(reference: pd.DataFrame, current: pd.DataFrame, features: list[str], *, level: float = 0.05) -> pd.DataFrame:
    """Two-sample Kolmogorov-Smirnov tests per feature, adjusted for their number (Benjamini and Hochberg 1995).

    Args:
        reference: Training snapshots with `batch_id` and the features; one row a batch should be compared with.
        current: Snapshots of batches in progress, one row a batch.
        features: Numeric columns to compare.
        level: False discovery rate.

    Returns:
        `feature`, `n_reference`, `n_current` (values that are not NaN), `statistic`, `p_adjusted`, `verdict`:
        drifted, not shown, or insufficient data below 20 batches with a value on either side (then NaN).
    """
    rows = [_compare(name, reference[name].dropna().to_numpy(), current[name].dropna().to_numpy()) for name in features]
    table = pd.DataFrame(rows, columns=["feature", "n_reference", "n_current", "statistic", "p"])
    tested = table["p"].notna()
    table["p_adjusted"] = np.nan
    if tested.any():
        table.loc[tested, "p_adjusted"] = false_discovery_control(table.loc[tested, "p"].to_numpy())
    verdict = np.where(table["p_adjusted"] < level, "drifted", "not shown")
    return table.drop(columns="p").assign(verdict=np.where(tested, verdict, "insufficient data"))


def _compare(name: str, before: np.ndarray, now: np.ndarray) -> tuple[str, int, int, float, float]:
    if min(len(before), len(now)) < MIN_BATCHES:
        return name, len(before), len(now), np.nan, np.nan
    result = ks_2samp(before, now)
    return name, len(before), len(now), float(result.statistic), float(result.pvalue)
