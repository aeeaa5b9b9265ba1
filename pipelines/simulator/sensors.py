"""In-line sensors as the historian stores them: noise, drift, dropouts, stuck values, spikes, deadband, late rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from pipelines.simulator.faults import calibrated, probe_drift
from pipelines.simulator.kinetics import CHANNEL
from pipelines.simulator.plan import DT_H, BatchPlan
from pipelines.simulator.signals import CODE, QUALITY, SENSORS, Signal, stored

US_H = 3_600_000_000
LARGEST_SKEW_US = 90_000_000  # of a source's clock, either way
LONGEST_GAP_H = 2.0  # the historian stores a value at least this often
WALK_PER_DAY = {"ph": 0.006, "do_pct": 0.3, "glucose_inline_mm": 0.08}
AGITATION_RPM = 25.0
LATE_SHARE, DELIVERED_TWICE = 0.01, 0.01
UNCERTAIN_SHARE, SPIKE_SHARE = 5e-4, 1e-4  # of the samples
STUCK_PER_SENSOR, DROPOUTS_PER_BATCH = 0.04, 0.3


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


def _drift(
    batch: BatchPlan, name: str, grid: np.ndarray, calibrated_h: list[float], rng: np.random.Generator
) -> np.ndarray:
    """Random walk of every probe, and the ramp of a bad one (M12); a calibration takes both to zero."""
    if name not in WALK_PER_DAY:
        return np.zeros(len(grid))
    step_h = grid[1] - grid[0] if len(grid) > 1 else 1.0
    walk = np.cumsum(rng.standard_normal(len(grid))) * WALK_PER_DAY[name] * np.sqrt(step_h / 24.0)
    return calibrated(walk, grid, calibrated_h) + probe_drift(batch.faults, name, grid, calibrated_h)


def _stored(batch: BatchPlan, signal: Signal, grid: np.ndarray, truth: np.ndarray, drift: np.ndarray,
            rng: np.random.Generator) -> Readings:  # fmt: skip
    value, quality = _disturbed(signal, grid, truth + drift, np.abs(truth), rng)
    keep = _changed(value, quality, grid, signal.deadband, LONGEST_GAP_H)
    for _ in range(rng.poisson(DROPOUTS_PER_BATCH / len(SENSORS))):
        start = rng.uniform(0.0, 216.0)
        gone = np.flatnonzero((grid >= start) & (grid < start + rng.uniform(2.0, 120.0) / 60.0))
        keep[gone] = False
        if len(gone):  # the source marks the last value before the gap
            keep[gone[0]], quality[gone[0]] = True, QUALITY["bad"]
    rows = np.flatnonzero(keep)
    return _delivered(signal, batch.start, grid[rows], value[rows], quality[rows], rng)


def _disturbed(signal: Signal, grid: np.ndarray, value: np.ndarray, size: np.ndarray,
               rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Values with noise, spikes and a stuck stretch, as the transmitter reports them, and their quality."""
    n = len(grid)
    noise = signal.noise * (size if signal.relative else np.ones(n))
    value = value + rng.standard_normal(n) * noise
    quality = np.full(n, QUALITY["good"], np.int8)
    quality[_some(n, UNCERTAIN_SHARE, rng)] = QUALITY["uncertain"]
    spikes = _some(n, SPIKE_SHARE, rng)
    value[spikes] += rng.choice([-1.0, 1.0], len(spikes)) * rng.uniform(10.0, 40.0, len(spikes)) * noise[spikes]
    if rng.random() < STUCK_PER_SENSOR:
        start, noticed = rng.uniform(0.0, 216.0), rng.random() < 0.5
        stuck = np.flatnonzero((grid >= start) & (grid < start + rng.uniform(0.2, 3.0)))
        if len(stuck):
            value[stuck] = value[stuck[0]]
            quality[stuck] = QUALITY["uncertain" if noticed else "good"]
    return stored(signal.name, value), quality


def _delivered(signal: Signal, start: float, at_h: np.ndarray, value: np.ndarray, quality: np.ndarray,
               rng: np.random.Generator) -> Readings:  # fmt: skip
    """Rows in the order in which they arrive: by the source's own clock, some late, some twice."""
    n, skew_us = len(at_h), int(rng.uniform(-1.0, 1.0) * LARGEST_SKEW_US)
    clock = round(start * US_H) + LARGEST_SKEW_US + np.round(at_h * US_H).astype(np.int64)
    available = clock + LARGEST_SKEW_US + 5_000_000  # never before the time the skewed clock claims
    late, again = _some(n, LATE_SHARE, rng), _some(n, DELIVERED_TWICE, rng)
    available[late] += (rng.exponential(45.0, len(late)) * 60e6).astype(np.int64) + 60_000_000
    on_time = np.delete(np.arange(n), late)
    rows = Readings(
        np.full(n, CODE[signal.name], np.int16), clock + skew_us, available, value, np.zeros(n, np.int32), quality
    )
    return rows.take(np.concatenate([on_time, late, again]))


def _some(n: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Positions of about that share of `n` rows, in order."""
    return np.unique(rng.integers(0, n, rng.binomial(n, share))) if n else np.zeros(0, np.int64)


@njit(cache=True)
def _changed(
    value: np.ndarray, quality: np.ndarray, grid: np.ndarray, deadband: float, longest_gap_h: float
) -> np.ndarray:
    """Rows the historian stores: outside the deadband of the last stored one, after a long gap, or of new quality."""
    keep = np.zeros(len(value), np.bool_)
    last, last_at, last_quality = 0.0, -1e9, -1
    for i in range(len(value)):
        if abs(value[i] - last) > deadband or grid[i] - last_at >= longest_gap_h or quality[i] != last_quality:
            keep[i], last, last_at, last_quality = True, value[i], grid[i], quality[i]
    return keep
