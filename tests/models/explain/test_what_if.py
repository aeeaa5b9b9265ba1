from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.explain.changeable import changeable
from models.explain.what_if import WhatIf, what_if
from tests.models.explain.counterfactuals import FEATURES, PROCESS, is_possible, levels, snapshot

OF_PARAMETERS = {"ph": "ph.last_6h.mean", "flow": "flow.since_start.last", "sugar": "sugar.since_start.last"}


def limits_of(name: str) -> tuple[float, float]:
    low, high = PROCESS[name].normal
    assert low is not None
    assert high is not None
    return low, high


def linear(**weights: float) -> Callable[[pd.DataFrame], np.ndarray]:
    """Risk from levels: a weight per unit above the middle of the normal range, through the logistic curve."""

    def predict(rows: pd.DataFrame) -> np.ndarray:
        z = np.zeros(len(rows))
        for name, weight in weights.items():
            low, high = limits_of(name)
            z += weight * (rows[OF_PARAMETERS[name]].to_numpy(float) - (low + high) / 2)
        return 1 / (1 + np.exp(-z))

    return predict


def ask(predict, row: pd.DataFrame, threshold: float = 0.2, **options: float) -> WhatIf:
    return what_if(predict, row, PROCESS, FEATURES, threshold=threshold, **options)[0]


ROW = snapshot(
    48, ph=[7.2] * 12, flow=[16.0] * 12, sugar=[20.0, 10.0, 14.0], dose_once=[9.0], salt=[2.0, 2.0], crew=[2.0]
)


def test_the_smallest_change_is_the_first_said_value_below_the_threshold() -> None:
    found = ask(linear(flow=0.5), ROW)
    (change,) = found.changes
    # 1 / (1 + e^-z) < .2 where z < -1.386, so the flow must be below 10 - 2.773
    assert [(m.parameter, m.now, m.to) for m in change.moves] == [("flow", 16.0, 7.2)]
    assert change.moves[0].share_of_normal == pytest.approx(8.8 / 20)
    assert change.probability == pytest.approx(1 / (1 + np.exp(0.5 * 2.8)))
    assert found.sentence == (
        "Flow from 16 (normal) to 7.2 L/h, held for 24 h: risk 95 % -> below 20 % (the model's view, not a promise)."
    )


def test_a_value_outside_normal_is_brought_to_the_limit_and_no_further() -> None:
    row = snapshot(48, ph=[7.2] * 6 + [6.5] * 6)
    found = ask(lambda rows: np.where(rows["ph.last_6h.mean"] > 6.8, 0.1, 0.9), row)
    assert found.changes[0].moves[0].to == 7.0
    assert found.sentence.startswith("pH from 6.5 (below normal) to 7, held for 24 h")


def test_every_parameter_that_does_alone_is_there_smallest_first() -> None:
    found = ask(linear(flow=0.5, sugar=0.5, ph=10.0), ROW)
    names = [change.moves[0].parameter for change in found.changes]
    assert names == ["sugar", "flow"]  # 8.8 of 22 g/L and 8.8 of 20 L/h
    assert [c.size for c in found.changes] == sorted(c.size for c in found.changes)


def test_two_together_are_tried_where_none_does_alone() -> None:
    def predict(rows: pd.DataFrame) -> np.ndarray:
        return np.where((rows["ph.last_6h.mean"] > 7.33) & (rows["flow.since_start.last"] < 5.04), 0.1, 0.9)

    found = ask(predict, ROW)
    (change,) = found.changes
    assert [(m.parameter, m.to) for m in change.moves] == [("flow", 5.0), ("ph", 7.331)]
    assert found.sentence.startswith("Flow from 16 (normal) to 5 L/h and pH from 7.2 (normal) to 7.331, held for 24 h")


def test_no_such_change_is_an_answer() -> None:
    found = ask(lambda rows: np.full(len(rows), 0.9), ROW)
    assert found.changes == ()
    assert found.sentence == (
        "No such change: no controllable parameter tried inside its normal range, alone or in a pair, brings the risk below "
        "20 % (the model's view, not a promise)."
    )


def test_a_parameter_outside_what_is_controllable_is_never_moved() -> None:
    row = snapshot(48, oxygen=[20.0] * 12)
    found = ask(lambda rows: np.where(rows["oxygen.since_start.last"] > 30, 0.1, 0.9), row)
    assert found.sentence == "No such change: no controllable parameter can still be moved."


def test_a_risk_below_the_threshold_needs_no_change() -> None:
    found = ask(lambda rows: np.full(len(rows), 0.05), ROW)
    assert (found.changes, found.sentence) == ((), "Risk 5 % is below 20 % as it is.")


def test_what_can_no_longer_be_changed_is_left_out_with_the_reason() -> None:
    assert {left.parameter: left.why for left in ask(linear(flow=0.5), ROW).left_out} == {
        "dose_once": "recorded once, in the past",
        "salt": "its normal range is open on a side",
        "crew": "fixed before the start",
    }
    empty = snapshot(48, sugar=[5.0, 6.0]).assign(**{"sugar.since_start.age_h": 30.0})
    whys = {left.parameter: left.why for left in ask(linear(flow=0.5), empty).left_out}
    assert whys["sugar"] == "its newest value is 30 h old, from before what may move"
    assert whys["ph"] == whys["flow"] == whys["dose_once"] == "no value yet"


def test_a_short_batch_is_not_said_to_have_been_held_longer_than_it_is_old() -> None:
    assert "held for 12 h" in ask(linear(flow=0.5), snapshot(12, flow=[16.0] * 6)).sentence


def test_a_risk_just_above_the_threshold_is_said_more_finely() -> None:
    found = ask(lambda rows: np.where(rows["flow.since_start.last"] < 15.95, 0.1, 0.2013), ROW)
    assert "risk 20.13 % -> below 20.00 %" in found.sentence


def test_each_snapshot_has_its_own_threshold_and_the_grid_is_one_call() -> None:
    calls = []

    def counted(rows: pd.DataFrame) -> np.ndarray:
        calls.append(len(rows))
        return linear(flow=0.5)(rows)

    rows = pd.concat([ROW, ROW], ignore_index=True)
    strict, easy = what_if(counted, rows, PROCESS, FEATURES, threshold=[0.1, 0.99])
    assert (len(strict.changes), easy.sentence) == (1, "Risk 95 % is below 99 % as it is.")
    assert calls[:2] == [2, 3 * 25]  # both as they are, then the grid of the first: pH, flow, sugar
    assert len(calls) < 10
    assert what_if(counted, rows[:0], PROCESS, FEATURES, threshold=0.1) == []


@pytest.mark.parametrize(
    ("low", "high", "decimals", "steps"),
    [(7.0, 7.4, 3, (7000, 7400)), (3.0, 25.0, 1, (30, 250)), (0.0, 3000.0, -1, (0, 300)), (36.71, 37.3, 3, (36710, 37300)), (0.05, 0.949, 3, (50, 949))],
)  # fmt: skip
def test_values_are_said_in_steps_that_lie_inside_normal(low, high, decimals, steps) -> None:
    process = PROCESS.model_copy(update={"parameter": (PROCESS["ph"].model_copy(update={"normal": (low, high)}),)})
    (movable,), _ = changeable(snapshot(48, ph=[7.2] * 12).iloc[0], process, FEATURES, horizon_h=24)
    assert (movable.decimals, movable.steps) == (decimals, steps)
    assert low <= movable.value(steps[0]) <= movable.value(steps[1]) <= high


weights = st.floats(-12, 12)


@settings(max_examples=25, deadline=None)
@given(levels(6.5, 8.0), levels(0.0, 30.0), levels(0.0, 40.0, 3), weights, weights, weights, st.floats(0.01, 0.9))
def test_a_change_stays_inside_normal_and_does_what_it_says(ph, flow, sugar, a, b, c, threshold) -> None:
    row = snapshot(48, ph=ph, flow=flow, sugar=sugar)
    seen = []

    def predict(rows: pd.DataFrame) -> np.ndarray:
        seen.append(rows)
        return linear(ph=a * 10, flow=b / 5, sugar=c / 5)(rows)

    found = ask(predict, row, threshold)
    for change in found.changes:
        assert change.probability < threshold <= found.probability
        for move in change.moves:
            low, high = limits_of(move.parameter)
            assert low <= move.to <= high
    assert all(is_possible(tried, p) for frame in seen[1:2] for _, tried in frame.iterrows() for p in ("ph", "flow"))
    if not found.changes and found.probability >= threshold:  # then no corner of the grid does either
        assert all((linear(ph=a * 10, flow=b / 5, sugar=c / 5)(rows) >= threshold).all() for rows in seen)


@settings(max_examples=25, deadline=None)
@given(levels(6.5, 8.0), levels(0.0, 30.0), weights, weights, st.floats(0.01, 0.9))
def test_the_same_question_has_the_same_answer_whatever_the_order_of_the_process_file(
    ph, flow, a, b, threshold
) -> None:
    row, predict = snapshot(48, ph=ph, flow=flow), linear(ph=a * 10, flow=b / 5)
    backwards = PROCESS.model_copy(update={"parameter": PROCESS.parameter[::-1]})
    first = ask(predict, row, threshold)
    assert ask(predict, row, threshold) == first
    (again,) = what_if(predict, row, backwards, FEATURES[::-1], threshold=threshold)
    assert again == first


@settings(max_examples=25, deadline=None)
@given(levels(6.5, 8.0), st.floats(0.3, 1.0))
def test_where_nothing_can_no_change_is_returned(ph, floor) -> None:
    row = snapshot(48, ph=ph, flow=[10.0] * 12, sugar=[9.0, 9.5])
    found = ask(lambda rows: floor + (1 - floor) * linear(ph=20.0)(rows), row, threshold=0.3)
    assert found.changes == ()
