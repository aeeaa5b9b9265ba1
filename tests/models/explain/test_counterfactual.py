import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.explain.counterfactual import Level, brought_to
from tests.models.explain.counterfactuals import FEATURES, PROCESS, is_possible, levels, snapshot


def level(parameter: str) -> Level:
    found = Level.of(parameter, FEATURES, PROCESS[parameter].normal)
    assert found is not None
    return found


def moved(row: pd.DataFrame, parameter: str, to: float, horizon_h: float = 24) -> pd.Series:
    return brought_to(row, level(parameter), np.array([to]), horizon_h=horizon_h).iloc[0]


# 48 h, a reading every 12 h; the last 24 h hold two of them
FALLING = snapshot(48, ph=[7.2, 7.2, 6.9, 6.7])


def test_recent_readings_rise_by_as_much_as_the_newest_but_not_past_it() -> None:
    row = moved(FALLING, "ph", 7.1)
    assert row["ph.since_start.last"] == 7.1
    assert row["ph.last_24h.min"] == pytest.approx(7.1)  # 6.7 + 0.4
    assert row["ph.last_24h.max"] == pytest.approx(7.1)  # 6.9 + 0.4, but not past 7.1
    assert row["ph.last_24h.mean"] == pytest.approx(7.1)
    assert row["ph.last_24h.below_normal_share"] == 0
    assert row["ph.last_24h.sd"] == pytest.approx(0, abs=1e-12)


def test_readings_beyond_the_new_level_stay() -> None:
    row = moved(snapshot(24, ph=[7.3, 7.3, 6.8, 7.0]), "ph", 7.1)
    assert row["ph.last_24h.max"] == 7.3
    assert row["ph.last_24h.min"] == pytest.approx(6.9)
    assert row["ph.last_24h.mean"] == pytest.approx(7.1)  # 7.1 as it was, and not beyond
    assert row["ph.last_24h.below_normal_share"] == 0.25  # 6.9 is still below 7: what is not known stays


def test_spread_and_slope_shrink_with_the_extremes() -> None:
    before = snapshot(24, ph=[7.3, 7.3, 6.8, 7.0]).iloc[0]
    row = moved(snapshot(24, ph=[7.3, 7.3, 6.8, 7.0]), "ph", 7.1)
    assert row["ph.last_24h.sd"] == pytest.approx(before["ph.last_24h.sd"] * 0.4 / 0.5)  # 6.9-7.3 of 6.8-7.3
    assert row["ph.last_24h.slope"] == pytest.approx(before["ph.last_24h.slope"] * 0.8)


def test_history_beyond_the_horizon_stays_but_for_extremes_that_must_hold_the_new_value() -> None:
    row, before = moved(FALLING, "ph", 7.3), FALLING.iloc[0]
    assert row["ph.since_start.max"] == 7.3
    for statistic in ("min", "mean", "sd", "slope", "below_normal_share", "age_h"):
        assert row[f"ph.since_start.{statistic}"] == before[f"ph.since_start.{statistic}"]


def test_a_shorter_horizon_leaves_the_longer_window_alone() -> None:
    row, before = moved(FALLING, "ph", 7.1, horizon_h=6), FALLING.iloc[0]
    assert row["ph.last_6h.mean"] == pytest.approx(7.1)
    assert row["ph.last_24h.mean"] == before["ph.last_24h.mean"]
    assert row["ph.last_24h.max"] == 7.1


def test_an_assays_change_follows_its_newest_value_and_its_slope_is_history() -> None:
    row = moved(snapshot(48, sugar=[10.0, 6.0, 2.0]), "sugar", 5.0)
    assert row["sugar.since_start.last"] == 5.0
    assert row["sugar.since_start.delta"] == pytest.approx(-5.0)
    assert row["sugar.since_start.slope"] == pytest.approx(-0.25)  # 8 g/L over the 32 h between


def test_in_a_batch_within_the_horizon_the_first_value_moves_too() -> None:
    row = moved(snapshot(12, sugar=[1.0, 2.0]), "sugar", 5.0)
    assert row["sugar.since_start.delta"] == pytest.approx(1.0)  # from 4 to 5


def test_other_parameters_stay_and_what_is_not_known_stays_unknown() -> None:
    row = snapshot(48, flow=[5.0, 5.0, 5.0])
    pd.testing.assert_series_equal(moved(row, "ph", 7.2), row.iloc[0])
    assert np.isnan(moved(row, "ph", 7.2)["ph.since_start.last"])


readings = levels(6.0, 8.5)
hours = st.sampled_from([12.0, 24.0, 48.0])
horizons = st.sampled_from([6.0, 24.0])
inside = st.floats(7.0, 7.4)


@settings(max_examples=50, deadline=None)
@given(readings, inside, hours, horizons)
def test_a_counterfactual_snapshot_stays_possible(values, to, elapsed_h, horizon_h) -> None:
    row = snapshot(elapsed_h, ph=values)
    assert is_possible(row.iloc[0], "ph")
    assert is_possible(moved(row, "ph", to, horizon_h), "ph")


@settings(max_examples=50, deadline=None)
@given(readings, hours, horizons)
def test_no_move_changes_nothing(values, elapsed_h, horizon_h) -> None:
    row = snapshot(elapsed_h, ph=values, sugar=values)
    for parameter in ("ph", "sugar"):
        pd.testing.assert_series_equal(moved(row, parameter, values[-1], horizon_h), row.iloc[0])


@settings(max_examples=50, deadline=None)
@given(readings, inside)
def test_lowest_and_highest_value_are_those_of_the_readings_moved_one_by_one(values, to) -> None:
    now = values[-1]
    up = [max(x, min(x + to - now, to)) for x in values]
    down = [min(x, max(x + to - now, to)) for x in values]
    by_hand = up if to > now else down
    row = moved(snapshot(24, ph=values), "ph", to)
    assert row["ph.last_24h.min"] == pytest.approx(min(by_hand))
    assert row["ph.last_24h.max"] == pytest.approx(max(by_hand))
    assert row["ph.last_24h.below_normal_share"] >= np.mean(np.asarray(by_hand) < 7.0 - 1e-9)
    assert row["ph.last_24h.above_normal_share"] >= np.mean(np.asarray(by_hand) > 7.4 + 1e-9)
