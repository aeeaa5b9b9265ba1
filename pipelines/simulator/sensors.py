"""In-line sensors as the historian stores them: noise, drift, dropouts, stuck values, spikes, deadband, late rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from pipelines.simulator.faults import probe_drift
from pipelines.simulator.kinetics import CHANNEL
from pipelines.simulator.plan import DT_H, BatchPlan
from pipelines.simulator.signals import CODE, SENSORS, Signal, stored

US_H = 3_600_000_000
LARGEST_SKEW_US = 90_000_000  # of a source's clock, either way
LONGEST_GAP_H = 2.0  # the historian stores a value at least this often
WALK_PER_DAY = {"ph": 0.006, "do_pct": 0.3, "glucose_inline_mm": 0.08}
AGITATION_RPM = 25.0


@dataclass(frozen=True)
class Readings:
    """Rows of observations of one batch; `code` into `signals.OBSERVED`, times in us since 1970."""

    code: np.ndarray
    observed: np.ndarray
    available: np.ndarray
    value: np.ndarray
    revision: np.ndarray
    quality: np.ndarray

    @classmethod
    def join(cls, parts: list[Readings]) -> Readings:
        """All rows, part after part."""
        return cls(*(np.concatenate([getattr(p, n) for p in parts]) for n in cls.__dataclass_fields__))

    def take(self, rows: np.ndarray) -> Readings:
        """The chosen rows, in that order."""
        return Readings(*(getattr(self, n)[rows] for n in self.__dataclass_fields__))


def sensor_rows(batch: BatchPlan, course: np.ndarray, interval_min: float, calibrated_h: dict[str, list[float]],
                rng: np.random.Generator) -> Readings:  # fmt: skip
    """All in-line readings of one batch until it stops.

    Args:
        batch: The plan.
        course: Its trajectory, one record per integration step.
        interval_min: Grain before the deadband.
        calibrated_h: Hours at which a probe was calibrated: its drift starts anew.
        rng: The batch's stream for the record.
    """
    grid = np.arange(0.0, batch.outcome.stop_h, interval_min / 60.0)
    at = grid / DT_H
    below = np.minimum(at.astype(np.int64), len(course) - 2)
    weight = at - below
    parts = []
    for signal in SENSORS:
        truth = _truth(signal.name, course, below, weight)
        drift = _drift(batch, signal.name, grid, calibrated_h.get(signal.name, []), rng)
        parts.append(_stored(batch, signal, grid, truth, drift, rng))
    return Readings.join(parts)


def _truth(name: str, course: np.ndarray, below: np.ndarray, weight: np.ndarray) -> np.ndarray:
    if name == "agitation_rpm":
        return np.full(len(below), AGITATION_RPM)
    channel = course[:, CHANNEL["glucose_mm" if name == "glucose_inline_mm" else name]]
    return channel[below] * (1.0 - weight) + channel[below + 1] * weight


def _drift(batch: BatchPlan, name: str, grid: np.ndarray, calibrated: list[float], rng: np.random.Generator) -> np.ndarray:
    """Random walk of every probe, and the ramp of a bad one (M12); a calibration takes both to zero."""
    if name not in WALK_PER_DAY:
        return np.zeros(len(grid))
    step_h = grid[1] - grid[0] if len(grid) > 1 else 1.0
    walk = np.cumsum(rng.standard_normal(len(grid))) * WALK_PER_DAY[name] * np.sqrt(step_h / 24.0)
    for hour in calibrated:
        after = int(np.searchsorted(grid, hour))
        if 0 < after < len(grid):
            walk[after:] -= walk[after]
    return walk + probe_drift(batch.faults, name, grid, calibrated)


def _stored(batch: BatchPlan, signal: Signal, grid: np.ndarray, truth: np.ndarray, drift: np.ndarray,
            rng: np.random.Generator) -> Readings:  # fmt: skip
    n = len(grid)
    value = truth + drift + rng.standard_normal(n) * signal.noise * (truth if signal.relative else 1.0)
    quality = np.where(rng.random(n) < 5e-4, 1, 0).astype(np.int8)
    spikes = np.flatnonzero(rng.random(n) < 1e-4)
    size = signal.noise * (np.abs(truth[spikes]) if signal.relative else 1.0)
    value[spikes] += rng.choice([-1.0, 1.0], len(spikes)) * rng.uniform(10.0, 40.0, len(spikes)) * size
    if rng.random() < 0.04:  # stuck
        start, length = rng.uniform(0.0, 216.0), rng.uniform(0.2, 3.0)
        stuck = (grid >= start) & (grid < start + length)
        if stuck.any():
            value[stuck] = value[np.argmax(stuck)]
            quality[stuck] = 1 if rng.random() < 0.5 else 0
    value = stored(signal.name, value)
    keep = _changed(value, quality, grid, signal.deadband, LONGEST_GAP_H)
    for _ in range(rng.poisson(0.3 / len(SENSORS) * 2.0)):  # dropout bursts
        start = rng.uniform(0.0, 216.0)
        gone = (grid >= start) & (grid < start + rng.uniform(2.0, 120.0) / 60.0)
        keep &= ~gone
        if gone.any():
            first = int(np.argmax(gone))
            keep[first], quality[first] = True, 2
    rows = np.flatnonzero(keep)
    skew_us = int(rng.uniform(-1.0, 1.0) * LARGEST_SKEW_US)
    start_us = round(batch.start * US_H)
    observed = start_us + LARGEST_SKEW_US + skew_us + np.round(grid[rows] * US_H).astype(np.int64)
    available = observed + LARGEST_SKEW_US + 5_000_000 - skew_us
    late = rng.random(len(rows)) < 0.01
    available[late] += (rng.exponential(45.0, int(late.sum())) * 60e6).astype(np.int64) + 60_000_000
    again = np.flatnonzero(rng.random(len(rows)) < 0.01)  # delivered twice
    order = np.concatenate([np.flatnonzero(~late), np.flatnonzero(late), again])  # late rows come out of order
    full = Readings(
        np.full(len(rows), CODE[signal.name], np.int16), observed, available, value[rows],
        np.zeros(len(rows), np.int32), quality[rows],
    )  # fmt: skip
    return full.take(order)


@njit(cache=True)
def _changed(value, quality, grid, deadband, longest_gap_h):
    """Rows the historian stores: outside the deadband of the last stored one, after a long gap, or of new quality."""
    keep = np.zeros(len(value), np.bool_)
    last, last_at, last_quality = 0.0, -1e9, -1
    for i in range(len(value)):
        if abs(value[i] - last) > deadband or grid[i] - last_at >= longest_gap_h or quality[i] != last_quality:
            keep[i], last, last_at, last_quality = True, value[i], grid[i], quality[i]
    return keep
