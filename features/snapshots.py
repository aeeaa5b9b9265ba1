"""Snapshots: all that was known of a batch at a time, one row per batch and time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa

from features.context import Vocabulary, context
from features.course import CoursePlan
from features.dictionary import Block, Feature, feature, join
from features.process import ProcessDefinition
from features.runs import HistoryRuns, SeriesFamily, series_block
from features.sensors import SensorSigns
from features.series import SeriesPlan
from features.summaries import US_PER_H, grid_of, microseconds

ROW_COLUMNS = ["batch_id", "checkpoint_h", "started_at", "as_of"]
PROGRESS = feature(
    "progress", "now", "elapsed_h", label="Time since start", unit="h", meaning="time since the batch's start"
)
_NO_VALUE = "number of parameters without any value yet"
MISSING = feature("completeness", "now", "missing", label="Missing parameters", meaning=_NO_VALUE)


def checkpoint_rows(
    batches: pd.DataFrame, labels: pd.DataFrame, process: ProcessDefinition, *, until: pd.Timestamp | None = None
) -> pd.DataFrame:
    """The checkpoints that each batch reached before its outcome was known.

    Args:
        batches: `features.contracts.BATCHES`.
        labels: `features.contracts.LABELS`; a checkpoint at or after a batch's first label has nothing to predict.
        process: Gives the checkpoints.
        until: End of what is known; later checkpoints have not been reached. None: no end.

    Returns:
        `ROW_COLUMNS`, in order of batch as given and of checkpoint.
    """
    rows = batches[["batch_id", "started_at"]].merge(pd.DataFrame({"checkpoint_h": process.checkpoints_h}), how="cross")
    rows["as_of"] = rows["started_at"] + pd.to_timedelta(
        np.round(rows["checkpoint_h"] * US_PER_H).astype("int64"), unit="us"
    )
    first_known = labels.groupby("batch_id")["label_available_at"].min().rename("known_at")
    rows = rows.merge(first_known, how="left", left_on="batch_id", right_index=True)
    keep = ~(rows["as_of"] >= rows["known_at"])  # NaT: still in progress
    if until is not None:
        keep &= rows["as_of"] <= until
    return _in_order(rows.loc[keep])


def rows_as_of(batches: pd.DataFrame, as_of: pd.Timestamp) -> pd.DataFrame:
    """One row for each batch that has started by `as_of`, its `checkpoint_h` being the hours since its start."""
    rows = batches.loc[batches["started_at"] <= as_of, ["batch_id", "started_at"]].copy()
    rows["as_of"] = pd.Series(as_of, index=rows.index).astype(rows["started_at"].dtype)
    rows["checkpoint_h"] = (microseconds(rows["as_of"]) - microseconds(rows["started_at"])) / US_PER_H
    return _in_order(rows)


def _in_order(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[ROW_COLUMNS].astype({"batch_id": "str", "checkpoint_h": "float64"}).reset_index(drop=True)


def snapshots(
    rows: pd.DataFrame,
    summaries: pa.Table,
    history: Mapping[str, pd.DataFrame],
    labels: pd.DataFrame,
    process: ProcessDefinition,
    vocabulary: Vocabulary,
) -> tuple[pd.DataFrame, tuple[Feature, ...]]:
    """Everything known of each row's batch at its `as_of`.

    Args:
        rows: `ROW_COLUMNS`, from `checkpoint_rows` or `rows_as_of`.
        summaries: `features.summaries.SUMMARIES` of these batches at least.
        history: All run-history tables but the observations, of the whole plant.
        labels: The label log of the whole plant.
        process: The process definition.
        vocabulary: Materials, metrics, events and phases for which there are columns.

    Returns:
        The rows with feature columns behind them, and one dictionary entry per column.
    """
    batches = history["batches"]
    grid = grid_of(batches[batches["batch_id"].isin(rows["batch_id"])], process)
    runs = HistoryRuns.of(rows, summaries, grid)
    series, *others = (series_block(family, rows, runs) for family in series_families(process))
    newest = [f.name for f in series.features if f.window == "since_start" and f.statistic == "last"]
    progress = pd.DataFrame({PROGRESS.name: rows["checkpoint_h"].astype("float64")})
    missing = pd.DataFrame({MISSING.name: series.values[newest].isna().sum(axis=1).astype("float64")})
    own = [Block(progress, (PROGRESS,)), series, Block(missing, (MISSING,)), *others]
    return join(rows, [*own, *context(rows, history, labels, process, vocabulary)])


def series_families(process: ProcessDefinition) -> tuple[SeriesFamily, ...]:
    """The families that read a batch's summaries: its series first, signs of sensors at fault, and levels of some hours ago."""
    return SeriesPlan.of(process), SensorSigns.of(process), CoursePlan.of(process)
