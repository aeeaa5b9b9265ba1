"""Lowest and highest value of each feature in training, and how far outside a value lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.persistence import Floats


@dataclass(frozen=True)
class Tail:
    """How much of the rows lies beyond either end of a range.

    Attributes:
        percent: Of the rows, per end.
        spreads: Distance of that quantile from the median of a normal distribution, in standard deviations.
    """

    percent: float
    spreads: float


SEEN = Tail(0.2, 2.878)


@dataclass(frozen=True, eq=False)
class Ranges:
    """What was seen of each feature in a maturity band.

    Attributes:
        low: .2 % quantiles, shape (k,); NaN where nothing was seen.
        high: 99.8 % quantiles.
        below: Spread of the lower tail: what one unit of excess is below `low`; above 0.
        above: Spread of the upper tail.
    """

    low: Floats
    high: Floats
    below: Floats
    above: Floats

    def excess(self, x: np.ndarray) -> np.ndarray:
        """How far outside each value lies, in spreads of that tail, shape (k,); 0 inside and where not known."""
        outside = np.maximum((self.low - x) / self.below, (x - self.high) / self.above)
        return np.where(outside > 0, outside, 0.0)

    def older(self, ages: np.ndarray, between_h: float) -> np.ndarray:
        """How far ages lie above what was seen, in spreads of that tail; a fresher value is never outside.

        Args:
            ages: Hours, shape (k,); NaN where not known.
            between_h: Hours between two checkpoints of training: between them a value may be that much older.
        """
        outside = (ages - between_h - self.high) / self.above
        return np.where(outside > 0, outside, 0.0)

    def where(self, mask: np.ndarray, other: Ranges) -> Ranges:
        """The ranges of another where a mask, booleans of shape (k,), is True, and these elsewhere."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Ranges(*(np.where(mask, theirs, own) for own, theirs in pairs))

    def hull(self, other: Ranges) -> Ranges:
        """The interval that two ranges span, with the wider spreads; none where one of them saw nothing."""
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        return Ranges(low, high, np.maximum(self.below, other.below), np.maximum(self.above, other.above))


def shift(excess: np.ndarray, known: np.ndarray, groups: np.ndarray) -> float:
    """The largest excess that all known level features of one parameter share: a swapped unit, not one slip of the pen.

    Args:
        excess: Of the level features, those of one parameter together, shape (k,).
        known: Whether each has a value, shape (k,).
        groups: First place of each parameter, ascending; may be empty.

    Returns:
        0 where no parameter with two known level features is outside with all of them.
    """
    if not len(groups):
        return 0.0
    least = np.minimum.reduceat(np.where(known, excess, np.inf), groups)
    several = np.add.reduceat(known.astype(int), groups) >= 2
    return float(least[several].max(initial=0.0))


def fit_ranges(values: np.ndarray, overall: np.ndarray, tail: Tail = SEEN) -> Ranges:
    """Ranges over the rows of a band, from the .2 % to the 99.8 % quantile by default: one slip of the pen widens none.

    The spread of a tail is the distance of its quantile from the median over what it is in a normal distribution (2.88);
    a tail without width, as of a share that is mostly 0, takes the standard deviation.

    Args:
        values: Shape (n, k), NaN where not known.
        overall: `width` of each feature over all bands, shape (k,): a twentieth of it is the least spread.
        tail: Share of the rows beyond either end.
    """
    k = values.shape[1]
    low, high, below, above = np.full((4, k), np.nan)
    seen = np.flatnonzero(np.isfinite(values).any(axis=0)) if len(values) else np.empty(0, int)
    if len(seen):
        own = values[:, seen]
        low[seen], middle, high[seen] = np.nanpercentile(own, (tail.percent, 50, 100 - tail.percent), axis=0)
        deviation = np.nanstd(own, axis=0)
        for spread, reach in ((below, middle - low[seen]), (above, high[seen] - middle)):
            spread[seen] = np.maximum(np.where(reach > 0, reach / tail.spreads, deviation), overall[seen] / 20)
        flat = seen[(below[seen] <= 0) | (above[seen] <= 0)]  # one value everywhere: nothing to measure by
        low[flat] = high[flat] = np.nan
    return Ranges(low, high, below, above)


def width(values: np.ndarray, tail: Tail = SEEN) -> np.ndarray:
    """Spread of each feature over all rows, in the measure of a tail; 0 where nothing is known, shape (k,)."""
    out = np.zeros(values.shape[1])
    seen = np.flatnonzero(np.isfinite(values).any(axis=0))
    if not len(seen):
        return out
    low, high = np.nanpercentile(values[:, seen], (tail.percent, 100 - tail.percent), axis=0)
    out[seen] = np.where(high > low, (high - low) / (2 * tail.spreads), np.nanstd(values[:, seen], axis=0))
    return out
