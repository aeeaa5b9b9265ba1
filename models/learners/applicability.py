"""Whether a snapshot lies where the predictor was made for: seven checks, each with a limit taken from later batches.

Every limit is the finite-sample 99 % quantile over held-out training batches that did not fail, later than those that
set location, shape and ranges (`models.learners.applicability_fit`). One row takes a fraction of a millisecond.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from features.errors import ContractError
from models.learners import domain
from models.learners.distance import Ellipsoid, Neighbours, Scaling
from models.learners.domain import NAMED, Domain, Finding
from models.learners.ranges import Ranges

VERSION = 1


@dataclass(frozen=True)
class Limits:
    """What each measure may be at most in a maturity band; infinite where nothing could be measured.

    Attributes:
        n_held_out: Held-out batches behind the limits: with n below 99 the highest of them counts, and about one good
            batch in n + 1 lies above.
        outside: Parameters out of their range.
        excess: Largest excess of a range, in spreads of the tail.
        age: Largest excess of an age, in spreads of the tail.
        distance: Mahalanobis distance per level.
        neighbours: Distance to the nearest known batches.
        stale: Stale parameters.
    """

    n_held_out: int
    outside: float = math.inf
    excess: float = math.inf
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
    """

    starts_h: float
    values: Ranges
    ages: Ranges
    ellipsoid: Ellipsoid | None
    neighbours: Neighbours | None
    limits: Limits


@dataclass(frozen=True, eq=False)
class Measured:
    """What the checks of a row measure, before limits.

    Attributes:
        excess: Of each feature of `valued`, in spreads of the tail.
        outside: Parameters with an excess above the margin.
        ages: Excess of each feature of `aged`.
        distance: Mahalanobis distance per level; NaN where it could not be taken.
        parts: Part of each level of the ellipsoid in the distance.
        neighbours: Distance to the nearest known batches; NaN where it could not be taken.
    """

    excess: np.ndarray
    outside: int
    ages: np.ndarray
    distance: float
    parts: np.ndarray
    neighbours: float


@dataclass(frozen=True, eq=False)
class Applicability:
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
    """

    columns: tuple[str, ...]
    words: dict[str, str]
    parameters: tuple[str, ...]
    level: float
    margin: float
    categories: dict[str, tuple[str, ...]]
    support: dict[str, dict[str, int]]
    min_batches: int
    valued: np.ndarray
    aged: np.ndarray
    loose: tuple[str, ...]
    levels: np.ndarray
    scaling: Scaling
    bands: tuple[Band, ...]
    missing: dict[float, float]

    def band(self, checkpoint_h: float) -> Band:
        """The maturity band of a time after the start."""
        place = int(np.searchsorted(self._starts, checkpoint_h, side="right")) - 1
        return self.bands[max(place, 0)]

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
        return Measured(excess, int(far.sum()), band.ages.excess(x[self.aged]), distance, parts, near)

    def check(
        self,
        x: np.ndarray,
        row: Mapping[str, Any],
        checkpoint_h: float,
        *,
        missing: Sequence[str] = (),
        stale: Mapping[str, float] | None = None,
    ) -> Domain:
        """Whether a score of this row may be trusted.

        Args:
            x: Row of the encoder's matrix, shape (k,).
            row: The same snapshot by feature name, for what the encoder leaves out: names never seen, constant columns.
            checkpoint_h: Hours since the start.
            missing: Parameters of the model without a value (`models.explain.reasons.missing`).
            stale: Parameters older than usual, with their age (`models.explain.reasons.stale`).

        Raises:
            ContractError: `x` is not a row of this predictor's matrix.
        """
        if x.shape != (len(self.columns),):
            raise ContractError(f"a row of shape {x.shape}", expected=f"the {len(self.columns)} columns of the encoder")
        m, band = self.measure(x, checkpoint_h), self.band(checkpoint_h)
        found = [*self._subgroups(row), *self._names(row)]
        ratios: dict[str, float] = {}
        outside = max(
            m.outside / max(band.limits.outside, 1.0), _worst(m.excess) / max(band.limits.excess, self.margin)
        )
        _judge(found, ratios, "range", outside, lambda: self._range(x, m, band))
        _judge(found, ratios, "distance", m.distance / band.limits.distance, lambda: self._distance(m, band))
        _judge(found, ratios, "neighbours", m.neighbours / band.limits.neighbours, lambda: self._near(m, band))
        most = self._most_missing(checkpoint_h)
        _judge(found, ratios, "missing", len(missing) / most, lambda: domain.too_much_missing(missing, most))
        age = _worst(m.ages) / max(band.limits.age, self.margin)
        _judge(found, ratios, "age", age, lambda: self._age(x, m, band))
        old, usual = stale or {}, max(band.limits.stale, 1.0)
        _judge(found, ratios, "stale", len(old) / usual, lambda: domain.stale(old, usual))
        return Domain(tuple(found), ratios)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; what is not known or infinite is null."""
        plain = ("columns", "words", "parameters", "level", "margin", "categories", "support", "min_batches", "loose")
        return {
            "version": VERSION,
            **{name: _plain(getattr(self, name)) for name in plain},
            "valued": self.valued.tolist(),
            "aged": self.aged.tolist(),
            "levels": self.levels.tolist(),
            "scaling": _arrays(self.scaling),
            "bands": [_band_json(band) for band in self.bands],
            "missing": {f"{hours:g}": most for hours, most in self.missing.items()},
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Applicability:
        """Back from `to_json`.

        Raises:
            ContractError: It was written in another version of the format.
        """
        if data["version"] != VERSION:
            raise ContractError(f"applicability version {data['version']}", expected=f"version {VERSION}")
        return cls(
            columns=tuple(data["columns"]),
            words=data["words"],
            parameters=tuple(data["parameters"]),
            level=data["level"],
            margin=data["margin"],
            categories={name: tuple(names) for name, names in data["categories"].items()},
            support=data["support"],
            min_batches=data["min_batches"],
            valued=np.array(data["valued"], int),
            aged=np.array(data["aged"], int),
            loose=tuple(data["loose"]),
            levels=np.array(data["levels"], int),
            scaling=Scaling(**{name: _array(value) for name, value in data["scaling"].items()}),
            bands=tuple(_band(band) for band in data["bands"]),
            missing={float(hours): most for hours, most in data["missing"].items()},
        )

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.array([band.starts_h for band in self.bands])

    @cached_property
    def _groups(self) -> np.ndarray:
        """First place of each parameter among `valued`."""
        names = [self.parameters[place] for place in self.valued]
        return np.array([i for i, name in enumerate(names) if i == 0 or name != names[i - 1]], int)

    @cached_property
    def _missing_at(self) -> tuple[np.ndarray, list[float]]:
        return np.array(list(self.missing)), list(self.missing.values())

    def _most_missing(self, checkpoint_h: float) -> float:
        """The limit of the checkpoint before: until the next one a batch may still lack what that one will have."""
        hours, most = self._missing_at
        place = int(np.searchsorted(hours, checkpoint_h, side="right")) - 1
        return max(most[place], 1.0) if place >= 0 else math.inf

    def _subgroups(self, row: Mapping[str, Any]) -> list[Finding]:
        found = []
        for feature, counts in self.support.items():
            value = _name(row.get(feature))
            if value is not None and counts.get(value, 0) < self.min_batches:
                found.append(
                    domain.unsupported(feature, self.words[feature], value, counts.get(value, 0), self.min_batches)
                )
        return found

    def _names(self, row: Mapping[str, Any]) -> list[Finding]:
        found = []
        for feature, names in self.categories.items():
            value = _name(row.get(feature))
            if value is not None and value not in names:
                found.append(domain.unseen(feature, self.words[feature], value, names))
        return found

    def _range(self, x: np.ndarray, m: Measured, band: Band) -> Finding:
        worst = self._one_per_parameter(m.excess, self.valued)
        place = worst[0]
        said = self._said(x, self.valued[place], band.values, place)
        return domain.out_of_range(
            tuple(self.columns[self.valued[i]] for i in worst),
            said,
            n=m.outside,
            most=band.limits.outside,
            excess=float(m.excess[place]),
            limit=max(band.limits.excess, self.margin),
        )

    def _age(self, x: np.ndarray, m: Measured, band: Band) -> Finding:
        worst = self._one_per_parameter(m.ages, self.aged)
        said = self._said(x, self.aged[worst[0]], band.ages, worst[0])
        subjects = tuple(self.parameters[self.aged[i]] for i in worst)
        return domain.older(subjects, said, float(m.ages[worst[0]]), max(band.limits.age, self.margin))

    def _distance(self, m: Measured, band: Band) -> Finding:
        order = np.argsort(-m.parts, kind="stable")[:NAMED]
        subjects = tuple(self.columns[self.levels[band.ellipsoid.places[i]]] for i in order)
        words = [self.words[name] for name in subjects]
        return domain.far(subjects, words, m.distance, band.limits.distance)

    def _near(self, m: Measured, band: Band) -> Finding:
        return domain.no_neighbour(m.neighbours, band.limits.neighbours)

    def _one_per_parameter(self, excess: np.ndarray, places: np.ndarray) -> list[int]:
        """Places of the largest excesses, one for each parameter, at most a few."""
        chosen: dict[str, int] = {}
        for i in np.argsort(-excess, kind="stable"):
            if len(chosen) == NAMED or excess[i] <= 0:
                break
            chosen.setdefault(self.parameters[places[i]], int(i))
        return list(chosen.values())

    def _said(self, x: np.ndarray, column: int, ranges: Ranges, place: int) -> str:
        value, low, high = x[column], ranges.low[place], ranges.high[place]
        return f"{self.words[self.columns[column]]} {value:.4g}, seen {low:.4g} to {high:.4g}"


def _judge(found: list[Finding], ratios: dict[str, float], check: str, ratio: float, finding: Any) -> None:
    if math.isnan(ratio):
        return
    ratios[check] = float(ratio)
    if ratio > 1:
        found.append(finding())


def _worst(excess: np.ndarray) -> float:
    return float(excess.max()) if len(excess) else 0.0


def _name(value: Any) -> str | None:
    if value is None or value != value:  # NaN and NA are no names
        return None
    return value if isinstance(value, str) else f"{value:g}"


def _plain(value: Any) -> Any:
    return (
        {k: _plain(v) for k, v in value.items()}
        if isinstance(value, dict)
        else (list(value) if isinstance(value, tuple) else value)
    )


def _arrays(item: Any) -> dict[str, Any]:
    return {name: _nulls(value) for name, value in vars(item).items()}


def _nulls(value: np.ndarray) -> Any:
    if value.dtype.kind == "i":
        return value.tolist()
    return np.where(np.isfinite(value), value.astype(object), None).tolist()


def _array(value: Any) -> np.ndarray:
    return np.array(value, dtype=float)


def _band_json(band: Band) -> dict[str, Any]:
    limits = {name: (v if math.isfinite(v) else None) for name, v in asdict(band.limits).items()}
    parts = {
        name: _arrays(p) if (p := getattr(band, name)) else None
        for name in ("values", "ages", "ellipsoid", "neighbours")
    }
    return {"starts_h": band.starts_h, "limits": limits, **parts}


def _band(data: dict[str, Any]) -> Band:
    limits = Limits(**{name: math.inf if v is None else v for name, v in data["limits"].items()})

    def of(kind: Any, name: str) -> Any:
        part = data[name]
        return kind(**{k: np.array(v, int) if k == "places" else _array(v) for k, v in part.items()}) if part else None

    return Band(
        data["starts_h"],
        of(Ranges, "values"),
        of(Ranges, "ages"),
        of(Ellipsoid, "ellipsoid"),
        of(Neighbours, "neighbours"),
        limits,
    )
