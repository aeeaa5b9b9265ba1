"""The twelve modes of failure: what each does to a batch, and how it is told in the truth file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Mode:
    """A mode of failure: prior probability per batch, its words, and the parameters in which it can show."""

    prior: float
    title: str
    affects: tuple[str, ...]
    benign: bool = False


MODES: dict[str, Mode] = {
    "M1": Mode(0.035, "donor fitness", ("vcd_e6_ml", "cell_diameter_um", "lactate_mm", "cd25_pct")),
    "M2": Mode(0.012, "activation-reagent lot", ("vcd_e6_ml", "cell_diameter_um", "cd25_pct")),
    "M3": Mode(0.020, "low transduction", ("car_pct_d5",)),
    "M4": Mode(0.006, "fast contamination", ("o2_pct", "ph", "glucose_mm", "do_pct")),
    "M5": Mode(0.004, "slow contamination", ("sterility",)),
    "M6": Mode(0.012, "gas-transfer fault", ("do_pct", "o2_pct")),
    "M7": Mode(0.012, "temperature excursion", ("temperature_c", "viability_pct")),
    "M8": Mode(0.018, "perfusion or feed stop", ("perfusion_vvd", "ph", "glucose_mm", "lactate_mm")),
    "M9": Mode(0.004, "vector overdose", ("moi_recorded", "car_pct_d5", "vcn")),
    "M10": Mode(0.010, "CO2 fault", ("ph", "co2_pct")),
    "M11": Mode(0.020, "wash or harvest shock", ("final_viability_pct",)),
    "M12": Mode(0.040, "probe drift", ("ph", "do_pct", "glucose_inline_mm"), benign=True),
}


@dataclass(frozen=True)
class Fault:
    """One fault of one batch; times in hours since its start.

    `severity` is the mode's own factor: on growth (M1), activation (M2), transduction (M3, M9), growth rate of the
    bacteria per h (M4, M5), kLa (M6), degrees (M7), nothing (M8, M10), lost viability (M11), drift per day (M12).
    """

    mode: str
    onset_h: float
    end_h: float
    severity: float
    extra: float = 0.0  # M1: later activation in h; M4, M5: CFU at start; M12: which probe
    chain: tuple[str, ...] = ()


@dataclass
class Biology:
    """What decides a batch's course besides its faults: latent, never recorded."""

    fit: float
    mu: float
    t_on: float
    t_off: float
    moi: float
    car_noise: float
    recovery: float
    shock_noise: float
    thaw_viability: float


def draw_severity(mode: str, rng: np.random.Generator, lot_factor: float = 1.0) -> tuple[float, float, float, float]:
    """(onset h, end h, severity, extra) of a fault; always the same number of draws."""
    u = rng.random(6)
    lag_h = float(np.exp(np.log(6.0) + 0.5 * rng.standard_normal()))
    length = lambda low, high: low + (high - low) * u[1]  # noqa: E731
    onset = lambda low, high: low + (high - low) * u[0]  # noqa: E731
    inoculum = 10.0 ** (2.0 * u[3])
    if mode == "M1":
        return 0.0, 216.0, 0.40 + 0.32 * u[2], 6.0 + 18.0 * u[3]
    if mode in ("M2", "M3"):
        return (0.0 if mode == "M2" else 24.0), 216.0, lot_factor, 0.0
    if mode in ("M4", "M5"):
        low, high = (0.35, 0.80) if mode == "M4" else (0.06, 0.12)
        return onset(2.0, 150.0) + lag_h, 216.0, low + (high - low) * u[2], inoculum
    if mode == "M6":
        start = onset(60.0, 190.0)
        return start, start + length(6.0, 36.0), 0.05, 0.0
    if mode == "M7":
        start, degrees = onset(12.0, 190.0), 2.0 + 7.0 * u[2]
        return start, start + length(6.0, 36.0), (-degrees if u[3] < 0.8 else 0.4 * degrees), 0.0
    if mode == "M8":
        start = onset(90.0, 180.0)
        return start, start + length(12.0, 72.0), 0.0, 0.0
    if mode == "M9":
        return 24.0, 24.0, 8.0 + 7.0 * u[2], float(u[3] < 0.5)
    if mode == "M10":
        start = onset(48.0, 190.0)
        return start, start + length(8.0, 36.0), 18.0, 0.0
    if mode == "M11":
        return 216.0, 216.0, 0.03 + 0.19 * u[2], 0.0
    start = onset(12.0, 200.0)
    return start, 216.0, u[2], float(int(3 * u[3]))


def apply(fault: Fault, p: Any, biology: Biology) -> float:
    """Work a fault into a record of kinetic parameters and the biology; returns the harvest shock it adds."""
    if fault.mode == "M1":
        p["mu"] *= fault.severity
        p["t_on"] += fault.extra
    elif fault.mode == "M2":
        p["mu"] *= np.sqrt(fault.severity)
        p["t_on"] += 40.0 * (1.0 - fault.severity)
    elif fault.mode in ("M3", "M9"):
        biology.moi *= fault.severity
    elif fault.mode in ("M4", "M5"):
        p["bacteria_at"], p["mu_bacteria"], p["bacteria_cfu"] = fault.onset_h, fault.severity, fault.extra
    elif fault.mode == "M6":
        p["kla_from"], p["kla_to"], p["kla_factor"] = fault.onset_h, fault.end_h, fault.severity
    elif fault.mode == "M7":
        p["heat_from"], p["heat_to"], p["heat_delta"] = fault.onset_h, fault.end_h, fault.severity
    elif fault.mode == "M8":
        p["feed_from"], p["feed_to"] = fault.onset_h, fault.end_h
    elif fault.mode == "M10":
        p["co2_from"], p["co2_to"] = fault.onset_h, fault.end_h
    return fault.severity if fault.mode == "M11" else 0.0
