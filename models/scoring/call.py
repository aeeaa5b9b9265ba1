"""From a probability to a call: low, elevated, high, or none yet with its cause. It never changes a batch's status.

The call comes from the risk alone. How far the model knows such batches is its support, which stands beside the call and
takes none back (`models.learners.applicability.domain`, docs/decisions/0014-call-and-support.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import pandas as pd
from pydantic import JsonValue
from scipy.special import expit, logit

from features.process import Cost, DecisionRule
from models.evaluation.alarms import threshold_at_share
from models.learners.applicability.domain import Support
from models.learners.boundary import NO_BOUNDARY, Boundary
from models.learners.conformal import Conformal
from models.persistence import Persistent

Call = Literal["none yet", "low", "elevated", "high"]
CALLS: tuple[Call, ...] = get_args(Call)
NONE_YET: Call = "none yet"
Decision = Literal["low", "elevated", "high", "undecided"]  # deprecated: call and support in one word
BOTH_POSSIBLE = "both outcomes possible"
NOT_LOW = "risk above the bound of low"
TOO_EARLY = "before the hour from which an alarm may come"
LOW_WITHOUT_COSTS = 0.1  # the bound of low where the process states no costs (docs/model.md, "Call and support")


@dataclass(frozen=True)
class Thresholds(Persistent):
    """Where calls change; probabilities, and the hour from which an alarm may come.

    Attributes:
        high: Above it an alarm is raised.
        elevated: Above it a batch is watched.
        cost: Above it an alarm costs less than waiting, by the costs of the process; None where there are none.
        alarm_budget: Share of good batches that may ever be alarmed, as asked.
        watch_budget: The same for watching.
        alarm_from_h: Before this hour of the batch nothing is called elevated or high.
        boundary: By how much, in log-odds, `high` and `elevated` are raised at each hour of the batch.
    """

    high: float
    elevated: float
    cost: float | None
    alarm_budget: float
    watch_budget: float
    alarm_from_h: float = 0.0
    boundary: Boundary = field(default_factory=Boundary)

    @property
    def low(self) -> float:
        """The highest probability that may be called low: above it an alarm pays, or `LOW_WITHOUT_COSTS`."""
        return LOW_WITHOUT_COSTS if self.cost is None else self.cost

    def at(self, elapsed_h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`high` and `elevated` at hours of the batch, shape (n,) each; never below the probability at which an alarm pays."""
        if not self.boundary.hours:  # exactly as fitted: a score that equals a threshold does not exceed it
            return np.full(np.shape(elapsed_h), self.high), np.full(np.shape(elapsed_h), self.elevated)
        raised, least = self.boundary.at(elapsed_h), self.cost or 0.0
        high, elevated = (np.maximum(expit(logit(p) + raised), least) for p in (self.high, self.elevated))
        return high, elevated

    def to_json(self) -> dict[str, JsonValue]:
        """As plain JSON values; those of a version that knew no `alarm_from_h` or boundary keep their bytes."""
        out = super().to_json()
        unused = [
            name for name, used in (("alarm_from_h", self.alarm_from_h), ("boundary", self.boundary.hours)) if not used
        ]
        return {name: value for name, value in out.items() if name not in unused}


def fit_thresholds(
    out_of_fold: pd.DataFrame, rule: DecisionRule, cost: Cost | None, boundary: Boundary = NO_BOUNDARY
) -> Thresholds:
    """Thresholds from the alarm budget on out-of-fold scores, and from the costs where they ask for more.

    Below the probability at which an alarm pays, none is raised however large the budget.

    Args:
        out_of_fold: `batch_id`, `checkpoint_h`, `as_of`, `failed`, `end_at`, `failure_probability` of training batches.
        rule: Budgets.
        cost: Costs of the process; None leaves them out.
        boundary: What the thresholds are raised by at each hour.
    """
    scores = out_of_fold
    if boundary.hours:
        held = logit(scores["failure_probability"]) - boundary.at(scores["checkpoint_h"].to_numpy(float))
        scores = scores.assign(failure_probability=expit(held))
    high, elevated = (threshold_at_share(scores, share) for share in (rule.alarm_budget, rule.watch_budget))
    return thresholds_of(high, elevated, rule, cost, boundary=boundary)


def thresholds_of(
    high: float,
    elevated: float,
    rule: DecisionRule,
    cost: Cost | None,
    *,
    alarm_from_h: float = 0.0,
    boundary: Boundary = NO_BOUNDARY,
) -> Thresholds:
    """Thresholds that spend the budgets, raised where the costs say that an alarm does not pay.

    Args:
        high: Spends the alarm budget.
        elevated: Spends the watch budget.
        rule: Budgets.
        cost: Costs of the process; None leaves them out.
        alarm_from_h: Before this hour of the batch nothing is called elevated or high.
        boundary: What both are raised by at each hour.
    """
    pays = cost.false_alarm / (cost.false_alarm + cost.failed_batch) if cost else None
    high = max(high, pays or 0.0)
    elevated = min(high, max(elevated, pays or 0.0))
    budgets = (rule.alarm_budget, rule.watch_budget)
    return Thresholds(float(high), float(elevated), pays, *budgets, alarm_from_h, boundary)


def calls_of(
    log_odds: np.ndarray, elapsed_h: np.ndarray, thresholds: Thresholds, sets: Conformal
) -> tuple[tuple[Call, ...], tuple[str, ...]]:
    """Calls and, where there is none yet, why; the cause is empty where there is one.

    Args:
        log_odds: Calibrated, shape (n,).
        elapsed_h: Hours since the start, shape (n,).
        thresholds: Where calls change.
        sets: At the stated miss rate.
    """
    may_fail, hours = sets.may_fail(log_odds, elapsed_h), np.asarray(elapsed_h, float)
    columns = (expit(log_odds), may_fail, hours, *thresholds.at(hours))
    found = [_call(*row, thresholds) for row in zip(*(column.tolist() for column in columns), strict=True)]
    return tuple(call for call, _ in found), tuple(cause for _, cause in found)


def decision_of(
    call: Call, call_cause: str | None, support: Support, support_causes: Sequence[str]
) -> tuple[Decision, str | None]:
    """The one word of version 1 that stands for call and support, and its causes separated by "; ".

    Deprecated, and kept for clients of `/v1` alone: it is `undecided` also where there is a call without support.
    """
    if call != "none yet" and support != "none":
        return call, None
    return "undecided", "; ".join([*support_causes, *([call_cause] if call_cause else [])])


def _call(
    p: float, may_fail: bool, elapsed_h: float, high: float, elevated: float, thresholds: Thresholds
) -> tuple[Call, str]:
    """`low` needs a score unlike that of failing batches and a low probability, too."""
    if p > elevated:
        if elapsed_h < thresholds.alarm_from_h:
            return NONE_YET, TOO_EARLY
        return ("high" if p > high else "elevated"), ""
    if may_fail:
        return NONE_YET, BOTH_POSSIBLE
    return ("low", "") if p <= thresholds.low else (NONE_YET, NOT_LOW)
