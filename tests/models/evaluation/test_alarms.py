import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ContractError
from models.evaluation.alarms import first_alarm_curve, first_alarms, threshold_at_share
from models.evaluation.trajectories import trajectories
from tests.models.evaluation.frames import START, drawn, trail


def test_the_threshold_lets_a_share_of_the_good_batches_be_ever_alarmed() -> None:
    good = trail({f"G{i}": [0.0, i / 10, 0.05] for i in range(10)} | {"F": [1.0]}, {"F"})
    # one of ten may exceed it: G9 at .9 does, G8 at .8 is the first that may not
    assert threshold_at_share(good, 0.1) == 0.8
    assert threshold_at_share(good, 0.19) == 0.8
    assert threshold_at_share(good, 0.0) == 0.9
    assert threshold_at_share(good, 1.0) == float("-inf")


def test_good_batches_with_equal_scores_stay_below_together() -> None:
    tied = trail({"A": [0.9], "B": [0.9], "C": [0.3], "D": [0.1]})
    assert threshold_at_share(tied, 0.25) == 0.9  # one may be alarmed, two would be
    assert threshold_at_share(tied, 0.5) == 0.3


def test_a_share_that_is_a_rounding_away_from_a_whole_number_counts_as_it() -> None:
    hundred = trail({f"G{i:03d}": [i / 100] for i in range(100)})
    assert 0.29 * 100 < 29
    assert (np.arange(100) / 100 > threshold_at_share(hundred, 0.29)).sum() == 29


@given(drawn(), st.floats(0, 1))
@settings(max_examples=80, deadline=None)
def test_the_share_is_never_exceeded_and_no_lower_score_would_do(scores, share) -> None:
    threshold = threshold_at_share(scores, share)
    highest = scores[~scores["failed"]].groupby("batch_id")["failure_probability"].max()
    assert (highest > threshold).mean() <= share + 1e-9
    lower = highest[highest < threshold].max()  # the next threshold below; NaN where there is none
    if threshold > float("-inf"):
        assert (highest > (lower if lower == lower else -1.0)).mean() > share - 1e-9


def test_no_good_batch_and_no_share_are_refused() -> None:
    with pytest.raises(ContractError, match="no good batch"):
        threshold_at_share(trail({"A": [0.5]}, {"A"}), 0.1)
    with pytest.raises(ContractError, match="share of good batches 5"):
        threshold_at_share(trail({"A": [0.5]}), 5)


def test_first_alarm_with_its_leads_by_hand() -> None:
    scores = trail({"A": [0.1, 0.6, 0.2, 0.9], "B": [0.5, 0.5], "C": [0.5, None, 0.7]}, {"A"}, end_h=30)
    found = first_alarms(scores, 0.5, useful_lead_h=24)
    assert found["alarmed"].tolist() == [True, False, True]
    assert found.loc["A", "first_alarm_at"] == START + pd.Timedelta(hours=12)
    assert found.loc["A", ["first_alarm_h", "lead_h", "lead_to_action_h"]].tolist() == [12, 18, -6]
    assert found.loc["C", ["first_alarm_h", "lead_h"]].tolist() == [24, 6]
    assert found.loc["B", ["first_alarm_at", "first_alarm_h", "lead_h", "lead_to_action_h"]].isna().all()


def test_an_on_delay_moves_the_alarm_to_the_last_of_its_scores() -> None:
    scores = trail({"A": [0.6, 0.7, 0.7], "B": [0.9, 0.1, 0.9]}, {"A"})
    found = first_alarms(trajectories(scores, on_delay=2), 0.5)
    assert found.loc["A", "first_alarm_h"] == 12
    assert not found.loc["B", "alarmed"]


@given(drawn(), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_the_first_alarm_is_the_first_row_above_the_threshold(scores, threshold) -> None:
    found = first_alarms(scores, threshold)
    above = scores[scores["failure_probability"] > threshold].groupby("batch_id")["checkpoint_h"].min()
    pd.testing.assert_series_equal(
        found["first_alarm_h"].dropna(), above, check_names=False, check_dtype=False, check_index_type=False
    )


def test_the_curve_rises_to_the_recall_and_to_the_false_alarms() -> None:
    scores = trail({"A": [0.1, 0.9], "B": [0.9], "C": [0.1, 0.1], "G": [0.1, 0.9], "H": [0.2]}, {"A", "B", "C"})
    curve = first_alarm_curve(scores, 0.5).set_index(["batches", "hour"])
    assert curve.loc["failed", "share"].tolist() == [pytest.approx(1 / 3), pytest.approx(2 / 3)]
    assert curve.loc["good", "share"].tolist() == [0, 0.5]
    assert curve.loc["failed", "n"].tolist() == [3, 3]
    assert curve["n_failed"].tolist() == [3] * 4
    only = first_alarm_curve(trajectories(scores).counting({"A", "B"}), 0.5).set_index(["batches", "hour"])
    assert only.loc["failed", "share"].tolist() == [0.5, 1.0]


@given(drawn(), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_the_curve_never_falls_and_stays_inside_its_bounds(scores, threshold) -> None:
    curve = first_alarm_curve(scores, threshold, resamples=200)
    for _, rows in curve.groupby("batches"):
        assert (rows["share"].diff().dropna() >= 0).all()
        assert (rows["share_low"] <= rows["share"] + 1e-12).all()
        assert (rows["share_high"] >= rows["share"] - 1e-12).all()
