from dataclasses import replace

import pandas as pd
import pytest

from features.process import Cost
from models.evaluation.decisions import (
    alarm_table,
    alarms_at_shares,
    calls_by_band,
    cost_table,
    first_calls,
    flips_table,
    sensors_table,
    undecided_by_cause,
)
from models.scoring.decision import Thresholds
from tests.models.evaluation.frames import trail

THRESHOLDS = Thresholds(high=0.5, elevated=0.2, cost=None, alarm_budget=0.05, watch_budget=0.2)
HIGH, LOW, OPEN, WATCH = "high", "low", "undecided", "elevated"


def judged(failed=frozenset({"F", "G"})) -> pd.DataFrame:
    """F is found at 12 h; G's high probability is undecided (outside the domain); A is watched, B is left alone."""
    scores = trail({"F": [0.1, 0.9], "G": [0.1, 0.8], "A": [0.3, 0.1], "B": [0.1, 0.1]}, failed, end_h=60.0)
    return scores.assign(
        decision=[LOW, HIGH, OPEN, OPEN, WATCH, LOW, LOW, LOW],
        cause=["", "", "both outcomes possible", "stale data; both outcomes possible", "", "", "", ""],
        sensors=["", "", "", "ph drifting; do_pct spiking", "", "ph drifting", "", ""],
    )


def row(table: pd.DataFrame, call: str, by: str) -> pd.Series:
    return table[(table["call"] == call) & (table["by"] == by)].iloc[0]


def test_an_alarm_that_was_not_decided_is_found_by_probability_only() -> None:
    table = alarm_table(judged(), THRESHOLDS)
    assert row(table, "high", "decision")["n_caught"] == 1
    assert row(table, "high", "probability")["n_caught"] == 2
    assert row(table, "high", "decision")["asked"] == 0.05
    assert table["n_failed"].tolist() == [2, 2, 2, 2]


def test_a_threshold_where_an_alarm_begins_to_pay_is_marked() -> None:
    raised = replace(THRESHOLDS, elevated=0.2, cost=0.2)
    table = alarm_table(judged(), raised)
    assert table.groupby("call")["raised_by_cost"].first().to_dict() == {"elevated or high": True, "high": False}
    assert not alarm_table(judged(), THRESHOLDS)["raised_by_cost"].any()


def test_a_watched_good_batch_costs_of_the_watch_budget_alone() -> None:
    table = alarm_table(judged(), THRESHOLDS)
    assert row(table, "high", "decision")["n_good_alarmed"] == 0
    assert row(table, "elevated or high", "decision")["n_good_alarmed"] == 1
    assert row(table, "elevated or high", "decision")["good_alarmed"] == 0.5
    assert row(table, "elevated or high", "decision")["asked"] == 0.2


def test_in_time_and_ahead_are_counted_at_their_own_hours() -> None:
    found = row(alarm_table(judged(), THRESHOLDS, useful_lead_h=48.0, ahead_h=49.0), "high", "decision")
    assert (found["n_caught"], found["n_in_time"], found["n_warned"]) == (1, 1, 0)  # called at 12 h, the end is at 60 h
    assert found["median_lead_h"] == 48


def test_the_first_calls_rise_to_the_recall_of_the_decisions() -> None:
    curve = first_calls(judged())
    assert curve.loc[curve["batches"] == "failed", "share"].tolist() == [0.0, 0.5]
    assert curve.loc[curve["batches"] == "good", "share"].tolist() == [0.0, 0.0]


def test_costs_follow_the_decisions_and_the_probability() -> None:
    cost = Cost(failed_batch=100, false_alarm=10, useful_lead_h=12)
    table = cost_table(judged(), cost)
    decided = table[table["by"] == "decision"].iloc[0]
    assert decided["cost_per_batch"] == 25  # G is lost: 100 over 4 batches
    assert decided["saved_against_never"] == 25
    best = table[table["by"] == "probability"]["cost_per_batch"].min()
    assert best == 0  # a threshold below 0.8 finds both
    assert cost_table(judged(), None).empty


def test_calls_of_failing_batches_stand_beside_what_was_asked() -> None:
    table = calls_by_band(judged(), missed_asked=0.25)
    first = table[(table["band"] == "all") & (table["outcome"] == "failed")].iloc[0]
    assert first[["low", "elevated", "high", "undecided"]].tolist() == [0.25, 0.0, 0.25, 0.5]
    assert (first["n"], first["n_failed"], first["missed_asked"]) == (4, 2, 0.25)
    for _, part in table.iterrows():
        assert part[["low", "elevated", "high", "undecided"]].sum() == pytest.approx(1.0)


def test_without_failures_their_calls_are_not_known() -> None:
    table = calls_by_band(judged(frozenset()), missed_asked=0.25)
    assert table.loc[table["outcome"] == "failed", "low"].isna().all()


def test_flips_are_counted_of_any_decision_and_of_high() -> None:
    table = flips_table(judged()).set_index(["of", "batches"])["n_flips"]
    assert table["any decision", "all"] == 2  # F and A; G stays undecided
    assert table["high", "all"] == 1


def test_the_first_cause_of_an_undecided_score_counts() -> None:
    table = undecided_by_cause(judged())
    assert set(table["cause"]) == {"both outcomes possible", "stale data"}
    assert table["n_undecided"].sum() == 2


def test_every_sensor_found_at_fault_is_listed_with_its_batches() -> None:
    table = sensors_table(judged()).set_index(["parameter", "kind"])
    assert table.loc[("ph", "drifting"), ["n", "n_batches", "n_failed", "n_good_called"]].tolist() == [2, 2, 1, 0]
    assert table.loc[("do_pct", "spiking"), "n_batches"] == 1
    assert sensors_table(judged().assign(sensors="")).empty


def test_shares_of_good_batches_need_a_good_batch() -> None:
    assert alarms_at_shares(judged(frozenset("FGAB"))).empty
    assert alarms_at_shares(judged())["n_good"].tolist() == [2, 2, 2]
