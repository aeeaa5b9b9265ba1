"""How unlikely it is that a good batch goes as far: tail probabilities of highest values, as their -log."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

TAILS = ("empirical", "exponential", "pareto")
_TAIL_SHARE = 0.05  # of the good batches, whose excess the tail beyond them is fitted to
LEAST_BATCHES = 20  # of which a side must be known to have a limit: one of them lies in the tail


def surprise(usual: np.ndarray, kind: str) -> Callable[[np.ndarray], np.ndarray]:
    """-log of the probability that a good batch's highest value reaches a value, per parameter and side.

    Args:
        usual: Highest values of good batches, shape (n, sides); NaN where never known. Sides known of fewer than
            `LEAST_BATCHES` have no limit.
        kind: `empirical`: rank among them, the probability never below 1 / (n + 1). `exponential`, `pareto`: the same
            up to the 95th percentile; beyond it the excess (of the logarithm for `pareto`: Hill 1975) is exponential.

    Returns:
        From values of shape (batches, sides, ...) to surprises of the same shape, >= 0; 0 where a value is NaN.
    """
    columns = [np.sort(column[~np.isnan(column)]) for column in usual.T]

    def of(values: np.ndarray) -> np.ndarray:
        out = np.zeros(values.shape, np.float32)
        for side, ordered in enumerate(columns):
            known = ~np.isnan(values[:, side])
            if len(ordered) >= LEAST_BATCHES:
                out[:, side][known] = _surprise(ordered, values[:, side][known], kind)
        return out

    return of


def _surprise(ordered: np.ndarray, values: np.ndarray, kind: str) -> np.ndarray:
    n = len(ordered)
    out = -np.log((1 + n - np.searchsorted(ordered, values, "left")) / (n + 1))
    start = ordered[int(np.ceil(n * (1 - _TAIL_SHARE))) - 1]
    if kind == "empirical" or start <= 0:
        return out
    scaled = np.log if kind == "pareto" else np.asarray
    above = scaled(ordered[ordered > start]) - scaled(start)
    if not len(above) or above.mean() <= 0:
        return out  # the last twentieth is all the same: nothing to go on with
    beyond = values > start
    out[beyond] = -np.log(len(above) / n) + (scaled(values[beyond]) - scaled(start)) / above.mean()
    return out
