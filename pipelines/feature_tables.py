"""Stored run history to stored features, month by month; a month with unchanged inputs is not computed again."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.canonical import digest
from features.checks import validate
from features.context import Vocabulary, vocabulary
from features.contracts import RUN_HISTORY, SNAPSHOT
from features.dictionary import Feature, from_frame, to_frame
from features.digests import features_digest, process_digest
from features.errors import StorageError
from features.snapshots import checkpoint_rows, rows_as_of, snapshots
from features.summaries import OBSERVATION_COLUMNS, SUMMARIES, grid_of, summarise
from pipelines.plant import Plant, frame_digest
from pipelines.storage import Commit
from pipelines.storage.files import RESTORE

GROUPS_AT_ONCE = 4  # half a million rows: enough that Python's share of the work stays small
MONTHS_AT_ONCE = 12  # bounds the memory of a first run over many years
SUMMARIES_STORED = pa.schema(
    [(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type) for f in SUMMARIES]
)

Progress = Callable[[str, int, int], None]


def _silent(_what: str, _done: int, _of: int) -> None:
    """Report no progress."""


def row_groups(files: list[Path], known_by: pd.Timestamp | None = None) -> Iterator[Callable[[], pa.Table]]:
    """Readers of observation files, a few row groups each.

    Args:
        files: Parquet files with checksummed pages, in the order of their rows.
        known_by: Leave out what became available later.
    """
    for path in files:
        with _as_storage_error(path):
            footer = pq.read_metadata(path)
        for first in range(0, footer.num_row_groups, GROUPS_AT_ONCE):
            groups = list(range(first, min(first + GROUPS_AT_ONCE, footer.num_row_groups)))
            yield partial(_read_groups, path, footer, groups, known_by)


def _read_groups(path: Path, footer: pq.FileMetaData, groups: list[int], known_by: pd.Timestamp | None) -> pa.Table:
    coded = ["batch_id", "parameter", "quality"]
    with (
        _as_storage_error(path),
        pq.ParquetFile(
            path, metadata=footer, read_dictionary=coded, memory_map=True, page_checksum_verification=True
        ) as file,
    ):
        table = file.read_row_groups(groups, columns=list(OBSERVATION_COLUMNS), use_threads=False)
    return table if known_by is None else table.filter(pc.less_equal(table["available_at"], pa.scalar(known_by)))


@contextmanager
def _as_storage_error(path: Path) -> Generator[None]:
    """A stored file that is cut or damaged as one line with its remedy."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise StorageError(f"{path}: the stored file cannot be read: {first}", remedy=RESTORE) from error


def write_summaries(plant: Plant, months: Sequence[str], progress: Progress = _silent) -> Commit:
    """Summarise the observations of the batches that started in these months; one commit for all that changed.

    Args:
        plant: With its run history.
        months: `YYYY-MM`.
        progress: Called after every month with what was done, the months done and their number.
    """
    store, inputs = plant.features, {}
    for month in months:
        history = [plant.history.digest(table, [month]) for table in ("batches", "observations")]
        inputs[month] = digest([*history, process_digest(plant.process), features_digest()])
    changed = [month for month in months if store.inputs_digest("batch_summaries", month) != inputs[month]]
    staged = []
    for done, month in enumerate(changed, start=1):
        rows = _summaries(plant, month)
        staged.append(store.stage("batch_summaries", month, rows, SUMMARIES_STORED, inputs_digest=inputs[month]))
        progress("months summarised", done, len(changed))
    gone = set(store.months("batch_summaries")) - set(plant.history.months("batches"))
    return store.commit("batch_summaries", staged, drop_months=sorted(gone))


def _summaries(plant: Plant, month: str) -> Iterator[pa.RecordBatch]:
    grid = grid_of(plant.table("batches", [month]), plant.process)
    return summarise(row_groups(plant.history.files("observations", [month])), grid)


@dataclass(frozen=True)
class PlantContext:
    """Input of the snapshots of any month beside its own series: read once, used for every month."""

    tables: dict[str, pd.DataFrame]
    labels: pd.DataFrame
    vocabulary: Vocabulary

    @classmethod
    def of(cls, plant: Plant) -> PlantContext:
        """The context in the stored run history."""
        tables = plant.context_tables()
        return cls(tables, plant.labels(tables["dispositions"]), vocabulary(tables, plant.process))

    def known_by(self, moment: pd.Timestamp) -> str:
        """Digest of all that was known by a moment: an unchanged one cannot change an earlier snapshot."""
        known = {name: RUN_HISTORY[name].known_at(frame, moment) for name, frame in self.tables.items()}
        parts = [frame_digest(frame) for name, frame in known.items() if name != "dispositions"]  # labels say more
        return digest(
            [*parts, frame_digest(self.labels[self.labels["label_available_at"] <= moment]), str(self.vocabulary)]
        )


def write_snapshots(plant: Plant, months: Sequence[str], context: PlantContext, progress: Progress = _silent) -> Commit:
    """Snapshots at the checkpoints of the batches that started in these months; one commit for all that changed.

    Args:
        plant: With its summaries.
        months: `YYYY-MM`.
        context: Of the same run history.
        progress: Called with what was done, the months done and their number.
    """
    batches, store = context.tables["batches"], plant.features
    rows = checkpoint_rows(batches, context.labels, plant.process, until=plant.newest_moment)
    month_of = dict(zip(batches["batch_id"], batches["started_at"].dt.strftime("%Y-%m"), strict=True))
    by_month = {str(month): part for month, part in rows.groupby(rows["batch_id"].map(month_of))}
    inputs = {
        month: _snapshot_inputs(plant, month, part, context) for month, part in by_month.items() if month in set(months)
    }
    changed = [
        month for month, made_from in inputs.items() if store.inputs_digest("snapshot_features", month) != made_from
    ]
    staged = []
    for first in range(0, len(changed), MONTHS_AT_ONCE):
        several = changed[first : first + MONTHS_AT_ONCE]
        wanted = pd.concat([by_month[month] for month in several], ignore_index=True)
        summaries = store.read("batch_summaries", months=several)
        frame, features = snapshots(
            wanted, summaries, context.tables, context.labels, plant.process, context.vocabulary
        )
        validate(frame, SNAPSHOT)
        _write_dictionary(plant, features)
        for month, part in frame.groupby(frame["batch_id"].map(month_of)):
            name, content = str(month), _content(part)
            staged.append(store.stage("snapshot_features", name, content, content.schema, inputs_digest=inputs[name]))
        progress("months with features", min(first + MONTHS_AT_ONCE, len(changed)), len(changed))
    gone = set(store.months("snapshot_features")) - set(by_month)  # batches that the source no longer has
    return store.commit("snapshot_features", staged, drop_months=sorted(gone))


def _snapshot_inputs(plant: Plant, month: str, rows: pd.DataFrame, context: PlantContext) -> str:
    summaries = plant.features.digest("batch_summaries", [month])
    known = context.known_by(rows["as_of"].max())
    return digest([summaries, known, frame_digest(rows), process_digest(plant.process), features_digest()])


def write_in_progress(plant: Plant, context: PlantContext, as_of: pd.Timestamp) -> pd.DataFrame:
    """Store `snapshots_as_of` of the batches in progress, and their dictionary."""
    frame, features = snapshots_as_of(plant, context, as_of)
    _write_dictionary(plant, features)
    inputs = digest([plant.data_version(), str(as_of), process_digest(plant.process), features_digest()])
    _write_frame(plant, "in_progress_features", frame, inputs)
    return frame


def snapshots_as_of(
    plant: Plant, context: PlantContext, as_of: pd.Timestamp, batch_ids: Sequence[str] | None = None
) -> tuple[pd.DataFrame, tuple[Feature, ...]]:
    """Snapshots at a moment, and the dictionary of their columns; nothing that became available later counts.

    Args:
        plant: Stored run history.
        context: Of the same run history.
        as_of: The moment, UTC.
        batch_ids: Batches that had started by then; None: those that had no disposition and no label by then.
    """
    tables, labels, batches = context.tables, context.labels, context.tables["batches"]
    decided = set(tables["dispositions"].loc[tables["dispositions"]["decided_at"] <= as_of, "batch_id"])
    decided |= set(labels.loc[labels["label_available_at"] <= as_of, "batch_id"])
    wanted = ~batches["batch_id"].isin(decided) if batch_ids is None else batches["batch_id"].isin(list(batch_ids))
    rows = rows_as_of(batches[wanted], as_of)
    running = batches[batches["batch_id"].isin(rows["batch_id"])]
    months = sorted(running["started_at"].dt.strftime("%Y-%m").unique())
    readers = row_groups(plant.history.files("observations", months), as_of)
    made = summarise(readers, grid_of(running, plant.process))
    frame, features = snapshots(
        rows, pa.Table.from_batches(made, SUMMARIES), tables, labels, plant.process, context.vocabulary
    )
    validate(frame, SNAPSHOT)
    return frame, features


def _write_frame(plant: Plant, table: str, frame: pd.DataFrame, inputs: str) -> None:
    content = _content(frame)
    plant.features.write(table, None, content, content.schema, inputs_digest=inputs)


def _content(frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)


def _write_dictionary(plant: Plant, features: tuple[Feature, ...]) -> None:
    entries = to_frame(features)
    _write_frame(plant, "feature_dictionary", entries, frame_digest(entries))


def read_dictionary(plant: Plant) -> tuple[Feature, ...]:
    """The feature dictionary of the stored snapshots."""
    return from_frame(plant.features.read("feature_dictionary").to_pandas())
