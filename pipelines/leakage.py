"""The leakage check: a snapshot made from what was known at its time equals the stored one, to the last bit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa

from features.contracts import RUN_HISTORY
from features.snapshots import ROW_COLUMNS, snapshots
from features.summaries import SUMMARIES, grid_of, summarise
from pipelines.feature_tables import PlantContext, row_groups
from pipelines.plant import Plant


@dataclass(frozen=True)
class LeakageCheck:
    """Outcome of the check.

    Attributes:
        n_rows: Snapshots that were made again.
        leaks: One line per feature that saw the future: batch, time, feature, stored and true value.
    """

    n_rows: int
    leaks: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether no feature saw the future."""
        return not self.leaks


def check_leakage(plant: Plant, context: PlantContext, stored: pd.DataFrame, *, n_rows: int = 8) -> LeakageCheck:
    """Make some snapshots again from a history in which nothing later exists.

    Args:
        plant: Gives the observations.
        context: The context the snapshots were made with.
        stored: Snapshots to check; rows are taken evenly over it.
        n_rows: How many.
    """
    places = np.unique(np.linspace(0, len(stored) - 1, min(n_rows, len(stored))).round().astype(int))
    leaks = [line for place in places for line in _leaks(plant, context, stored.iloc[[place]])]
    return LeakageCheck(len(places), tuple(leaks))


def _leaks(plant: Plant, context: PlantContext, row: pd.DataFrame) -> list[str]:
    as_of, batch_id = row["as_of"].iloc[0], row["batch_id"].iloc[0]
    then = known_at(context, as_of)
    batch = then.tables["batches"][then.tables["batches"]["batch_id"] == batch_id]
    month = batch["started_at"].dt.strftime("%Y-%m").iloc[0]
    readers = row_groups(plant.history.files("observations", [month]), as_of)
    made = pa.Table.from_batches(summarise(readers, grid_of(batch, plant.process), threads=1), SUMMARIES)
    again, _ = snapshots(
        row[ROW_COLUMNS].reset_index(drop=True), made, then.tables, then.labels, plant.process, context.vocabulary
    )
    return [
        f"{batch_id} at {as_of.isoformat()}: {name} is {row[name].iloc[0]}, but {again[name].iloc[0]} from what was known then"
        for name in again.columns
        if not _same(row[name].iloc[0], again[name].iloc[0])
    ]


def _same(left: object, right: object) -> bool:
    return bool(left == right or (pd.isna(left) and pd.isna(right)))


def known_at(context: PlantContext, as_of: pd.Timestamp) -> PlantContext:
    """The context as it stood at a time: later rows do not exist, later ends of events are not known."""
    tables = {name: RUN_HISTORY[name].known_at(frame, as_of) for name, frame in context.tables.items()}
    events = tables["events"]
    tables["events"] = events.assign(ended_at=events["ended_at"].where(events["ended_at"] <= as_of))
    known = tables["materials"]["batch_id"].isin(tables["batches"]["batch_id"])
    tables["materials"] = tables["materials"][known]
    labels = context.labels[context.labels["label_available_at"] <= as_of]
    return replace(
        context,
        tables={name: tables[name].reset_index(drop=True) for name in RUN_HISTORY if name in tables},
        labels=labels.reset_index(drop=True),
    )
