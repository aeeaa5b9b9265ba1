"""The twelve modes of failure: what each does to a batch, and its words in the truth file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from pipelines.simulator.biology import Biology

DURATION_H = 216.0
PROBES = ("ph", "do_pct", "glucose_inline_mm")
DRIFT_PER_DAY = {"ph": (0.04, 0.10), "do_pct": (2.0, 6.0), "glucose_inline_mm": (0.5, 1.5)}  # of a bad probe


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

    `severity` is the mode's own figure: factor on growth (M1), activation (M2) or transduction (M3, M9), growth rate of
    the bacteria per h (M4, M5), factor on kLa (M6), degrees (M7), vessel volumes left (M8), % CO2 (M10), lost viability
    (M11), signed drift per day (M12).
    """

    mode: str
    onset_h: float
    end_h: float
    severity: float
    extra: float = 0.0  # M1: later activation in h; M4, M5: lag in h before the bacteria grow
    inoculum_cfu: float = 0.0
    probe: str = ""  # M12
    in_record: bool = False  # M9: whether the recorded volume shows the overdose
    chain: tuple[str, ...] = ()


_LASTING = {  # onset h, hours it lasts, severity
    "M6": ((60.0, 190.0), (6.0, 36.0), 0.05), "M8": ((90.0, 180.0), (12.0, 72.0), 0.0),
    "M10": ((48.0, 190.0), (8.0, 36.0), 18.0),
}  # fmt: skip


def draw_fault(mode: str, rng: np.random.Generator, lot_factor: float = 1.0) -> Fault:
    """Onset, length and severity of a fault, by the priors of the domain; always the same number of draws."""
    start, length, size, other, *_ = (float(u) for u in rng.random(5))
    lag_h = float(6.0 * np.exp(0.5 * rng.standard_normal()))
    between = lambda low, high, u: low + (high - low) * u  # noqa: E731
    if mode == "M1":
        return Fault(mode, 0.0, DURATION_H, between(0.40, 0.72, size), extra=between(6.0, 24.0, other))
    if mode in ("M2", "M3"):
        return Fault(mode, 0.0 if mode == "M2" else 24.0, DURATION_H, lot_factor)
    if mode in ("M4", "M5"):
        rate = between(0.35, 0.80, size) if mode == "M4" else between(0.06, 0.12, size)
        return Fault(
            mode, between(2.0, 150.0, start), DURATION_H, rate, extra=lag_h, inoculum_cfu=10.0 ** (2.0 * other)
        )
    if mode in _LASTING:
        onsets, lengths, severity = _LASTING[mode]
        onset = between(*onsets, start)
        return Fault(mode, onset, onset + between(*lengths, length), severity)
    if mode == "M7":
        onset, degrees = between(12.0, 190.0, start), between(2.0, 9.0, size)
        return Fault(mode, onset, onset + between(6.0, 36.0, length), -degrees if other < 0.8 else 0.4 * degrees)
    if mode == "M9":
        return Fault(mode, 24.0, 24.0, between(8.0, 15.0, size), in_record=other < 0.5)
    if mode == "M11":
        return Fault(mode, DURATION_H, DURATION_H, between(0.03, 0.22, size))
    probe = PROBES[int(other * len(PROBES))]
    low, high = DRIFT_PER_DAY[probe]
    rate = between(low, high, abs(2.0 * size - 1.0)) * (1.0 if size > 0.5 else -1.0)
    return Fault(mode, between(12.0, 200.0, start), DURATION_H, rate, probe=probe)


_SCHEDULED = {  # kinetic parameters that take the onset, the end and the severity of a fault, in this order
    "M6": ("kla_from", "kla_to", "kla_factor"), "M7": ("heat_from", "heat_to", "heat_delta"),
    "M8": ("feed_from", "feed_to"), "M10": ("co2_from", "co2_to"),
}  # fmt: skip


def apply(faults: Iterable[Fault], p: np.void, biology: Biology) -> tuple[Biology, float]:
    """Set the faults in a record of kinetic parameters, in place.

    Returns:
        The biology with them, and the viability (0-1) that the harvest loses.
    """
    shock = 0.0
    for f in faults:
        if f.mode == "M1":
            p["mu"] *= f.severity
            p["t_on"] += f.extra
        elif f.mode == "M2":
            p["mu"] *= np.sqrt(f.severity)
            p["t_on"] += 40.0 * (1.0 - f.severity)
        elif f.mode in ("M3", "M9"):
            biology = replace(biology, moi=biology.moi * f.severity)
        elif f.mode in ("M4", "M5"):
            p["bacteria_at"], p["mu_bacteria"], p["bacteria_cfu"] = f.onset_h + f.extra, f.severity, f.inoculum_cfu
        elif f.mode in _SCHEDULED:
            for name, value in zip(_SCHEDULED[f.mode], (f.onset_h, f.end_h, f.severity), strict=False):
                p[name] = value
        elif f.mode == "M11":
            shock += f.severity
    return biology, shock


def probe_drift(
    faults: Iterable[Fault], probe: str, at_h: np.ndarray, calibrated_h: Iterable[float] = ()
) -> np.ndarray:
    """What a bad probe (M12) adds to its reading; a calibration takes it back to zero, the drift goes on."""
    drift = np.zeros(len(at_h))
    for f in faults:
        if f.mode == "M12" and f.probe == probe:
            drift += f.severity / 24.0 * np.maximum(0.0, at_h - f.onset_h)
    return calibrated(drift, at_h, calibrated_h)


def calibrated(drift: np.ndarray, at_h: np.ndarray, calibrated_h: Iterable[float]) -> np.ndarray:
    """Take a drift back to zero at each calibration, in place; returns it."""
    for hour in calibrated_h:
        after = int(np.searchsorted(at_h, hour))
        if 0 < after < len(at_h):
            drift[after:] -= drift[after]
    return drift
