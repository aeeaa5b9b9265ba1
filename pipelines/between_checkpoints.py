"""Snapshots between the checkpoints, where batches are really scored: for the applicability domain and for the report.

They are made from the stored summaries when a model is trained, and kept nowhere: the same history gives them again.
"""

from __future__ import annotations

import pandas as pd

from features.checks import validate
from features.contracts import SNAPSHOT
from features.snapshots import snapshots
from models.cohort.between import between_rows
from pipelines.feature_tables import MONTHS_AT_ONCE, PlantContext
from pipelines.plant import Plant


def snapshots_between(plant: Plant, batch_ids: pd.Index) -> pd.DataFrame:
    """Snapshots at one time per batch and stretch between checkpoints (`models.cohort.between.between_rows`).

    Args:
        plant: With the summaries of these batches stored.
        batch_ids: Batches with an outcome.

    Returns:
        `features.contracts.SNAPSHOT` with the columns of the stored snapshots; empty where no time lies between.
    """
    context = PlantContext.of(plant)
    batches = context.tables["batches"]
    batches = batches[batches["batch_id"].isin(batch_ids)]
    rows = between_rows(batches, context.labels, plant.process, until=plant.newest_moment)
    month_of = batches.set_index("batch_id")["started_at"].dt.strftime("%Y-%m")
    month = rows["batch_id"].map(month_of)
    months, made = sorted(month.unique()), []
    for several in (months[i : i + MONTHS_AT_ONCE] for i in range(0, len(months), MONTHS_AT_ONCE)):
        wanted = rows[month.isin(several)].reset_index(drop=True)
        summaries = plant.features.read("batch_summaries", months=several)
        frame, _ = snapshots(wanted, summaries, context.tables, context.labels, plant.process, context.vocabulary)
        validate(frame, SNAPSHOT)
        made.append(frame)
    return pd.concat(made, ignore_index=True) if made else rows
