"""Public data sets as histories to replay: ingested once, with snapshots at checkpoints and between them."""

from __future__ import annotations

from pathlib import Path

from benchmarks.field.dated import DataSet, ingested
from models.backtest.history import History
from pipelines.feature_tables import PlantContext, write_snapshots
from pipelines.model_history import history_of


def history_of_set(data: DataSet, folder: Path) -> History:
    """A data set with the labels of its question; `folder` keeps what was ingested."""
    plant = ingested(data, folder)
    write_snapshots(plant, plant.history.months("batches"), PlantContext.of(plant))
    return history_of(plant)
