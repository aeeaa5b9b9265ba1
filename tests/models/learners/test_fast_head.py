import numpy as np
import pytest

from models.learners.blend import Blend
from models.learners.fast_head import fit_fast_head, pays, with_head


def made_up(slope: float, n: int = 3000, seed: int = 1) -> tuple[np.ndarray, ...]:
    """Slow score, one column, outcomes that answer to both, weights."""
    rng = np.random.default_rng(seed)
    slow, column = rng.normal(-2, 1, n), np.maximum(rng.normal(size=(n, 1)), 0)
    failed = rng.random(n) < 1 / (1 + np.exp(-(slow + slope * column[:, 0])))
    return slow, column, failed, np.ones(n)


def test_the_slope_of_a_column_that_adds_to_the_slow_score_is_found() -> None:
    head = fit_fast_head(*made_up(1.0))
    assert head == pytest.approx([0.0, 1.0], abs=0.2)


def test_a_column_that_falls_with_the_risk_counts_for_nothing() -> None:
    slow, column, failed, weight = made_up(-1.0)
    assert fit_fast_head(slow, column, failed, weight)[1] == 0.0


def test_a_head_pays_where_it_lowers_the_loss_of_folds_it_was_not_fitted_on() -> None:
    fold = np.repeat(["one", "two"], 1500)
    assert pays(*made_up(1.0), fold)
    slow, column, failed, weight = made_up(0.0)
    assert not pays(slow, np.column_stack([column, np.ones(len(slow))]), failed, weight, np.repeat("one", 3000))


def test_a_head_is_added_to_a_blend_with_slopes_of_its_own() -> None:
    blend = Blend(("far",), (1.0,), (2.0,), (0.6,), 0.5, -2.0)
    both = with_head(blend, ("rank_3", "above"), np.array([0.25, 0.0, 0.7]))
    assert both.names == ("far", "rank_3", "above")
    assert both.log_odds(np.array([4.0]), np.array([[3.0, 9.0, 2.0]])) == pytest.approx([-2 + 0.25 + 2 + 0.6 + 1.4])
