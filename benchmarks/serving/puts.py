"""How long others wait for a PUT of a batch: the engine's exclusive use, validated inside it (before) and ahead of it."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from benchmarks.record import figure
from benchmarks.serving.place import PROCESS, batch
from features.context import Vocabulary
from serving.live.state import PlantState

N, STARTED = 200, 1_760_000_000_000_000


def figures_of() -> list[dict[str, object]]:
    """Both ways in turns, in one run."""
    state = PlantState(PROCESS, Vocabulary())
    rows = [{"batch_id": f"B{i}", **batch(STARTED)} for i in range(2 * (N + 20))]
    inside, ahead, validation = [], [], []
    for before, after in zip(rows[::2], rows[1::2], strict=True):
        inside.append(_seconds(lambda row=before: state.put_batch(row)))
        validation.append(_seconds(lambda row=after: state.validate_batch(row)))
        ahead.append(_seconds(lambda row=after: state.put_batch(row)))
    held, free = 1e3 * float(np.median(inside[20:])), 1e3 * float(np.median(ahead[20:]))
    note = f"p50 {held:.2f} ms of CPU inside the lock before, {free:.2f} ms after; {1e3 * np.median(validation[20:]):.2f} ms ahead of it"
    return [figure("CPU of a PUT under the exclusive lock, validated ahead against inside it, p50", round(free / held, 3), "ratio",
                   bound=0.2, side="max", n=N, against="validated inside the lock, in turns", note=note)]  # fmt: skip


def _seconds(work: Callable[[], object]) -> float:
    begin = time.thread_time()
    work()
    return time.thread_time() - begin
