"""Failures that were not called high in time, one by one: what was called first and when, and why not high."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.evaluation.trajectories import require
from models.scoring.call import TOO_EARLY

_HOUR = pd.Timedelta(hours=1)
_AS_HIGH = 0.5  # share of the good batches with as high a score from which on nothing set the failure apart
COLUMNS = (
    "batch_id", "n_scores", "ended_h", "first_elevated_h", "first_high_h", "highest", "highest_h", "good_as_high", "why",
)  # fmt: skip


def missed_failures(scores: pd.DataFrame, *, useful_lead_h: float = 0.0) -> pd.DataFrame:
    """One row per failed batch that was not called high at least some hours before its end, in order of its id.

    Scores after the end of a batch warn of nothing and are left out.

    Args:
        scores: `models.evaluation.sealed_test.Scored.rows`.
        useful_lead_h: Hours before its end at which a batch can last be saved.

    Returns:
        `batch_id`, `n_scores` (before its end), `ended_h` (hours from start to end), `first_elevated_h` and `first_high_h`
        (hours of the first call of at least elevated, and of high; NaN: never), `highest` and `highest_h` (the highest
        probability and its hour; NaN without a score), `good_as_high` (share of the good batches whose highest
        probability is as high; NaN without either), `why`.
    """
    require(scores, ("batch_id", "checkpoint_h", "as_of", "end_at", "failed", "failure_probability", "call", "support"))
    before = scores[scores["as_of"] <= scores["end_at"]]
    highest = before.groupby("batch_id")["failure_probability"].max()
    good = highest[~highest.index.isin(scores.loc[scores["failed"], "batch_id"])].to_numpy()
    rows = [
        _row(str(batch_id), part, good, useful_lead_h)
        for batch_id, part in scores[scores["failed"]].groupby("batch_id", sort=True)
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    in_time = table["first_high_h"] <= table["ended_h"] - useful_lead_h
    return table[~in_time].reset_index(drop=True)


def _row(batch_id: str, part: pd.DataFrame, good: np.ndarray, useful_lead_h: float) -> dict[str, object]:
    started = (part["as_of"] - pd.to_timedelta(part["checkpoint_h"], unit="h")).iloc[0]
    seen = part[part["as_of"] <= part["end_at"]]
    p = seen["failure_probability"].to_numpy(float)
    known = len(p) > 0 and not np.isnan(p).all()
    most = float(np.nanmax(p)) if known else np.nan
    row: dict[str, object] = {
        "batch_id": batch_id,
        "n_scores": len(seen),
        "ended_h": float((part["end_at"].iloc[0] - started) / _HOUR),
        "first_elevated_h": _first(seen, ("elevated", "high")),
        "first_high_h": _first(seen, ("high",)),
        "highest": most,
        "highest_h": float(seen["checkpoint_h"].to_numpy(float)[np.nanargmax(p)]) if known else np.nan,
        "good_as_high": float((good >= most).mean()) if known and len(good) else np.nan,
    }
    return row | {"why": _why(row, seen, useful_lead_h)}


def _first(seen: pd.DataFrame, calls: tuple[str, ...]) -> float:
    hours = seen.loc[seen["call"].isin(calls), "checkpoint_h"]
    return float(hours.min()) if len(hours) else np.nan


def _why(row: dict, seen: pd.DataFrame, useful_lead_h: float) -> str:
    """The first reason that holds, from what prevents any call to what merely falls short."""
    if seen.empty:
        return "no score before its end"
    if not np.isnan(row["first_high_h"]):
        left_h = row["ended_h"] - row["first_high_h"]
        return (
            f"called high {left_h:.0f} h before its end: later than the {useful_lead_h:g} h in which it could be saved"
        )
    if (seen["call_cause"] == TOO_EARLY).any():
        return "its probability was high only before the hour from which an alarm may come"
    if (seen["support"] == "none").all():
        return f"no support at any score: {_most_often(seen['support_causes'])}"
    if row["good_as_high"] >= _AS_HIGH:
        return f"not observable as far as the data tell: {100 * row['good_as_high']:.0f} % of the good batches scored as high"
    return f"below the threshold: {100 * row['good_as_high']:.0f} % of the good batches scored as high"


def _most_often(causes: pd.Series) -> str:
    named = causes[causes != ""]
    return str(named.value_counts(sort=True).index[0]) if len(named) else "cause not recorded"
