"""From a batch's course to its release assays, their turnaround and the decision about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.simulator.biology import Biology
from pipelines.simulator.kinetics import CHANNEL
from pipelines.simulator.sites import Site

# The product's specification (domain default): outside is out of specification.
SPECIFICATION: dict[str, tuple[float | None, float | None]] = {
    "final_viability_pct": (80.0, None),
    "dose_viable_car_e8": (2.0, None),
    "final_car_pct": (15.0, None),
    "vcn": (None, 5.0),
    "sterility_growth": (None, 0.5),
}
NEAR_MISS = {"final_viability_pct": 70.0, "dose_viable_car_e8": 1.2, "final_car_pct": 10.0}
OOS_NAMES = {
    "final_viability_pct": "low_viability", "dose_viable_car_e8": "low_dose", "final_car_pct": "low_car",
    "vcn": "high_vcn", "sterility_growth": "sterility_failure",
}  # fmt: skip
WASH_LOSS = 0.03
SAMPLED_ML = 10.0  # tested for sterility


@dataclass(frozen=True)
class OutcomeDraws:
    """All random numbers behind a batch's assays and decisions, drawn before its course is known."""

    noise: np.ndarray  # standard normal
    uniform: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator) -> OutcomeDraws:
        """Always the same number of draws."""
        return cls(rng.standard_normal(40), rng.random(60))


@dataclass(frozen=True)
class Formulation:
    """True attributes of the formulated product."""

    viability: float
    viable_e9: float
    recovery: float
    car_pct: float
    vcn: float
    bacteria_cfu_ml: float


@dataclass(frozen=True)
class Result:
    """One release result; times in hours since the batch's start."""

    parameter: str
    value: float
    observed_h: float
    available_h: float


@dataclass(frozen=True)
class Outcome:
    """What became of a batch; times in hours since its start."""

    outcome: str
    failure_modes: tuple[str, ...]
    stop_h: float
    decided_h: float
    results: tuple[Result, ...]
    product: Formulation

    @property
    def failed(self) -> bool:
        """Whether the default process definition calls it failed."""
        return self.outcome in ("rejected", "terminated")


def final_product(course: np.ndarray, biology: Biology, shock: float, car_shift: float) -> Formulation:
    """True product attributes from the last recorded state; `biology` with faults already in it."""
    last = course[-1]
    viable, dead = last[CHANNEL["viable_e6_ml"]], last[CHANNEL["dead_e6_ml"]]
    m = biology.moi
    untransduced = (1.0 + m / 2.0) ** -2.0
    car = 100.0 * (1.0 - untransduced) + biology.car_noise + car_shift
    viability = viable / (viable + dead) - WASH_LOSS - shock + biology.shock_noise
    return Formulation(
        viability=float(np.clip(viability, 0.0, 1.0)),
        viable_e9=float(viable * last[CHANNEL["volume_l"]]),
        recovery=float(np.clip(biology.recovery - 0.8 * shock, 0.2, 0.98)),
        car_pct=float(np.clip(car, 0.1, 99.0)),
        vcn=float(m / (1.0 - untransduced)),
        bacteria_cfu_ml=float(last[CHANNEL["bacteria_cfu_ml"]]),
    )


def release_results(
    product: Formulation, draws: OutcomeDraws, site: Site, doses: float, start: float
) -> tuple[Result, ...]:
    """Release assays of a harvested batch, each with its turnaround, QC queue and the weekend in between."""
    z, u = draws.noise, draws.uniform
    viability = 100.0 * product.viability + 1.2 * z[0]
    car = product.car_pct + site.car_bias + 2.0 * z[1]
    total = product.viable_e9 * product.recovery * site.count_bias * np.exp(0.06 * z[2])
    growth = u[0] < -np.expm1(-product.bacteria_cfu_ml * SAMPLED_ML)
    gram = u[1] < product.bacteria_cfu_ml / (product.bacteria_cfu_ml + 1e5)
    low, high = site.sterility_days
    measured = (  # parameter, value, turnaround in h from .. to
        ("final_viability_pct", viability, 0.25, 1.0),
        ("final_viable_e9", total, 0.25, 1.0),
        ("wash_recovery_pct", 100.0 * product.recovery, 0.25, 1.0),
        ("endotoxin_eu_ml", 0.05 * np.exp(0.5 * z[3]) + 1e-8 * min(product.bacteria_cfu_ml, 1e9), 0.5, 2.0),
        ("gram_stain", float(gram), 1.0, 2.0),
        ("final_car_pct", car, 4.0, 24.0),
        ("dose_viable_car_e8", 10.0 * total * max(car, 0.1) / 100.0 / doses, 4.0, 24.0),
        ("cd3_purity_pct", 97.0 + 1.5 * z[4], 4.0, 24.0),
        ("residual_beads_per_3e6", 15.0 * np.exp(0.6 * z[5]), 4.0, 24.0),
        ("vcn", product.vcn * (1.0 + 0.15 * z[6]), 24.0, 96.0),
        ("potency_ifng_pg_ml", 2500.0 * np.exp(0.35 * z[7]) * max(car, 0.1) / 42.0, 24.0, 96.0),
        ("mycoplasma", 0.0, 4.0, 24.0),
        ("rcl", 0.0, 24.0, 72.0),
        ("sterility_growth", float(growth), 24.0 * low, 24.0 * high),
    )
    harvest, results = 216.0 + 0.5 + u[2], []
    for i, (name, value, fast, slow) in enumerate(measured):
        turnaround = fast + (slow - fast) * u[5 + i]
        queue = 0.0 if slow <= 1.0 else min(48.0, 3.0 * np.exp(0.8 * z[10 + i]))
        available = _after_weekend(start + harvest + turnaround + queue, u[25 + i]) - start
        ceiling = 100.0 if name.endswith("_pct") else np.inf
        results.append(Result(name, float(np.clip(value, 0.0, ceiling)), harvest, available))
    return tuple(results)


def decide(
    course: np.ndarray, product: Formulation, draws: OutcomeDraws, site: Site, doses: float, start: float
) -> Outcome:
    """The plant's decision: terminate on the way, cancel, release, release out of specification or reject."""
    u = draws.uniform
    cancelled_h = 3.0 + 210.0 * u[41] if u[40] < 0.015 else np.inf
    reason, terminated_h = _terminated(course, draws, doses)
    if min(cancelled_h, terminated_h) < 216.0:
        early = cancelled_h < terminated_h
        at = min(cancelled_h, terminated_h)
        return Outcome("cancelled" if early else "terminated", () if early else (reason,), at, at, (), product)
    results = release_results(product, draws, site, doses, start)
    by_name = {r.parameter: r for r in results}
    bad = [name for name, (low, high) in SPECIFICATION.items() if _outside(by_name[name].value, low, high)]
    modes = tuple(OOS_NAMES[name] for name in bad)
    if not bad:
        done = max(r.available_h for r in results)
        review = min(96.0, 26.0 * np.exp(0.5 * draws.noise[35]))
        return Outcome("released", (), 216.0, _after_weekend(start + done + review, u[42]) - start, results, product)
    near = all(name in NEAR_MISS and by_name[name].value >= NEAR_MISS[name] for name in bad)
    seen = max(by_name[name].available_h for name in bad)
    decided = seen + 24.0 * (2.0 + 6.0 * u[43])
    if near and u[44] < 0.45:  # supplied on the physician's request: waits for the other results
        decided = max(decided, max(r.available_h for r in results)) + 24.0 * (1.0 + 2.0 * u[45])
        return Outcome("released_oos", modes, 216.0, decided, results, product)
    return Outcome("rejected", modes, 216.0, decided, results, product)


def _terminated(course: np.ndarray, draws: OutcomeDraws, doses: float) -> tuple[str, float]:
    """Reason and hour of a termination at one of the daily reviews; infinity where none happens."""
    for day in range(2, 9):
        hour = 24 * day
        row, u = course[hour], draws.uniform[45 + day]
        viable, dead = row[CHANNEL["viable_e6_ml"]], row[CHANNEL["dead_e6_ml"]]
        viability = 100.0 * viable / (viable + dead) + 1.8 * draws.noise[24 + day]
        seen_h = hour + 2.0 + 6.0 * u
        if row[CHANNEL["bacteria_cfu_ml"]] > 1e7:
            return "contamination_suspected", seen_h
        if day >= 4 and viability < 50.0:
            return "low_viability", seen_h
        if day >= 7 and viable * row[CHANNEL["volume_l"]] / doses < 0.22 and u < 0.7:
            return "poor_growth", seen_h
    return "", np.inf


def _outside(value: float, low: float | None, high: float | None) -> bool:
    return (low is not None and value < low) or (high is not None and value > high)


def _after_weekend(at: float, u: float) -> float:
    """Results and signatures that fall on a weekend wait 24-48 h."""
    day = int(at // 24.0 + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    return at + 24.0 + 24.0 * u if day >= 5 else at
