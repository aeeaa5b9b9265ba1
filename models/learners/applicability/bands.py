"""What training saw in each maturity band, and how far a row may lie from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np

from models.learners.applicability.distance import Ellipsoid, Neighbours
from models.learners.applicability.ranges import Ranges
from models.persistence import Upper


@dataclass(frozen=True)
class Limits:
    """What each measure may be at most in a maturity band; infinite where nothing could be measured.

    Attributes:
        n_held_out: Held-out batches behind the limits: with n below 99 the highest of them counts, and about one good
            batch in n + 1 lies above.
        outside: Parameters out of their range.
        excess: Largest excess of a range, in spreads of the tail.
        shift: Largest excess that all level features of one parameter share.
        age: Largest excess of an age, in spreads of the tail.
        distance: Mahalanobis distance per level.
        neighbours: Distance to the nearest known batches.
        stale: Stale parameters.
    """

    n_held_out: int
    outside: Upper = math.inf
    excess: Upper = math.inf
    shift: Upper = math.inf
    age: Upper = math.inf
    distance: Upper = math.inf
    neighbours: Upper = math.inf
    stale: Upper = math.inf

    def wider(self, other: Limits) -> Limits:
        """The higher one of each limit; `n_held_out` is the smaller one."""
        pairs = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return Limits(**{name: min(a, b) if name == "n_held_out" else max(a, b) for name, a, b in pairs})

    def widened(self, widths: Mapping[str, float]) -> Limits:
        """Each limit times the width of its check; the three measures of `range` share one."""
        of_check = {name: name for name in ("age", "distance", "neighbours", "stale")}
        of_check |= dict.fromkeys(("outside", "excess", "shift"), "range")
        wider = {name: getattr(self, name) * widths.get(check, 1.0) for name, check in of_check.items()}
        return replace(self, **wider)


@dataclass(frozen=True, eq=False)
class Band:
    """What was seen in a maturity band.

    Attributes:
        starts_h: From this time after the start on; the first band holds earlier times as well.
        values: Ranges of the features of `Applicability.valued`.
        ages: Ranges of the features of `Applicability.aged`.
        ellipsoid: Shape of the levels; None where too few batches have them.
        neighbours: Known batches; None where one ellipsoid is enough.
        limits: Of this band.
    """

    starts_h: float
    values: Ranges
    ages: Ranges
    ellipsoid: Ellipsoid | None
    neighbours: Neighbours | None
    limits: Limits

    def until(self, later: Band) -> Band:
        """This band between its last checkpoint and the first one of the next band.

        What grows with the batch lies between the values of both, so values and ages are held to the interval that the
        two bands span, and to the wider limits; levels are scaled along a straight line (`Scaling.z`).
        """
        return replace(
            self,
            values=self.values.hull(later.values),
            ages=self.ages.hull(later.ages),
            limits=self.limits.wider(later.limits),
        )


def upper_limit(worst: np.ndarray, level: float) -> float:
    """The finite-sample quantile: of n values the ceil((n + 1) level)-th smallest, at most the largest.

    A new value from the same distribution lies above with a probability of at most 1 - level (1 / (n + 1) where n is
    too small for the level; Vovk, Gammerman and Shafer, 2005). Infinite without values.
    """
    n = len(worst)
    return float(np.sort(worst)[min(math.ceil((n + 1) * level), n) - 1]) if n else math.inf
