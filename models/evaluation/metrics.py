"""Metrics of scored rows, as functions of arrays; the weighted ones take many resamples at once."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.evaluation.intervals import SEED, Interval, clopper_pearson, weighted_sums, with_interval


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
    return divide((bad * below).sum(axis=1), bad.sum(axis=1) * good.sum(axis=1))


def auroc_with_interval(failed: np.ndarray, p: np.ndarray, batch: np.ndarray) -> Interval:
    """`auroc` with its 95 % interval over resampled batches.

    Where every failed batch scores above every good one no resample differs, and the percentiles would claim certainty.
    The bounds are then those of a share of all among the batches of the rarer outcome (`clopper_pearson`): each of them
    lies wholly on its side, and AUROC is at least the probability that the next one does. So too where all lie on the
    wrong side.

    Args:
        failed: Outcomes, shape (n,).
        p: Scores, shape (n,).
        batch: Batch of each row, shape (n,).
    """
    found = with_interval(auroc, failed, p, batch)
    if found.value not in (0.0, 1.0) or np.isnan(found.low):
        return found
    failed, batch = np.asarray(failed, dtype=bool), np.asarray(batch)
    rarer = min(len(pd.unique(batch[mask])) for mask in (failed, ~failed))
    return Interval(found.value, *clopper_pearson(round(found.value) * rarer, rarer))


def auprc(failed: np.ndarray, p: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Average precision: precision at each score, weighted by the failures found there. Shapes as in `auroc`."""
    order, ties = _by_score(-p)
    w, y = weight[:, order], failed[order]
    found = np.add.reduceat(w * y, ties, axis=1)
    flagged = np.cumsum(np.add.reduceat(w, ties, axis=1), axis=1)
    precision = divide(np.cumsum(found, axis=1), flagged)
    total = found.sum(axis=1)
    return divide(np.nansum(precision * found, axis=1), total)


def brier(failed: np.ndarray, p: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mean squared distance between probability and outcome. Shapes as in `auroc`."""
    return divide(weighted_sums(weight, (p - failed) ** 2), weight.sum(axis=1))


def weighted_calibration_error(failed: np.ndarray, p: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """`expected_calibration_error` in ten bins that stay the same in every resample. Shapes as in `auroc`."""
    bins = np.array_split(np.argsort(p, kind="stable"), min(10, len(p)))
    apart = [np.abs(weighted_sums(weight[:, rows], p[rows] - failed[rows])) for rows in bins]
    return divide(np.sum(apart, axis=0), weight.sum(axis=1))


def expected_calibration_error(failed: np.ndarray, p: np.ndarray, *, bins: int = 10) -> float:
    """Mean distance between stated probability and observed rate, over bins of equal numbers of rows."""
    error = 0.0
    for rows in np.array_split(np.argsort(p, kind="stable"), min(bins, len(p))):
        error += abs(p[rows].mean() - failed[rows].mean()) * len(rows) / len(p)
    return float(error)


def calibration_floor(p: np.ndarray, *, batch: np.ndarray | None = None, bins: int = 10, draws: int = 200) -> float:
    """The calibration error that a perfect model with these probabilities would show on so few rows, on average.

    Args:
        p: Probabilities, shape (n,).
        batch: Batch of each row: rows of one batch share their luck, so they draw one uniform number together and
            fail where it is below their probability. None takes every row for a batch of its own.
        bins: Of equal numbers of rows.
        draws: Sets of outcomes drawn from the probabilities.
    """
    places, names = (np.arange(len(p)), p) if batch is None else pd.factorize(batch)
    outcomes = np.random.default_rng(SEED).random((draws, len(names)))[:, places] < p
    rows_of_bins = np.array_split(np.argsort(p, kind="stable"), min(bins, len(p)))
    apart = [np.abs((outcomes[:, rows] - p[rows]).sum(axis=1)) for rows in rows_of_bins]
    return float(np.sum(apart) / (draws * len(p)))


def divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Ratio, NaN where the divisor is not positive."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def _by_score(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order of ascending scores, and where each run of equal scores begins."""
    order = np.argsort(p, kind="stable")
    ordered = p[order]
    return order, np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
