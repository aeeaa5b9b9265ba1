"""Single newest values held against the batch's own course: a result that jumped, or that was written in another unit.

All levels of a batch may lie inside their ranges while one result has jumped: a cell count ten times too low looks like a
batch that does not grow, unless it is compared with the count before it. A value with one before it is judged by the
change between the two. A first value is held against what is usual at that stage, and suspicious only where a power of ten
explains it: that it lies far out is said by the ranges.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from models.learners.applicability.ranges import Ranges, Tail
from models.persistence import Floats, Persistent, Places

CHECK = "newest"
USUAL = Tail(1.0, 2.326)  # 98 of 100 values: slips of the pen, about one in a thousand, move neither end
MARGIN = 2.0  # spreads of the tail beyond the usual range that are never suspicious: a rare value is no odd one
FAR = 4.0  # spreads of the tail beyond which a value is no plausible one: of a value before, or of one times ten
_DECADE = math.log(10.0)


@dataclass(frozen=True, eq=False)
class Departures:
    """How far single values lie from what is usual.

    Attributes:
        excess: Beyond the usual range, in spreads of its tail, shape (p,); 0 inside, where nothing is known, and of a first
            value that is no slip.
        slips: Beyond it by more than half a power of ten, and not far from it times or over ten, booleans of shape (p,).
        by_step: Judged by the change since the value before, booleans of shape (p,).
        tens: Power of ten that brings a slip back inside, -1 or 1, shape (p,).
    """

    excess: np.ndarray
    slips: np.ndarray
    by_step: np.ndarray
    tens: np.ndarray

    @property
    def jumps(self) -> np.ndarray:
        """The excess of all but slips, shape (p,)."""
        return np.where(self.slips, 0.0, self.excess)


@dataclass(frozen=True, eq=False)
class SingleValues(Persistent):
    """What is usual of newest values, and of their change since the value before, in good training batches.

    Attributes:
        places: Columns of the encoder's matrix with the newest value of a parameter, shape (p,).
        previous: Columns with the value before it, -1 where the parameter has none, shape (p,).
        floors: Positive quantities are compared on a log scale, on which a lower value counts as this one, shape (p,);
            NaN: in their own unit.
        levels: Usual values by maturity band, on that scale.
        steps: Usual changes by maturity band, on that scale.
        limits: Largest excess of each parameter but for slips, by maturity band, shape (bands, p); NaN (no limit) where
            nothing could be measured.
    """

    places: Places
    previous: Places
    floors: Floats
    levels: tuple[Ranges, ...]
    steps: tuple[Ranges, ...]
    limits: Floats

    def scaled(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Newest values and those before, on their scales.

        Args:
            X: Rows of the encoder's matrix, shape (..., k).

        Returns:
            Both of shape (..., p); NaN where not known.
        """
        before = np.where(self.previous >= 0, X[..., self.previous], np.nan)
        return self._scale(X[..., self.places]), self._scale(before)

    def usual(self, band: int, *, between: bool) -> tuple[Ranges, Ranges]:
        """Usual levels and steps of a maturity band; between it and the next one, what both of them span."""
        if between and band + 1 < len(self.levels):
            after = self.levels[band + 1], self.steps[band + 1]
            return self.levels[band].hull(after[0]), self.steps[band].hull(after[1])
        return self.levels[band], self.steps[band]

    def limit(self, band: int, *, between: bool) -> np.ndarray:
        """The largest excess that is no finding, shape (p,); infinite where nothing could be measured."""
        wider = self.limits[band : band + 2 if between else band + 1].max(axis=0)
        return np.where(np.isnan(wider), math.inf, np.maximum(wider, MARGIN))

    def departures(self, x: np.ndarray, band: int, *, between: bool) -> Departures:
        """Measure one row.

        A value that comes back into the usual range from far outside is no departure: the one before it was.

        Args:
            x: Row of the encoder's matrix, shape (k,).
            band: Number of the maturity band.
            between: Whether the row lies between that band and the next one.
        """
        now, before = self.scaled(x)
        levels, steps = self.usual(band, between=between)
        by_step = self._by_step(now, before, steps)
        value, usual = np.where(by_step, now - before, now), levels.where(by_step, steps)
        excess, tens = usual.excess(value), np.where(value < usual.low, 1, -1)
        back = by_step & (levels.excess(now) == 0) & (levels.excess(before) > FAR)
        beyond = np.maximum(usual.low - value, value - usual.high) > _DECADE / 2
        slips = ~back & ~self._linear & beyond & (usual.excess(value + tens * _DECADE) <= FAR)
        return Departures(np.where((by_step | slips) & ~back, excess, 0.0), slips, by_step, tens)

    def expected(self, x: np.ndarray, band: int, *, between: bool) -> tuple[np.ndarray, np.ndarray]:
        """Usual range of every newest value in its own unit: after the value before it, or else at that stage.

        Arguments of `departures`.

        Returns:
            Low and high ends, shape (p,) each; NaN where nothing is usual.
        """
        now, before = self.scaled(x)
        levels, steps = self.usual(band, between=between)
        by_step = self._by_step(now, before, steps)
        usual, base = levels.where(by_step, steps), np.where(by_step, before, 0.0)
        return self._in_unit(base + usual.low), self._in_unit(base + usual.high)

    def without(self, loose: np.ndarray) -> SingleValues:
        """The same without some parameters, booleans of shape (p,); before anything usual was learnt."""
        return replace(self, places=self.places[~loose], previous=self.previous[~loose], floors=self.floors[~loose])

    def widened(self, widths: Sequence[Mapping[str, float]]) -> SingleValues:
        """The same with limits times the width of this check, by maturity band."""
        times = np.array([[width.get(CHECK, 1.0)] for width in widths])
        return replace(self, limits=np.maximum(self.limits, MARGIN) * times)

    def _scale(self, values: np.ndarray) -> np.ndarray:
        return np.where(self._linear, values, np.log(np.where(self._linear, 1.0, np.maximum(values, self.floors))))

    def _in_unit(self, scaled: np.ndarray) -> np.ndarray:
        return np.where(self._linear, scaled, np.exp(np.where(self._linear, 0.0, scaled)))

    @staticmethod
    def _by_step(now: np.ndarray, before: np.ndarray, steps: Ranges) -> np.ndarray:
        """Where the change since the value before is judged: both values are known, and usual changes at that stage."""
        return np.isfinite(now - before) & np.isfinite(steps.low)

    @cached_property
    def _linear(self) -> np.ndarray:
        return np.isnan(self.floors)
