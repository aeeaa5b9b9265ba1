import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from models.learners.calibrate import PRIOR_FAILURES, Calibration, as_stated, fit_calibration, fit_intercept

STEP = Calibration((0.0, 10.0), (-1.0, 1.0), (0.5, 1.0), ((0.04, 0.0, 0.01), (0.04, 0.0, 0.01)))


def exact(shares: tuple[float, ...], n: int) -> np.ndarray:
    """n outcomes for each share, just as many of them failures."""
    return np.concatenate([np.arange(n) < n * p for p in shares])


def test_scores_that_are_right_are_left_alone() -> None:
    raw = np.repeat(logit([0.2, 0.5, 0.8]), 1000)
    fitted = fit_calibration(raw, exact((0.2, 0.5, 0.8), 1000), np.ones(3000))
    assert fitted.intercepts == pytest.approx((0,), abs=1e-3)
    assert fitted.slopes == pytest.approx((1,), abs=1e-3)


def test_scores_twice_too_sure_are_halved() -> None:
    raw = np.repeat(2 * logit([0.2, 0.5, 0.8]), 10_000)
    assert fit_calibration(raw, exact((0.2, 0.5, 0.8), 10_000), np.ones(30_000)).slopes[0] == pytest.approx(
        0.5, abs=0.01
    )


def test_few_failures_move_the_slope_less_than_many_of_the_same_kind() -> None:
    raw = np.array([-3.0, -2.5, -3.5, -3.0, 1.0])
    failed = np.array([True, False, False, False, False])
    (few,) = fit_calibration(raw, failed, np.ones(5)).slopes
    (many,) = fit_calibration(np.tile(raw, 100), np.tile(failed, 100), np.ones(500)).slopes
    assert many < 0.1 < 0.3 < few < 1


def test_scores_the_wrong_way_round_are_flattened_never_turned() -> None:
    raw = np.repeat([-2.0, 2.0], 5000)
    fitted = fit_calibration(raw, np.repeat([True, False], 5000), np.ones(10_000))
    assert fitted.slopes == pytest.approx((0,), abs=1e-2)
    assert fitted.probability(np.array([-2.0, 2.0]), np.zeros(2)) == pytest.approx([0.5, 0.5], abs=0.01)


def test_a_batch_counts_once_however_many_snapshots_it_has() -> None:
    raw, failed = np.array([0.0, 0.0]), np.array([True, False])
    once = fit_calibration(raw, failed, np.ones(2))
    many = fit_calibration(
        np.array([0.0] * 5), np.array([True, False, False, False, False]), np.array([1, 0.25, 0.25, 0.25, 0.25])
    )
    assert many.intercepts == pytest.approx(once.intercepts, abs=1e-6)


def test_log_odds_are_affine_at_every_hour_and_their_numbers_lie_on_straight_lines() -> None:
    found = STEP.log_odds(np.full(5, 2.0), np.array([-1.0, 0.0, 5.0, 10.0, 99.0]))
    assert found == pytest.approx([0.0, 0.0, 1.5, 3.0, 3.0])  # at 5 h: 0 + 0.75 * 2
    assert STEP.probability(np.array([2.0]), np.array([5.0])) == pytest.approx([expit(1.5)])


def test_the_interval_is_that_of_intercept_and_slope_worked_by_hand() -> None:
    assert STEP.half_width(np.array([0.0, 3.0]), np.array([0.0, 0.0])) == pytest.approx(
        [1.645 * 0.2, 1.645 * np.sqrt(0.04 + 0.09)]
    )


def test_each_stage_gets_the_level_that_its_many_failures_ask_for() -> None:
    hours = np.repeat([0.0, 12.0], 20_000)
    failed = exact((0.2, 0.5), 20_000)
    fitted = fit_calibration(np.zeros(40_000), failed, np.full(40_000, 0.5), hours)
    assert fitted.probability(np.zeros(2), np.array([0.0, 12.0])) == pytest.approx([0.2, 0.5], abs=0.005)


def test_a_late_stage_that_few_batches_reach_stays_near_all_stages() -> None:
    # 1000 batches at 0 h, 100 of them failed; 4 go on to 12 h, 2 of these failed: two failures are no proof of one half
    hours = np.r_[np.zeros(1000), np.full(4, 12.0)]
    failed = np.r_[np.arange(1000) < 100, [True, True, False, False]]
    fitted = fit_calibration(np.zeros(1004), failed, np.full(1004, 0.5), hours)
    early, late = fitted.probability(np.zeros(2), np.array([0.0, 12.0]))
    assert early == pytest.approx(0.1, abs=0.005)
    assert early < late < 0.2


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_the_order_of_batches_at_an_hour_is_never_turned(seed, n) -> None:
    rng = np.random.default_rng(seed)
    hours = rng.choice([0.0, 6.0, 12.0, 18.0, 24.0, 30.0], n)
    fitted = fit_calibration(rng.normal(0, 3, n), rng.random(n) < 0.3, np.full(n, 1 / 6), hours)
    assert min(fitted.slopes) >= 0
    raw = np.sort(rng.normal(0, 5, 20))
    assert (np.diff(fitted.log_odds(raw, np.full(20, rng.uniform(-5, 40)))) >= 0).all()


def test_it_survives_json() -> None:
    assert Calibration.from_json(json.loads(json.dumps(STEP.to_json()))) == STEP


def test_a_shift_of_many_failures_makes_the_stated_ones_as_many_as_the_observed_ones() -> None:
    raw, failed = np.repeat(logit(0.2), 100_000), np.arange(100_000) < 40_000
    shift = fit_intercept(raw, failed, np.ones(100_000)).intercepts[0]
    assert shift == pytest.approx(logit(0.4) - logit(0.2), abs=0.002)
    assert fit_intercept(raw, np.arange(100_000) < 20_000, np.ones(100_000)).intercepts[0] == pytest.approx(0, abs=1e-9)


def test_a_shift_of_few_failures_is_pulled_to_nothing_worked_by_hand() -> None:
    found = fit_intercept(np.zeros(4), np.array([True, True, True, False]), np.ones(4))
    (shift,) = found.intercepts
    # three of four failed where two were stated: 4 p(s) - 3 + 5 s = 0, and p(s) is 1/2 + s/4 for small s: s = 1 / 6
    assert shift == pytest.approx(1 / 6, abs=1e-3)
    p = expit(shift)
    assert found.covariances == ((pytest.approx(1 / (4 * p * (1 - p) + 5)), 0.0, 0.0),)
    assert found.slopes == (1.0,)
    assert fit_intercept(np.empty(0), np.empty(0, bool), np.empty(0)).intercepts == (0.0,)


def test_about_five_failures_move_a_shift_half_way() -> None:
    # rare failures, 5 observed where 2.5 were stated: the whole shift is log 2
    raw, failed = np.repeat(logit(0.001), 2500), np.arange(2500) < 5
    assert fit_intercept(raw, failed, np.ones(2500)).intercepts[0] == pytest.approx(np.log(2) / 2, rel=0.1)


def test_scores_as_they_are_stated_keep_the_variance_of_their_level_worked_by_hand() -> None:
    found = as_stated(np.zeros(8), np.full(8, 0.5))  # 8 scores of weight 1/2 at p = 1/2: information 1
    assert found == Calibration(covariances=((1 / 1.25, 0.0, 0.0),))
    assert as_stated(np.empty(0), np.empty(0)).covariances == ((4.0, 0.0, 0.0),)
    np.testing.assert_array_equal(found.log_odds(np.array([-2.0, 3.0]), np.zeros(2)), [-2.0, 3.0])


@given(
    st.lists(st.tuples(st.floats(-30, 30), st.booleans(), st.floats(0, 1)), max_size=30),
)
def test_a_shift_is_finite_and_states_what_was_observed_but_for_its_pull(rows) -> None:
    raw, failed, weight = (np.array(column) for column in zip(*rows, strict=True)) if rows else (np.empty(0),) * 3
    found = fit_intercept(raw, failed.astype(bool), weight)
    (shift,) = found.intercepts
    excess = weight @ (expit(raw + shift) - failed)
    assert excess == pytest.approx(-PRIOR_FAILURES * shift, abs=1e-6)
    assert 0 < found.covariances[0][0] <= 1 / PRIOR_FAILURES
