"""From a probability to a decision: low, elevated, high, or undecided with its cause. It never changes a batch's status.

Abstaining takes back reassurance, not an alarm: outside what the model knows a low risk is not believed, but a high one is
still said where the batch strays the way that failed batches strayed (docs/decisions/0005-decisions.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.special import expit

from features.process import Cost, DecisionRule
from models.evaluation.alarms import threshold_at_share
from models.learners.applicability.domain import Domain
from models.learners.conformal import Conformal

Decision = Literal["low", "elevated", "high", "undecided"]
BOTH_POSSIBLE = "both outcomes possible"
NOT_LOW = "risk above the bound of low"
LOW_WITHOUT_COSTS = 0.1  # the bound of low where the process states no costs (docs/model.md, "Decisions")


@dataclass(frozen=True)
class Thresholds:
    """Where decisions change; probabilities.

    Attributes:
        high: Above it an alarm is raised.
        elevated: Above it a batch is watched.
        cost: Above it an alarm costs less than waiting, by the costs of the process; None where there are none.
        alarm_budget: Share of good batches that may ever be alarmed, as asked.
        watch_budget: The same for watching.
    """

    high: float
    elevated: float
    cost: float | None
    alarm_budget: float
    watch_budget: float

    @property
    def low(self) -> float:
        """The highest probability that may be called low: above it an alarm pays, or `LOW_WITHOUT_COSTS`."""
        return LOW_WITHOUT_COSTS if self.cost is None else self.cost

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


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


def thresholds_of(high: float, elevated: float, rule: DecisionRule, cost: Cost | None) -> Thresholds:
    """Thresholds that spend the budgets, raised where the costs say that an alarm does not pay.

    Args:
        high: Spends the alarm budget.
        elevated: Spends the watch budget.
        rule: Budgets.
        cost: Costs of the process; None leaves them out.
    """
    pays = cost.false_alarm / (cost.false_alarm + cost.failed_batch) if cost else None
    high = max(high, pays or 0.0)
    return Thresholds(
        float(high), float(min(high, max(elevated, pays or 0.0))), pays, rule.alarm_budget, rule.watch_budget
    )


def decide(
    log_odds: np.ndarray,
    checkpoint_h: np.ndarray,
    thresholds: Thresholds,
    sets: Conformal,
    domains: Sequence[Domain] | None = None,
) -> tuple[list[Decision], list[str]]:
    """Decisions and, for `undecided`, their causes (separated by "; ", the first weighs most).

    Args:
        log_odds: Calibrated, shape (n,).
        checkpoint_h: Hours since the start, shape (n,).
        thresholds: Where decisions change.
        sets: At the stated errors of the decision.
        domains: Whether the model applies to each row; None: it does.
    """
    p, may_fail = expit(log_odds), sets.may_fail(log_odds, checkpoint_h)
    decisions: list[Decision] = []
    causes: list[str] = []
    for i in range(len(p)):
        decision, cause = _by_risk(float(p[i]), bool(may_fail[i]), thresholds)
        domain = domains[i] if domains is not None else None
        if domain is not None and not domain.inside and not (decision == "high" and domain.within_known_failures):
            cause = "; ".join([*domain.causes, *([cause] if cause else [])])
            decision = "undecided"
        decisions.append(decision)
        causes.append(cause)
    return decisions, causes


def _by_risk(p: float, may_fail: bool, thresholds: Thresholds) -> tuple[Decision, str]:
    """The decision inside the domain; `low` needs a score unlike that of failing batches and a low probability, too."""
    if p > thresholds.high:
        return "high", ""
    if p > thresholds.elevated:
        return "elevated", ""
    if may_fail:
        return "undecided", BOTH_POSSIBLE
    return ("low", "") if p <= thresholds.low else ("undecided", NOT_LOW)
