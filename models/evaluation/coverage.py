"""Whether sets and intervals hold the truth as often as they promise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from models.evaluation.bands import all_and_banded, counts
from models.evaluation.intervals import share_with_interval
from models.evaluation.trajectories import require


def set_coverage(scores: pd.DataFrame) -> pd.DataFrame:
    """Coverage of class-conditional conformal sets (Vovk 2013): per class and maturity band, and over all bands.

    Args:
        scores: `batch_id`, `checkpoint_h`, `failed`, `may_fail`, `may_succeed`.

    Returns:
        `band` (or "all"), `from_h`, `to_h`, `outcome` (failed or good), `n` (scores), `n_batches`, `n_failed`,
        `coverage` (share of the scores whose set holds the outcome) with `_low` and `_high` over resampled batches.
        Compare each class with its nominal level: an average over both hides the few failures.
    """
    require(scores, ("batch_id", "checkpoint_h", "failed", "may_fail", "may_succeed"))
    failed = scores["failed"].to_numpy(bool)
    held = scores.assign(held=np.where(failed, scores["may_fail"], scores["may_succeed"]).astype(bool))
    rows = []
    for band, part in all_and_banded(held):
        for outcome, mask in (("failed", part["failed"].astype(bool)), ("good", ~part["failed"].astype(bool))):
            found = part[mask]
            span = share_with_interval(found["held"].to_numpy(), found["batch_id"].to_numpy())
            rows.append(band | {"outcome": outcome} | counts(found) | span.named("coverage"))
    return pd.DataFrame(rows)


def interval_coverage(scores: pd.DataFrame, attributes: Sequence[str] | None = None) -> pd.DataFrame:
    """Coverage and width of the intervals of expected release attributes, per maturity band and over all bands.

    Args:
        scores: `batch_id`, `checkpoint_h`, `failed`, and per attribute `<attribute>.expected`, `.low`, `.high`,
            `.actual`. Rows with a NaN among low, high and actual are left out and counted.
        attributes: Names; None takes every one with an `.expected` column.

    Returns:
        `attribute`, `band` (or "all"), `from_h`, `to_h`, `n` (scores), `n_batches`, `n_failed`, `n_left_out`,
        `coverage` (low <= actual <= high) with `_low` and `_high` over resampled batches, `below`, `above` (shares
        that missed on either side: uneven ones mean a bias), `median_width`, `median_abs_error`, in the attribute's unit.
    """
    names = attributes_of(scores) if attributes is None else list(attributes)
    rows = []
    for name in names:
        require(scores, ("batch_id", "checkpoint_h", "failed", *(f"{name}.{c}" for c in _PARTS)))
        for band, part in all_and_banded(scores):
            rows.append({"attribute": name} | band | _of_attribute(part, name))
    return pd.DataFrame(rows)


def attributes_of(scores: pd.DataFrame) -> list[str]:
    """Names of the attributes that have an `.expected` column, in the order of the columns."""
    return [c.removesuffix(".expected") for c in map(str, scores.columns) if c.endswith(".expected")]


_PARTS = ("expected", "low", "high", "actual")


def _of_attribute(part: pd.DataFrame, name: str) -> dict[str, object]:
    known = part[part[[f"{name}.low", f"{name}.high", f"{name}.actual"]].notna().all(axis=1)]
    expected, low, high, actual = (known[f"{name}.{c}"].to_numpy(float) for c in _PARTS)
    below, above = actual < low, actual > high
    span = share_with_interval(~below & ~above, known["batch_id"].to_numpy())
    row: dict[str, object] = counts(known) | {"n_left_out": len(part) - len(known)} | span.named("coverage")
    if not len(known):
        return row | dict.fromkeys(("below", "above", "median_width", "median_abs_error"), np.nan)
    sides = {"below": float(below.mean()), "above": float(above.mean())}
    error = pd.Series(np.abs(expected - actual)).median()  # leaves out rows with an interval and no expectation
    return row | sides | {"median_width": float(np.median(high - low)), "median_abs_error": float(error)}
