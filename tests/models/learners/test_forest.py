"""The forest says what LightGBM says, and its contributions are Shapley values."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import StorageError
from models.learners.forest import Forest

STUMP = """tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx=1
objective=binary sigmoid:1
feature_names=a b
feature_infos=[0:1] [0:1]
tree_sizes=1

Tree=0
num_leaves=3
num_cat=0
split_feature=0 1
split_gain=1 1
threshold=0.5 0.5
decision_type=10 8
left_child=-1 -2
right_child=1 -3
leaf_value=1 2 4
leaf_weight=1 1 1
leaf_count=50 30 20
internal_value=0 0
internal_weight=0 0
internal_count=100 50
is_linear=0
shrinkage=1


end of trees
"""


def _trained(seed: int, *, leaves: int = 15, rounds: int = 8, categories: bool = False, **more: object) -> lgb.Booster:
    chance = np.random.default_rng(seed)
    X = _rows(chance, 400)
    y = chance.random(400) < 1 / (1 + np.exp(-(np.nan_to_num(X[:, 0]) * np.nan_to_num(X[:, 1]) + (X[:, 4] == 2))))
    data = lgb.Dataset(X, y, categorical_feature=[4] if categories else "auto")
    parameters = {"objective": "binary", "num_leaves": leaves, "min_data_in_leaf": 4, "verbose": -1, "num_threads": 1,
                  "min_data_per_group": 5, "cat_smooth": 1.0, "deterministic": True, "seed": seed}  # fmt: skip
    return lgb.train(parameters | more, data, rounds)


def _rows(chance: np.random.Generator, n: int) -> np.ndarray:
    X = chance.normal(size=(n, 6))
    X[chance.random(X.shape) < 0.15] = np.nan
    X[chance.random(X.shape) < 0.15] = 0.0
    X[:, 4] = chance.integers(0, 40, n)
    return X


def _assert_agrees(boosters: list[lgb.Booster], rows: np.ndarray) -> None:
    forest = Forest.of([booster.model_to_string() for booster in boosters])
    raw = np.column_stack([np.asarray(booster.predict(rows, raw_score=True)) for booster in boosters])
    shap = np.mean([booster.predict(rows, pred_contrib=True) for booster in boosters], axis=0)
    np.testing.assert_array_equal(forest.log_odds(rows), raw)
    np.testing.assert_allclose(forest.contributions(rows), shap[:, :-1], rtol=0, atol=1e-12)
    assert forest.base.mean() == pytest.approx(shap[0, -1], abs=1e-12)


def test_values_at_the_thresholds_and_around_zero_go_the_way_that_lightgbm_sends_them() -> None:
    booster, zero = _trained(3), float(np.float32(1e-35))  # up to which LightGBM takes a number for 0
    at = Forest.of([booster.model_to_string()]).nodes["threshold"]
    around = [-0.0, zero, -zero, 1e-36, -1e-36, np.nextafter(zero, 1), np.nextafter(-zero, -1), np.inf, -np.inf, 1e300]
    rows = np.random.default_rng(3).choice([*at, *np.nextafter(at, np.inf), *around], (300, 6))
    _assert_agrees([booster], rows)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 60), st.booleans())
def test_log_odds_are_lightgbms_to_the_bit_and_contributions_but_for_rounding(seed, leaves, categories) -> None:
    boosters = [_trained(seed + i, leaves=leaves, categories=categories) for i in range(2)]
    rows = _rows(np.random.default_rng(seed), 50)
    rows[0], rows[1, 4], rows[2, 4], rows[3, 4] = (
        np.nan,
        -1,
        1e9,
        7.6,
    )  # nothing known; categories that no tree has seen
    _assert_agrees(boosters, rows)


def test_missing_values_go_where_lightgbm_sends_them() -> None:
    rows = _rows(np.random.default_rng(3), 200)
    _assert_agrees([_trained(3, zero_as_missing=True)], rows)
    _assert_agrees([_trained(3, use_missing=False)], rows)
    rows[:, :4] = np.where(np.random.default_rng(4).random((200, 4)) < 0.5, 1e-36, rows[:, :4])
    _assert_agrees([_trained(3, zero_as_missing=True)], rows)


def test_trees_deeper_than_one_set_of_points_stay_exact() -> None:
    _assert_agrees([_trained(5, leaves=120, rounds=3, min_data_in_leaf=1)], _rows(np.random.default_rng(5), 50))
    chance = np.random.default_rng(6)
    X = chance.normal(size=(3000, 30))
    booster = lgb.train(
        {"objective": "binary", "num_leaves": 200, "min_data_in_leaf": 1, "verbose": -1, "num_threads": 1},
        lgb.Dataset(X, X.sum(axis=1) > 0),
        3,
    )
    forest = Forest.of([booster.model_to_string()])
    assert len(forest.tables) > 4 * 4 * len(forest.nodes)
    _assert_agrees([booster], X[:40])


def test_a_constant_model_contributes_nothing() -> None:
    chance = np.random.default_rng(1)
    booster = lgb.train(
        {"objective": "binary", "verbose": -1, "min_data_in_leaf": 400},
        lgb.Dataset(chance.normal(size=(50, 2)), np.arange(50) < 5),
        2,
    )
    _assert_agrees([booster], chance.normal(size=(3, 2)))


def test_contributions_of_a_small_tree_are_those_worked_by_hand() -> None:
    # leaves 1, 2, 4 hold 50, 30, 20 of 100 rows: mean 1.9; the right half's mean is 2.8
    forest = Forest.of([STUMP])
    # a right, b right: v() = 1.9, v(a) = 2.8, v(b) = .5 * 1 + .5 * 4 = 2.5, v(ab) = 4
    a, b = ((2.8 - 1.9) + (4 - 2.5)) / 2, ((2.5 - 1.9) + (4 - 2.8)) / 2
    assert forest.base[0] == pytest.approx(1.9)
    np.testing.assert_allclose(forest.contributions(np.array([[0.9, 0.9]])), [[a, b]], rtol=1e-14)
    # a left: b plays no part but through the rows it is not known of: v(b) = .5 * 1 + .5 * 2
    np.testing.assert_allclose(
        forest.contributions(np.array([[0.1, 0.2]])), [[((1 - 1.9) + (1 - 1.5)) / 2, ((1.5 - 1.9) + 0) / 2]], rtol=1e-14
    )


def test_contributions_are_the_shapley_values_of_all_sets() -> None:
    booster = _trained(8, leaves=12, rounds=1)
    forest, row = Forest.of([booster.model_to_string()]), _rows(np.random.default_rng(9), 1)
    value = {known: _value(forest, row[0], set(known)) for n in range(7) for known in combinations(range(6), n)}
    for i in range(6):
        shapley = 0.0
        for known, without in value.items():
            if i not in known:
                weight = factorial(len(known)) * factorial(5 - len(known)) / factorial(6)
                shapley += weight * (value[tuple(sorted((*known, i)))] - without)
        assert forest.contributions(row)[0, i] == pytest.approx(shapley, abs=1e-12)


def _value(forest: Forest, row: np.ndarray, known: set[int], at: int = 0) -> float:
    """Mean leaf of a tree of numbers, going both ways at an unknown input."""
    node = forest.nodes[at]
    if node["right"] < 0:
        return float(node["value"])
    left, right = at + 1, int(node["right"])
    if int(node["feature"]) not in known:
        share = float(forest.nodes[left]["fades"])
        return share * _value(forest, row, known, left) + (1 - share) * _value(forest, row, known, right)
    seen = row[node["feature"]]
    goes_left = bool(node["decision"] & 2) if np.isnan(seen) else seen <= node["threshold"]
    return _value(forest, row, known, left if goes_left else right)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_a_row_gives_the_same_bits_alone_and_among_others(seed) -> None:
    forest = Forest.of([_trained(2).model_to_string(), _trained(4).model_to_string()])
    rows = _rows(np.random.default_rng(seed), 9)
    whole = forest.contributions(rows)
    for i in range(9):
        np.testing.assert_array_equal(forest.contributions(rows[i : i + 1])[0], whole[i])
    assert forest.contributions(rows[:0]).shape == (0, 6)
    assert forest.log_odds(rows[:0]).shape == (0, 2)


@pytest.mark.parametrize(
    "damage",
    [("left_child=-1 -2", "left_child=0 -2"), ("right_child=1 -3", "right_child=0 -3"), ("right_child=1 -3", "right_child=1 -9"),
     ("split_feature=0 1", "split_feature=0 2"),
     ("num_tree_per_iteration=1", "num_tree_per_iteration=3"), ("is_linear=0", "is_linear=1"), ("leaf_count=50 30 20", "leaf_count=50 50 0"), (STUMP[STUMP.index("Tree=0") :], ""), ("tree\nversion", "forest\nversion")],
)  # fmt: skip
def test_a_text_that_is_no_such_model_is_refused(damage) -> None:
    with pytest.raises(StorageError):
        Forest.of([STUMP.replace(*damage)])
