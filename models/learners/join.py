"""Linear score, trees and residuals of the sensors put together, on forward folds: scores of batches that none had seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.cohort.course import Course
from models.learners.blend import Blend, fit_stack, stacked
from models.learners.calibrate import Calibration, fit_calibration
from models.learners.evidence import Evidence
from models.learners.fast_head import fit_fast_head, pays, with_head

FoldLayers = tuple[str, Evidence, np.ndarray]  # its name, its evidence, residual columns of the rows it predicted


@dataclass(frozen=True, eq=False)
class Join:
    """How the parts of a score are put together.

    Attributes:
        stack: Intercept, slope of the linear score, slope of the trees.
        names: Columns of the residuals that the head adds; empty without one.
        head: Its intercept and slopes, shape (1 + names,).
    """

    stack: tuple[float, float, float]
    names: tuple[str, ...]
    head: np.ndarray

    def blend(self, linear: Blend) -> Blend:
        """The blend with the linear score of the final layers."""
        blend = stacked(linear, self.stack)
        return with_head(blend, self.names, self.head) if self.names else blend


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Scores of the predicted rows.

    Attributes:
        raw: Log-odds, shape (n,).
        calibration: Fitted on them.
        join: What they were put together by; None: trees alone.
        fast: `batch_id`, `checkpoint_h`, `as_of`, `failed`, `log_odds` (calibrated) every few hours; None without a head.
    """

    raw: np.ndarray
    calibration: Calibration
    join: Join | None = None
    fast: pd.DataFrame | None = None


def joined(scored: pd.DataFrame, layers: Sequence[FoldLayers], course: Course | None, *, n_failed: int) -> OutOfFold:
    """Fit stack, head and calibration.

    Args:
        scored: `batch_id`, `checkpoint_h`, `fold`, `failed`, `weight`, `linear`, `trees` of the predicted rows.
        layers: Of each fold, in the order of the rows.
        course: Levels of the sensors of all batches every few hours; None: no head.
        n_failed: Failed batches that the final trees will learn from.
    """
    linear, trees, failed, weight, hours = (
        scored[name].to_numpy() for name in ("linear", "trees", "failed", "weight", "checkpoint_h")
    )
    stack = fit_stack(linear, trees, failed, weight, n_failed=n_failed)
    raw = stack[0] + stack[1] * linear + stack[2] * trees
    rows = fast_rows(scored.assign(raw=raw), layers, course)
    head = None if rows is None else rows.head()
    if rows is None or head is None:
        return OutOfFold(raw, fit_calibration(raw, failed, weight, hours), Join(stack, (), np.zeros(1)))
    residuals = [own if own.shape[1] else np.zeros((len(own), len(rows.names))) for _, _, own in layers]
    raw = raw + head[0] + np.concatenate(residuals) @ head[1:]
    calibration = fit_calibration(raw, failed, weight, hours)
    fast = rows.rows.assign(
        log_odds=calibration.log_odds(rows.log_odds(head), rows.rows["checkpoint_h"].to_numpy(float))
    )
    return OutOfFold(raw, calibration, Join(stack, rows.names, head), fast)


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


def fast_rows(scored: pd.DataFrame, layers: Sequence[FoldLayers], course: Course | None) -> FastRows | None:
    """Residuals of the predicted batches beside their slow scores.

    Args:
        scored: `batch_id`, `checkpoint_h`, `fold`, `failed`, `raw` of the forward folds.
        layers: Of each fold.
        course: Levels of the sensors of all batches.

    Returns:
        Rows with any residual; None where no fold has one.
    """
    parts, columns, names = [], [], ()
    for fold, made, _ in layers:
        if course is None or made.residuals is None:
            continue
        slow = scored.loc[scored["fold"] == fold, ["batch_id", "checkpoint_h", "fold", "failed", "raw"]]
        own = course.of(pd.Index(slow["batch_id"].unique()))
        z = made.residuals.z(own.levels, own.version, own.hours)
        newest = _newest(own.rows, slow)
        known = newest["raw"].notna().to_numpy() & np.isfinite(z).any(axis=(1, 2))
        parts.append(newest[known])
        columns.append(made.residuals.columns_of(z)[known])
        names = tuple(feature.name for feature in made.fast)
    if not sum(map(len, parts)):
        return None
    return FastRows(pd.concat(parts, ignore_index=True), np.concatenate(columns), names)


def _newest(rows: pd.DataFrame, slow: pd.DataFrame) -> pd.DataFrame:
    """Each row with the slow score of its batch at the newest checkpoint up to it; NaN before the first."""
    ordered = rows.assign(place=np.arange(len(rows))).sort_values("checkpoint_h", kind="stable")
    found = pd.merge_asof(ordered, slow.sort_values("checkpoint_h", kind="stable"), on="checkpoint_h", by="batch_id")
    return found.sort_values("place").drop(columns="place").reset_index(drop=True)
