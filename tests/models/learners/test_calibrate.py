import numpy as np
import pytest
from scipy.special import expit, logit

from models.learners.calibrate import Calibration, fit_calibration


def test_scores_that_are_right_are_left_alone():
    raw = np.repeat(logit([0.2, 0.5, 0.8]), 1000)
    failed = np.concatenate([np.arange(1000) < 1000 * p for p in (0.2, 0.5, 0.8)])
    fitted = fit_calibration(raw, failed, np.ones(3000))
    assert fitted.intercept == pytest.approx(0, abs=1e-3)
    assert fitted.slope == pytest.approx(1, abs=1e-3)


def test_scores_twice_too_sure_are_halved():
    raw = np.repeat(2 * logit([0.2, 0.5, 0.8]), 10_000)
    failed = np.concatenate([np.arange(10_000) < 10_000 * p for p in (0.2, 0.5, 0.8)])
    assert fit_calibration(raw, failed, np.ones(30_000)).slope == pytest.approx(0.5, abs=0.01)


def test_few_failures_move_the_slope_less_than_many_of_the_same_kind():
    raw = np.array([-3.0, -2.5, -3.5, -3.0, 1.0])
    failed = np.array([True, False, False, False, False])
    few = fit_calibration(raw, failed, np.ones(5)).slope
    many = fit_calibration(np.tile(raw, 100), np.tile(failed, 100), np.ones(500)).slope
    assert many < 0.1 < 0.3 < few < 1


def test_scores_the_wrong_way_round_are_flattened_never_turned():
    raw = np.repeat([-2.0, 2.0], 5000)
    failed = np.repeat([True, False], 5000)
    fitted = fit_calibration(raw, failed, np.ones(10_000))
    assert fitted.slope == 0
    assert fitted.probability(np.array([-2.0, 2.0])) == pytest.approx([0.5, 0.5])


def test_a_batch_counts_once_however_many_snapshots_it_has():
    raw, failed = np.array([0.0, 0.0]), np.array([True, False])
    once = fit_calibration(raw, failed, np.ones(2))
    many = fit_calibration(
        np.array([0.0] * 5), np.array([True, False, False, False, False]), np.array([1, 0.25, 0.25, 0.25, 0.25])
    )
    assert many.intercept == pytest.approx(once.intercept, abs=1e-6)


def test_log_odds_are_affine():
    calibration = Calibration(-0.5, 0.8)
    assert calibration.log_odds(np.array([1.0]))[0] == pytest.approx(0.3)
    assert calibration.probability(np.array([1.0]))[0] == pytest.approx(expit(0.3))
