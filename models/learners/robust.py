"""Robust statistics of many columns at once, with values missing: where a column lies and how far it strays.

Median and scaled median absolute deviation (Hampel, 1974): a few odd values hardly move them.
"""

from __future__ import annotations

import numpy as np

STATISTICS = ("location", "spread", "low", "high", "n")
LOCATION, SPREAD, LOW, HIGH, N = range(len(STATISTICS))
_QUANTILES = (0.05, 0.95)
_NORMAL_MAD = 1.4826  # MAD to standard deviation, and the 5-95 % range in standard deviations, of a normal distribution
_NORMAL_RANGE = 3.29
_EPSILON = 1e-6  # share of the location below which a difference is rounding


def column_statistics(values: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Median, spread, 5 %, 95 % and number of the known values of each column.

    Args:
        values: Shape (n, k); NaN where not known.
        step: What the instrument can tell apart, shape (k,): the spread is never below it. NaN where it has no step.

    Returns:
        Shape (k, 5) in the order of `STATISTICS`; NaN (n: 0) where a column has no value.
    """
    ordered = np.sort(values, axis=0)  # NaN last
    n = (~np.isnan(values)).sum(axis=0)
    location = quantile(ordered, n, 0.5)
    low, high = (quantile(ordered, n, q) for q in _QUANTILES)
    deviation = quantile(np.sort(np.abs(values - location), axis=0), n, 0.5)
    # the wider of two robust spreads: one in twenty batches that stray are usual too, and where more than half stand on
    # one value the MAD is 0
    spread = np.fmax(_NORMAL_MAD * deviation, (high - low) / _NORMAL_RANGE)
    floor = np.fmax(step, _EPSILON * np.fmax(np.abs(location), _EPSILON))
    return np.column_stack([location, np.maximum(spread, floor), low, high, n])


def quantile(ordered: np.ndarray, n: np.ndarray, q: float) -> np.ndarray:
    """Quantile of the known values of each column.

    Args:
        ordered: Columns in ascending order, NaN last, shape (n, k).
        n: Number of known values of each, shape (k,).
        q: Between 0 and 1; between two values along a straight line.

    Returns:
        Shape (k,); NaN where nothing is known.
    """
    if not len(ordered):
        return np.full(ordered.shape[1], np.nan)
    at = q * np.maximum(n - 1, 0)
    below = np.floor(at).astype(int)
    columns = np.arange(ordered.shape[1])
    low, high = ordered[below, columns], ordered[np.minimum(below + 1, np.maximum(n - 1, 0)), columns]
    return low + (at - below) * (high - low)


def smallest_step(values: np.ndarray) -> np.ndarray:
    """Smallest step between the values of each column: what the instrument can tell apart; NaN where it never moves."""
    gaps = np.diff(np.sort(values, axis=0), axis=0)
    rounding = _EPSILON * np.nanmax(np.abs(np.where(np.isnan(values), 0.0, values)), axis=0)
    gaps = np.where(gaps > rounding, gaps, np.inf)  # NaN too
    least = gaps.min(axis=0, initial=np.inf)
    return np.where(np.isinf(least), np.nan, least)
