"""The state's part of a score by the readings held of a batch, and what a batch takes before and after it is forgotten."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np

from benchmarks.record import figure
from benchmarks.serving.place import HOUR_US, NAMES, PROCESS, batch, observations
from features.context import Vocabulary
from serving.interfaces import StoredRow
from serving.live.batches import EvictionPolicy
from serving.live.state import PlantState

STARTED = 1_760_000_000_000_000
HOURS, ASKED_H = 96, 90
A_MINUTE = (0.01, 0.1, 0.5, 1.0, 4.0)  # readings of each parameter
N, N_BATCHES = 400, 20
Figures = list[dict[str, object]]


def figures_of() -> Figures:
    """Both, without HTTP, records or a model."""
    return [*by_readings_held(), *by_forgetting()]


def by_readings_held() -> Figures:
    """A row about hour 90 of batches of which 96 hours are held, one after the other in turns."""
    states = [_filled(rate) for rate in A_MINUTE]
    times = np.empty((N, len(states)))
    for i in range(-20, N):  # the first ones are not counted
        for place, state in enumerate(states):
            begin = time.perf_counter()
            state.row("B1", STARTED + ASKED_H * HOUR_US - HOUR_US // 2 + i)
            times[i, place] = time.perf_counter() - begin
    medians = 1e3 * np.median(times, axis=0)
    note = "; ".join(f"{state.held:,} readings {ms:.3f} ms" for state, ms in zip(states, medians, strict=True))
    name = f"features of a score with {states[-1].held:,} readings held against {states[0].held:,}, p50"
    ratio = round(float(medians[-1] / medians[0]), 2)
    return [figure(name, ratio, "ratio", bound=1.5, side="max", n=N, against="the same 96 hours, in turns", note=note)]


def by_forgetting() -> Figures:
    """Bytes of a batch that is held and of one that was let go, and how long it takes to read one again."""
    rng, stored = np.random.default_rng(5), []
    for number in range(N_BATCHES):
        for row in observations(STARTED, 0, 240, rng):
            stored.append(StoredRow(len(stored) + 1, f"B{number}", "observations", row | {"batch_id": f"B{number}"}))
    per_batch = len(stored) // N_BATCHES

    def recall(batch_id: str, until: int) -> list[StoredRow]:
        first = int(batch_id[1:]) * per_batch
        return stored[first : min(first + per_batch, until)]

    state = PlantState(PROCESS, Vocabulary(), EvictionPolicy(recall, HOUR_US, reload_cache=0))
    for number in range(N_BATCHES):
        state.put_batch(batch(STARTED) | {"batch_id": f"B{number}"})
    state.row("B0", STARTED)
    tracemalloc.start()
    empty = tracemalloc.get_traced_memory()[0]
    state.rebuild(StoredRow(0, row.batch_id, row.table, row.row) for row in stored)
    held = tracemalloc.get_traced_memory()[0] - empty
    later = STARTED + 1_000 * HOUR_US
    state.put_batch(batch(later) | {"batch_id": "newest"})
    state.add("newest", "observations", observations(later, 0, 1, rng)[:1])
    state.evict(len(stored))
    left = tracemalloc.get_traced_memory()[0] - empty
    tracemalloc.stop()
    begin = time.perf_counter()
    state.row("B3", STARTED + HOUR_US)
    again = 1e3 * (time.perf_counter() - begin)
    note = f"{per_batch:,} readings a batch; {again:.0f} ms to type and merge them again, the records apart"
    return [
        figure("memory of a batch that is held", round(held / N_BATCHES / 1e3), "kB", n=N_BATCHES, note=note),
        figure("memory of a batch that was forgotten", round(left / N_BATCHES / 1e3, 1), "kB", n=N_BATCHES,
               note="what other batches' context needs of it is held besides"),
    ]  # fmt: skip


def _filled(a_minute: float) -> PlantState:
    """A plant with one batch of which as many readings of each parameter are held."""
    state, rng = PlantState(PROCESS, Vocabulary()), np.random.default_rng(3)
    state.put_batch(batch(STARTED) | {"batch_id": "B1"})
    at = STARTED + np.arange(1, round(HOURS * 60 * a_minute)) * round(60_000_000 / a_minute)
    for name in NAMES:
        values = np.round(37 + rng.normal(0, 0.5, len(at)), 3)
        rows = [{"parameter": name, "observed_at": f"{np.datetime64(int(us), 'us')}Z", "value": float(v), "unit": "1"}
                for us, v in zip(at, values, strict=True)]  # fmt: skip
        assert {verdict.verdict for verdict in state.add("B1", "observations", rows)} == {"accepted"}
    return state
