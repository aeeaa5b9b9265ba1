import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ContractError
from features.process import Cost
from models.evaluation.costs import cost_curve
from tests.models.evaluation.frames import drawn, trail

COST = Cost(failed_batch=1000, false_alarm=50, useful_lead_h=20)
# every batch ends after 30 h: an alarm at 0 h is in time, one at 12 h is too late
SCORES = trail(
    {"EARLY": [0.9, 0.9], "LATE": [0.1, 0.9], "MISSED": [0.1, 0.2], "G": [0.1, 0.1], "H": [0.1, 0.7]},
    {"EARLY", "LATE", "MISSED"},
    end_h=30,
)


def test_the_account_by_hand() -> None:
    row = cost_curve(SCORES, COST, [0.5]).iloc[0]
    assert row[["n", "n_good", "n_failed", "n_good_alarmed", "n_failed_alarmed", "n_in_time"]].tolist() == [
        5,
        2,
        3,
        1,
        2,
        1,
    ]
    assert row["cost_per_batch"] == (2 * 1000 + 50) / 5  # the early one is saved, the late and the missed are not
    assert row["never_per_batch"] == 3 * 1000 / 5
    assert row["always_per_batch"] == 2 * 50 / 5  # every failure is alarmed at its first score, in time
    assert row["saved_against_never"] == (1000 - 50) / 5
    assert row["saved_against_always"] == (100 - 2050) / 5


def test_only_part_of_an_alarmed_failure_may_be_saved() -> None:
    row = cost_curve(SCORES, COST, [0.5], saved_share=0.4).iloc[0]
    assert row["cost_per_batch"] == pytest.approx((600 + 2 * 1000 + 50) / 5)
    assert cost_curve(SCORES, COST, [0.5], saved_share=0.0).iloc[0]["saved_against_never"] == -50 / 5


def test_a_threshold_no_score_exceeds_is_never_alarming() -> None:
    row = cost_curve(SCORES, COST, [2.0]).iloc[0]
    assert row[["saved_against_never", "saved_against_never_low", "saved_against_never_high"]].tolist() == [0, 0, 0]


def test_the_grid_is_the_highest_scores_of_the_batches() -> None:
    assert cost_curve(SCORES, COST)["threshold"].tolist() == [0.1, 0.2, 0.7, 0.9]


@given(drawn(), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_costs_lie_between_saving_all_and_losing_all(scores, saved_share) -> None:
    curve = cost_curve(scores, COST, saved_share=saved_share, resamples=20)
    n, failed = curve["n"].iloc[0], curve["n_failed"].iloc[0]
    assert (curve["cost_per_batch"] >= failed * 1000 * (1 - saved_share) / n - 1e-9).all()
    assert (curve["cost_per_batch"] <= (failed * 1000 + (n - failed) * 50) / n + 1e-9).all()
    assert (np.diff(curve["n_good_alarmed"]) <= 0).all()
    assert (curve["n_in_time"] <= curve["n_failed_alarmed"]).all()


def test_what_is_no_share_is_refused() -> None:
    with pytest.raises(ContractError, match=r"saved_share is 1\.5"):
        cost_curve(SCORES, COST, [0.5], saved_share=1.5)
    with pytest.raises(ContractError, match="no batch"):
        cost_curve(SCORES.iloc[:0], COST, [0.5])
