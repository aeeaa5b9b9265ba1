"""The dates of a replay: when models are made, and from when they serve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.policy import Policy

_FINEST = 1 / 64
_NEXT = pd.Timedelta(microseconds=1)  # what became known at a moment is known before the next one


@dataclass(frozen=True)
class Retraining:
    """One training.

    Attributes:
        number: Of the model version, from 1.
        at: The moment; what became known before it trains.
        serves_from: When the version may serve, after its approval.
    """

    number: int
    at: pd.Timestamp
    serves_from: pd.Timestamp


def retrainings(
    outcomes: pd.DataFrame,
    policy: Policy,
    *,
    least: int,
    started: pd.Series,
    until: pd.Timestamp | None = None,
    log: pd.DataFrame | None = None,
) -> tuple[Retraining, ...]:
    """The trainings that a policy asks for.

    The first is the first on the policy's grid at which enough outcomes of both kinds are known, and none falls where
    corrections have left too few. An interval that would give more than `most_retrainings` is doubled, so that the trainings
    of a longer history are among those of a shorter one. One that gives none with batches after it is halved until it does:
    a young plant tests early.

    Args:
        outcomes: `models.backtest.history.outcomes_of`.
        policy: Interval, number, delay.
        least: Failures, and successes, without which nothing is trained.
        started: `started_at` by batch_id: after the newest start of a batch with an outcome there is nothing to test.
        until: No training at or after it; None: as long as outcomes come.
        log: `features.contracts.LABELS`: failures and successes count as they were known at each moment; None: no outcome
            was ever corrected.
    """
    known = outcomes if until is None else outcomes[outcomes["known_at"] < until]
    if known.empty:
        return ()
    times, last = known["known_at"].reset_index(drop=True), known["batch_id"].map(started).max()
    changed, fewer = _fewer_of_both(known.rename(columns={"known_at": "label_available_at"}) if log is None else log)

    def dates_at(factor: float) -> list[pd.Timestamp]:
        moments = _grid(times, policy, factor)
        places = np.atleast_1d(changed.searchsorted(pd.Series(moments, dtype=changed.dtype), side="left"))
        return [
            at for at, place in zip(moments, places, strict=True) if at <= last and place and fewer[place - 1] >= least
        ]

    factor = 1.0
    while len(dates := dates_at(factor)) > policy.most_retrainings:
        factor *= 2
    while not dates and factor > _FINEST:
        factor /= 2
        dates = dates_at(factor)
    served = (pd.Series(dates, dtype="datetime64[us, UTC]") + pd.Timedelta(hours=policy.approval_delay_h)).tolist()
    return tuple(Retraining(i, at, then) for i, (at, then) in enumerate(zip(dates, served, strict=True), start=1))


def _fewer_of_both(log: pd.DataFrame) -> tuple[pd.Series, np.ndarray]:
    """When labels changed, and how many failures or successes, whichever were fewer, were known from then on."""
    rows = log.sort_values("label_available_at", kind="stable")
    censored = rows["censored"] if "censored" in rows else pd.Series(False, index=rows.index)
    counts = []
    for kind in (rows["failed"] & ~censored, ~rows["failed"] & ~censored):
        before = kind.groupby(rows["batch_id"]).shift(fill_value=False)
        counts.append((kind.astype(int) - before.astype(int)).to_numpy().cumsum())
    return rows["label_available_at"].reset_index(drop=True), np.minimum(*counts)


def _grid(times: pd.Series, policy: Policy, factor: float) -> list[pd.Timestamp]:
    """Moments of an interval taken `factor` times, each once."""
    if policy.outcomes is not None:
        step = max(1, round(policy.outcomes * factor))
        moments = times.iloc[step - 1 :: step] + _NEXT
    else:
        days = pd.Timedelta(days=(policy.retrain_every_days or 0.0) * factor)
        count = int((times.iloc[-1] - times.iloc[0]) / days)
        moments = pd.Series([times.iloc[0] + days * i + _NEXT for i in range(1, count + 1)])
    return sorted(set(moments))
