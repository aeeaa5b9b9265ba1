"""Rows on their way to monthly partitions: kept in temporary files, so that memory holds one month at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.storage.files import ROW_GROUP_ROWS, from_pandas

_NO_TIME = np.iinfo(np.int64).min
ROW = "_row"  # number of the row in its source


class Spill:
    """Temporary files of one table, one per partition."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self.folder = folder
        self.schema = schema
        self._writers: dict[str, pq.ParquetWriter] = {}
        folder.mkdir(parents=True)

    def add(self, rows: pd.DataFrame, partitions: np.ndarray) -> None:
        """Add rows, each to the partition named beside it."""
        table = from_pandas(rows, self.schema)
        names, codes = np.unique(partitions, return_inverse=True)
        for number, name in enumerate(names):
            part = table if len(names) == 1 else table.filter(pa.array(codes == number))
            self._writer(str(name)).write_table(part)

    def partitions(self) -> list[str]:
        """Names of the partitions, in order; nothing can be added any more."""
        for writer in self._writers.values():
            writer.close()
        return sorted(self._writers)

    def read(self, partition: str) -> pa.Table:
        """Rows of a partition, text dictionary-encoded."""
        text = [field.name for field in self.schema if pa.types.is_string(field.type)]
        table = pq.read_table(self._path(partition), read_dictionary=text, partitioning=None)
        return table.unify_dictionaries().combine_chunks()

    def stream(self, partition: str) -> Iterator[pa.RecordBatch]:
        """Rows of a partition as they came."""
        with pq.ParquetFile(self._path(partition)) as file:
            yield from file.iter_batches()

    def remove(self, partition: str) -> None:
        """Give a partition's space back."""
        self._path(partition).unlink()

    def _writer(self, partition: str) -> pq.ParquetWriter:
        if partition not in self._writers:
            self._writers[partition] = pq.ParquetWriter(self._path(partition), self.schema, compression="lz4")
        return self._writers[partition]

    def _path(self, partition: str) -> Path:
        return self.folder / f"{partition}.parquet"


def sort_order(table: pa.Table, key: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Order of rows by key (text by code points), then by row of the source; and which key repeats the one before.

    Returns:
        Row indices in order, and per place in that order whether its key equals that of the place before.
    """
    columns = [_ranks(table.column(name)) for name in (*key, ROW)]
    order = np.arange(len(table)) if _increasing(columns) else np.lexsort(columns[::-1])
    same = np.zeros(len(table), bool)
    if len(table) > 1:
        same[1:] = True
        for ranks in columns[:-1]:
            ordered = ranks[order]
            same[1:] &= ordered[1:] == ordered[:-1]
    return order, same


def _ranks(column: pa.ChunkedArray) -> np.ndarray:
    """Integers that sort as the values do."""
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if pa.types.is_dictionary(array.type):
        values = array.dictionary.to_pylist()
        rank = np.empty(len(values), np.int32)
        rank[sorted(range(len(values)), key=values.__getitem__)] = np.arange(len(values), dtype=np.int32)
        return rank[array.indices.to_numpy(zero_copy_only=False)]
    if pa.types.is_timestamp(array.type):
        array = pc.fill_null(pc.cast(array, pa.int64()), _NO_TIME)  # absent times equal each other
    return array.to_numpy(zero_copy_only=False)


def _increasing(columns: Sequence[np.ndarray]) -> bool:
    """Whether the rows are in order already, as an export usually is."""
    undecided = np.ones(max(len(columns[0]) - 1, 0), bool)
    for ranks in columns:
        step = ranks[1:] >= ranks[:-1]
        if not step[undecided].all():
            return False
        undecided &= ranks[1:] == ranks[:-1]
    return True


def in_order(table: pa.Table, order: np.ndarray) -> Iterator[pa.RecordBatch]:
    """Rows in an order, a row group at a time."""
    for start in range(0, len(order), ROW_GROUP_ROWS):
        yield from table.take(pa.array(order[start : start + ROW_GROUP_ROWS])).to_batches()
