"""The plant itself: sites with their effects, suites with excursions, units of equipment, operators, scales."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pipelines.simulator.settings import SimulationSettings, Stream, stream

SUITES = ("S1", "S2")
NOVICE_RUNS = 10
MAINTENANCE_H = 3000.0  # hours of use after which a unit is due
EXCURSION_PER_DAY = 0.006
STAFF = 7


@dataclass(frozen=True)
class Scale:
    """A vessel: kLa follows power per volume, with one exponent for rockers and one for stirred vessels."""

    power_w_m3: float
    exponent: float
    tip_speed_m_s: float

    @property
    def kla_factor(self) -> float:
        """Oxygen transfer (kLa) relative to the 0.25 L rocker."""
        return (self.power_w_m3 / 10.0) ** self.exponent

    @property
    def shear_death(self) -> float:
        """Added death rate per h."""
        return 0.002 * max(0.0, self.tip_speed_m_s - 1.5)


SCALES = {
    0.25: Scale(10.0, 0.5, 0.0),  # rocker
    1.0: Scale(10.5, 0.5, 0.0),  # rocker
    5.0: Scale(12.0, 0.4, 0.9),  # stirred
    50.0: Scale(14.0, 0.4, 1.7),  # stirred
}


@dataclass
class Unit:
    """One bioreactor: free from when, used how long since maintenance."""

    equipment_id: str
    suite: str
    scale_l: float
    free_at: float
    used_h: float
    due_h: float


@dataclass
class Operator:
    """One operator under a pseudonym; a joiner starts without runs."""

    person_key: str
    joins_at: float
    runs: int


@dataclass
class Site:
    """A site: its effects on every batch and measurement, its units, its people, its suites' excursions."""

    seed: int
    index: int
    site_id: str
    mu: float
    kla: float
    recovery: float
    count_bias: float
    car_bias: float
    em_level: float
    sterility_days: tuple[float, float]
    operators: list[Operator]
    units: list[Unit] = field(default_factory=list)
    excursions: dict[str, np.ndarray] = field(default_factory=dict)  # per suite: (start h, end h, seen) rows
    running: list[float] = field(default_factory=list)  # ends of the batches under way

    def unit_for(self, at: float, scale_l: float) -> Unit:
        """The longest-rested free unit of that scale, maintained when due; a new one where none is free."""
        free = [u for u in self.units if u.scale_l == scale_l and u.free_at <= at]
        if not free:
            number = len(self.units) + 1
            suite = SUITES[number % len(SUITES)]
            age = float(stream(self.seed, Stream.SITE, self.index, number).uniform(0.0, 0.8)) * MAINTENANCE_H
            unit = Unit(f"{self.site_id}-BR{number:02d}", suite, scale_l, at, age, MAINTENANCE_H)
            self.units.append(unit)
            return unit
        unit = min(free, key=lambda u: u.free_at)
        if unit.used_h >= unit.due_h:
            unit.used_h = 0.0
        return unit

    def concurrent(self, at: float) -> int:
        """Batches under way at that time."""
        self.running = [end for end in self.running if end > at]
        return len(self.running)

    def team(self, at: float) -> list[Operator]:
        """Operators who have joined."""
        return [o for o in self.operators if o.joins_at <= at]

    def excursion_within(self, suite: str, at: np.ndarray, before_h: float = 24.0) -> np.ndarray:
        """For each time, whether an excursion of that suite began or went on within the hours before."""
        rows = self.excursions[suite]
        starts, ends = rows[:, :1], rows[:, 1:2]
        return np.any((starts <= at) & (ends >= at - before_h), axis=0)


def build_sites(settings: SimulationSettings, first: float, last: float) -> list[Site]:
    """All sites at the first start."""
    return [_site(settings.seed, i, first, last) for i in range(settings.n_sites)]


def _site(seed: int, index: int, first: float, last: float) -> Site:
    rng = stream(seed, Stream.SITE, index)
    site_id = f"SITE-{index + 1}"
    joins = [-np.inf] * (STAFF - 2) + sorted(rng.uniform(first, last, STAFF).tolist())
    operators = [
        Operator("OP-" + rng.bytes(3).hex(), float(at), int(rng.integers(5, 120)) if n < STAFF - 2 else 0)
        for n, at in enumerate(joins)
    ]
    site = Site(
        seed=seed,
        index=index,
        site_id=site_id,
        mu=float(np.exp(rng.normal(0.0, 0.04))),
        kla=float(1.0 + rng.uniform(-0.10, 0.10)),
        recovery=float(rng.uniform(-0.04, 0.04)),
        count_bias=float(1.0 + rng.uniform(-0.05, 0.05)),
        car_bias=float(rng.uniform(-3.0, 3.0)),
        em_level=float(rng.uniform(0.7, 1.5)),
        sterility_days=(3.0, 7.0) if index % 3 != 2 else (14.0, 14.5),
        operators=operators,
    )
    for number, suite in enumerate(SUITES):
        site.excursions[suite] = _excursions(stream(seed, Stream.SUITE, index, number), first, last)
    return site


def _excursions(rng: np.random.Generator, first: float, last: float) -> np.ndarray:
    n = rng.poisson(EXCURSION_PER_DAY * (last - first) / 24.0)
    starts = np.sort(rng.uniform(first, last, n))
    seen = rng.random(n) < 0.5  # the plates miss the other half
    return np.column_stack([starts, starts + rng.uniform(6.0, 48.0, n), seen])
