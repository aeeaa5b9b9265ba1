import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from models.evaluation.calibration import calibration_by_band, recalibration
from models.evaluation.metrics import calibration_floor, expected_calibration_error, weighted_calibration_error
from models.evaluation.reliability import reliability_by_band
from tests.models.evaluation.frames import trail


def outcomes(p, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).random(len(p)) < p


def test_slope_and_intercept_by_hand_where_there_are_two_probabilities() -> None:
    # stated .5: 1 of 4 failed; stated .8: 3 of 4. Log-odds 0 -> -log 3, log 4 -> log 3: slope 2 log 3 / log 4
    p, failed = np.repeat([0.5, 0.8], 4), np.array([1, 0, 0, 0, 1, 1, 1, 0], dtype=bool)
    found = recalibration(failed, p, np.arange(8), resamples=5)
    assert found["slope"] == pytest.approx(2 * np.log(3) / np.log(4))


def test_the_intercept_is_the_shift_of_the_log_odds_at_a_slope_of_one() -> None:
    # all stated .5, 1 of 4 failed: the shift is the log-odds of a quarter
    found = recalibration(np.array([1, 0, 0, 0], dtype=bool), np.full(4, 0.5), np.arange(4), resamples=5)
    assert found["intercept"] == pytest.approx(-np.log(3))
    assert np.isnan(found["slope"])  # one probability has no slope


@given(st.floats(0.4, 2.5), st.floats(-1.5, 1.5), st.integers(0, 50))
@settings(max_examples=15, deadline=None)
def test_the_slope_equals_that_of_scikit_learn(slope, shift, seed) -> None:
    x = np.random.default_rng(seed).normal(-1, 1.5, 300)
    failed = outcomes(expit(shift + slope * x), seed)
    found = recalibration(failed, expit(x), np.arange(300), resamples=2)
    if 10 < failed.sum() < 290:
        fitted = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(x[:, None], failed)
        assert found["slope"] == pytest.approx(fitted.coef_[0, 0], rel=1e-3)


def test_probabilities_too_extreme_have_a_slope_below_one_and_too_low_ones_an_intercept_above_zero() -> None:
    x = np.random.default_rng(1).normal(-1.5, 1.2, 3000)
    failed, batch = outcomes(expit(x)), np.arange(3000)
    extreme, low = recalibration(failed, expit(2 * x), batch), recalibration(failed, expit(x - 1), batch)
    assert extreme["slope_low"] < 0.5 < extreme["slope_high"] < 0.6
    assert low["intercept_low"] < 1 < low["intercept_high"] < 1.3
    fine = recalibration(failed, expit(x), batch)
    assert fine["slope_low"] < 1 < fine["slope_high"]
    assert fine["intercept_low"] < 0 < fine["intercept_high"]


def test_one_class_or_perfect_separation_has_no_slope() -> None:
    assert np.isnan(recalibration(np.zeros(4, bool), np.linspace(0.1, 0.4, 4), np.arange(4), resamples=5)["slope"])
    apart = recalibration(np.array([0, 0, 1, 1], bool), np.array([0.1, 0.2, 0.7, 0.8]), np.arange(4), resamples=5)
    assert np.isnan(apart["slope"])


def test_scores_of_one_batch_do_not_narrow_the_interval() -> None:
    x = np.random.default_rng(2).normal(-1, 1, 200)
    failed = outcomes(expit(x))
    alone = recalibration(failed, expit(x), np.arange(200), resamples=300)
    copied = recalibration(np.repeat(failed, 5), np.repeat(expit(x), 5), np.repeat(np.arange(200), 5), resamples=300)
    for name in ("slope", "slope_low", "slope_high", "intercept_low", "intercept_high"):
        assert copied[name] == pytest.approx(alone[name], abs=0.02)


def test_bands_carry_their_own_figures_and_failures() -> None:
    scores = trail({"A": [0.1, 0.9], "B": [0.1, 0.1], "C": [0.1]}, {"A"})
    table = calibration_by_band(scores, resamples=5).set_index("band")
    assert table.loc["0 h", ["n", "n_batches", "n_failed"]].tolist() == [3, 3, 1]
    assert table.loc["0 h", "ece"] == pytest.approx((0.9 + 0.1 + 0.1) / 3)  # a bin for each row: |p - y|
    assert table.loc["12 h", "brier"] == pytest.approx(0.01)
    assert table.loc["0 h", "stated"] == pytest.approx(0.1)
    assert len(calibration_by_band(trail({"A": [0.1] * 9, "B": [0.2] * 9}, {"A"}), resamples=5)) == 4


def test_the_floor_is_higher_where_rows_share_a_batch() -> None:
    p = np.full(300, 0.1)
    assert calibration_floor(p, batch=np.arange(300)) == calibration_floor(p)
    assert calibration_floor(p, batch=np.arange(300) // 10) > 1.5 * calibration_floor(p)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=1, max_size=40))
@settings(max_examples=80, deadline=None)
def test_the_weighted_error_is_the_plain_one_at_equal_weights(rows) -> None:
    failed, p = (np.array(c) for c in zip(*rows, strict=True))
    failed, p = failed.astype(bool), p / 20
    weighted = weighted_calibration_error(failed, p, np.ones((1, len(p))))[0]
    assert weighted == pytest.approx(expected_calibration_error(failed, p))
    assert 0 <= weighted <= 1


def test_reliability_by_band_bins_each_band_for_itself() -> None:
    scores = trail({"A": [0.1, 0.4], "B": [0.2, 0.5], "C": [0.3, 0.6], "D": [0.9, 0.8]}, {"C", "D"})
    table = reliability_by_band(scores, bins=2)
    assert table["band"].tolist() == ["0 h", "0 h", "12 h", "12 h"]
    assert table["stated"].tolist() == pytest.approx([0.15, 0.6, 0.45, 0.7])
    assert table["failed"].tolist() == [0, 1, 0, 1]
    assert table["n_failed"].tolist() == [0, 2, 0, 2]
