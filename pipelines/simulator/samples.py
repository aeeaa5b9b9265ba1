"""Samples taken by people: in-process assays with turnaround, extra samples in worry, errors, corrections; release."""

from __future__ import annotations

import numpy as np

from pipelines.simulator.kinetics import CHANNEL
from pipelines.simulator.plan import DT_H, BatchPlan
from pipelines.simulator.sensors import DELIVERED_TWICE, US_H, Readings
from pipelines.simulator.signals import BY_NAME, CODE, SAMPLES, stored_one

EXTRA_AFTER_H = 7.0
_TYPICAL = {"vcd_e6_ml": 1.5, "viability_pct": 92.0, "cell_diameter_um": 10.5, "glucose_mm": 15.0, "lactate_mm": 12.0,
            "glutamine_mm": 2.0, "ammonia_mm": 1.5, "ldh_u_l": 300.0, "ph_offline": 7.25}  # fmt: skip


class _ResultEntries:
    """Results of one batch as people enter them, in hours since its start."""

    def __init__(self, batch: BatchPlan, rng: np.random.Generator) -> None:
        self.batch, self.rng = batch, rng
        self.rows: list[tuple[int, float, float, float, int]] = []

    def enter(self, name: str, observed_h: float, available_h: float, value: float, found: float = 0.8) -> None:
        """Enter one result; a few are mistyped or late, and `found` of the wrong ones are corrected later."""
        slip, late, corrected, size, wait = self.rng.random(5).tolist()
        signal, true = BY_NAME[name], stored_one(name, value)
        typed = true
        if slip < 0.001:  # a decimal slip, in the direction that the form accepts
            typed = true * 10.0 if true * 10.0 <= signal.high else true / 10.0
        if late < 0.01:
            available_h += 4.0 + 20.0 * wait
        if typed == true and corrected < 0.015:
            typed = stored_one(name, true * (1.0 + 0.2 * (size - 0.5)))
        self.rows.append((CODE[name], observed_h, available_h, typed, 0))
        if typed != true and size < found:
            self.rows.append((CODE[name], observed_h, available_h + 12.0 + 60.0 * wait, true, 1))

    def readings(self) -> Readings:
        """All entries as rows, times rounded to the second."""
        start = round(self.batch.start * US_H)
        rows = self.rows
        hours = np.array([[r[1], r[2]] for r in rows], float).reshape(-1, 2)
        times = start + np.round(hours * 3600.0).astype(np.int64) * 1_000_000
        n = len(rows)
        entered = Readings(
            np.array([r[0] for r in rows], np.int16), times[:, 0], np.maximum(times[:, 0], times[:, 1]),
            np.array([r[3] for r in rows], float), np.array([r[4] for r in rows], np.int32), np.zeros(n, np.int8),
        )  # fmt: skip
        return entered.take(np.concatenate([np.arange(n), np.flatnonzero(self.rng.random(n) < DELIVERED_TWICE)]))


def sample_rows(batch: BatchPlan, course: np.ndarray, rng: np.random.Generator) -> tuple[Readings, list[float]]:
    """In-process and release results of one batch, and the hours of its samples."""
    entries = _ResultEntries(batch, rng)
    _once(entries, course)
    sampled = _in_process(entries, course)
    _release(entries)
    return entries.readings(), sampled


def _state(course: np.ndarray, hour: float, name: str) -> float:
    return float(course[min(int(hour / DT_H), len(course) - 1), CHANNEL[name]])


def _in_process(entries: _ResultEntries, course: np.ndarray) -> list[float]:
    """Daily samples, twice a day from day 4, and extra ones where a result worries the operator."""
    rng, stop = entries.rng, entries.batch.outcome.stop_h
    planned = [24.0 * day + 1.2 for day in range(1, 9)] + [24.0 * day + 11.5 for day in range(4, 9)]
    due = sorted(hour + float(rng.uniform(-1.0, 1.0)) for hour in planned)
    taken, extras = [], 0
    while due:
        hour = due.pop(0)
        if hour >= min(stop, 215.5):
            break
        seen = _sample(entries, course, hour)
        taken.append(hour)
        worried = seen["viability_pct"] < 82.0 or seen["lactate_mm"] > 24.0 or seen["glucose_mm"] < 5.0
        if worried and extras < 6 and rng.random() < 0.6:
            extras += 1
            due = sorted([*due, hour + EXTRA_AFTER_H + float(rng.uniform(-1.5, 1.5))])
    return taken


def _sample(entries: _ResultEntries, course: np.ndarray, hour: float) -> dict[str, float]:
    rng, site = entries.rng, entries.batch.site
    xv, xd = _state(course, hour, "viable_e6_ml"), _state(course, hour, "dead_e6_ml")
    true = {
        "vcd_e6_ml": xv * site.count_bias,
        "viability_pct": 100.0 * xv / max(xv + xd, 1e-9),
        "cell_diameter_um": _state(course, hour, "diameter_um") + 0.25 * entries.batch.biology.fit,
        "glucose_mm": _state(course, hour, "glucose_mm"),
        "lactate_mm": _state(course, hour, "lactate_mm"),
        "glutamine_mm": _state(course, hour, "glutamine_mm"),
        "ammonia_mm": _state(course, hour, "ammonia_mm"),
        "ldh_u_l": 110.0 + 420.0 * xd,
        "ph_offline": _state(course, hour, "ph"),
    }
    swapped = rng.random() < 0.0005
    turnaround = float(rng.uniform(0.25, 1.0))
    seen = {}
    for signal in SAMPLES:
        base = _TYPICAL[signal.name] if swapped else true[signal.name]
        noise = rng.standard_normal() * signal.noise * (base if signal.relative else 1.0)
        seen[signal.name] = base + noise
        entries.enter(signal.name, hour, hour + turnaround, base + noise)
    return seen


def _once(entries: _ResultEntries, course: np.ndarray) -> None:
    """Results that every batch has once, on the day of the recipe."""
    batch, rng, z = entries.batch, entries.rng, entries.rng.standard_normal(16)
    b, stop = batch.biology, batch.outcome.stop_h
    p, transduced, shock = batch.record()
    overdose = next((f for f in batch.faults if f.mode == "M9"), None)
    in_record = overdose is not None and overdose.in_record  # a volume error shows, a titre error does not
    planned_ml = 6.0 * batch.doses
    moi = 2.0 * 0.9 / max(0.1, _state(course, 23.9, "viable_e6_ml")) * np.exp(0.08 * z[8])
    activity = 1.0 / (1.0 + np.exp(-(46.0 - p["t_on"]) / 8.0))
    car_true = 100.0 * (1.0 - (1.0 + transduced.moi / 2.0) ** -2.0) + b.car_noise + batch.car_shift
    wash = 95.0 + 12.0 * z[13] + (12.0 if batch.circumstances.operator_runs < 10 else 0.0)
    once = (  # name, sampled h, turnaround h from..to, value
        ("post_thaw_viability_pct", 0.3, 0.25, 1.0, 100.0 * b.thaw_viability + 1.5 * z[0]),
        ("selection_recovery_pct", 1.0, 0.25, 1.0, 70.0 + 8.0 * z[1]),
        ("selected_cd3_purity_pct", 1.0, 1.0, 4.0, 95.0 + 2.5 * z[2]),
        ("seed_density_e6_ml", 1.6, 0.1, 0.5, 1.0 + 0.05 * z[3]),
        ("bead_cell_ratio", 1.8, 0.1, 0.5, 2.0 + 0.1 * z[4]),
        ("hold_time_min", 1.9, 0.1, 0.5, 40.0 * np.exp(0.35 * z[5])),
        ("thaw_to_use_min", 24.3, 0.1, 0.5, batch.thaw_to_use_min),
        ("vector_volume_ml", 24.3, 0.1, 0.5, planned_ml * (overdose.severity if in_record else 1.0) * (1 + 0.02 * z[6])),
        ("moi_recorded", 24.4, 0.1, 0.5, moi * (overdose.severity if in_record else 1.0)),
        ("cd25_pct", 48.2, 2.0, 8.0, 96.0 * activity + 4.0 * z[9]),
        ("car_pct_d5", 120.2, 4.0, 24.0, car_true + batch.site.car_bias + 2.2 * z[10]),
        ("cd4_cd8_ratio_d5", 120.2, 4.0, 24.0, batch.circumstances.donor.cd4_cd8_ratio * np.exp(0.25 * z[11])),
        ("memory_pct_d5", 120.2, 4.0, 24.0, 45.0 + 8.0 * b.fit + 6.0 * z[12]),
        ("wash_duration_min", 217.8, 0.1, 0.5, wash + 250.0 * shock),
    )  # fmt: skip
    for name, hour, fast, slow, value in once:
        turnaround = fast + (slow - fast) * float(rng.random())
        if hour < stop or (name == "wash_duration_min" and stop >= 216.0):
            entries.enter(name, hour, hour + turnaround, float(value))


def _release(entries: _ResultEntries) -> None:
    for r in entries.batch.outcome.results:
        if r.parameter == "sterility_growth" or r.value in (0.0, 1.0):  # signed results: no slips of the pen
            entries.rows.append((CODE[r.parameter], r.observed_h, r.available_h, r.value, 0))
        else:
            entries.enter(r.parameter, r.observed_h, r.available_h, r.value, found=1.0)
