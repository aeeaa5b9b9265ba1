"""How far a batch's levels lie from those of training, all together: one ellipsoid, or the nearest known batches.

Levels are scaled robustly per checkpoint: z = (x - median) / (interquartile range / 1.349), both along a straight line
between checkpoints. A level that is not known is left out of the ellipsoid (its marginal over the known levels is
exact) and set to the location for the neighbours; the limits come from batches with gaps of the same kind.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from models.persistence import Floats, Places

IQR_OF_NORMAL = 1.349
FARTHEST = 5.0
NEAREST = 5
AXES = 8
FEWEST = 0.5  # share of the levels that must be known before there is a distance


@dataclass(frozen=True, eq=False)
class Scaling:
    """Location and spread of each level at each checkpoint.

    Attributes:
        checkpoints_h: Ascending, shape (c,).
        location: Medians, shape (c, p); NaN where fewer than half of the batches have a value.
        spread: Robust spreads, shape (c, p); above 0, NaN where the location is or where all values are one.
    """

    checkpoints_h: Floats
    location: Floats
    spread: Floats

    def z(self, levels: np.ndarray, checkpoint_h: float) -> np.ndarray:
        """Scaled levels, shape (p,); NaN where not known, or without a reference at that time.

        Before the first and after the last checkpoint the nearest one counts. Beyond `FARTHEST` spreads a level counts
        as that: one slip of the pen must not be the whole distance, and a single level is what the ranges look at.
        """
        location, spread = self._at(checkpoint_h)
        return np.clip((levels - location) / spread, -FARTHEST, FARTHEST)

    def _at(self, checkpoint_h: float) -> tuple[np.ndarray, np.ndarray]:
        hours = self.checkpoints_h
        after = min(int(np.searchsorted(hours, checkpoint_h)), len(hours) - 1)
        before = max(after - 1, 0)
        if hours[after] <= checkpoint_h or after == before:
            return self.location[after], self.spread[after]
        w = (checkpoint_h - hours[before]) / (hours[after] - hours[before])
        location = (1 - w) * self.location[before] + w * self.location[after]
        return location, (1 - w) * self.spread[before] + w * self.spread[after]


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """Shape of the scaled levels of a maturity band.

    Attributes:
        places: Which levels, shape (q,).
        covariance: Shrunk after Ledoit and Wolf (2004), shape (q, q).
    """

    places: Places
    covariance: Floats

    def distance(self, z: np.ndarray) -> tuple[float, np.ndarray]:
        """Mahalanobis distance over the known levels, per level: sqrt(d2 / number known).

        Args:
            z: Scaled levels, shape (p,).

        Returns:
            The distance, about 1 for an ordinary batch, NaN with less than half of the levels known; and the part
            that each level of `places` has in d2, shape (q,), 0 where not known.
        """
        own = z[self.places]
        known = np.isfinite(own)
        n = int(known.sum())
        if n == 0 or n < FEWEST * len(own):
            return np.nan, np.zeros(len(own))
        own = np.where(known, own, 0.0)
        pulled = self._precision @ own
        if n < len(own):
            # inverse of the known block: P_kk - P_ku inv(P_uu) P_uk, with as few equations as there are gaps
            gaps = np.flatnonzero(~known)
            pulled = pulled - self._precision[:, gaps] @ np.linalg.solve(
                self._precision[np.ix_(gaps, gaps)], pulled[gaps]
            )
        parts = own * pulled
        return math.sqrt(max(float(parts.sum()), 0.0) / n), parts

    @cached_property
    def _precision(self) -> np.ndarray:
        return np.linalg.inv(self.covariance)


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Known batches of a maturity band along the leading axes of the scaled levels.

    Attributes:
        places: Which levels, shape (q,).
        axes: Leading principal axes, each over its own spread, shape (a, q).
        reference: Known batches, shape (m, a).
    """

    places: Places
    axes: Floats
    reference: Floats

    def distance(self, z: np.ndarray) -> float:
        """Mean Euclidean distance to the nearest known batches; NaN with less than half of the levels known."""
        own = z[self.places]
        known = np.isfinite(own)
        if known.sum() < FEWEST * len(own):
            return np.nan
        gaps = self.reference - self.axes @ np.where(known, own, 0.0)
        squares = np.einsum("ij,ij->i", gaps, gaps)
        nearest = min(NEAREST, len(squares))
        return float(np.sqrt(np.partition(squares, nearest - 1)[:nearest]).mean())


def fit_scaling(levels: np.ndarray, checkpoint_h: np.ndarray) -> Scaling:
    """Medians and robust spreads per checkpoint.

    Args:
        levels: Shape (n, p), NaN where not known.
        checkpoint_h: Shape (n,).
    """
    hours = np.unique(checkpoint_h)
    location, spread = np.full((2, len(hours), levels.shape[1]), np.nan)
    for i, hour in enumerate(hours):
        rows = levels[checkpoint_h == hour]
        enough = np.isfinite(rows).mean(axis=0) >= 0.5
        if not enough.any():
            continue
        low, middle, high = np.nanpercentile(rows[:, enough], [25, 50, 75], axis=0)
        wide = (high - low) / IQR_OF_NORMAL
        # most values equal: the standard deviation stands in
        wide = np.where(wide > 0, wide, np.nanstd(rows[:, enough], axis=0))
        location[i, enough] = np.where(wide > 0, middle, np.nan)
        spread[i, enough] = np.where(wide > 0, wide, np.nan)
    return Scaling(hours, location, spread)


def fit_ellipsoid(z: np.ndarray) -> Ellipsoid | None:
    """Shrunk covariance of the levels that at least half of the batches have; None without any.

    Args:
        z: Scaled levels, one row a batch, shape (n, p); NaN where not known, counted as at the location.
    """
    from sklearn.covariance import ledoit_wolf

    if len(z) < 3:
        return None
    places = np.flatnonzero(np.isfinite(z).mean(axis=0) >= 0.5)
    if not len(places):
        return None
    covariance, _ = ledoit_wolf(np.nan_to_num(z[:, places]), assume_centered=True)
    return Ellipsoid(places, covariance)


def fit_neighbours(z: np.ndarray, ellipsoid: Ellipsoid, *, at_most: int) -> Neighbours:
    """Known batches along the leading axes of an ellipsoid.

    Args:
        z: Scaled levels, one row a batch in order of start, shape (n, p).
        ellipsoid: Of the same levels.
        at_most: Known batches to keep, evenly over time.
    """
    values, vectors = np.linalg.eigh(ellipsoid.covariance)
    values, vectors = values[::-1][:AXES], vectors[:, ::-1][:, :AXES]
    # the sign of an eigenvector is free: its largest entry is made positive
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])])
    axes = (vectors / np.sqrt(values)).T
    chosen = np.unique(np.linspace(0, len(z) - 1, min(at_most, len(z))).round().astype(int))
    reference = np.nan_to_num(z[chosen][:, ellipsoid.places]) @ axes.T
    return Neighbours(ellipsoid.places, axes, reference)
