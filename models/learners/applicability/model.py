"""Where a predictor applies: what training saw, and the measures that tell how far a row lies from it."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np
from pydantic import JsonValue

from models.learners.applicability.bands import Band, Limits
from models.learners.applicability.distance import Scaling
from models.learners.applicability.ranges import shift
from models.learners.applicability.single import SingleValues
from models.persistence import HoursKey, Lower, Persistent, Places, Upper

_LEAST = 1e-9  # a distance that is rounding: where all held-out batches are alike
_OWN_UNIT = frozenset({"last", "value", "mean", "min", "max", "median"})  # statistics in the unit of the parameter


@dataclass(frozen=True, eq=False)
class Measured:
    """What the checks of a row measure, before limits.

    Attributes:
        excess: Of each feature of `valued`, in spreads of the tail.
        outside: Parameters with an excess above the margin.
        shift: Largest excess that all level features of one parameter share.
        ages: Excess of each feature of `aged`.
        distance: Mahalanobis distance per level; NaN where it could not be taken.
        parts: Part of each level of the ellipsoid in the distance.
        neighbours: Distance to the nearest known batches; NaN where it could not be taken.
    """

    excess: np.ndarray
    outside: int
    shift: float
    ages: np.ndarray
    distance: float
    parts: np.ndarray
    neighbours: float


@dataclass(frozen=True, eq=False)
class Applicability(Persistent):
    """Where a predictor applies. Part of the predictor's folder, as open JSON.

    Attributes:
        columns: Columns of the encoder's matrix, in its order.
        words: Per feature used here its words ("Glucose: newest value").
        parameters: Parameter of each column.
        level: Share of held-out good batches inside each limit, .99.
        margin: Spreads of the tail that a value may lie outside the range seen before it counts.
        categories: Names seen in training, per categorical feature.
        support: Batches with a known outcome per feature that makes subgroups and per value, as known at training.
        min_batches: How many a subgroup needs.
        valued: Places of the columns that are held to a range, those of one parameter together.
        aged: Places of the ages of measured parameters.
        loose: Features whose range did not hold for later training batches, and that are held to none.
        levels: Places of the columns that make the distance.
        scaling: Location and spread of the levels.
        bands: By maturity, ascending.
        missing: Most missing parameters of the model at each checkpoint (hours).
        between_h: Hours between two checkpoints of training at most: between them a value may be that much older.
        from_h: First checkpoint of training.
        until_h: Last checkpoint of training, or the planned duration where that is later.
        single: What is usual of single newest values; None in a domain that was stored before they were judged.
        version: Of the stored form.
    """

    columns: tuple[str, ...]
    words: dict[str, str]
    parameters: tuple[str, ...]
    level: float
    margin: float
    categories: dict[str, tuple[str, ...]]
    support: dict[str, dict[str, int]]
    min_batches: int
    valued: Places
    aged: Places
    loose: tuple[str, ...]
    levels: Places
    scaling: Scaling
    bands: tuple[Band, ...]
    missing: dict[HoursKey, float]
    between_h: float
    from_h: Lower = -math.inf
    until_h: Upper = math.inf
    single: SingleValues | None = None
    version: Literal[1] = 1

    def to_json(self) -> dict[str, JsonValue]:
        """As plain JSON values; one that was stored before `from_h`, `until_h` and `single` were known keeps its bytes."""
        known = math.isfinite(self.from_h) and math.isfinite(self.until_h)
        without = {*(() if known else ("from_h", "until_h")), *(() if self.single else ("single",))}
        return {name: value for name, value in super().to_json().items() if name not in without}

    def few(self) -> dict[str, frozenset[str]]:
        """Subgroups with fewer batches than are needed, by feature."""
        return {
            feature: frozenset(name for name, n in counts.items() if n < self.min_batches)
            for feature, counts in self.support.items()
        }

    def widened(self, widths: Sequence[Mapping[str, float]]) -> Applicability:
        """The same domain with wider limits.

        Args:
            widths: Per maturity band and check (`ratios`, `missing`, `stale`, `newest`), what to multiply its limit by; 1
                where absent.
        """
        bands = tuple(
            replace(band, limits=self._with_floors(band.limits).widened(width))
            for band, width in zip(self.bands, widths, strict=True)
        )
        at = {h: widths[int(self.band_numbers(h))].get("missing", 1.0) for h in self.missing}
        missing = {h: max(most, 1.0) * at[h] for h, most in self.missing.items()}
        return replace(self, bands=bands, missing=missing, single=self.single and self.single.widened(widths))

    def _with_floors(self, limits: Limits) -> Limits:
        """The limits as they are applied: none lies below what counts at all."""
        floors = {"outside": 1.0, "stale": 1.0, "excess": self.margin, "shift": self.margin, "age": self.margin}
        floors |= {"distance": _LEAST, "neighbours": _LEAST}
        return replace(limits, **{name: max(getattr(limits, name), least) for name, least in floors.items()})

    def band(self, checkpoint_h: float) -> Band:
        """The maturity band of a time after the start; between two bands, what both of them span."""
        place = max(bisect_right(self._starts, checkpoint_h) - 1, 0)
        return self._between[place] if checkpoint_h > self._last[place] else self.bands[place]

    def band_numbers(self, checkpoint_h: float | np.ndarray) -> np.ndarray:
        """Numbers of the maturity bands of times after the start, from 0."""
        return np.maximum(np.searchsorted(self._starts, checkpoint_h, side="right") - 1, 0)

    def between_bands(self, checkpoint_h: np.ndarray) -> np.ndarray:
        """Whether times after the start lie between the last checkpoint of their band and the next band."""
        return checkpoint_h > np.array(self._last)[self.band_numbers(checkpoint_h)]

    def measure(self, x: np.ndarray, checkpoint_h: float) -> Measured:
        """What the limits are held against.

        Args:
            x: Row of the encoder's matrix, shape (k,); NaN where not known.
            checkpoint_h: Hours since the start.
        """
        band = self.band(checkpoint_h)
        excess = band.values.excess(x[self.valued])
        far = np.maximum.reduceat(excess, self._groups) > self.margin if len(excess) else excess
        z = self.scaling.z(x[self.levels], checkpoint_h)
        distance, parts = band.ellipsoid.distance(z) if band.ellipsoid else (math.nan, np.empty(0))
        near = band.neighbours.distance(z) if band.neighbours else math.nan
        own = excess[self._leveled]
        together = shift(own, np.isfinite(x[self.valued[self._leveled]]), self._level_groups)
        return Measured(
            excess, int(far.sum()), together, band.ages.older(x[self.aged], self.between_h), distance, parts, near
        )

    def ratios(self, m: Measured, band: Band) -> dict[str, float]:
        """Measures of the values over their limits, by check; without those that could not be taken."""
        limits = band.limits
        ranges = (
            m.outside / max(limits.outside, 1.0),
            worst(m.excess) / max(limits.excess, self.margin),
            m.shift / max(limits.shift, self.margin),
        )
        found = {
            "range": max(ranges),
            "distance": m.distance / max(limits.distance, _LEAST),
            "neighbours": m.neighbours / max(limits.neighbours, _LEAST),
            "age": worst(m.ages) / max(limits.age, self.margin),
        }
        return {name: ratio for name, ratio in found.items() if not math.isnan(ratio)}

    @cached_property
    def _starts(self) -> list[float]:
        return [band.starts_h for band in self.bands]

    @cached_property
    def _last(self) -> list[float]:
        """Last checkpoint of each band; infinite for the last band."""
        hours = self.scaling.checkpoints_h
        return [float(hours[hours < start].max(initial=-math.inf)) for start in self._starts[1:]] + [math.inf]

    @cached_property
    def _between(self) -> list[Band]:
        return [band.until(later) for band, later in pairwise(self.bands)]

    @cached_property
    def _groups(self) -> np.ndarray:
        return self._firsts(self.valued)

    @cached_property
    def _leveled(self) -> np.ndarray:
        """Places among `valued` of the features in their parameter's own unit."""
        return np.array([i for i, p in enumerate(self.valued) if self.columns[p].rpartition(".")[2] in _OWN_UNIT], int)

    @cached_property
    def _level_groups(self) -> np.ndarray:
        return self._firsts(self.valued[self._leveled])

    def _firsts(self, places: np.ndarray) -> np.ndarray:
        """First place of each parameter; those of one parameter stand together."""
        names = [self.parameters[place] for place in places]
        return np.array([i for i, name in enumerate(names) if i == 0 or name != names[i - 1]], int)

    @cached_property
    def _missing_at(self) -> tuple[list[float], list[float]]:
        return list(self.missing), list(self.missing.values())

    def most_missing(self, checkpoint_h: float) -> float:
        """The limit of the checkpoint before: until the next one a batch may still lack what that one will have."""
        hours, most = self._missing_at
        place = bisect_right(hours, checkpoint_h) - 1
        return max(most[place], 1.0) if place >= 0 else math.inf


def worst(excess: np.ndarray) -> float:
    """The largest excess; 0 without features."""
    return float(excess.max()) if len(excess) else 0.0
