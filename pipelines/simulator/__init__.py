"""A simulated cell-therapy plant whose truth is known.

Results on simulated batches verify the software; they do not validate a model for a plant.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipelines.simulator.settings import SimulationSettings

__all__ = ["SimulationReport", "SimulationSettings", "simulate"]


@dataclass(frozen=True)
class SimulationReport:
    """What was written: rows per table, outcomes of the history, seconds it took."""

    out: Path
    rows: dict[str, int]
    outcomes: dict[str, int]
    n_in_progress: int
    n_failed: int
    seconds: float

    @property
    def history(self) -> Path:
        """The folder that a source reads; the truth is not in it."""
        return self.out / "history"


def simulate(settings: SimulationSettings, out: Path, *, workers: int = 1,
             progress: Callable[[str, int, int], None] | None = None) -> SimulationReport:  # fmt: skip
    """Simulate a plant and write `out/history/` and `out/truth.parquet`.

    Args:
        settings: What to simulate.
        out: A folder that is absent or empty; it appears complete or not at all.
        workers: Processes that make the records; the bytes do not depend on it.
        progress: Called with the stage ("plan", "records"), batches done and batches in all.

    Raises:
        SourceError: `out` is not an empty folder.
    """
    from pipelines.simulator.plan import plan_plant
    from pipelines.simulator.write import write_plant
    from pipelines.sources.folder import check_empty

    began = time.perf_counter()
    check_empty(out)
    plan = plan_plant(settings, None if progress is None else lambda done, n: progress("plan", done, n))
    rows = write_plant(plan, out, workers=workers, progress=progress)
    decided = [b for b in plan.batches if b.decided_at <= plan.until]
    return SimulationReport(
        out=out,
        rows=rows,
        outcomes=dict(Counter(b.outcome.outcome for b in decided)),
        n_in_progress=len(plan.batches) - len(decided),
        n_failed=sum(b.outcome.failed for b in decided),
        seconds=time.perf_counter() - began,
    )
