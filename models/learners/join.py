"""Linear score, trees and residuals of the sensors put together, on forward folds: scores of batches that none had seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import logit

from models.learners.blend import TREES_ALONE, Blend, fit_stack, stacked
from models.learners.calibrate import Calibration, as_stated, fit_calibration
from models.learners.candidates import Choice, blend_of, choose
from models.learners.fast_head import fit_fast_head, pays, with_head
from models.learners.trees import Learner


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
        join: What layers were put together by; None: there are none.
        fast: `batch_id`, `checkpoint_h`, `as_of`, `failed`, `log_odds` (calibrated) every few hours, the slow score being
            that of the newest checkpoint; None without a head.
        alone: The blend where there are no layers: trees, or the largest deviation.
        choice: Which of the two, and why; None: the layers.
    """

    raw: np.ndarray
    calibration: Calibration
    join: Join | None = None
    fast: pd.DataFrame | None = None
    alone: Blend = TREES_ALONE
    choice: Choice | None = None


@dataclass(frozen=True, eq=False)
class FastRows:
    """Residual columns of training batches every few hours.

    Attributes:
        rows: `batch_id`, `checkpoint_h`, `as_of`; index 0..n-1.
        columns: Shape (n, columns): excess of residuals, 0 where nothing departs.
        names: Of these columns.
    """

    rows: pd.DataFrame
    columns: np.ndarray
    names: tuple[str, ...]

    def newest(self, rows: pd.DataFrame) -> np.ndarray:
        """Columns of other rows (`batch_id`, `checkpoint_h`) at the newest time up to each; 0 before the first."""
        place = newest_before(rows, self.rows.assign(place=np.arange(len(self.rows))))["place"].to_numpy(float)
        return np.where(np.isnan(place)[:, None], 0.0, self.columns[np.nan_to_num(place).astype(int)])


def joined(scored: pd.DataFrame, fast: FastRows | None, *, n_failed: int, rate: float) -> OutOfFold:
    """Fit stack, head and calibration.

    A linear score has the level of the failure rate that it was fitted on. Those of the folds are raised or lowered to that
    of all training batches, and so is the level of the calibrated scores: how many of the failures fell into the folds is
    chance, and would count twice otherwise (prior correction; King and Zeng, 2001).

    Args:
        scored: `batch_id`, `checkpoint_h`, `fold`, `failed`, `weight`, `linear`, `trees` of the predicted rows, and `rate`, the
            share of failed batches that the fold learnt from.
        fast: Residuals of the training batches; None: no head.
        n_failed: Failed batches that the final trees will learn from.
        rate: Their share of all training batches.
    """
    level = float(logit(rate))
    linear, trees, failed, weight, hours = (
        scored[name].to_numpy() for name in ("linear", "trees", "failed", "weight", "checkpoint_h")
    )
    linear = linear + level - logit(scored["rate"].to_numpy(float))
    met = logit(scored.groupby("batch_id")["failed"].first().mean())
    stack = fit_stack(linear, trees, failed, weight, n_failed=n_failed)
    raw = stack[0] + stack[1] * linear + stack[2] * trees
    rows, columns = (scored.iloc[:0], np.empty((0, 0))) if fast is None else _with_slow(fast, scored.assign(raw=raw))
    head = _head(rows, columns) if len(rows) else None
    if fast is None or head is None:
        return OutOfFold(
            raw, fit_calibration(raw, failed, weight, hours).shifted(level - met), Join(stack, (), np.zeros(1))
        )
    raw = raw + head[0] + fast.newest(scored) @ head[1:]
    calibration = fit_calibration(raw, failed, weight, hours).shifted(level - met)
    whole = rows["raw"].to_numpy(float) + head[0] + columns @ head[1:]
    log_odds = calibration.log_odds(whole, rows["checkpoint_h"].to_numpy(float))
    return OutOfFold(raw, calibration, Join(stack, fast.names, head), rows.assign(log_odds=log_odds))


def chosen(scored: pd.DataFrame, asked: Learner) -> OutOfFold:
    """Trees as they are, or the largest deviation with an intercept and a slope of its own.

    Args:
        scored: `batch_id`, `checkpoint_h`, `failed`, `weight`, `trees`, `deviation` of the predicted rows.
        asked: By the policy: `auto` chooses.
    """
    trees, far, weight = (scored[name].to_numpy(float) for name in ("trees", "deviation", "weight"))
    choice = choose(scored, asked)
    alone = blend_of(choice.learner, far[:, None], scored["failed"].to_numpy(bool), weight)
    raw = alone.log_odds(trees, far[:, None])
    return OutOfFold(raw, as_stated(raw, weight), alone=alone, choice=choice)


def newest_before(rows: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """Each row (`batch_id`, `checkpoint_h`) with the other columns of the newest of `others` of its batch up to it."""
    given = [name for name in others if name not in rows or name == "batch_id"]
    ordered = rows.assign(order=np.arange(len(rows))).sort_values("checkpoint_h", kind="stable")
    later = others[[*given, "checkpoint_h"]].sort_values("checkpoint_h", kind="stable")
    found = pd.merge_asof(ordered, later, on="checkpoint_h", by="batch_id")
    return found.sort_values("order").drop(columns="order").reset_index(drop=True)


def _with_slow(fast: FastRows, scored: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows of batches that a fold predicted, with their slow score at the newest checkpoint, and their columns."""
    found = newest_before(fast.rows, scored[["batch_id", "checkpoint_h", "fold", "failed", "raw"]])
    known = found["raw"].notna().to_numpy()
    return found[known].reset_index(drop=True), fast.columns[known]


def _head(rows: pd.DataFrame, columns: np.ndarray) -> np.ndarray | None:
    """Intercept and slopes of the head; None where it does not lower the log-loss of folds it was not fitted on."""
    weight = np.full(len(rows), 1.0 / rows.groupby("batch_id").size().max())
    given = (rows["raw"].to_numpy(float), columns, rows["failed"].to_numpy(bool), weight)
    return fit_fast_head(*given) if pays(*given, rows["fold"].to_numpy(str)) else None
