import json
from dataclasses import replace

import numpy as np
import pytest

from models.learners.blend import ALIKE, Blend, fit_linear, fit_stack, stacked

BLEND = Blend(("far", "margin"), usual=(1.0, 0.0), scale=(2.0, 1.0), slopes=(0.6, 0.3), trees_slope=0.5, intercept=-2.0)


def made_up(n: int, *, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores that tell the outcome, scores that do not, outcomes."""
    rng = np.random.default_rng(seed)
    good = rng.normal(0, 1.5, n)
    return good, rng.normal(0, 1.5, n), rng.random(n) < 1 / (1 + np.exp(-good))


def linear(evidence: np.ndarray, failed: np.ndarray) -> Blend:
    return fit_linear(evidence[:, None], failed, np.ones(len(evidence)), names=("far",))


def stack(trees: np.ndarray, score: np.ndarray, failed: np.ndarray, *, n_failed: int) -> tuple[float, float, float]:
    return fit_stack(score, trees, failed, np.ones(len(trees)), n_failed=n_failed)


def test_log_odds_are_those_worked_by_hand() -> None:
    assert BLEND.log_odds(np.array([4.0]), np.array([[3.0, -1.0]])) == pytest.approx([-2 + 2 + 0.6 - 0.3])


def test_what_is_not_known_is_taken_as_usual_and_adds_nothing() -> None:
    assert BLEND.log_odds(np.array([4.0]), np.full((1, 2), np.nan)) == pytest.approx([0.0])
    assert BLEND.contributions(np.array([[np.nan, 2.0]])).tolist() == [[0.0, 0.6]]


def test_contributions_add_up_to_the_log_odds() -> None:
    rng = np.random.default_rng(1)
    trees, evidence = rng.normal(size=50), rng.normal(size=(50, 2))
    total = BLEND.intercept + BLEND.trees_slope * trees + BLEND.contributions(evidence).sum(axis=1)
    assert np.abs(total - BLEND.log_odds(trees, evidence)).max() < 1e-12


def test_evidence_that_falls_with_the_risk_counts_for_nothing() -> None:
    good, _, failed = made_up(200)
    assert linear(-good, failed).slopes == (0.0,)


def test_a_linear_score_has_the_slope_of_its_evidence_and_no_trees() -> None:
    good, _, failed = made_up(4000)
    found = linear(good, failed)
    assert found.trees_slope == 0.0
    assert found.slopes[0] == pytest.approx(1.5, abs=0.15)  # true slope 1 per unit, 1.5 units a standard deviation
    p = 1 / (1 + np.exp(-found.log_odds(np.zeros(4000), good[:, None])))
    assert p.mean() == pytest.approx(failed.mean(), abs=1e-3)


def test_evidence_that_is_never_known_does_no_harm() -> None:
    _, noise, failed = made_up(100)
    found = linear(np.full(100, np.nan), failed)
    assert found.slopes == (0.0,)
    assert np.isfinite(found.log_odds(np.zeros(100), noise[:, None])).all()


@pytest.mark.parametrize("n_failed", [10, 50, 450])
def test_with_few_scores_the_linear_score_is_believed_and_the_trees_by_the_number_of_failures(n_failed) -> None:
    good, noise, failed = made_up(4)
    _, slope, trees_slope = stack(noise, good, failed, n_failed=n_failed)
    assert slope == pytest.approx(1.0, abs=0.12)
    assert trees_slope == pytest.approx(n_failed / (n_failed + ALIKE), abs=0.12)


def test_many_scores_decide_whatever_was_believed() -> None:
    good, noise, failed = made_up(4000)
    _, slope, trees_slope = stack(good, noise, failed, n_failed=1)
    assert trees_slope == pytest.approx(1.0, abs=0.15)
    assert slope < 0.15


def test_a_stack_scales_the_slopes_of_its_linear_score() -> None:
    both = stacked(replace(BLEND, trees_slope=0.0), (0.25, 0.5, 0.8))
    assert both.slopes == (0.3, 0.15)
    assert (both.intercept, both.trees_slope) == (-0.75, 0.8)
    assert (both.names, both.usual, both.scale) == (BLEND.names, BLEND.usual, BLEND.scale)


def test_it_survives_json() -> None:
    assert Blend.from_json(json.loads(json.dumps(BLEND.to_json()))) == BLEND
