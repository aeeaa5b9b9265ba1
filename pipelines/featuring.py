"""Stored run history to stored features, month by month; a month whose inputs are unchanged is left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.context import Vocabulary, vocabulary
from features.dictionary import Feature, from_frame, to_frame
from features.snapshots import checkpoint_rows, rows_as_of, snapshots
from features.summaries import OBSERVATION_COLUMNS, SUMMARIES, grid_of, summarise
from pipelines.plant import Plant, digest, features_code_digest, frame_digest
from pipelines.storage import Commit


def row_groups(files: list[Path], known_by: pd.Timestamp | None = None) -> Iterator[Callable[[], pa.Table]]:
    """Readers of observation files, one a row group.

    Args:
        files: Parquet files with checksummed pages, in the order of their rows.
        known_by: Leave out what became available later.
    """
    for path in files:
        groups = pq.ParquetFile(path).metadata.num_row_groups
        yield from ((lambda path=path, i=i: _row_group(path, i, known_by)) for i in range(groups))


def _row_group(path: Path, index: int, known_by: pd.Timestamp | None) -> pa.Table:
    with pq.ParquetFile(
        path, read_dictionary=["batch_id", "parameter", "quality"], page_checksum_verification=True
    ) as file:
        table = file.read_row_group(index, columns=list(OBSERVATION_COLUMNS), use_threads=False)
    return table if known_by is None else table.filter(pc.less_equal(table["available_at"], pa.scalar(known_by)))


def write_summaries(plant: Plant, month: str) -> Commit:
    """Summarise the observations of the batches that started in a month."""
    inputs = digest([plant.history.digest(t, [month]) for t in ("batches", "observations")] + [plant.process_digest(), features_code_digest()])
    grid = grid_of(plant.table("batches", [month]), plant.process)
    made = summarise(row_groups(plant.history.files("observations", [month])), grid)
    return plant.features.write("batch_summaries", month, made, SUMMARIES, inputs_digest=inputs)


@dataclass(frozen=True)
class PlantContext:
    """What snapshots of any month need beside its own series: read once, used for every month."""

    tables: dict[str, pd.DataFrame]
    labels: pd.DataFrame
    vocabulary: Vocabulary

    @classmethod
    def of(cls, plant: Plant) -> PlantContext:
        """Read it from the stored run history."""
        tables = plant.context_tables()
        return cls(tables, plant.labels(tables["dispositions"]), vocabulary(tables, plant.process))

    def known_by(self, moment: pd.Timestamp) -> str:
        """Digest of all that was known by a moment: an unchanged one cannot change an earlier snapshot."""
        known = {"batches": "started_at", "events": "available_at", "lot_results": "available_at", "environment": "available_at"}
        parts = [frame_digest(f[f[known[n]] <= moment] if n in known else f) for n, f in self.tables.items() if n != "dispositions"]
        return digest([*parts, frame_digest(self.labels[self.labels["label_available_at"] <= moment]), str(self.vocabulary)])


def write_snapshots(plant: Plant, month: str, context: PlantContext) -> Commit:
    """Snapshots at the checkpoints of the batches that started in a month."""
    batches = context.tables["batches"]
    of_month = batches[batches["started_at"].dt.strftime("%Y-%m") == month]
    rows = checkpoint_rows(of_month, context.labels, plant.process, until=plant.newest_moment())
    last = rows["as_of"].max() if len(rows) else of_month["started_at"].max()
    inputs = digest([
        plant.features.digest("batch_summaries", [month]), context.known_by(last), frame_digest(rows), plant.process_digest(), features_code_digest(),
    ])  # fmt: skip
    if plant.features.inputs_digest("snapshot_features", month) == inputs:
        return plant.features.unchanged("snapshot_features", month)
    frame, features = snapshots(rows, plant.features.read("batch_summaries", months=[month]), context.tables, context.labels, plant.process, context.vocabulary)
    write_dictionary(plant, features)
    return _write_frame(plant, "snapshot_features", month, frame, inputs)


def write_in_progress(plant: Plant, context: PlantContext, as_of: pd.Timestamp) -> pd.DataFrame:
    """Snapshots as of a moment of the batches that had no disposition and no label by then."""
    tables, labels = context.tables, context.labels
    decided = set(tables["dispositions"].loc[tables["dispositions"]["decided_at"] <= as_of, "batch_id"])
    decided |= set(labels.loc[labels["label_available_at"] <= as_of, "batch_id"])
    batches = tables["batches"]
    rows = rows_as_of(batches[~batches["batch_id"].isin(decided)], as_of)
    running = batches[batches["batch_id"].isin(rows["batch_id"])]
    months = sorted(running["started_at"].dt.strftime("%Y-%m").unique())
    made = summarise(row_groups(plant.history.files("observations", months), as_of), grid_of(running, plant.process))
    frame, features = snapshots(rows, pa.Table.from_batches(made, SUMMARIES), tables, labels, plant.process, context.vocabulary)
    write_dictionary(plant, features)
    inputs = digest([plant.data_version(), str(as_of), plant.process_digest(), features_code_digest()])
    _write_frame(plant, "in_progress_features", None, frame, inputs)
    return frame


def _write_frame(plant: Plant, table: str, month: str | None, frame: pd.DataFrame, inputs: str) -> Commit:
    content = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    return plant.features.write(table, month, content, content.schema, inputs_digest=inputs)


def write_dictionary(plant: Plant, features: tuple[Feature, ...]) -> Commit:
    """Keep the feature dictionary beside the features."""
    content = pa.Table.from_pandas(to_frame(features), preserve_index=False).replace_schema_metadata(None)
    return plant.features.write("feature_dictionary", None, content, content.schema, inputs_digest=frame_digest(to_frame(features)))


def read_dictionary(plant: Plant) -> tuple[Feature, ...]:
    """The feature dictionary of the stored snapshots."""
    return from_frame(plant.features.read("feature_dictionary").to_pandas())
