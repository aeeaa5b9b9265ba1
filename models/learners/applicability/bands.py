"""What training saw in each maturity band, and how far a row may lie from it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from models.learners.applicability.distance import Ellipsoid, Neighbours
from models.learners.applicability.ranges import Ranges

_PARTS: dict[str, Any] = {"values": Ranges, "ages": Ranges, "ellipsoid": Ellipsoid, "neighbours": Neighbours}


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
    outside: float = math.inf
    excess: float = math.inf
    shift: float = math.inf
    age: float = math.inf
    distance: float = math.inf
    neighbours: float = math.inf
    stale: float = math.inf


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

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; what is not known or infinite is null."""
        limits = {name: v if math.isfinite(v) else None for name, v in asdict(self.limits).items()}
        parts = {name: arrays_to_json(part) if (part := getattr(self, name)) else None for name in _PARTS}
        return {"starts_h": self.starts_h, "limits": limits, "reach": self.reach, **parts}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Band:
        """Back from `to_json`."""
        found = data["limits"]
        limits = Limits(
            found["n_held_out"], **{k: math.inf if v is None else v for k, v in found.items() if k != "n_held_out"}
        )
        parts: dict[str, Any] = {
            name: arrays_from_json(kind, data[name]) if data[name] else None for name, kind in _PARTS.items()
        }
        return cls(starts_h=data["starts_h"], limits=limits, reach=data["reach"], **parts)


def arrays_to_json(item: Any) -> dict[str, Any]:
    """A dataclass of arrays as lists; NaN is null."""
    return {field.name: _nulls(getattr(item, field.name).tolist()) for field in fields(item)}


def arrays_from_json(kind: Any, data: dict[str, Any]) -> Any:
    """Back from `arrays_to_json`."""
    return kind(**{name: np.array(value, int if name == "places" else float) for name, value in data.items()})


def _nulls(value: Any) -> Any:
    if isinstance(value, list):
        return [_nulls(entry) for entry in value]
    return None if value != value else value
