import json

import numpy as np
import pytest

from models.learners.boundary import Boundary, fit_boundary


def test_without_hours_nothing_is_raised() -> None:
    assert Boundary().at(np.array([0.0, 99.0])).tolist() == [0.0, 0.0]


def test_between_two_hours_it_lies_on_a_straight_line_and_beyond_them_it_stays() -> None:
    boundary = Boundary((10.0, 20.0), (-1.0, 1.0))
    assert boundary.at(np.array([0.0, 10.0, 15.0, 25.0])).tolist() == [-1.0, -1.0, 0.0, 1.0]


def test_it_is_the_quantile_of_good_scores_at_each_hour_less_their_mean() -> None:
    early, late = np.linspace(0, 1, 101), np.linspace(2, 3, 101)  # 80 % quantiles .8 and 2.8
    found = fit_boundary(np.r_[early, late], np.repeat([0.0, 100.0], 101))
    assert found.hours == (0.0, 100.0)
    assert found.log_odds == pytest.approx((-1.0, 1.0))


def test_hours_within_a_day_are_averaged() -> None:
    scores = np.r_[np.zeros(60), np.full(60, 2.0), np.full(60, 7.0)]
    found = fit_boundary(scores, np.repeat([0.0, 10.0, 40.0], 60))
    assert found.log_odds == pytest.approx(np.array([1.0, 1.0, 7.0]) - 3.0)


def test_few_good_batches_at_an_hour_say_nothing_of_it() -> None:
    assert fit_boundary(np.zeros(98), np.repeat([0.0, 6.0], 49)) == Boundary()


def test_it_comes_back_from_json() -> None:
    boundary = Boundary((1.0, 2.0), (0.5, -0.5))
    assert Boundary.from_json(json.loads(json.dumps(boundary.to_json()))) == boundary
