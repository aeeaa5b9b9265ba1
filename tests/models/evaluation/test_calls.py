from dataclasses import replace

import pandas as pd
import pytest

from features.process import Cost
from models.evaluation.calls import (
    alarm_table,
    alarms_at_shares,
    calls_by_band,
    cost_table,
    first_calls,
    flips_table,
    sensors_table,
)
from models.scoring.call import Thresholds
from tests.models.evaluation.frames import trail

THRESHOLDS = Thresholds(high=0.5, elevated=0.2, cost=None, alarm_budget=0.05, watch_budget=0.2)
HIGH, LOW, OPEN, WATCH = "high", "low", "none yet", "elevated"


def judged(failed=frozenset({"F", "G"})) -> pd.DataFrame:
    """F is found at 12 h; G is called high at 12 h without support; A is watched, B is left alone."""
    scores = trail({"F": [0.1, 0.9], "G": [0.1, 0.8], "A": [0.3, 0.1], "B": [0.1, 0.1]}, failed, end_h=60.0)
    return scores.assign(
        call=[LOW, HIGH, OPEN, HIGH, WATCH, LOW, LOW, LOW],
        support=["sufficient", "sufficient", "limited", "none", "sufficient", "limited", "sufficient", "sufficient"],
        sensors=["", "", "", "ph drifting; do_pct spiking", "", "ph drifting", "", ""],
    )


def row(table: pd.DataFrame, call: str) -> pd.Series:
    return table[table["call"] == call].iloc[0]


def test_an_alarm_without_support_is_an_alarm_and_is_counted_as_one_without_support() -> None:
    table = alarm_table(judged(), THRESHOLDS)
    assert (row(table, "high")["n_caught"], row(table, "high")["n_unsupported"]) == (2, 1)  # F and G; G
    assert (row(table, "elevated or high")["n_good_alarmed"], row(table, "elevated or high")["n_unsupported"]) == (1, 1)
    assert row(table, "high")["asked"] == 0.05
    assert table["n_failed"].tolist() == [2, 2]


def test_a_batch_with_one_supported_alarm_is_none_without_support() -> None:
    scores = judged().assign(call=HIGH, support=["none", "sufficient", *["limited"] * 6])
    assert row(alarm_table(scores, THRESHOLDS), "high")["n_unsupported"] == 3  # all but F
    after = alarm_table(scores.assign(call=[LOW, HIGH] * 4, end_at=scores["as_of"].min()), THRESHOLDS)
    assert (row(after, "high")["n_caught"], row(after, "high")["n_unsupported"]) == (0, 0)  # called after their end


def test_a_threshold_where_an_alarm_begins_to_pay_is_marked() -> None:
    raised = replace(THRESHOLDS, elevated=0.2, cost=0.2)
    table = alarm_table(judged(), raised)
    assert table.groupby("call")["raised_by_cost"].first().to_dict() == {"elevated or high": True, "high": False}
    assert not alarm_table(judged(), THRESHOLDS)["raised_by_cost"].any()


def test_a_watched_good_batch_costs_of_the_watch_budget_alone() -> None:
    table = alarm_table(judged(), THRESHOLDS)
    assert row(table, "high")["n_good_alarmed"] == 0
    assert row(table, "elevated or high")["n_good_alarmed"] == 1
    assert row(table, "elevated or high")["good_alarmed"] == 0.5
    assert row(table, "elevated or high")["asked"] == 0.2


def test_in_time_and_ahead_are_counted_at_their_own_hours() -> None:
    found = row(alarm_table(judged(), THRESHOLDS, useful_lead_h=48.0, ahead_h=49.0), "high")
    assert (found["n_caught"], found["n_in_time"], found["n_warned"]) == (2, 2, 0)  # called at 12 h, the end is at 60 h
    assert found["median_lead_h"] == 48


def test_the_first_calls_rise_to_the_recall_of_the_calls() -> None:
    curve = first_calls(judged())
    assert curve.loc[curve["batches"] == "failed", "share"].tolist() == [0.0, 1.0]
    assert curve.loc[curve["batches"] == "good", "share"].tolist() == [0.0, 0.0]


def test_costs_follow_the_calls_and_the_probability() -> None:
    cost = Cost(failed_batch=100, false_alarm=10, useful_lead_h=12)
    table = cost_table(judged(), cost)
    called = table[table["by"] == "call"].iloc[0]
    assert called["cost_per_batch"] == 0  # both failures are called in time, no good batch is
    assert called["saved_against_never"] == 50  # two of four batches at 100 each
    best = table[table["by"] == "probability"]["cost_per_batch"].min()
    assert best == 0  # a threshold below 0.8 finds both
    assert cost_table(judged(), None).empty


def test_calls_of_failing_batches_stand_beside_what_was_asked() -> None:
    table = calls_by_band(judged(), missed_asked=0.25)
    first = table[(table["band"] == "all") & (table["outcome"] == "failed")].iloc[0]
    assert first[["low", "elevated", "high", "none yet"]].tolist() == [0.25, 0.0, 0.5, 0.25]
    assert (first["n"], first["n_failed"], first["missed_asked"]) == (4, 2, 0.25)
    for _, part in table.iterrows():
        assert part[["low", "elevated", "high", "none yet"]].sum() == pytest.approx(1.0)


def test_without_failures_their_calls_are_not_known() -> None:
    table = calls_by_band(judged(frozenset()), missed_asked=0.25)
    assert table.loc[table["outcome"] == "failed", "low"].isna().all()


def test_flips_are_counted_of_any_call_and_of_high() -> None:
    table = flips_table(judged()).set_index(["of", "batches"])["n_flips"]
    assert table["any call", "all"] == 3  # F, G and A
    assert table["high", "all"] == 2


def test_every_sensor_found_at_fault_is_listed_with_its_batches() -> None:
    table = sensors_table(judged()).set_index(["parameter", "kind"])
    assert table.loc[("ph", "drifting"), ["n", "n_batches", "n_failed", "n_good_called"]].tolist() == [2, 2, 1, 0]
    assert table.loc[("do_pct", "spiking"), "n_batches"] == 1
    assert sensors_table(judged().assign(sensors="")).empty


def test_shares_of_good_batches_need_a_good_batch() -> None:
    assert alarms_at_shares(judged(frozenset("FGAB"))).empty
    assert alarms_at_shares(judged())["n_good"].tolist() == [2, 2, 2]
