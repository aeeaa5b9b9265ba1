"""The dates of a replay: when models are trained and recalibrated, and from when they serve."""

from __future__ import annotations

from collections.abc import Sequence
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
        number: Of the training, from 1.
        at: The moment; what became known before it trains.
        serves_from: When the version may serve, after its approval.
    """

    number: int
    at: pd.Timestamp
    serves_from: pd.Timestamp


@dataclass(frozen=True)
class Recalibration:
    """New thresholds, calibration and limits for the trees of the newest training.

    Attributes:
        at: The moment; scores whose outcome became known before it count.
        serves_from: When the version may serve, after its approval.
    """

    at: pd.Timestamp
    serves_from: pd.Timestamp


def retrainings(
    outcomes: pd.DataFrame,
    policy: Policy,
    *,
    least: int,
    started: pd.Series,
    until: pd.Timestamp | None = None,
) -> tuple[Retraining, ...]:
    """The trainings that a policy asks for.

    The first is the first on the policy's grid at which enough outcomes of both kinds are known. An interval that would give
    more than `most_retrainings` is doubled, so that the trainings of a longer history are among those of a shorter one. One
    that gives none with batches after it is halved until it does: a young plant tests early.

    Args:
        outcomes: `models.backtest.history.History.first_outcomes`.
        policy: Interval, number, delay.
        least: Failures, and successes, without which nothing is trained.
        started: `started_at` by batch_id: after the newest start of a batch with an outcome there is nothing to test.
        until: No training at or after it; None: as long as outcomes come.
    """
    known = outcomes if until is None else outcomes[outcomes["known_at"] < until]
    failed, times = known["failed"].to_numpy(bool), known["known_at"].reset_index(drop=True)
    enough = np.flatnonzero(np.minimum(failed.cumsum(), (~failed).cumsum()) >= least)
    if not len(enough):
        return ()
    from_, last = times.iloc[enough[0]], known["batch_id"].map(started).max()

    def dates_at(factor: float) -> list[pd.Timestamp]:
        return [at for at in _grid(times, policy, factor, from_) if at <= last]

    factor = 1.0
    while len(dates := dates_at(factor)) > policy.most_retrainings:
        factor *= 2
    while not dates and factor > _FINEST:
        factor /= 2
        dates = dates_at(factor)[: policy.most_retrainings]
    served = (pd.Series(dates, dtype="datetime64[us, UTC]") + pd.Timedelta(hours=policy.approval_delay_h)).tolist()
    return tuple(Retraining(i, at, then) for i, (at, then) in enumerate(zip(dates, served, strict=True), start=1))


def recalibrations(
    outcomes: pd.DataFrame,
    policy: Policy,
    trainings: Sequence[Retraining],
    *,
    started: pd.Series,
    until: pd.Timestamp | None = None,
) -> tuple[Recalibration, ...]:
    """The recalibrations that a policy asks for, each some outcomes after a training or the recalibration before it.

    Every training starts the count again, whatever becomes of it: it recalibrates as well.

    Args:
        outcomes: `models.backtest.history.History.first_outcomes`.
        policy: Interval, delay.
        trainings: In their order.
        started: `started_at` by batch_id: after the newest start of a batch with an outcome there is nothing to score.
        until: No recalibration at or after it; None: as long as outcomes come.
    """
    every = policy.recalibrate_every_outcomes
    known = outcomes if until is None else outcomes[outcomes["known_at"] < until]
    if every is None or known.empty:
        return ()
    moments, last = known["known_at"] + _NEXT, known["batch_id"].map(started).max()
    ends = [*(training.at for training in trainings), last + _NEXT][1:]
    delay, found = pd.Timedelta(hours=policy.approval_delay_h), []
    for training, end in zip(trainings, ends, strict=True):
        later = moments[moments > training.at].iloc[every - 1 :: every]
        found += [Recalibration(at, at + delay) for at in sorted(set(later[later < end]))]
    return tuple(found)


def _grid(times: pd.Series, policy: Policy, factor: float, from_: pd.Timestamp) -> list[pd.Timestamp]:
    """Moments of an interval taken `factor` times, not before `from_` was known, each once."""
    if policy.outcomes is not None:
        step = max(1, round(policy.outcomes * factor))
        moments = times.iloc[step - 1 :: step] + _NEXT
    else:
        days = pd.Timedelta(days=(policy.retrain_every_days or 0.0) * factor)
        count = int((times.iloc[-1] - times.iloc[0]) / days)
        moments = pd.Series([times.iloc[0] + days * i + _NEXT for i in range(1, count + 1)])
    return sorted({moment for moment in moments if moment > from_})
