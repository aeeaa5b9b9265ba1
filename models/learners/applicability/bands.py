"""What training saw in each maturity band, and how far a row may lie from it."""

from __future__ import annotations

import math
from dataclasses import dataclass

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
        reach: Per check the highest ratio that a failed training batch reached: how far out a failure is known to go.
    """

    starts_h: float
    values: Ranges
    ages: Ranges
    ellipsoid: Ellipsoid | None
    neighbours: Neighbours | None
    limits: Limits
    reach: dict[str, float]
