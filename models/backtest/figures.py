"""What a replay shows: per block of the calendar and pooled, every figure with its batches and its failures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import binom

from features.errors import ContractError
from features.process import ProcessDefinition
from models.evaluation.calls import ELEVATED, HIGH, as_alarms
from models.evaluation.costs import cost_curve
from models.evaluation.figures import last_checkpoint
from models.evaluation.intervals import (
    Interval,
    batch_weights,
    clopper_pearson,
    percentiles,
)
from models.evaluation.metrics import auroc, auroc_with_interval, calibration_floor, expected_calibration_error
from models.evaluation.recall import recall_at_threshold
from models.evaluation.trajectories import trajectories

BLOCKS = 5
POOLED = "all"
_CALLED = 0.5  # between the 0 and 1 that stand for a call


def in_blocks(scores: pd.DataFrame, started_at: pd.Series, blocks: int = BLOCKS) -> pd.Series:
    """The block of each row: batches in order of start, in blocks of equal size, numbered from 1."""
    start = scores["batch_id"].map(started_at)
    order = pd.DataFrame({"batch_id": scores["batch_id"], "start": start}).drop_duplicates("batch_id")
    ids = order.sort_values(["start", "batch_id"])["batch_id"].to_numpy()
    parts = np.array_split(ids, min(blocks, len(ids)))
    number = {batch: place for place, part in enumerate(parts, start=1) for batch in part}
    return scores["batch_id"].map(number)


def field_table(
    scores: pd.DataFrame, started_at: pd.Series, process: ProcessDefinition, *, blocks: int = BLOCKS
) -> pd.DataFrame:
    """Figures of the replayed scores: pooled in the first row, then block by block.

    Args:
        scores: `models.backtest.replay.Replayed.scores`.
        started_at: By batch_id.
        process: Budgets and costs.
        blocks: Blocks of equal size in order of start.

    Returns:
        `block`, `from`, `to` (first and last start), `n_batches`, `n_failed`, `n_good`, `n_scores`; for the calls `high` and
        `watched` (high or elevated) `<call>_asked`, `<call>_alarmed` (good batches ever called so), `<call>_realised` with
        exact 95 % bounds, `<call>_as_asked` (whether the count lies inside the exact binomial 95 % range of what was asked),
        `<call>_found` (share of failures) with `_low`, `_high`, `<call>_n_found`, `<call>_lead_h` (median); `stated` and
        `observed` failures; `ece`, `ece_floor`; `auroc`; shares of scores `limited`, `no_support`, `no_call`; with costs
        `cost_per_batch` and `never_per_batch`.
    """
    number = in_blocks(scores, started_at, blocks)
    parts = [(POOLED, scores), *((str(block), scores[number == block]) for block in sorted(number.unique()))]
    return pd.DataFrame([_row(name, part, started_at, process) for name, part in parts])


def _row(block: str, rows: pd.DataFrame, started_at: pd.Series, process: ProcessDefinition) -> dict[str, object]:
    last = last_checkpoint(rows)
    failed, p = last["failed"].to_numpy(bool), last["failure_probability"].to_numpy(float)
    start = last["batch_id"].map(started_at)
    out: dict[str, object] = {"block": block, "from": start.min(), "to": start.max(), "n_batches": len(last)}
    out |= {"n_failed": int(failed.sum()), "n_good": int((~failed).sum()), "n_scores": len(rows)}
    budgets = (("high", HIGH, process.decision.alarm_budget), ("watched", ELEVATED, process.decision.watch_budget))
    for name, calls, asked in budgets:
        out |= _called(name, rows, calls, asked)
    out |= {"stated": float(p.sum()), "observed": int(failed.sum())}
    out |= {"ece": expected_calibration_error(failed, p), "ece_floor": calibration_floor(p)}
    out |= auroc_with_interval(failed, p, last["batch_id"].to_numpy()).named("auroc")
    shares = {"limited": ("support", "limited"), "no_support": ("support", "none"), "no_call": ("call", "none yet")}
    out |= {name: float((rows[column] == value).mean()) for name, (column, value) in shares.items()}
    if process.cost is not None:
        called = cost_curve(as_alarms(rows), process.cost, [_CALLED])
        out |= called[["cost_per_batch", "never_per_batch"]].iloc[0].to_dict()
    return out


def _called(name: str, rows: pd.DataFrame, calls: tuple[str, ...], asked: float) -> dict[str, object]:
    found = recall_at_threshold(trajectories(as_alarms(rows, calls)), _CALLED, ahead_h=0.0)
    k, n_good, n_failed = int(found["n_good_alarmed"]), int(found["n_good"]), int(found["n_failed"])
    low, high = binom.interval(0.95, n_good, asked) if n_good else (np.nan, np.nan)
    realised = Interval(k / n_good, *clopper_pearson(k, n_good)) if n_good else Interval(np.nan, np.nan, np.nan)
    caught = int(found["n_caught"])
    recall = Interval(caught / n_failed, *clopper_pearson(caught, n_failed)) if n_failed else Interval(*[np.nan] * 3)
    own = {"asked": asked, "alarmed": k, "as_asked": bool(low <= k <= high), "n_found": caught}
    own |= realised.named("realised") | recall.named("found") | {"lead_h": found["median_lead_h"]}
    return {f"{name}_{key}": value for key, value in own.items()}


def side_by_side(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """Two policies on the same batches, resampled together.

    Args:
        ours: Scores of one replay.
        theirs: Of another; batches that only one side scored are left out and counted.

    Returns:
        Rows `auroc`, `failures called high`, `failures called high or elevated`, `good batches called high`, `good batches
        called high or elevated`, `stated failures`: `figure`, `ours`, `theirs`, `difference` with `low` and `high`,
        `n`, `n_failed`, `left_out`.

    Raises:
        ContractError: No batch was scored by both.
    """
    both = set(ours["batch_id"]) & set(theirs["batch_id"])
    if not both:
        raise ContractError("the two replays have no batch in common", expected="overlapping --from and --until")
    left_out = len(set(ours["batch_id"]) ^ set(theirs["batch_id"]))
    a, b = (_per_batch(rows[rows["batch_id"].isin(both)]) for rows in (ours, theirs))
    failed = a["failed"].to_numpy(bool)
    shares = {
        "failures called high": ("high", failed),
        "failures called high or elevated": ("watched", failed),
        "good batches called high": ("high", ~failed),
        "good batches called high or elevated": ("watched", ~failed),
    }
    rows = [_difference("auroc", *(_auroc_of(side, failed) for side in (a, b)), len(a))]
    for name, (column, mask) in shares.items():
        rows.append(_difference(name, *(_share_of(side[column].to_numpy(float), mask) for side in (a, b)), len(a)))
    stated = (_share_of(side["p"].to_numpy(float), np.ones(len(a), bool), total=True) for side in (a, b))
    rows.append(_difference("stated failures", *stated, len(a)))
    return pd.DataFrame(rows).assign(n=len(a), n_failed=int(failed.sum()), left_out=left_out)


Drawn = Callable[[np.ndarray], np.ndarray]  # weights (r, n) -> (r,)


def _per_batch(rows: pd.DataFrame) -> pd.DataFrame:
    last = last_checkpoint(rows).set_index("batch_id").sort_index()
    ever = {name: rows["call"].isin(calls).groupby(rows["batch_id"]).any() for name, calls in _CALLS.items()}
    return last[["failed"]].assign(p=last["failure_probability"], **{n: v.reindex(last.index) for n, v in ever.items()})


_CALLS = {"high": HIGH, "watched": ELEVATED}


def _auroc_of(side: pd.DataFrame, failed: np.ndarray) -> Drawn:
    return lambda weight: auroc(failed, side["p"].to_numpy(float), weight)


def _share_of(values: np.ndarray, mask: np.ndarray, *, total: bool = False) -> Drawn:
    def drawn(weight: np.ndarray) -> np.ndarray:
        sums = np.einsum("rn,n->r", weight[:, mask], values[mask])
        with np.errstate(invalid="ignore"):
            return sums if total else sums / weight[:, mask].sum(axis=1)

    return drawn


def _difference(figure: str, ours: Drawn, theirs: Drawn, n: int) -> dict[str, object]:
    one = np.ones((1, n))
    mine, other = float(ours(one)[0]), float(theirs(one)[0])
    with np.errstate(invalid="ignore"):
        spread = np.concatenate([ours(w.astype(float)) - theirs(w.astype(float)) for w in batch_weights(n)])
    span = percentiles(mine - other, spread)
    return {
        "figure": figure,
        "ours": mine,
        "theirs": other,
        "difference": span.value,
        "low": span.low,
        "high": span.high,
    }
