"""Realised figures of the calls on later batches, beside the budgets that the process states.

An alarm is a call of high, whatever its support: support never hides one.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.process import Cost
from models.evaluation.alarms import first_alarm_curve
from models.evaluation.bands import all_and_banded, counts
from models.evaluation.costs import cost_curve
from models.evaluation.intervals import share_with_interval
from models.evaluation.recall import WARNED_AHEAD_H, recall_at_shares, recall_at_threshold
from models.evaluation.stability import flip_rate
from models.evaluation.trajectories import Trajectories, trajectories
from models.scoring.call import CALLS, Thresholds

HIGH, ELEVATED = ("high",), ("elevated", "high")
CALL, PROBABILITY = "call", "probability"
CALLED = 0.5  # between the 0 and 1 that stand for a call


def as_alarms(scores: pd.DataFrame, calls: tuple[str, ...] = HIGH) -> pd.DataFrame:
    """Scores whose probability is 1 where the call is one of these and 0 elsewhere: above 0.5 is an alarm."""
    return scores.assign(failure_probability=scores["call"].isin(calls).astype(float))


def alarm_table(
    scores: pd.DataFrame, thresholds: Thresholds, *, useful_lead_h: float = 0.0, ahead_h: float = WARNED_AHEAD_H
) -> pd.DataFrame:
    """Batches ever called high, and ever called at least elevated.

    Args:
        scores: `models.evaluation.sealed_test.score_test`.
        thresholds: Of the predictor, with the budgets.
        useful_lead_h: Hours before its end at which a batch can last be saved.
        ahead_h: Hours ahead for `warned`.

    Returns:
        `call` (high; elevated or high), `asked` (share of the good batches), `raised_by_cost` (whether the threshold lies
        where an alarm begins to pay, not where the share is spent), the figures of
        `models.evaluation.recall.recall_at_threshold`, the same for `in_time` (failures called at least `useful_lead_h`
        before the end: `n_in_time`, `in_time`, `in_time_low`, `in_time_high`), `useful_lead_h`, and `n_unsupported`
        (batches of which every such call had limited or no support).
    """
    kinds = (("high", HIGH, thresholds.high, thresholds.alarm_budget),)
    kinds += (("elevated or high", ELEVATED, thresholds.elevated, thresholds.watch_budget),)
    rows = []
    for call, calls, threshold, budget in kinds:
        arranged = trajectories(as_alarms(scores, calls))
        found = recall_at_threshold(arranged, CALLED, ahead_h=ahead_h) | {"threshold": threshold}
        raised = thresholds.cost is not None and threshold <= thresholds.cost
        head = {"call": call, "asked": budget, "raised_by_cost": raised} | found
        rows.append(head | _in_time(arranged, useful_lead_h) | {"n_unsupported": _unsupported(scores, calls)})
    return pd.DataFrame(rows)


def _unsupported(scores: pd.DataFrame, calls: tuple[str, ...]) -> int:
    """Batches called until their end, as alarms are counted, and never with sufficient support."""
    called = scores[scores["call"].isin(calls) & (scores["as_of"] <= scores["end_at"])]
    return int((~(called["support"] == "sufficient").groupby(called["batch_id"]).any()).sum())


def _in_time(arranged: Trajectories, useful_lead_h: float) -> dict[str, float]:
    found = recall_at_threshold(arranged, CALLED, ahead_h=useful_lead_h)
    named = {f"in_time{end}": found[f"warned{end}"] for end in ("", "_low", "_high")}
    return {"n_in_time": found["n_warned"]} | named | {"useful_lead_h": useful_lead_h}


def alarms_at_shares(scores: pd.DataFrame, *, ahead_h: float = WARNED_AHEAD_H) -> pd.DataFrame:
    """`models.evaluation.recall.recall_at_shares` by probability; empty without a good batch."""
    if scores["failed"].all():
        return pd.DataFrame()
    return recall_at_shares(scores, ahead_h=ahead_h)


def first_calls(scores: pd.DataFrame) -> pd.DataFrame:
    """`models.evaluation.alarms.first_alarm_curve` of the batches called high."""
    return first_alarm_curve(as_alarms(scores), CALLED)


def cost_table(scores: pd.DataFrame, cost: Cost | None) -> pd.DataFrame:
    """Cost per batch, by probability over all thresholds and, as one row, by the call `high`.

    Returns:
        `by` and the columns of `models.evaluation.costs.cost_curve`; empty where the process has no `[cost]`.
    """
    if cost is None:
        return pd.DataFrame()
    curve = cost_curve(scores, cost).assign(by=PROBABILITY)
    called = cost_curve(as_alarms(scores), cost, [CALLED]).assign(by=CALL, threshold=np.nan)
    return pd.concat([called, curve], ignore_index=True)


def flips_table(scores: pd.DataFrame) -> pd.DataFrame:
    """`models.evaluation.stability.flip_rate` of all changes, and of those into or out of `high`, named in `of`."""
    every, high = flip_rate(scores).assign(of="any call"), flip_rate(scores, of="high").assign(of="high")
    return pd.concat([every, high], ignore_index=True)


def calls_by_band(scores: pd.DataFrame, *, missed_asked: float) -> pd.DataFrame:
    """Shares of the calls of failed and good batches in each maturity band, and over all bands.

    Args:
        scores: `models.evaluation.sealed_test.score_test`.
        missed_asked: Share of failing batches that may be called low at any stage, as the process states.

    Returns:
        `band` (or "all"), `outcome` (failed or good), `n` (scores), `n_batches`, `n_failed`, the shares `none yet`, `low`,
        `elevated`, `high` of the scores, `low_low`, `low_high` (over resampled batches), `missed_asked`.
    """
    rows = []
    for band, part in all_and_banded(scores):
        for outcome, mask in (("failed", part["failed"]), ("good", ~part["failed"])):
            found = part[mask]
            shares = {name: (found["call"] == name).to_numpy() for name in CALLS}
            low = share_with_interval(shares["low"], found["batch_id"].to_numpy()).named("low")
            means = {name: float(hit.mean()) if len(hit) else np.nan for name, hit in shares.items()}
            rows.append({"band": band["band"], "outcome": outcome} | counts(found) | means | low)
    return pd.DataFrame(rows).assign(missed_asked=missed_asked)


def sensors_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Sensors that were found at fault and hidden.

    Returns:
        `parameter`, `kind` (what was found), `n` (scores), `n_batches`, `n_failed` (of these), `n_good_called` (good batches
        called high at a score with that sensor hidden); empty where none was found.
    """
    found = scores[scores["sensors"] != ""]
    if found.empty:
        return pd.DataFrame()
    each = found.assign(sensor=found["sensors"].str.split("; ")).explode("sensor")
    each[["parameter", "kind"]] = each["sensor"].str.split(" ", n=1, expand=True)
    each = each.assign(called=each["batch_id"].where((each["call"] == "high") & ~each["failed"]))
    each = each.assign(lost=each["batch_id"].where(each["failed"]))
    table = each.groupby(["parameter", "kind"]).agg(
        n=("batch_id", "size"),
        n_batches=("batch_id", "nunique"),
        n_failed=("lost", "nunique"),
        n_good_called=("called", "nunique"),
    )
    return table.sort_values("n_batches", ascending=False, kind="stable").reset_index()
