"""The snapshot of one batch in progress, as one row of numbers.

It has the columns that `features.snapshots` makes for a whole history, from the same families, without a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from features.context import ContextQuery, Family
from features.dictionary import Feature
from features.incremental import BatchSeries
from features.runs import SeriesFamily
from features.snapshots import MISSING, PROGRESS
from features.summaries import US_PER_H


@dataclass(frozen=True)
class Columns:
    """The columns of a row, and the span of columns of each family.

    Attributes:
        of_series: Families that read a batch's summaries; the first is `features.series.SeriesPlan`.
        context: Families of the context.
    """

    of_series: tuple[SeriesFamily, ...]
    context: tuple[Family, ...]

    @cached_property
    def features(self) -> tuple[Feature, ...]:
        """One entry per column."""
        families = (*self.of_series, *self.context)
        return (PROGRESS, MISSING, *(feature for family in families for feature in family.features))

    @cached_property
    def categories(self) -> dict[int, tuple[str, ...]]:
        """Names of the categories by column; such a column holds a name's place in them."""
        names = {}
        for family, place in zip(self.context, self._places[len(self.of_series) :], strict=True):
            names |= {place.start + column: known for column, known in family.categories.items()}
        return names

    def row(self, series: BatchSeries, context: Sequence[tuple[Family, ContextQuery]], as_of_us: int) -> np.ndarray:
        """The row of a batch.

        Args:
            series: Its readings.
            context: The families of the context, or others with the same columns, each with its query for the batch.
            as_of_us: The moment, not before the batch's start.

        Returns:
            float64, shape (columns,); NaN where nothing is known.
        """
        out = np.full((1, len(self.features)), np.nan)
        out[0, 0] = (as_of_us - series.started_us) / US_PER_H
        runs = series.runs(as_of_us)
        for family, place in zip(self.of_series, self._places, strict=False):
            family.fill(runs, out[:, place])
        out[0, 1] = np.count_nonzero(np.isnan(out[0, self._newest]))
        for (family, query), place in zip(context, self._places[len(self.of_series) :], strict=True):
            family.fill(query, out[:, place])
        return out[0]

    @cached_property
    def _places(self) -> tuple[slice, ...]:
        sizes = [len(family.features) for family in (*self.of_series, *self.context)]
        ends = np.cumsum([2, *sizes])
        return tuple(slice(int(end) - size, int(end)) for end, size in zip(ends[1:], sizes, strict=True))

    @cached_property
    def _newest(self) -> np.ndarray:
        plan, first = self.of_series[0].features, self._places[0].start
        places = [i for i, f in enumerate(plan) if f.window == "since_start" and f.statistic == "last"]
        return np.array(places, np.int64) + first
