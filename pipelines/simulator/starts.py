"""The calendar: when batches start, and what they are called."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipelines.simulator.faults import DURATION_H
from pipelines.simulator.settings import SimulationSettings, Stream, stream

DECISION_WITHIN_H = 44 * 24.0  # every disposition is made by then


def starts(settings: SimulationSettings, first: float, until: float) -> Iterator[tuple[float, bool]]:
    """Starts of the history, more of them every year, then those of the batches in progress.

    A pause between the two (a maintenance shutdown) lets every batch of the history have its disposition.
    """
    rng = stream(settings.seed, Stream.CALENDAR)
    n, last = settings.n_batches, until - DECISION_WITHIN_H
    u = (np.arange(n) + rng.random(n)) / max(n, 1)
    at = first + (last - first) * (np.sqrt(0.25 + 2.0 * u) - 0.5)  # density rises from 0.5 to 1.5
    for start in sorted(map(_working_start, at, rng.random(n), rng.random(n))):
        yield start, False
    m = settings.n_in_progress
    elapsed = 8.0 + (DURATION_H - 16.0) * (np.arange(m)[::-1] + rng.random(m)) / max(m, 1)
    for start in until - elapsed:
        yield round(start * 60.0) / 60.0, True


def _working_start(at: float, day: float, hour: float) -> float:
    midnight = 24.0 * np.floor(at / 24.0)
    if int(midnight // 24.0 + 3) % 7 >= 5 and day < 0.7:  # most weekend starts move to Monday
        midnight += 24.0 * (7 - int(midnight // 24.0 + 3) % 7)
    clock = 6.5 + 9.0 * hour / 0.88 if hour < 0.88 else 19.0 + 4.5 * (hour - 0.88) / 0.12
    return float(round((midnight + clock) * 60.0) / 60.0)


def batch_name(index: int, start: float) -> str:
    """Year and running number; nothing else of the batch."""
    year = np.datetime64(int(start * 3600), "s").astype("datetime64[Y]")
    return f"CT{str(year)[2:]}-{index + 1:05d}"
