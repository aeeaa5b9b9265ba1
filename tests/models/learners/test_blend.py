import json

import numpy as np
import pytest

from models.learners.blend import ALIKE, Blend, fit_blend

BLEND = Blend(("far", "margin"), usual=(1.0, 0.0), scale=(2.0, 1.0), slopes=(0.6, 0.3), trees_slope=0.5, intercept=-2.0)


def made_up(n: int, *, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores that tell the outcome, scores that do not, outcomes."""
    rng = np.random.default_rng(seed)
    good = rng.normal(0, 1.5, n)
    return good, rng.normal(0, 1.5, n), rng.random(n) < 1 / (1 + np.exp(-good))


def fit(trees: np.ndarray, evidence: np.ndarray, failed: np.ndarray, *, n_failed: int) -> Blend:
    return fit_blend(trees, evidence[:, None], failed, np.ones(len(trees)), names=("far",), n_failed=n_failed)


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
    good, noise, failed = made_up(200)
    assert fit(noise, -good, failed, n_failed=20).slopes == (0.0,)


@pytest.mark.parametrize("n_failed", [10, 50, 450])
def test_with_little_evidence_the_trees_are_believed_by_the_number_of_failures(n_failed) -> None:
    good, noise, failed = made_up(4)
    blend = fit(good, noise, failed, n_failed=n_failed)
    assert blend.trees_slope == pytest.approx(n_failed / (n_failed + ALIKE), abs=0.12)


def test_much_evidence_decides_whatever_was_believed() -> None:
    good, noise, failed = made_up(4000)
    trusted = fit(good, noise, failed, n_failed=1)
    assert trusted.trees_slope == pytest.approx(1.0, abs=0.15)
    assert trusted.slopes[0] < 0.15
    doubted = fit(noise, good, failed, n_failed=5000)
    assert doubted.trees_slope < 0.15
    assert doubted.slopes[0] == pytest.approx(1.5, abs=0.2)  # true slope 1 per unit, 1.5 units a standard deviation


def test_probabilities_mean_what_they_say_on_the_rows_fitted() -> None:
    good, noise, failed = made_up(4000)
    p = 1 / (1 + np.exp(-fit(good, noise, failed, n_failed=2000).log_odds(good, noise[:, None])))
    assert p.mean() == pytest.approx(failed.mean(), abs=1e-3)


def test_evidence_that_is_never_known_does_no_harm() -> None:
    good, noise, failed = made_up(100)
    blend = fit(good, np.full(100, np.nan), failed, n_failed=50)
    assert np.isfinite(blend.log_odds(good, noise[:, None])).all()
    assert blend.slopes == (0.0,)


def test_it_survives_json() -> None:
    assert Blend.from_json(json.loads(json.dumps(BLEND.to_json()))) == BLEND
