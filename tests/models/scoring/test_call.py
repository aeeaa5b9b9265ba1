from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit

from features.process import Cost, DecisionRule
from models.learners.conformal import Conformal
from models.scoring.call import (
    BOTH_POSSIBLE,
    LOW_WITHOUT_COSTS,
    NOT_LOW,
    TOO_EARLY,
    Thresholds,
    calls_of,
    decision_of,
    fit_thresholds,
)
from tests.models.plant import utc

AT = Thresholds(high=0.5, elevated=0.2, cost=None, alarm_budget=0.05, watch_budget=0.2)
OUTSIDE, MISSING = "outside the applicability domain", "too much missing"


def of(p: float, *, may_fail: bool, at_h: float = 0.0, thresholds: Thresholds = AT) -> tuple[str, str]:
    bound = -np.inf if may_fail else np.inf
    calls, causes = calls_of(logit(np.array([p])), np.array([at_h]), thresholds, Conformal((0.0,), (bound,), (np.inf,)))
    return calls[0], causes[0]


@pytest.mark.parametrize(
    ("p", "may_fail", "call", "cause"),
    [
        (0.9, True, "high", ""),
        (0.9, False, "high", ""),  # above the threshold it is said, whatever the set
        (0.3, True, "elevated", ""),
        (0.3, False, "elevated", ""),
        (0.05, True, "none yet", BOTH_POSSIBLE),
        (0.05, False, "low", ""),
        (0.15, False, "none yet", NOT_LOW),
    ],
)
def test_a_call_comes_from_the_risk_and_the_set(p, may_fail, call, cause) -> None:
    assert of(p, may_fail=may_fail) == (call, cause)


def test_a_risk_at_a_threshold_is_not_above_it() -> None:
    assert of(0.5, may_fail=True)[0] == "elevated"
    assert of(0.2, may_fail=True) == ("none yet", BOTH_POSSIBLE)


@pytest.mark.parametrize(
    ("at_h", "p", "may_fail", "call", "cause"),
    [
        (23.9, 0.9, True, "none yet", TOO_EARLY),
        (23.9, 0.3, False, "none yet", TOO_EARLY),
        (23.9, 0.05, True, "none yet", BOTH_POSSIBLE),
        (23.9, 0.05, False, "low", ""),  # only alarms wait
        (24.0, 0.9, True, "high", ""),
        (24.0, 0.3, True, "elevated", ""),
    ],
)
def test_before_its_hour_nothing_is_called_elevated_or_high(at_h, p, may_fail, call, cause) -> None:
    late = replace(AT, alarm_from_h=24.0)
    assert of(p, may_fail=may_fail, at_h=at_h, thresholds=late) == (call, cause)


@pytest.mark.parametrize(
    ("p", "cost", "call", "cause"),
    [
        (0.53, 0.05, "none yet", NOT_LOW),  # unlike failing batches, but an alarm pays from .05 on
        (0.60, 0.05, "none yet", NOT_LOW),
        (0.0625, 0.05, "none yet", NOT_LOW),
        (0.03125, 0.05, "low", ""),
        (0.25, 0.25, "low", ""),  # at the bound, not above it
        (0.25, None, "none yet", NOT_LOW),  # without costs the bound is .1
        (0.125, None, "none yet", NOT_LOW),
        (0.0625, None, "low", ""),
        (0.75, 0.05, "high", ""),
        (0.65, 0.05, "elevated", ""),
    ],
)
def test_low_needs_a_probability_at_which_an_alarm_does_not_pay(p, cost, call, cause) -> None:
    """A sick history: alarms spend their budget only above .7, and most failing batches score even higher."""
    thresholds = Thresholds(high=0.7, elevated=0.62, cost=cost, alarm_budget=0.05, watch_budget=0.2)
    unlike_failures = Conformal((0.0,), (logit(0.61),), (np.inf,))
    found = calls_of(np.array([logit(p)]), np.zeros(1), thresholds, unlike_failures)
    assert found == ((call,), (cause,))


def test_the_bound_of_low_is_what_the_costs_imply() -> None:
    """1 000 for an alarm, 19 000 for a failed batch: an alarm pays above 1 / 20."""
    rows = scores([i / 100 for i in range(20)], [False] * 20)
    assert fit_thresholds(rows, DecisionRule(), Cost(failed_batch=19_000, false_alarm=1_000)).low == 0.05
    assert fit_thresholds(rows, DecisionRule(), None).low == LOW_WITHOUT_COSTS == 0.1


def test_thresholds_that_an_earlier_version_stored_are_read_and_written_alike_and_bound_low() -> None:
    stored = {"high": 0.9, "elevated": 0.7, "cost": 0.05, "alarm_budget": 0.05, "watch_budget": 0.2}
    former = Thresholds.from_json(stored)
    assert former.to_json() == stored
    assert former.low == 0.05


def test_an_hour_without_alarms_is_stored_and_read_again() -> None:
    late = replace(AT, alarm_from_h=24.0)
    assert late.to_json()["alarm_from_h"] == 24.0
    assert Thresholds.from_json(late.to_json()) == late


@given(st.floats(0.001, 0.999), st.booleans(), st.floats(0, 48))
def test_nothing_above_the_bound_is_ever_low(p, may_fail, at_h) -> None:
    call, _ = of(p, may_fail=may_fail, at_h=at_h, thresholds=replace(AT, alarm_from_h=24.0))
    assert call != "low" or p <= AT.low * (1 + 1e-12)


@given(st.floats(0.001, 0.999), st.booleans(), st.floats(0, 48))
def test_no_call_yet_always_has_a_cause_and_a_call_never_has(p, may_fail, at_h) -> None:
    call, cause = of(p, may_fail=may_fail, at_h=at_h, thresholds=replace(AT, alarm_from_h=24.0))
    assert (call == "none yet") == bool(cause)


def test_a_risk_that_is_no_number_is_never_low() -> None:
    sets = Conformal((0.0,), (0.0,), (np.inf,))
    assert calls_of(np.array([np.nan]), np.zeros(1), AT, sets) == (("none yet",), (BOTH_POSSIBLE,))


@pytest.mark.parametrize(
    ("call", "call_cause", "support", "support_causes", "decision"),
    [
        ("high", None, "sufficient", [], ("high", None)),
        ("high", None, "limited", [MISSING], ("high", None)),
        ("low", None, "limited", [MISSING], ("low", None)),
        ("high", None, "none", [OUTSIDE], ("undecided", OUTSIDE)),
        ("none yet", NOT_LOW, "sufficient", [], ("undecided", NOT_LOW)),
        ("none yet", BOTH_POSSIBLE, "limited", [OUTSIDE, MISSING], ("undecided", f"{OUTSIDE}; {MISSING}; {BOTH_POSSIBLE}")),
        ("none yet", BOTH_POSSIBLE, "none", [OUTSIDE], ("undecided", f"{OUTSIDE}; {BOTH_POSSIBLE}")),
    ],
)  # fmt: skip
def test_the_one_word_of_former_clients_follows_from_call_and_support(
    call, call_cause, support, support_causes, decision
) -> None:
    assert decision_of(call, call_cause, support, support_causes) == decision


def scores(highest: list[float], failed: list[bool]) -> pd.DataFrame:
    """Two scores a batch, the second the higher one."""
    n = len(highest)
    start = utc("2026-01-01")
    blocks = [
        pd.DataFrame(
            {
                "batch_id": pd.array([f"B{i:03d}" for i in range(n)], dtype="str"),
                "checkpoint_h": hours,
                "as_of": start + pd.Timedelta(hours=hours),
                "end_at": start + pd.Timedelta(hours=48),
                "failed": failed,
                "failure_probability": np.asarray(highest, float) * share,
            }
        )
        for hours, share in ((0.0, 0.5), (12.0, 1.0))
    ]
    return pd.concat(blocks, ignore_index=True)


def test_thresholds_leave_the_good_batches_that_the_budgets_pay_for() -> None:
    made = fit_thresholds(scores([i / 100 for i in range(20)], [False] * 20), DecisionRule(), None)
    assert (made.high, made.elevated) == (0.18, 0.15)  # one of twenty above .18, four above .15
    assert made.cost is None


def test_no_alarm_is_raised_where_it_costs_more_than_waiting() -> None:
    cost = Cost(failed_batch=80, false_alarm=20)
    made = fit_thresholds(scores([i / 100 for i in range(20)], [False] * 20), DecisionRule(), cost)
    assert (made.high, made.elevated, made.cost) == (0.2, 0.2, 0.2)


@given(
    st.lists(st.tuples(st.sampled_from([0.01, 0.1, 0.2, 0.4, 0.8]), st.booleans()), min_size=1, max_size=40),
    st.floats(0.01, 0.5),
)
@settings(deadline=None, max_examples=60)
def test_no_more_good_batches_are_alarmed_than_the_budget_on_the_rows_it_was_set_on(batches, budget) -> None:
    highest, failed = [s for s, _ in batches] + [0.3], [f for _, f in batches] + [False]
    made = fit_thresholds(scores(highest, failed), DecisionRule(alarm_budget=budget, watch_budget=budget * 1.5), None)
    good = np.array(highest)[~np.array(failed)]
    assert (good > made.high).mean() <= budget + 1e-9
    assert (good > made.elevated).mean() <= 1.5 * budget + 1e-9
    assert made.elevated <= made.high
