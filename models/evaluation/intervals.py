"""Intervals of figures: whole batches are resampled, so the snapshots of one batch never count as independent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import betaincinv

Metric = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # failed (n,), p (n,), weight (r, n) -> (r,)

RESAMPLES = 1000
SEED = 0  # of the resampling: the same scores have the same intervals, whatever the chunks
_CHUNK = 2_000_000  # resampled weights held at once


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval; NaN where the rows do not allow it (one class only)."""

    value: float
    low: float
    high: float

    def named(self, name: str) -> dict[str, float]:
        """As columns of a table: `name`, `name_low`, `name_high`."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


def percentiles(value: float, drawn: np.ndarray) -> Interval:
    """The 95 % percentile interval (Efron 1979) of a figure from its resamples.

    Args:
        value: The figure on all batches.
        drawn: The figure on each resample, shape (r,); NaN where a resample does not allow it.

    Returns:
        Without bounds where `value` is NaN or more than half of the resamples are.
    """
    seen = drawn[~np.isnan(drawn)]
    if np.isnan(value) or len(seen) == 0 or len(seen) < len(drawn) / 2:
        return Interval(value, np.nan, np.nan)
    low, high = np.quantile(seen, [0.025, 0.975])
    return Interval(value, float(low), float(high))


def with_interval(
    metric: Metric, failed: np.ndarray, p: np.ndarray, batch: np.ndarray, *, centred: bool = False
) -> Interval:
    """A metric with its 95 % percentile interval over resampled batches.

    Args:
        metric: Takes outcomes, scores and weights.
        failed: Outcomes, shape (n,).
        p: Scores, shape (n,).
        batch: Batch of each row, shape (n,): all rows of a batch are drawn together.
        centred: Move the bounds by the mean distance of the resamples from the value: for a metric that resampling
            itself raises, such as a mean absolute error (the bootstrap's estimate of bias, Efron and Tibshirani 1993).
    """
    failed = np.asarray(failed, dtype=bool)
    value = float(metric(failed, p, np.ones((1, len(p))))[0])
    with np.errstate(invalid="ignore"):
        drawn = np.concatenate([metric(failed, p, w) for w in row_weights(batch)])
    if centred and not np.isnan(drawn).all():
        drawn = drawn - (np.nanmean(drawn) - value)
    return percentiles(value, drawn)


def mean_with_interval(values: np.ndarray, batch: np.ndarray) -> Interval:
    """The mean of rows with its interval over resampled batches; NaN without rows.

    Args:
        values: Shape (n,), without NaN.
        batch: Batch of each row, shape (n,).
    """
    if len(values) == 0:
        return Interval(np.nan, np.nan, np.nan)
    return percentiles(float(np.mean(values)), _resampled_means(values, batch))


def share_percentiles(value: float, drawn: np.ndarray, n: int) -> Interval:
    """`percentiles` of a share of n batches; where none or all hit, `clopper_pearson`, because no resample differs.

    Args:
        value: The share on all batches.
        drawn: The share on each resample, shape (r,).
        n: Batches that the share is of.
    """
    return Interval(value, *clopper_pearson(int(value) * n, n)) if value in (0.0, 1.0) else percentiles(value, drawn)


def share_with_interval(hit: np.ndarray, batch: np.ndarray) -> Interval:
    """A share of rows with its interval over resampled batches (`share_percentiles`); NaN without rows.

    Args:
        hit: Boolean, shape (n,).
        batch: Batch of each row, shape (n,).
    """
    if len(hit) == 0:
        return Interval(np.nan, np.nan, np.nan)
    return share_percentiles(float(np.mean(hit)), _resampled_means(hit, batch), len(pd.unique(batch)))


def clopper_pearson(k: int, n: int) -> tuple[float, float]:
    """Exact 95 % bounds of a share of independent draws (Clopper and Pearson 1934).

    Args:
        k: Hits, 0 to n.
        n: Draws, at least 1.
    """
    low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, 0.025))
    high = 1.0 if k == n else float(betaincinv(k + 1, n - k, 0.975))
    return low, high


def weighted_sums(weight: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sum of the values of each resample: weights (r, n), values (n,) or (n, t) -> (r,) or (r, t).

    Not a matrix product: that of a threaded BLAS sums in an order that depends on the number of threads.
    """
    return np.einsum("rn,n...->r...", weight, values)


def batch_weights(n_batches: int, *, resamples: int = RESAMPLES, width: int | None = None) -> Iterator[np.ndarray]:
    """How often each batch counts in each resample, in chunks of shape (r, n_batches), `resamples` rows in all.

    Args:
        n_batches: Batches to draw from, with replacement, as many as there are.
        resamples: Number of resamples.
        width: Values per resample that the caller will hold at once; by default `n_batches`.
    """
    rng = np.random.default_rng(SEED)
    left, most = resamples, max(1, _CHUNK // max(1, width or n_batches))
    while left and n_batches:
        size = min(left, most)
        yield rng.multinomial(n_batches, np.full(n_batches, 1 / n_batches), size=size)
        left -= size


def row_weights(batch: np.ndarray, *, resamples: int = RESAMPLES) -> Iterator[np.ndarray]:
    """`batch_weights` given to every row of its batch: chunks of shape (r, n), as floats."""
    places, names = pd.factorize(batch)
    for drawn in batch_weights(len(names), resamples=resamples, width=len(batch)):
        yield drawn[:, places].astype(float)


def _resampled_means(values: np.ndarray, batch: np.ndarray) -> np.ndarray:
    places, names = pd.factorize(batch)
    sums, rows = np.bincount(places, weights=values), np.bincount(places).astype(float)
    return np.concatenate([weighted_sums(w, sums) / weighted_sums(w, rows) for w in batch_weights(len(names))])
