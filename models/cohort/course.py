"""Levels of the sensors of many batches every few hours: what expectations and the fast head learn from.

A fault that stops a batch within ten hours is seen at one checkpoint at most; whole snapshots every few hours would be ten
times the data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.course import CoursePlan, Lags
from features.process import ProcessDefinition
from models.cohort.between import known_rows

_STEPS = 3  # rows per lag


@dataclass(frozen=True, eq=False)
class Course:
    """Rows of batches with the levels of their sensors.

    Attributes:
        rows: `batch_id`, `checkpoint_h`, `as_of`; index 0..n-1.
        levels: Shape (n, columns), in the order of `features.course.CoursePlan`; NaN where not known.
        version: Place of the batch's process version, NaN where not known, shape (n,).
    """

    rows: pd.DataFrame
    levels: np.ndarray
    version: np.ndarray

    @property
    def hours(self) -> np.ndarray:
        """Hours since the start, shape (n,)."""
        return self.rows["checkpoint_h"].to_numpy(float)

    def of(self, batch_ids: pd.Index) -> Course:
        """The rows of some batches."""
        keep = self.rows["batch_id"].isin(batch_ids).to_numpy()
        return Course(self.rows[keep].reset_index(drop=True), self.levels[keep], self.version[keep])


def step_h(process: ProcessDefinition) -> float | None:
    """Hours between two rows of a batch, whole bins; None where the process has no levels."""
    lags, bin_h = Lags.of(process), process.process.bin_h
    return None if lags is None else max(1, round(lags.lag_h / _STEPS / bin_h)) * bin_h


def course_rows(
    batches: pd.DataFrame, log: pd.DataFrame, process: ProcessDefinition, *, until: pd.Timestamp | None = None
) -> pd.DataFrame:
    """Times of every batch, `step_h` apart, from one step after its start until its planned duration or its first label.

    Args:
        batches: `batch_id`, `started_at`.
        log: `features.contracts.LABELS`; a time at or after a batch's first label has nothing to predict.
        process: Gives lags, bins and planned duration.
        until: End of what is known; later times have not come. None: no end.

    Returns:
        `features.snapshots.ROW_COLUMNS`, in order of batch as given and of time; empty where the process has no levels.
    """
    step = step_h(process)
    hours = np.arange(step, process.process.planned_duration_h + 1e-9, step) if step else np.empty(0)
    rows = batches[["batch_id", "started_at"]].merge(pd.DataFrame({"checkpoint_h": hours}), how="cross")
    return known_rows(rows, log, until)


def course_of(frame: pd.DataFrame, process: ProcessDefinition, version: pd.Series) -> Course:
    """The rows of a frame in canonical order.

    Args:
        frame: `batch_id`, `checkpoint_h`, `started_at`, `as_of` and the levels: of `course_rows`, or snapshots; a level that
            it lacks is not known.
        process: Gives the names of the levels.
        version: Place of the process version by batch_id; batches that it does not name are left out.
    """
    names = [feature.name for feature in CoursePlan.of(process).features]
    own = frame[frame["batch_id"].isin(version.index)]
    ordered = own.sort_values(["started_at", "batch_id", "checkpoint_h"]).reset_index(drop=True)
    codes = ordered["batch_id"].map(version).to_numpy(float)
    return Course(ordered[["batch_id", "checkpoint_h", "as_of"]], ordered.reindex(columns=names).to_numpy(float), codes)
