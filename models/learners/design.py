"""The design matrix of the linear models of a stage: levels and trends, robustly standardised by checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from features.dictionary import Feature
from models.cohort.encode import Encoder
from models.learners.robust import quantile
from models.persistence import Persistent, Places

FARTHEST = 6.0  # spreads at which a value is cut: a slip of the pen must not rule a linear model
_STATISTICS = frozenset({"last", "value", "mean", "slope", "failure_excess"})
_LOGGED = frozenset({"last", "value", "mean"})
_MOST_NAMES = 8  # categories with more names are left to the trees
_KNOWN_SHARE = 0.5  # of a checkpoint's rows: a column known less often is left out there
_ROUNDING = 1e-9  # of a column's size: less is not movement but the last bits of a mean
_NORMAL_68 = 2.0  # 16 % and 84 % of a normal distribution lie two standard deviations apart


@dataclass(frozen=True, eq=False)
class Design(Persistent):
    """Columns of the design, made from a predictor's encoded matrix.

    Attributes:
        plain: Places of numeric columns.
        logged: Places of columns that enter once more as their logarithm.
        named: (place, code) of the categories that enter as 0 or 1.
    """

    plain: Places
    logged: Places
    named: tuple[tuple[int, int], ...]

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.plain) + len(self.logged) + len(self.named)

    @cached_property
    def owners(self) -> np.ndarray:
        """Place in the encoded matrix that each column comes from."""
        return np.r_[self.plain, self.logged, [place for place, _ in self.named]].astype(int)

    def columns(self, X: np.ndarray) -> np.ndarray:
        """The design of encoded rows, shape (n, width); NaN where not known.

        Args:
            X: Encoded rows, shape (n, k).
        """
        places, codes = self._named
        found = X[:, places]
        names = np.where(np.isnan(found), np.nan, found == codes)
        positive = np.where(X[:, self.logged] > 0, X[:, self.logged], np.nan)
        return np.concatenate([X[:, self.plain], np.log(positive), names], axis=1)

    @cached_property
    def _named(self) -> tuple[np.ndarray, np.ndarray]:
        """Places and codes of the categories."""
        places, codes = zip(*self.named, strict=True) if self.named else ((), ())
        return np.array(places, np.int64), np.array(codes, np.int64)


def design_of(encoder: Encoder, features: Sequence[Feature], X: np.ndarray) -> Design:
    """Choose the columns: newest values, means, slopes, excess of failures, and categories of few names.

    Means and slopes over the shortest recent window are left out: they are the noisiest and carry least about the end.

    Args:
        encoder: Of the matrix.
        features: One entry per column of it.
        X: Training rows; a column with only positive values enters once more as its logarithm.
    """
    shortest = _shortest_window(features)
    numeric = [
        i
        for i, feature in enumerate(features)
        if feature.statistic in _STATISTICS and feature.window != shortest and feature.name not in encoder.categories
    ]
    lowest = [np.min(X[:, i], initial=np.inf, where=~np.isnan(X[:, i])) for i in numeric]
    positive = [
        i for i, low in zip(numeric, lowest, strict=True) if features[i].statistic in _LOGGED and 0 < low < np.inf
    ]
    named = tuple(
        (i, code)
        for i, feature in enumerate(features)
        if feature.name in encoder.categories and len(encoder.categories[feature.name]) <= _MOST_NAMES
        for code in range(len(encoder.categories[feature.name]))
    )
    return Design(np.array(numeric, int), np.array(positive, int), named)


def location_and_spread(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and half the distance from 16 % to 84 % of each column, both NaN where too few rows have a value.

    Where most rows stand on one value the standard deviation takes the spread's place; a column that never moves, and so
    cannot tell rows apart, has none (NaN).
    """
    known = ~np.isnan(columns)
    n = known.sum(axis=0)
    ordered = np.sort(columns, axis=0)
    low, middle, high = (quantile(ordered, n, q) for q in (0.16, 0.5, 0.84))
    spread = (high - low) / _NORMAL_68
    filled = np.where(known, columns, 0.0)
    mean = filled.sum(axis=0) / np.maximum(n, 1)
    deviation = np.sqrt(np.where(known, (columns - mean) ** 2, 0.0).sum(axis=0) / np.maximum(n, 1))
    still = _ROUNDING * np.abs(middle)
    spread = np.where(spread > still, spread, deviation)
    usable = (n >= _KNOWN_SHARE * len(columns)) & (spread > still)
    return np.where(usable, middle, np.nan), np.where(usable, spread, np.nan)


def standardised(columns: np.ndarray, location: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """(value - location) / spread, cut at `FARTHEST`; 0, that is usual, where anything is not known."""
    z = np.clip((columns - location) / spread, -FARTHEST, FARTHEST)
    return np.where(np.isnan(z), 0.0, z)


def _shortest_window(features: Sequence[Feature]) -> str:
    """Name of the shortest recent window where there are several; empty otherwise."""
    windows = {f.window for f in features if f.window.startswith("last_") and f.window.endswith("h")}
    lengths = sorted((float(window[5:-1]), window) for window in windows if window[5:-1].replace(".", "", 1).isdigit())
    return lengths[0][1] if len(lengths) > 1 else ""
