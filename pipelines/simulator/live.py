"""Plays the batches in progress forward in a history folder: rows appear when they become available."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.contracts import EVENTS, MATERIALS, OBSERVATIONS
from features.errors import SourceError
from pipelines.simulator import tables
from pipelines.simulator.plan import BatchPlan, PlantPlan, plan_plant
from pipelines.simulator.settings import SimulationSettings
from pipelines.simulator.write import SETTINGS_FILE, write_table

LONGEST_H = 45.0 * 24.0  # by then every batch has its disposition


@dataclass(frozen=True)
class Tick:
    """One step: the plant's time, rows that became available by table, batches still without a disposition."""

    now: float
    new_rows: dict[str, int]
    n_in_progress: int


def play(out: Path, *, speed: float = 3600.0, tick_s: float = 5.0, hours: float | None = None,
         sleep: Callable[[float], None] = time.sleep) -> Iterator[Tick]:  # fmt: skip
    """Play a simulation on: after each tick its history holds what is available by then, and nothing later.

    Args:
        out: The folder that `simulate` wrote; the tables of its history are replaced, each in one step.
        speed: Plant time over wall time; 3600 plays an hour of the plant each second.
        tick_s: Seconds between two ticks.
        hours: Plant hours to play; absent: until every batch has its disposition.
        sleep: Waits some seconds.

    Yields:
        One `Tick` after the tables of that moment are in place.

    Raises:
        SourceError: `out` holds no simulation, or a figure is not above zero.
    """
    for name, figure in (("speed", speed), ("tick", tick_s), ("hours", LONGEST_H if hours is None else hours)):
        if not figure > 0:
            raise SourceError(f"simulation: {name} {figure:g}", expected="a number above 0")
    live = _LiveHistory.load(out)
    step_h, now = speed * tick_s / 3600.0, live.plan.until
    end = now + (LONGEST_H if hours is None else min(hours, LONGEST_H))
    while now < end:
        sleep(tick_s)
        now = min(now + step_h, end)
        tick = live.advance(now)
        yield tick
        if tick.n_in_progress == 0:
            return


@dataclass
class _LiveHistory:
    """A history folder, and all rows of its batches in progress, the future ones too."""

    history: Path
    plan: PlantPlan
    running: list[BatchPlan]
    readings: list[tables.Readings]
    events: list[list[tables.Event]]
    settled: dict[str, pa.Table]  # rows of all other batches
    written: dict[str, int]

    @classmethod
    def load(cls, out: Path) -> _LiveHistory:
        path = out / SETTINGS_FILE
        if not path.is_file():
            raise SourceError(f"{path}: no such file", remedy="Name the folder that 'batchguard simulate --out' wrote.")
        plan = plan_plant(SimulationSettings.from_json(path.read_text(encoding="utf-8")))
        running = [b for b in plan.batches if b.decided_at > plan.until]
        later = replace(plan, until=plan.until + LONGEST_H)
        records = [tables.batch_record(later, b) for b in running]
        ids = [b.batch_id for b in running]
        settled, written, history = {}, {}, out / "history"
        for name, contract in (("observations", OBSERVATIONS), ("events", EVENTS), ("materials", MATERIALS)):
            table = pq.read_table(history / f"{name}.parquet").cast(contract.arrow())
            settled[name] = table.filter(~pc.field("batch_id").isin(ids))
            written[name] = len(table)
        for name in ("environment", "dispositions"):
            written[name] = pq.read_metadata(history / f"{name}.parquet").num_rows
        _same_batches(history, plan)
        return cls(history, plan, running, [r for r, _ in records], [e for _, e in records], settled, written)

    def advance(self, now: float) -> Tick:
        """Bring the history to `now`."""
        moment = replace(self.plan, until=now)
        seen = [r.take(np.flatnonzero(r.available <= round(now * 3600.0) * 1_000_000)) for r in self.readings]
        fresh = {
            "observations": tables.observations(self.running, seen).cast(OBSERVATIONS.arrow()),
            "events": tables.event_table(moment, self.running, self.events),
            "materials": tables.material_table(replace(moment, batches=self.running)),
        }
        whole = {name: pa.concat_tables([self.settled[name], table]) for name, table in fresh.items()}
        whole |= {"environment": tables.environment_table(moment), "dispositions": tables.disposition_table(moment)}
        new_rows = {name: len(table) - self.written[name] for name, table in whole.items()}
        for name, table in whole.items():
            if new_rows[name] or name == "events":  # an event that ends changes its row
                path = self.history / f"{name}.parquet"
                beside = path.with_name(f".{path.name}.{os.getpid()}.next")
                write_table(beside, table)
                beside.replace(path)  # a reader sees the old or the new table, never a part of it
        self.written = {name: len(table) for name, table in whole.items()}
        return Tick(now, new_rows, sum(b.decided_at > now for b in self.running))


def _same_batches(history: Path, plan: PlantPlan) -> None:
    there = pq.read_table(history / "batches.parquet")
    if not there.equals(tables.batch_table(plan).cast(there.schema)):
        raise SourceError(f"{history}: its batches are not those of {SETTINGS_FILE}",
                          remedy="Simulate again with this version; nothing was changed.")  # fmt: skip
