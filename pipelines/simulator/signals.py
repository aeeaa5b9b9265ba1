"""What is measured: names, units, physical range, grain and noise of every parameter the plant records."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Signal:
    """One recorded parameter; `deadband` is the change below which the historian stores nothing."""

    name: str
    unit: str
    low: float
    high: float
    step: float  # resolution of the stored value
    noise: float = 0.0  # standard deviation, relative where `relative`
    deadband: float = 0.0
    relative: bool = False


SENSORS = (
    Signal("temperature_c", "degC", 0, 60, 0.01, 0.05, 0.08),
    Signal("ph", "1", 4, 10, 0.01, 0.02, 0.03),
    Signal("do_pct", "%", 0, 200, 0.1, 1.5, 2.0),
    Signal("o2_pct", "%", 0, 100, 0.1, 0.15, 0.25),
    Signal("co2_pct", "%", 0, 30, 0.01, 0.05, 0.08),
    Signal("perfusion_vvd", "1/d", 0, 5, 0.001, 0.01, 0.015),
    Signal("agitation_rpm", "rpm", 0, 500, 0.1, 0.15, 0.25),
    Signal("glucose_inline_mm", "mmol/L", 0, 80, 0.01, 0.06, 0.3, relative=True),
)
SAMPLES = (
    Signal("vcd_e6_ml", "1e6 cells/mL", 0, 500, 0.01, 0.10, relative=True),
    Signal("viability_pct", "%", 0, 100, 0.1, 1.8),
    Signal("cell_diameter_um", "um", 0, 200, 0.01, 0.12),
    Signal("glucose_mm", "mmol/L", 0, 500, 0.01, 0.03, relative=True),
    Signal("lactate_mm", "mmol/L", 0, 500, 0.01, 0.03, relative=True),
    Signal("glutamine_mm", "mmol/L", 0, 100, 0.01, 0.05, relative=True),
    Signal("ammonia_mm", "mmol/L", 0, 100, 0.01, 0.05, relative=True),
    Signal("ldh_u_l", "U/L", 0, 50000, 1.0, 0.06, relative=True),
    Signal("ph_offline", "1", 0, 14, 0.01, 0.02),
)
ONCE = (
    Signal("post_thaw_viability_pct", "%", 0, 100, 0.1),
    Signal("selection_recovery_pct", "%", 0, 100, 0.1),
    Signal("selected_cd3_purity_pct", "%", 0, 100, 0.1),
    Signal("seed_density_e6_ml", "1e6 cells/mL", 0, 50, 0.01),
    Signal("bead_cell_ratio", "1", 0, 100, 0.01),
    Signal("hold_time_min", "min", 0, 5000, 1.0),
    Signal("thaw_to_use_min", "min", 0, 2000, 1.0),
    Signal("vector_volume_ml", "mL", 0, 200, 0.01),
    Signal("moi_recorded", "TU/cell", 0, 200, 0.01),
    Signal("cd25_pct", "%", 0, 100, 0.1),
    Signal("car_pct_d5", "%", 0, 100, 0.1),
    Signal("cd4_cd8_ratio_d5", "1", 0, 100, 0.01),
    Signal("memory_pct_d5", "%", 0, 100, 0.1),
    Signal("wash_duration_min", "min", 0, 1000, 1.0),
)
RELEASE = (
    Signal("final_viability_pct", "%", 0, 100, 0.1),
    Signal("final_viable_e9", "1e9 cells", 0, 1000, 0.001),
    Signal("wash_recovery_pct", "%", 0, 100, 0.1),
    Signal("endotoxin_eu_ml", "EU/mL", 0, 1000, 0.001),
    Signal("gram_stain", "1", 0, 1, 1.0),
    Signal("final_car_pct", "%", 0, 100, 0.1),
    Signal("dose_viable_car_e8", "1e8 cells", 0, 1000, 0.01),
    Signal("cd3_purity_pct", "%", 0, 100, 0.1),
    Signal("residual_beads_per_3e6", "1", 0, 10000, 1.0),
    Signal("vcn", "1/cell", 0, 100, 0.01),
    Signal("potency_ifng_pg_ml", "pg/mL", 0, 1000000, 1.0),
    Signal("mycoplasma", "1", 0, 1, 1.0),
    Signal("rcl", "1", 0, 1, 1.0),
    Signal("sterility_growth", "1", 0, 1, 1.0),
)
LOT_TESTS = (
    Signal("vector_titre_tu_ml", "TU/mL", 1e4, 1e10, 1e4),
    Signal("vector_p24_ng_ml", "ng/mL", 0, 100000, 1.0),
    Signal("activator_potency_pct", "%", 0, 300, 0.1),
    Signal("medium_osmolality_mosm_kg", "mosmol/kg", 0, 2000, 1.0),
    Signal("medium_endotoxin_eu_ml", "EU/mL", 0, 100, 0.001),
    Signal("cytokine_activity_pct", "%", 0, 300, 0.1),
    Signal("set_leak_rate_pa_min", "Pa/min", 0, 1000, 0.1),
)
OBSERVED = (*SENSORS, *SAMPLES, *ONCE, *RELEASE)
CODE = {s.name: i for i, s in enumerate(OBSERVED)}
BY_NAME = {s.name: s for s in (*OBSERVED, *LOT_TESTS)}
QUALITY = {"good": 0, "uncertain": 1, "bad": 2}


def stored_one(name: str, value: float) -> float:
    """One value as its instrument reports it; the same rule as `stored`."""
    signal = BY_NAME[name]
    inside = min(max(value, signal.low), signal.high)
    if signal.step >= 1.0:
        return round(inside / signal.step) * signal.step
    per_unit = round(1.0 / signal.step)
    return round(inside * per_unit) / per_unit


def stored(name: str, values: np.ndarray) -> np.ndarray:
    """Values as an instrument reports them: within its range, at its resolution."""
    signal = BY_NAME[name]
    inside = np.clip(values, signal.low, signal.high)
    if signal.step >= 1.0:
        return np.round(inside / signal.step) * signal.step
    per_unit = round(1.0 / signal.step)
    return np.round(inside * per_unit) / per_unit
