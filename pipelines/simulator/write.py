"""Writing a history folder in bounded memory: equal bytes whatever the number of workers or the size of their tasks."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from features.contracts import EVENTS, OBSERVATIONS
from pipelines.simulator import tables
from pipelines.simulator.plan import PlantPlan
from pipelines.simulator.truth import truth_table
from pipelines.sources.folder import new_folder

ROWS_PER_GROUP = 1 << 19
BATCHES_PER_TASK = 4
SETTINGS_FILE = "simulation.json"
_DICTIONARY = ("batch_id", "parameter", "unit", "quality")

Progress = Callable[[str, int, int], None]


class GroupWriter:
    """A Parquet file whose row groups have a fixed size, however the rows come in; complete or absent."""

    def __init__(self, path: Path, schema: pa.Schema, *, rows_per_group: int = ROWS_PER_GROUP) -> None:
        self.path, self.schema, self.rows_per_group = path, schema, rows_per_group
        self._partial = path.with_name(path.name + ".partial")
        self._writer = pq.ParquetWriter(
            self._partial, schema, compression="zstd", compression_level=3, write_page_checksum=True,
            store_schema=False, use_dictionary=[n for n in _DICTIONARY if n in schema.names] or True,
        )  # fmt: skip
        self._thread = ThreadPoolExecutor(1)  # writing runs beside the making of the next rows
        self._pending: Future[None] | None = None
        self._held: list[pa.Table] = []
        self._rows = 0
        self.written = 0

    def add(self, table: pa.Table) -> None:
        """Add rows; full groups go to the file."""
        self._held.append(table)
        self._rows += len(table)
        if self._rows >= self.rows_per_group:
            self._flush(final=False)

    def close(self) -> int:
        """Write the rest and give the file its name; returns the number of rows."""
        self._flush(final=True)
        self._settle()
        self._thread.shutdown()
        self._writer.close()
        with self._partial.open("rb") as file:
            os.fsync(file.fileno())
        self._partial.rename(self.path)
        return self.written

    def _write(self, group: pa.Table) -> None:
        self._writer.write_table(group.cast(self.schema), row_group_size=self.rows_per_group)

    def _settle(self) -> None:
        """Wait for the group that is being written, and raise what went wrong with it."""
        if self._pending is not None:
            self._pending.result()
            self._pending = None

    def _flush(self, *, final: bool) -> None:
        if not self._held:
            return
        whole, at = pa.concat_tables(self._held).unify_dictionaries(), 0
        while len(whole) - at >= self.rows_per_group or (final and at < len(whole)):
            group = whole.slice(at, self.rows_per_group)
            self._settle()
            self._pending = self._thread.submit(self._write, group)
            at += len(group)
        self.written += at
        self._held, self._rows = ([whole.slice(at)] if at < len(whole) else []), len(whole) - at


def write_plant(plan: PlantPlan, out: Path, *, workers: int = 1, progress: Progress | None = None) -> dict[str, int]:
    """Write `out/history/<table>.parquet` and, apart from it, `out/truth.parquet`; rows per table.

    Raises:
        SourceError: `out` is not an empty folder; nothing is written then.
    """
    with new_folder(out) as target:
        return _fill(plan, target, workers, progress)


def _fill(plan: PlantPlan, target: Path, workers: int, progress: Progress | None) -> dict[str, int]:
    history = target / "history"
    history.mkdir()
    small = {
        "batches": tables.batch_table, "materials": tables.material_table, "lot_results": tables.lot_table,
        "environment": tables.environment_table, "dispositions": tables.disposition_table,
    }  # fmt: skip
    rows = {name: write_table(history / f"{name}.parquet", make(plan)) for name, make in small.items()}
    observed = GroupWriter(history / "observations.parquet", OBSERVATIONS.arrow())
    happened = GroupWriter(history / "events.parquet", EVENTS.arrow())
    for done, (readings, events) in enumerate(_records(plan, workers), start=1):
        observed.add(readings)
        happened.add(events)
        if progress is not None:
            progress("records", min(done * BATCHES_PER_TASK, len(plan.batches)), len(plan.batches))
    rows |= {"observations": observed.close(), "events": happened.close()}
    rows["truth"] = write_table(target / "truth.parquet", truth_table(plan))
    (target / SETTINGS_FILE).write_text(plan.settings.to_json(), encoding="utf-8")
    return rows


def write_table(path: Path, table: pa.Table) -> int:
    """Write one whole table; returns its rows."""
    writer = GroupWriter(path, table.schema)
    writer.add(table)
    return writer.close()


def _records(plan: PlantPlan, workers: int) -> Iterator[tuple[pa.Table, pa.Table]]:
    starts = range(0, len(plan.batches), BATCHES_PER_TASK)
    if workers <= 1:
        yield from (record_task(plan, start) for start in starts)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_keep, initargs=(plan,)) as pool:
        ahead: deque[Future] = deque()  # bounded: the writer is slower than the workers
        for start in starts:
            ahead.append(pool.submit(_kept_task, start))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def record_task(plan: PlantPlan, start: int) -> tuple[pa.Table, pa.Table]:
    """Observations and events of a few batches."""
    batches = plan.batches[start : start + BATCHES_PER_TASK]
    made = [tables.batch_record(plan, b) for b in batches]
    observed = tables.observations(batches, [readings for readings, _ in made])
    return observed, tables.event_table(plan, batches, [events for _, events in made])


_plan: PlantPlan | None = None


def _keep(plan: PlantPlan) -> None:
    global _plan
    _plan = plan


def _kept_task(start: int) -> tuple[pa.Table, pa.Table]:
    if _plan is None:
        raise RuntimeError("the worker process has no plan")
    return record_task(_plan, start)
