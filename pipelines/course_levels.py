"""Levels of the sensors every few hours, from the stored summaries: what the fast head of a model learns from.

They are made when a model is trained, and kept nowhere: the same history gives them again.
"""

from __future__ import annotations

import pandas as pd

from features.course import CoursePlan
from features.runs import HistoryRuns, series_block
from features.summaries import grid_of
from models.cohort.course import course_rows
from pipelines.feature_tables import MONTHS_AT_ONCE
from pipelines.plant import Plant


def levels_every_few_hours(plant: Plant, batch_ids: pd.Index) -> pd.DataFrame:
    """Levels of some batches at the times of `models.cohort.course.course_rows`.

    Args:
        plant: With the summaries of these batches stored.
        batch_ids: Batches with an outcome.

    Returns:
        `features.snapshots.ROW_COLUMNS` and the columns of `features.course.CoursePlan`; no row where the process has none.
    """
    batches, plan = plant.table("batches"), CoursePlan.of(plant.process)
    batches = batches[batches["batch_id"].isin(batch_ids)]
    rows = course_rows(batches, plant.labels(), plant.process, until=plant.newest_moment)
    month = rows["batch_id"].map(batches.set_index("batch_id")["started_at"].dt.strftime("%Y-%m"))
    months, made = sorted(month.unique()), []
    for several in (months[i : i + MONTHS_AT_ONCE] for i in range(0, len(months), MONTHS_AT_ONCE)):
        wanted = rows[month.isin(several)].reset_index(drop=True)
        own = batches[batches["batch_id"].isin(wanted["batch_id"])]
        summaries = plant.features.read("batch_summaries", months=several)
        runs = HistoryRuns.of(wanted, summaries, grid_of(own, plant.process))
        made.append(pd.concat([wanted, series_block(plan, wanted, runs).values], axis=1))
    return pd.concat(made, ignore_index=True) if made else rows
