"""The fast head fitted on forward folds: residuals and slow scores of batches that neither had seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.cohort.course import Course
from models.learners.evidence import Evidence
from models.learners.fast_head import fit_fast_head, pays


@dataclass(frozen=True, eq=False)
class FastRows:
    """Rows every few hours of the batches that the forward folds predicted.

    Attributes:
        rows: `batch_id`, `checkpoint_h`, `as_of`, `fold`, `failed`, `raw` (log-odds of the slow score at the newest
            checkpoint); index 0..n-1.
        columns: Of the residuals, shape (n, columns).
        names: Of these columns.
    """

    rows: pd.DataFrame
    columns: np.ndarray
    names: tuple[str, ...]

    def head(self) -> np.ndarray | None:
        """Intercept and slopes of the head; None where it does not lower the log-loss of folds it was not fitted on."""
        rows = self.rows
        weight = np.full(len(rows), 1.0 / rows.groupby("batch_id").size().max())
        given = (rows["raw"].to_numpy(float), self.columns, rows["failed"].to_numpy(bool), weight)
        return fit_fast_head(*given) if pays(*given, rows["fold"].to_numpy(str)) else None

    def log_odds(self, head: np.ndarray) -> np.ndarray:
        """Slow score and head together, shape (n,)."""
        return self.rows["raw"].to_numpy(float) + head[0] + self.columns @ head[1:]


def fast_rows(scored: pd.DataFrame, evidence: Sequence[tuple[str, Evidence]], course: Course | None) -> FastRows | None:
    """Residuals of the predicted batches beside their slow scores.

    Args:
        scored: `batch_id`, `checkpoint_h`, `fold`, `failed`, `raw` of the forward folds.
        evidence: Name of each fold, and its evidence.
        course: Levels of the sensors of all batches.

    Returns:
        None where no fold has residuals.
    """
    parts, columns, names = [], [], ()
    for fold, made in evidence:
        if course is None or made.residuals is None:
            continue
        slow = scored.loc[scored["fold"] == fold, ["batch_id", "checkpoint_h", "fold", "failed", "raw"]]
        own = course.of(pd.Index(slow["batch_id"].unique()))
        z = made.residuals.z(own.levels, own.version, own.hours)
        newest = _newest(own.rows, slow)
        known = newest["raw"].notna().to_numpy()
        parts.append(newest[known])
        columns.append(made.residuals.columns_of(z)[known])
        names = tuple(feature.name for feature in made.fast)
    if not parts:
        return None
    return FastRows(pd.concat(parts, ignore_index=True), np.concatenate(columns), names)


def _newest(rows: pd.DataFrame, slow: pd.DataFrame) -> pd.DataFrame:
    """Each row with the slow score of its batch at the newest checkpoint up to it; NaN before the first."""
    ordered = rows.assign(place=np.arange(len(rows))).sort_values("checkpoint_h", kind="stable")
    found = pd.merge_asof(ordered, slow.sort_values("checkpoint_h", kind="stable"), on="checkpoint_h", by="batch_id")
    return found.sort_values("place").drop(columns="place").reset_index(drop=True)
