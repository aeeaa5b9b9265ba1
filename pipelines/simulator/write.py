"""Writing a history folder in bounded memory: equal bytes whatever the number of workers or the size of their tasks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
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
from pipelines.storage.files import row_groups, sync

ROWS_PER_GROUP = 1 << 19
BATCHES_PER_TASK = 4
SETTINGS_FILE = "simulation.json"
_DICTIONARY = ("batch_id", "parameter", "unit", "quality")

Progress = Callable[[str, int, int], None]


def write_groups(
    path: Path, schema: pa.Schema, tables: Iterable[pa.Table], *, rows_per_group: int = ROWS_PER_GROUP
) -> int:
    """Write a Parquet file whose row groups have a fixed size however the rows come in; it appears complete or not at all.

    Args:
        path: The file.
        schema: Stored types.
        tables: Rows; text may be dictionary-encoded. Each group is written beside the making of the next rows.
        rows_per_group: Size of a row group.

    Returns:
        Rows written.
    """
    partial, rows, pending = path.with_name(path.name + ".partial"), 0, deque[Future[None]]()
    with pq.ParquetWriter(
        partial, schema, compression="zstd", compression_level=3, write_page_checksum=True, store_schema=False,
        use_dictionary=[n for n in _DICTIONARY if n in schema.names] or True,
    ) as writer, ThreadPoolExecutor(1) as thread:  # fmt: skip

        def write(group: pa.Table) -> None:
            writer.write_table(group.cast(schema), row_group_size=rows_per_group)

        for group in row_groups(tables, rows_per_group):
            while pending:
                pending.popleft().result()
            pending.append(thread.submit(write, group))
            rows += len(group)
        while pending:
            pending.popleft().result()
    sync(partial)
    partial.rename(path)
    return rows


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
    events: list[pa.Table] = []  # few beside the observations

    def observations() -> Iterator[pa.Table]:
        for done, (observed, happened) in enumerate(_records(plan, workers), start=1):
            events.append(happened)
            yield observed
            if progress is not None:
                progress("records", min(done * BATCHES_PER_TASK, len(plan.batches)), len(plan.batches))

    rows["observations"] = write_groups(history / "observations.parquet", OBSERVATIONS.arrow(), observations())
    rows["events"] = write_groups(history / "events.parquet", EVENTS.arrow(), events)
    rows["truth"] = write_table(target / "truth.parquet", truth_table(plan))
    (target / SETTINGS_FILE).write_text(plan.settings.to_json(), encoding="utf-8")
    return rows


def write_table(path: Path, table: pa.Table) -> int:
    """Write one whole table; returns its rows."""
    return write_groups(path, table.schema, [table])


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
