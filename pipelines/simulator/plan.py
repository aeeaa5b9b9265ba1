"""The plan of the plant: every batch in order of start, with its circumstances, faults, course and decision.

One pass in time, because what happens to a batch depends on what was known before its start: lots withdrawn, patients
made again, operators' experience, hours of use of the equipment. Nothing here is measured or written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pipelines.simulator import kinetics
from pipelines.simulator.biology import Biology, draw_biology, kinetic_parameters
from pipelines.simulator.causes import Circumstances, draw_faults
from pipelines.simulator.donors import Donor, collect, draw_donor
from pipelines.simulator.faults import DURATION_H, Fault, apply
from pipelines.simulator.lots import MATERIALS, Lot, LotBook
from pipelines.simulator.outcome import Formulation, Outcome, OutcomeDraws, decide, final_product
from pipelines.simulator.settings import SimulationSettings, Stream, hours, stream
from pipelines.simulator.sites import SCALES, Site, Unit, build_sites
from pipelines.simulator.starts import batch_name, starts

DT_H = 0.1


@dataclass(frozen=True)
class BatchPlan:
    """One batch: everything that is true of it; `start` in hours since 1970."""

    index: int
    batch_id: str
    start: float
    site: Site
    suite: str
    equipment_id: str
    scale_l: float
    version: str
    lots: dict[str, Lot]
    operators: tuple[str, ...]
    circumstances: Circumstances
    thaw_to_use_min: float
    biology: Biology
    draws: OutcomeDraws
    faults: tuple[Fault, ...]
    outcome: Outcome
    doses: float
    car_shift: float

    def record(self, without: str = "") -> tuple[np.void, Biology, float]:
        """Kinetic parameters, biology and harvest shock, with all faults or all but one mode."""
        scale, site, biology = SCALES[self.scale_l], self.site, self.biology
        kla = 14.0 * site.kla * scale.kla_factor * float(np.exp(0.1 * self.draws.noise[39]))
        p = kinetic_parameters(biology, kla)
        p["mu"] *= site.mu
        p["shear_death"], p["volume0"] = scale.shear_death, 0.15 * self.doses
        if self.version == "2":  # richer medium, earlier perfusion, polymeric activator
            p["mu"] *= 1.06
            p["lactate_yield"] -= 0.15
            p["bicarbonate"], p["perfusion_start"] = 30.0, 84.0
            p["t_on"] -= 4.0
        activation, vector = self.circumstances.activation, self.circumstances.vector
        if not activation.bad:
            p["t_on"] += 20.0 * (1.0 - activation.factor)
        at_use = self.start + 24.0
        strength = vector.strength(at_use) / (vector.factor if vector.bad else 1.0)
        held = 0.7 if self.thaw_to_use_min > 90.0 else 1.0
        biology = replace(biology, moi=biology.moi * strength * held, recovery=biology.recovery + site.recovery)
        biology, shock = apply((f for f in self.faults if f.mode != without), p, biology)
        return p, biology, shock

    def course(self, without: str = "", record_every: int = 10) -> np.ndarray:
        """Its trajectory (records, channels), hourly at the default."""
        return kinetics.run_recorded(np.array([self.record(without)[0]]), DT_H, record_every)[0]

    def outcome_without(self, mode: str) -> Outcome:
        """Outcome of the same batch, from the same random draws, without one fault."""
        _, biology, shock = self.record(mode)
        course = self.course(mode)
        product = final_product(course, biology, shock, self.car_shift)
        return decide(course, product, self.draws, self.site, self.doses, self.start)

    @property
    def decided_at(self) -> float:
        """When its disposition is made, in hours since 1970."""
        return self.start + self.outcome.decided_h


@dataclass(frozen=True)
class PlantPlan:
    """All batches in order of start, the lots and the sites."""

    settings: SimulationSettings
    first: float
    until: float
    batches: list[BatchPlan]
    lots: list[Lot]
    sites: list[Site]


def plan_plant(settings: SimulationSettings, progress: Callable[[int, int], None] | None = None) -> PlantPlan:
    """Run the plant through its calendar."""
    first, until = hours(settings.first), hours(settings.until)
    sites, book = build_sites(settings, first, until), LotBook(settings.seed)
    planner = _Planner(settings, sites, book, first, until)
    total = settings.n_batches + settings.n_in_progress
    for done, (at, in_progress) in enumerate(starts(settings, first, until)):
        planner.plan(done, at, in_progress)
        if progress is not None:
            progress(done + 1, total)
    batches = sorted(planner.batches, key=lambda b: b.start)
    named = [replace(b, index=i, batch_id=batch_name(i, b.start)) for i, b in enumerate(batches)]
    return PlantPlan(settings, first, until, named, book.lots, sites)


class _Planner:
    """The state that goes from one start to the next."""

    def __init__(
        self, settings: SimulationSettings, sites: list[Site], book: LotBook, first: float, until: float
    ) -> None:
        self.settings, self.sites, self.book, self.first, self.until = settings, sites, book, first, until
        self.batches: list[BatchPlan] = []
        self.again: list[tuple[float, Donor]] = []  # patients to make again, from when
        self.change_at = first + settings.change_at * (until - first)

    def plan(self, index: int, start: float, in_progress: bool) -> None:
        """Plan one batch and bring the plant's state to its end."""
        rng = stream(self.settings.seed, Stream.BATCH, index)
        site = self.sites[int(rng.integers(len(self.sites)))]
        scale_l = self.settings.scales_l[int(rng.integers(len(self.settings.scales_l)))]
        donor = self._donor(start, rng)
        unit = site.unit_for(start, scale_l)
        lots = {m.name: self.book.take(m, site.index % 2, start, index) for m in MATERIALS}
        batch = self._circumstances(index, start, site, unit, donor, lots, rng)
        if in_progress and batch.decided_at <= self.until:  # not decided yet: so it started later
            later = self.until - 0.7 * batch.outcome.stop_h
            batch = _decided(replace(batch, start=round(later * 60.0) / 60.0))
        self._record(batch, unit)

    def _donor(self, start: float, rng: np.random.Generator) -> Donor:
        fresh = draw_donor(rng)
        ready = [entry for entry in self.again if entry[0] <= start]
        if not ready:
            return fresh
        self.again.remove(ready[0])
        return collect(ready[0][1], rng)

    def _circumstances(self, index: int, start: float, site: Site, unit: Unit, donor: Donor, lots: dict[str, Lot],
                       rng: np.random.Generator) -> BatchPlan:  # fmt: skip
        team = site.team(start)
        who = [team[i] for i in rng.permutation(len(team))[:3]]
        interventions = _interventions(rng)
        hour, concurrent = start % 24.0, site.concurrent(start) + 1
        facts = Circumstances(
            donor=donor,
            vector=lots["vector"],
            activation=lots["activation_reagent"],
            operator_runs=who[0].runs,
            night=bool(hour >= 18.5 or hour < 6.0),
            concurrent=concurrent,
            busy=concurrent > self.settings.busy_above,
            equipment_used_h=unit.used_h,
            maintenance_h=unit.due_h,
            integrity_retest=bool(rng.random() < 0.012),
            interventions_h=interventions,
            near_excursion=site.excursion_within(unit.suite, start + interventions),
        )
        thaw_min = float(45.0 * np.exp(0.4 * rng.standard_normal()))
        changed = start >= self.change_at and self.settings.process_change != "none"
        biology = draw_biology(rng, donor.fit)
        draws = OutcomeDraws.draw(rng)
        faults = draw_faults(facts, self.settings, rng)
        return _decided(BatchPlan(
            index=index, batch_id="", start=start, site=site, suite=unit.suite, equipment_id=unit.equipment_id,
            scale_l=unit.scale_l, version="2" if changed else "1", lots=lots,
            operators=tuple(o.person_key for o in who), circumstances=facts, thaw_to_use_min=thaw_min,
            biology=biology, draws=draws, faults=faults, outcome=_UNDECIDED, doses=unit.scale_l / 0.25,
            car_shift=-6.0 if changed and self.settings.process_change == "not_comparable" else 0.0,
        ))  # fmt: skip

    def _record(self, batch: BatchPlan, unit: Unit) -> None:
        end = batch.start + batch.outcome.stop_h
        unit.free_at, unit.used_h = end + 24.0, unit.used_h + batch.outcome.stop_h
        batch.site.running.append(end)
        next(o for o in batch.site.operators if o.person_key == batch.operators[0]).runs += 1
        if batch.outcome.failed:
            for name in ("vector", "activation_reagent"):
                batch.lots[name].known_failures.append(batch.decided_at)
            if batch.draws.uniform[59] < 0.6:
                wait = 24.0 * (10.0 + 20.0 * batch.draws.uniform[58])
                self.again.append((batch.decided_at + wait, batch.circumstances.donor))
        self.batches.append(batch)


def _decided(batch: BatchPlan) -> BatchPlan:
    return replace(batch, outcome=batch.outcome_without(""))


def _interventions(rng: np.random.Generator) -> np.ndarray:
    """Hours of the manual manipulations: additions, bag changes, filter changes, samplings."""
    planned = [0.5, 24.0, 48.0, 84.0, *range(97, 216, 36), *range(26, 216, 24)]
    random = rng.uniform(10.0, 210.0, 2)
    return np.sort(np.concatenate([np.array(planned, float) + rng.uniform(-0.4, 1.5, len(planned)), random]))


_UNDECIDED = Outcome("", (), DURATION_H, DURATION_H, (), Formulation(0, 0, 0, 0, 0, 0))
