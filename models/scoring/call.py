"""From a probability to a call: low, elevated, high, or none yet with its cause. It never changes a batch's status.

The call comes from the risk alone. How far the model knows such batches is its support, which stands beside the call and
takes none back (`models.learners.applicability.domain`, docs/decisions/0014-call-and-support.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from scipy.special import expit

from features.process import Cost, DecisionRule
from models.evaluation.alarms import threshold_at_share
from models.learners.applicability.domain import Support
from models.learners.conformal import Conformal

Call = Literal["none yet", "low", "elevated", "high"]
CALLS: tuple[Call, ...] = get_args(Call)
NONE_YET: Call = "none yet"
Decision = Literal["low", "elevated", "high", "undecided"]  # deprecated: call and support in one word
BOTH_POSSIBLE = "both outcomes possible"
NOT_LOW = "risk above the bound of low"
TOO_EARLY = "before the hour from which an alarm may come"
LOW_WITHOUT_COSTS = 0.1  # the bound of low where the process states no costs (docs/model.md, "Call and support")


@dataclass(frozen=True)
class Thresholds:
    """Where calls change; probabilities, and the hour from which an alarm may come.

    Attributes:
        high: Above it an alarm is raised.
        elevated: Above it a batch is watched.
        cost: Above it an alarm costs less than waiting, by the costs of the process; None where there are none.
        alarm_budget: Share of good batches that may ever be alarmed, as asked.
        watch_budget: The same for watching.
        alarm_from_h: Before this hour of the batch nothing is called elevated or high.
    """

    high: float
    elevated: float
    cost: float | None
    alarm_budget: float
    watch_budget: float
    alarm_from_h: float = 0.0

    @property
    def low(self) -> float:
        """The highest probability that may be called low: above it an alarm pays, or `LOW_WITHOUT_COSTS`."""
        return LOW_WITHOUT_COSTS if self.cost is None else self.cost

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; those of a version that knew no `alarm_from_h` keep their bytes."""
        return {name: value for name, value in asdict(self).items() if name != "alarm_from_h" or value}


def fit_thresholds(out_of_fold: pd.DataFrame, rule: DecisionRule, cost: Cost | None) -> Thresholds:
    """Thresholds from the alarm budget on out-of-fold scores, and from the costs where they ask for more.

    Below the probability at which an alarm pays, none is raised however large the budget.

    Args:
        out_of_fold: `batch_id`, `checkpoint_h`, `as_of`, `failed`, `end_at`, `failure_probability` of training batches.
        rule: Budgets.
        cost: Costs of the process; None leaves them out.
    """
    high, elevated = (threshold_at_share(out_of_fold, share) for share in (rule.alarm_budget, rule.watch_budget))
    return thresholds_of(high, elevated, rule, cost)


def thresholds_of(
    high: float, elevated: float, rule: DecisionRule, cost: Cost | None, *, alarm_from_h: float = 0.0
) -> Thresholds:
    """Thresholds that spend the budgets, raised where the costs say that an alarm does not pay.

    Args:
        high: Spends the alarm budget.
        elevated: Spends the watch budget.
        rule: Budgets.
        cost: Costs of the process; None leaves them out.
        alarm_from_h: Before this hour of the batch nothing is called elevated or high.
    """
    pays = cost.false_alarm / (cost.false_alarm + cost.failed_batch) if cost else None
    high = max(high, pays or 0.0)
    elevated = min(high, max(elevated, pays or 0.0))
    return Thresholds(float(high), float(elevated), pays, rule.alarm_budget, rule.watch_budget, alarm_from_h)


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
    may_fail = sets.may_fail(log_odds, elapsed_h)
    each = zip(expit(log_odds).tolist(), may_fail.tolist(), np.asarray(elapsed_h, float).tolist(), strict=True)
    found = [_call(p, open_, hours, thresholds) for p, open_, hours in each]
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


def _call(p: float, may_fail: bool, elapsed_h: float, thresholds: Thresholds) -> tuple[Call, str]:
    """`low` needs a score unlike that of failing batches and a low probability, too."""
    if p > thresholds.elevated:
        if elapsed_h < thresholds.alarm_from_h:
            return NONE_YET, TOO_EARLY
        return ("high" if p > thresholds.high else "elevated"), ""
    if may_fail:
        return NONE_YET, BOTH_POSSIBLE
    return ("low", "") if p <= thresholds.low else (NONE_YET, NOT_LOW)
