import numpy as np
import pytest

from models.report.axes import robust_span

USUAL = np.linspace(20, 60, 41)


def test_a_limit_outside_the_data_widens_the_axis() -> None:
    span = robust_span(USUAL, [15])
    assert span.low < 15 < 60 < span.high
    assert span.low == pytest.approx(15 - 0.04 * 45)
    assert span.n_outside == 0


def test_a_mistyped_value_is_left_outside_and_counted() -> None:
    span = robust_span(np.append(USUAL, [3700.0, np.nan]))
    assert span.high == pytest.approx(60 + 0.04 * 40)
    assert span.n_outside == 1
    assert span.holds(np.array([3700.0, 60.0, np.nan])).tolist() == [False, True, False]


def test_a_value_beyond_the_fences_that_a_limit_reaches_is_drawn() -> None:
    assert robust_span(np.append(USUAL, 3700.0), [4000]).n_outside == 0


def test_on_a_logarithmic_axis_the_fences_are_ratios() -> None:
    doses = 10.0 ** np.linspace(8, 10, 41)
    assert robust_span(doses, [1e7], log=True).n_outside == 0
    assert robust_span(np.append(doses, 1e17), log=True).n_outside == 1
    assert robust_span(doses, [1e7], log=True).low < 1e7


def test_values_that_are_nearly_all_the_same_still_leave_a_mistyped_one_outside() -> None:
    mostly_zero = np.r_[np.zeros(80), np.ones(20), 900.0]
    assert robust_span(mostly_zero).n_outside == 1
    assert robust_span(np.full(5, 7.0)).ends == [6.5, 7.5]
    assert robust_span(np.array([])).n_outside == 0
