import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit

from features.process import QualityAttribute
from models.cohort.encode import Encoder
from models.learners.evidence import (
    LEAST_MARGIN,
    MISS_LOG_ODDS,
    Evidence,
    _toward_limit,
    _with_the_risk,
    attribute_columns,
    group_labels,
)
from models.learners.forecasts import Expected

LOWER = QualityAttribute(name="purity", parameter="purity", lower=90)
UPPER = QualityAttribute(name="vcn", parameter="vcn", upper=5)
BETWEEN = QualityAttribute(name="ph", parameter="ph", lower=7.0, upper=7.4)


def expected(*values: float) -> Expected:
    row = np.array([values])
    return Expected((LOWER, UPPER), row, row - 1, row + 1, np.array([[2.0, 0.5]]))


def encoded(made, plant) -> tuple[np.ndarray, np.ndarray]:
    return made.predictor.encoder.encode(plant.snapshots), plant.snapshots["checkpoint_h"].to_numpy(float)


def test_columns_of_attributes_are_those_worked_by_hand() -> None:
    (row,) = attribute_columns(expected(91.0, 5.5))
    few, many = 0.308537539, 0.841344746  # normal distribution beyond .5 below the mean, and below 1
    assert row == pytest.approx([0.5, few, -1.0, many, -1.0, logit(1 - (1 - few) * (1 - many))], abs=1e-6)


def test_far_from_every_limit_nothing_more_is_learned() -> None:
    (row,) = attribute_columns(expected(900.0, -900.0))
    assert row[[0, 2, 4]].tolist() == [8, 8, 8]
    assert row[[1, 3]] == pytest.approx([1e-6, 1e-6])
    assert row[5] == pytest.approx(logit(2e-6), rel=1e-6)


@pytest.mark.parametrize(
    ("attribute", "behind", "sign"),
    [(LOWER, [5.0], -1), (UPPER, [-5.0], 1), (BETWEEN, [-1.0, 0.2], -1), (BETWEEN, [1.0, -0.2], 1)],
)
def test_a_forecast_moves_to_its_limit_downwards_upwards_or_to_the_side_it_strays_to(attribute, behind, sign) -> None:
    assert np.ravel(_toward_limit(attribute, np.array([behind])))[0] == sign


def test_a_contribution_goes_to_what_pulls_its_way_in_proportion() -> None:
    pull = np.array([[3.0, 1.0, -2.0], [3.0, 1.0, -2.0], [0.0, 0.0, 0.0]])
    shares = _with_the_risk(pull, np.array([1.0, -1.0, 1.0]))
    np.testing.assert_allclose(shares, [[0.75, 0.25, 0], [0, 0, 1], [1 / 3] * 3])


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_what_is_handed_on_keeps_its_sum_whatever_is_known(foreseen, foreseen_plant, seed) -> None:
    rng, evidence = np.random.default_rng(seed), foreseen.predictor.evidence
    X, hours = encoded(foreseen, foreseen_plant)
    rows = rng.choice(len(X), 30)
    X = np.where(rng.random((30, X.shape[1])) < rng.uniform(0, 1), np.nan, X[rows])
    hours = hours[rows] + rng.choice([0.0, 3.0, 500.0], 30)
    seen = evidence.of(X, hours)
    given_out = np.where(np.isnan(seen.columns), 0.0, rng.normal(size=seen.columns.shape))
    handed = evidence.hand_on(seen, given_out, X, hours)
    np.testing.assert_allclose(handed.sum(axis=1), given_out.sum(axis=1), atol=1e-9)


def test_batches_are_ordered_without_trees_by_the_chance_of_a_miss_and_by_deviations(foreseen) -> None:
    evidence = foreseen.predictor.evidence
    assert [evidence.features[i].name for i in evidence.ranking] == [
        MISS_LOG_ODDS, "deviations.now.largest", "deviations.now.typical",
    ]  # fmt: skip
    assert evidence.features[4].name == LEAST_MARGIN


def test_a_row_is_compared_with_its_own_group_and_an_unknown_one_with_none() -> None:
    names = ("process_version.before_start.value", "site.before_start.value")
    encoder = Encoder(names, {names[0]: ("v1", "v2"), names[1]: ("A", "B")})
    X = np.array([[0.0, 1.0], [np.nan, 0.0]])
    assert group_labels(encoder, X) == ["B / v1", "A / "]
    assert group_labels(Encoder(("x",), {}), X) == ["", ""]


def test_it_survives_json_to_the_bit(foreseen, foreseen_plant) -> None:
    evidence = foreseen.predictor.evidence
    stored = json.loads(json.dumps(evidence.to_json(), allow_nan=False))
    back = Evidence.from_json(stored | {"encoder": evidence.encoder})
    X, hours = encoded(foreseen, foreseen_plant)
    np.testing.assert_array_equal(back.of(X, hours + 1).columns, evidence.of(X, hours + 1).columns)
