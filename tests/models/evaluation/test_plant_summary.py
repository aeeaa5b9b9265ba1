import math

import pandas as pd
import pytest

from features.process import Cost
from models.evaluation.plant_summary import (
    failures_found,
    false_alarms,
    lead_times,
    missed_failures,
    no_call_yet,
    savings,
    support,
)

COST = Cost(currency="EUR", failed_batch=100000, false_alarm=2000, useful_lead_h=12)


def alarms(**changes: float) -> pd.DataFrame:
    row = {
        "call": "high", "asked": 0.05, "n_good": 200, "n_failed": 40, "n_good_alarmed": 12, "n_caught": 30,
        "n_warned": 20, "n_in_time": 28, "ahead_h": 48.0, "useful_lead_h": 12.0, "median_lead_h": 84.0,
        "recall": 0.75, "recall_low": 0.6, "recall_high": 0.875,
        "good_alarmed": 0.06, "good_alarmed_low": 0.03, "good_alarmed_high": 0.095,
    }  # fmt: skip
    return pd.DataFrame([row | {"call": "elevated or high", "n_caught": 99}, row | changes])


def test_what_it_catches_comes_from_the_calls_of_high_with_failures_and_interval() -> None:
    assert (
        failures_found(alarms())
        == "It called 30 of 40 failures high before the batch ended (75 %, 95 % interval 60 to 88)."
    )
    assert failures_found(alarms(n_failed=4, n_caught=3)).endswith("With 4 failures this says little.")
    assert failures_found(alarms(n_failed=0)) == "No batch of the test failed: nothing can be said of what it catches."


def test_how_early_counts_only_what_could_still_be_saved() -> None:
    assert lead_times(alarms()) == (
        "Half of these 30 calls came 84 h or more before the end; 20 of 40 failures were called 48 h ahead or earlier, and 28 "
        "while something could still be done, 12 h before the end."
    )
    assert lead_times(alarms(useful_lead_h=0.0)).endswith("were called 48 h ahead or earlier.")
    assert lead_times(alarms(n_caught=0)) == "No failing batch was called high, so there is no lead time."


def test_the_price_stands_beside_what_was_asked() -> None:
    assert false_alarms(alarms()) == (
        "The price: 12 of 200 good batches were called high at some time (6.0 %, 95 % interval 3.0 to 9.5; asked for: 5 %). "
        "Of 42 batches called high, 30 failed."
    )
    assert "nothing can be said of false alarms" in false_alarms(alarms(n_good=0))


def costs(never: float, low: float) -> pd.DataFrame:
    row = {
        "by": "call",
        "saved_against_never": never,
        "saved_against_never_low": low,
        "saved_against_never_high": 900,
    }
    return pd.DataFrame(
        [row | {"saved_against_always": -50, "saved_against_always_low": -90, "saved_against_always_high": 10}]
    )


def test_money_is_said_with_its_assumption_and_a_possible_loss() -> None:
    text = savings(costs(500, -20), COST)
    assert "saves 500 EUR per batch against never acting (95 % interval -20 to 900)" in text
    assert "loses 50 EUR against acting on every batch (-90 to 10)" in text
    assert "The interval includes a loss." in text
    assert text.endswith("it is the most that could be gained.")
    assert "includes a loss" not in savings(costs(500, 20), COST)
    assert "loses 500 EUR per batch against never acting" in savings(costs(-500, -900), COST)


def test_a_loss_is_followed_by_what_it_means() -> None:
    assert "So with these costs acting on every batch alike would pay more" in savings(costs(500, 20), COST)
    assert "So with these costs it is better not to act on these calls." in savings(costs(-500, -900), COST)
    best = costs(500, 20).assign(saved_against_always=50)
    assert "So with these costs" not in savings(best, COST)


def test_a_process_without_costs_says_nothing_of_money() -> None:
    assert savings(pd.DataFrame(), None) == ""


def test_no_call_is_said_at_the_start_half_way_and_at_the_end_with_its_causes() -> None:
    table = pd.DataFrame({"checkpoint_h": [6.0, 12.0, 18.0], "n_no_call": [8, 5, 1], "no_call": [0.8, 0.5, 0.1]})
    causes = pd.DataFrame({"cause": ["a", "b", "a", "c"], "n_found": [8, 3, 2, 1]})
    assert no_call_yet(table, causes) == (
        "It makes no call where it cannot tell yet: 80 % at 6 h, 50 % at 12 h and 10 % at 18 h of the scores. "
        "Most often: a (71 %) and b (21 %)."
    )
    assert "cannot tell yet: 80 % at 6 h of" in no_call_yet(table.head(1), causes.head(1))
    assert no_call_yet(table.assign(n_no_call=0), causes) == "Every score had a call."


def test_weak_support_is_said_with_its_causes_beside_the_calls() -> None:
    table = pd.DataFrame(
        {
            "checkpoint_h": [6.0, 12.0],
            "n_limited": [8, 5],
            "limited": [0.4, 0.25],
            "n_unsupported": 1,
            "unsupported": 0.05,
        }
    )
    causes = pd.DataFrame({"cause": ["stale data", "subgroup", "subgroup"], "n_found": [10, 3, 2]})
    assert support(table, causes) == (
        "Support was limited for 40 % at 6 h and 25 % at 12 h of the scores, and there was none for 5 % at 6 h and 5 % at "
        "12 h; calls stand beside it. Most often: stale data (67 %) and subgroup (33 %)."
    )
    assert support(table.assign(n_limited=0, n_unsupported=0), causes) == "Every score had sufficient support."


def calls(low: float, low_low: float) -> pd.DataFrame:
    bands = pd.DataFrame({"band": ["all", "0-12 h", "18-24 h", "0-12 h"], "outcome": ["failed"] * 3 + ["good"]})
    return bands.assign(n=20, n_failed=7, low=[0.9, 0.1, low, 1.0], low_low=low_low, low_high=0.8, missed_asked=0.25)


@pytest.mark.parametrize(("low_low", "more"), [(0.3, True), (0.2, False), (math.nan, False)])
def test_the_worst_stage_says_how_often_failing_batches_were_called_low(low_low, more) -> None:
    text = missed_failures(calls(0.4, low_low))
    assert text.startswith("Low is not a promise: at 18-24 h failing batches were called low in 40 % of their scores")
    assert "7 failures; asked: at most 25 % at any stage" in text
    assert text.endswith("That is more than was asked.") == more


def test_without_failures_nothing_is_said_of_missing_them() -> None:
    assert missed_failures(calls(0.4, 0.3).assign(n=0)) == ""
