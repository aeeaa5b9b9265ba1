"""What alarms cost and save, in the currency of `[cost]`, against never alarming and always alarming.

The account, per batch, in units of `[cost]`:

- a failed batch costs `failed_batch`; an alarm at least `useful_lead_h` before its end takes back `saved_share` of that;
- an alarm later than that saves nothing and costs nothing more;
- a good batch costs `false_alarm` once if it is ever alarmed, however often and whenever, and otherwise nothing.

The effort of answering a true alarm is not charged: take it off `saved_share`. That an alarmed batch can be saved at
all is an assumption of the plant, not a result: the default of 1.0 is the most that prediction could be worth.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from features.errors import ContractError
from features.process import Cost
from models.evaluation.intervals import RESAMPLES, batch_weights, percentiles, weighted_sums
from models.evaluation.trajectories import Trajectories, as_trajectories

ASSUMED_SAVED_SHARE = 1.0
_STEPS = 100


def cost_curve(
    scores: pd.DataFrame | Trajectories,
    cost: Cost,
    thresholds: Sequence[float] | np.ndarray | None = None,
    *,
    saved_share: float = ASSUMED_SAVED_SHARE,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Cost per batch at each threshold.

    Args:
        scores: `models.evaluation.trajectories.trajectories`; at least one batch.
        cost: `[cost]` of the process.
        thresholds: A score must exceed it. None takes up to a hundred of the batches' highest scores, evenly by rank.
        saved_share: Assumed share of the cost of a failed batch that an alarm in time takes back, 0 to 1.
        resamples: Number of resamples of whole batches.

    Returns:
        One row per threshold, ascending: `threshold`, `n`, `n_good`, `n_failed`, `n_good_alarmed`, `n_failed_alarmed`,
        `n_in_time` (failures alarmed early enough), `cost_per_batch`, `never_per_batch`, `always_per_batch` (every
        batch alarmed at its first score), and with `_low` and `_high`: `saved_against_never` and
        `saved_against_always`, per batch; negative where alarms cost more than they save.

    Raises:
        ContractError: `saved_share` is no share, or there is no batch.
    """
    if not 0 <= saved_share <= 1:
        raise ContractError(f"saved_share is {saved_share}", expected="a number from 0 to 1")
    arranged = as_trajectories(scores)
    if not len(arranged.failed):
        raise ContractError("no batch among the scores", expected="at least one, to count costs by")
    at = _grid(arranged.highest) if thresholds is None else np.sort(np.asarray(thresholds, dtype=float))
    never, always = (batch_costs(arranged, cost, np.array([t]), saved_share) for t in (np.inf, -np.inf))
    costs = batch_costs(arranged, cost, at, saved_share)
    table = pd.DataFrame({"threshold": at, **_counts(arranged, cost, at), "cost_per_batch": costs.mean(axis=0)})
    table = table.assign(never_per_batch=never.mean(), always_per_batch=always.mean())
    for name, other in (("never", never), ("always", always)):
        saved = other - costs
        n = len(saved)
        drawn = np.vstack([weighted_sums(w, saved) / n for w in batch_weights(n, resamples=resamples)])
        spans = [percentiles(value, seen) for value, seen in zip(saved.mean(axis=0), drawn.T, strict=True)]
        columns = pd.DataFrame([span.named(f"saved_against_{name}") for span in spans])
        table = pd.concat([table, columns], axis=1)
    return table


def batch_costs(arranged: Trajectories, cost: Cost, thresholds: np.ndarray, saved_share: float) -> np.ndarray:
    """What each batch costs at each threshold.

    Args:
        arranged: n batches.
        cost: `[cost]` of the process.
        thresholds: Shape (t,).
        saved_share: As in `cost_curve`.

    Returns:
        Shape (n, t).
    """
    alarmed = arranged.highest[:, None] > thresholds
    in_time = arranged.highest_until(cost.useful_lead_h)[:, None] > thresholds
    lost = cost.failed_batch * (1 - saved_share * in_time)
    return np.where(arranged.failed[:, None], lost, cost.false_alarm * alarmed)


def _counts(arranged: Trajectories, cost: Cost, thresholds: np.ndarray) -> dict[str, object]:
    failed = arranged.failed
    alarmed = arranged.highest[:, None] > thresholds
    in_time = arranged.highest_until(cost.useful_lead_h)[:, None] > thresholds
    return {
        "n": len(failed),
        "n_good": int((~failed).sum()),
        "n_failed": int(failed.sum()),
        "n_good_alarmed": alarmed[~failed].sum(axis=0),
        "n_failed_alarmed": alarmed[failed].sum(axis=0),
        "n_in_time": in_time[failed].sum(axis=0),
    }


def _grid(highest: np.ndarray) -> np.ndarray:
    known = np.unique(highest[np.isfinite(highest)])
    if not len(known):
        return np.array([0.0])
    return known[np.unique(np.linspace(0, len(known) - 1, _STEPS).round().astype(int))]
