import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.learners.conformal import Conformal, fit_conformal

ONE_BAND = np.array([0.0, 24.0])


def fit(scores, failed, *, batch=None, hours=None, edges=ONE_BAND, **errors) -> Conformal:
    n = len(scores)
    batch = np.arange(n) if batch is None else batch
    return fit_conformal(
        np.asarray(scores, float), np.asarray(failed), np.zeros(n) if hours is None else hours, edges, batch, **errors
    )


def test_bounds_are_those_worked_by_hand() -> None:
    # 9 failures with scores 1..9, 19 successes with -1..-19; error 0.2: the 8th of 9 largest, the 16th of 19 smallest
    scores = np.r_[np.arange(1, 10), -np.arange(1, 20)]
    sets = fit(scores, scores > 0, error_failed=0.2, error_good=0.2)
    assert sets.lowest_failed == (2.0,)  # ceil(10 * .8) = 8 of 9 stay in
    assert sets.highest_good == (-4.0,)  # ceil(20 * .8) = 16 of 19 stay in
    at = np.array([1.9, 2.0, -4.0, -3.9])
    assert sets.may_fail(at, np.zeros(4)).tolist() == [False, True, False, False]
    assert sets.may_succeed(at, np.zeros(4)).tolist() == [False, False, True, False]


def test_with_too_few_batches_to_leave_any_out_nothing_is_ruled_out() -> None:
    sets = fit([1.0] * 8 + [-1.0] * 9, [True] * 8 + [False] * 9)  # 90 % of 9 is more than 8, of 10 it is 9
    assert sets.lowest_failed == (-math.inf,)
    assert sets.highest_good == (-1.0,)


def test_many_snapshots_of_a_few_batches_are_still_a_few_batches() -> None:
    batch = np.repeat(np.arange(3), 12)
    assert fit(np.repeat([1.0, 2.0, 3.0], 12), np.ones(36, bool), batch=batch).lowest_failed == (-math.inf,)


def test_bands_have_bounds_of_their_own_and_hold_their_lower_edge() -> None:
    hours = np.repeat([0.0, 11.9, 12.0, 24.0], 10)
    scores = np.repeat([1.0, 2.0, 3.0, 4.0], 10)
    sets = fit(scores, np.ones(40, bool), hours=hours, edges=np.array([0.0, 12.0, 24.0]), error_failed=0.5)
    assert sets.starts_h == (0.0, 12.0)
    assert sets.lowest_failed == (1.0, 3.0)  # ceil(21 / 2) = 11 of 20 stay in: all of the upper half and one below
    assert sets.may_fail(np.array([2.0, 2.0, 2.0]), np.array([-1.0, 6.0, 99.0])).tolist() == [True, True, False]


def test_a_score_that_is_no_number_rules_nothing_out() -> None:
    sets = fit([1.0] * 30 + [-1.0] * 30, [True] * 30 + [False] * 30)
    assert sets.may_fail(np.array([np.nan]), np.zeros(1)).all()
    assert sets.may_succeed(np.array([np.nan]), np.zeros(1)).all()


@pytest.mark.parametrize("n", [5, 19, 60])
def test_later_batches_of_the_same_kind_are_covered_as_stated(n) -> None:
    rng = np.random.default_rng(n)
    kept = []
    for _ in range(400):
        level = rng.normal(size=n + 1)  # a batch's snapshots say nearly the same
        scores = np.repeat(level, 6) + rng.normal(0, 0.2, 6 * (n + 1))
        old = slice(0, 6 * n)
        sets = fit(scores[old], np.ones(6 * n, bool), batch=np.repeat(np.arange(n), 6), error_failed=0.1)
        kept.append(sets.may_fail(scores[6 * n :], np.zeros(6)).mean())
    assert np.mean(kept) > 0.9 - 0.03  # two standard errors of 400 draws


@given(st.lists(st.tuples(st.floats(-5, 5), st.booleans()), max_size=40), st.floats(0.01, 0.9))
def test_no_more_than_the_stated_share_of_the_scores_it_was_set_on_is_left_out(rows, error) -> None:
    scores = np.array([s for s, _ in rows])
    failed = np.array([f for _, f in rows], bool)
    sets = fit(scores, failed, error_failed=error, error_good=error)
    out_failed = ~sets.may_fail(scores[failed], np.zeros(failed.sum()))
    out_good = ~sets.may_succeed(scores[~failed], np.zeros((~failed).sum()))
    assert out_failed.sum() <= error * failed.sum() + 1e-9
    assert out_good.sum() <= error * (~failed).sum() + 1e-9


def test_it_survives_json_with_bounds_that_exclude_nothing() -> None:
    sets = fit([1.0], [True])
    assert sets.lowest_failed == (-math.inf,)
    assert Conformal.from_json(json.loads(json.dumps(sets.to_json(), allow_nan=False))) == sets
