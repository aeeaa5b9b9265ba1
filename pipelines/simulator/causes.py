"""From what the record shows to what goes wrong: the probability of each mode in one batch's circumstances."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipelines.simulator.donors import Donor
from pipelines.simulator.faults import MODES, Fault, draw_fault
from pipelines.simulator.lots import Lot
from pipelines.simulator.settings import SimulationSettings
from pipelines.simulator.sites import NOVICE_RUNS

# Means of the hazard factors below over the default plant: dividing by them keeps the priors.
MEAN_CONTAMINATION, MEAN_HANDLING, MEAN_WEAR = 1.38, 1.90, 0.97
LEARNING_RUNS = 40.0
UNSCALED_RATE, SCALED_RATE = 0.009, 0.050  # failures by nature and lots, and by all other causes, default plant


@dataclass(frozen=True)
class Circumstances:
    """What is known about how a batch is made."""

    donor: Donor
    vector: Lot
    activation: Lot
    operator_runs: int
    night: bool
    concurrent: int
    busy: bool  # more batches side by side than the site is staffed for
    equipment_used_h: float
    maintenance_h: float
    integrity_retest: bool
    interventions_h: np.ndarray  # since start
    near_excursion: np.ndarray  # per intervention


def intensity(settings: SimulationSettings) -> float:
    """Factor on all harmful priors but those of the lots that reaches the wanted base rate."""
    if settings.base_rate is None:
        return 1.0
    return max(0.0, (settings.base_rate - UNSCALED_RATE) / SCALED_RATE)


def probabilities(c: Circumstances) -> dict[str, float]:
    """Probability of each mode; the lots decide M2 and M3."""
    handling = (1.5 if c.night else 1.0) * (2.0 if c.busy else 1.0) * (1.0 + np.exp(-c.operator_runs / LEARNING_RUNS))
    handling /= MEAN_HANDLING
    wear = 2.0 * (c.equipment_used_h / c.maintenance_h) / MEAN_WEAR  # Weibull hazard with shape 2
    contamination = contamination_weights(c).sum() / 18.0 / MEAN_CONTAMINATION
    fitness = 1.0 / (1.0 + np.exp(-c.donor.fitness_log_odds))
    out = {mode: spec.prior for mode, spec in MODES.items()}
    out |= {"M1": float(fitness), "M2": float(c.activation.bad), "M3": float(c.vector.bad)}
    out |= {mode: out[mode] * contamination for mode in ("M4", "M5")}
    out |= {mode: out[mode] * wear for mode in ("M6", "M7", "M8", "M10")}
    out |= {mode: out[mode] * handling for mode in ("M9", "M11")}
    return out


def contamination_weights(c: Circumstances) -> np.ndarray:
    """Relative hazard of each intervention."""
    operator = 1.8 if c.operator_runs < NOVICE_RUNS else 1.0
    return (1.0 + 3.0 * c.near_excursion) * operator * (10.0 if c.integrity_retest else 1.0)


def draw_faults(c: Circumstances, settings: SimulationSettings, rng: np.random.Generator) -> tuple[Fault, ...]:
    """The faults of one batch; the number of draws does not depend on what they say."""
    chances, factor, faults = probabilities(c), intensity(settings), []
    for mode, spec in MODES.items():
        u, pick = rng.random(2)
        fault = draw_fault(mode, rng, {"M2": c.activation.factor, "M3": c.vector.factor}.get(mode, 1.0))
        chance = chances[mode] * settings.mode_rates.get(mode, 1.0)
        chance *= 1.0 if spec.benign or mode in ("M2", "M3") else factor
        if u < chance:
            chain, entry = _chain(mode, c, pick)
            faults.append(replace(fault, chain=chain, onset_h=fault.onset_h if entry is None else entry))
    modes = {f.mode for f in faults}
    return tuple(f for f in faults if not (f.mode == "M5" and "M4" in modes))


def _chain(mode: str, c: Circumstances, pick: float) -> tuple[tuple[str, ...], float | None]:
    """Steps from the cause to the fault, and the time of entry for contaminations."""
    d = c.donor
    if mode == "M1":
        steps = [name for name, holds in (
            ("bendamustine_under_6_months", d.prior_bendamustine == "under_6_months"),
            ("cd4_cd8_ratio_low", d.cd4_cd8_ratio < 0.33),
            ("platelets_low", d.platelets_g_l < 50.0), ("indication_mcl", d.indication == "MCL"),
        ) if holds]  # fmt: skip
        return (*steps, "exhausted_t_cells", "slow_growth"), None
    if mode == "M2":
        return (f"lot:{c.activation.lot_id}", "weak_stimulation", "slow_growth"), None
    if mode == "M3":
        return (f"lot:{c.vector.lot_id}", "low_effective_moi", "low_car"), None
    if mode in ("M4", "M5"):
        weights = contamination_weights(c) * (c.interventions_h < 150.0)
        at = int(np.searchsorted(np.cumsum(weights), pick * weights.sum()))
        at = min(at, len(weights) - 1)
        steps = [name for name, holds in (
            ("environment_excursion", bool(c.near_excursion[at])), ("novice_operator", c.operator_runs < NOVICE_RUNS),
            ("integrity_retest", c.integrity_retest),
        ) if holds]  # fmt: skip
        return (*steps, "intervention", "contamination"), float(c.interventions_h[at])
    if mode in ("M6", "M7", "M8", "M10"):
        return ("equipment_hours_since_maintenance", "equipment_fault"), None
    if mode in ("M9", "M11"):
        steps = [n for n, holds in (("night_shift", c.night), ("many_concurrent_batches", c.busy)) if holds]
        return (*steps, "record_entry_error" if mode == "M9" else "harsh_wash"), None
    return ("probe_ageing",), None
