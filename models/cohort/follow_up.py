"""Short follow-up at a cut: of the batches that started shortly before it, only those with an early outcome are known.

Where failures end early these are mostly failures, so the newest training batches hold too many of them. Each known batch
stands for those that are not known yet when it weighs one over the probability that its outcome would be known by then,
given its kind (inverse probability of censoring; Robins and Rotnitzky, 1992); or the young ones are left out.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

FollowUp = Literal["ignore", "leave_out", "weight"]
_USUAL = 0.95  # share of outcomes that are known at the age below which a batch is left out
_LEAST_KNOWN = 0.2  # a batch that stands for more than five is chance


def follow_up_weights(outcomes: pd.DataFrame, started_at: pd.Series, cut: pd.Timestamp, how: FollowUp) -> pd.Series:
    """The weight of each batch with a known outcome; those that do not train are absent.

    How long outcomes take is read from batches that started so long before the cut that nearly all of theirs are known.

    Args:
        outcomes: `batch_id`, `failed`, `known_at`: as known at the cut.
        started_at: By batch_id.
        cut: The moment of training.
        how: `ignore` gives each batch a weight of 1.

    Returns:
        Indexed by batch_id, in the order of `outcomes`.
    """
    started = outcomes["batch_id"].map(started_at)
    delay, age = outcomes["known_at"] - started, cut - started
    whole = pd.Series(1.0, index=pd.Index(outcomes["batch_id"], dtype="str"))
    old = (age >= delay.quantile(0.99)).to_numpy() if len(delay) else np.empty(0, bool)
    if how == "ignore" or not old.any():
        return whole
    if how == "leave_out":
        return whole[(age >= delay[old].quantile(_USUAL)).to_numpy()]
    failed = outcomes["failed"].to_numpy(bool)
    known = {kind: _share_known(delay[old & (failed == kind)], age) for kind in (False, True)}
    least = np.minimum(known[False], known[True])
    weight = whole / np.where(failed, known[True], known[False])
    return weight[least >= _LEAST_KNOWN]


def _share_known(delays: pd.Series, age: pd.Series) -> np.ndarray:
    """Share of outcomes that are known at each age; all of them where no delay is known."""
    if delays.empty:
        return np.ones(len(age))
    order = np.sort(delays.to_numpy())
    return np.searchsorted(order, age.to_numpy(), side="right") / len(order)
