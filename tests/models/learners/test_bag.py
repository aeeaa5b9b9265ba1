"""Models of a stage: which rows they learn from, which rows they score, and that what they add adds up."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.cohort.encode import Encoder
from models.cohort.table import TrainingTable
from models.learners.bag import Bag, Forests, fit_bag, stage_of, stages_of
from models.learners.trees import PLAIN, Bins
from tests.models.plant import QUICK

HOURS, BATCHES = (6.0, 24.0), 120


def table() -> tuple[TrainingTable, np.ndarray]:
    """One column tells the outcome at 24 h; at 6 h it tells the opposite."""
    rng = np.random.default_rng(1)
    failed = np.arange(BATCHES) % 3 == 0
    sign = np.where(failed, 2.0, -2.0)[:, None] * [-1.0, 1.0] + rng.normal(0, 0.5, (BATCHES, 2))
    ids = pd.array(np.repeat([f"B{i:03d}" for i in range(BATCHES)], 2), dtype="str")
    rows = pd.DataFrame({"batch_id": ids, "checkpoint_h": np.tile(HOURS, BATCHES), "weight": 0.5})
    return TrainingTable(rows, sign.reshape(-1, 1), (), Encoder(("value",), {})), np.repeat(failed, 2)


@pytest.fixture(scope="module")
def bag() -> Bag:
    made, failed = table()
    return fit_bag(Bins(made, QUICK), np.arange(2 * BATCHES), failed, PLAIN, 2, HOURS)


def test_a_row_is_scored_by_the_models_of_the_newest_checkpoint_up_to_it() -> None:
    assert stage_of(np.array([0.0, 6.0, 23.9, 24.0, 99.0]), HOURS).tolist() == [0, 0, 0, 1, 1]


def test_each_stage_learns_from_its_own_rows(bag) -> None:
    high = np.full((4, 1), 2.0)
    scores = bag.log_odds(high, np.array([6.0, 20.0, 24.0, 30.0]))
    assert scores[0] == scores[1] < -1 < 1 < scores[2] == scores[3]


def test_a_stage_in_which_an_outcome_is_missing_learns_from_all_rows() -> None:
    made, failed = table()
    early = made.rows["checkpoint_h"].to_numpy() == 6
    places = np.flatnonzero(~early | ~failed)  # no failed batch at 6 h
    found = fit_bag(Bins(made, QUICK), places, failed[places], PLAIN, 1, HOURS)
    assert np.isfinite(found.log_odds(made.X[:4], np.full(4, 6.0))).all()


def test_the_frozen_forests_score_as_the_grown_trees_to_the_bit_and_add_up(bag) -> None:
    made, _ = table()
    hours = made.rows["checkpoint_h"].to_numpy(float)
    forests = Forests.of(bag.texts, HOURS)
    raw = forests.log_odds(made.X, hours)
    assert raw.shape == (2 * BATCHES, 2)
    np.testing.assert_array_equal(raw.mean(axis=1), bag.log_odds(made.X, hours))
    whole = forests.base(hours) + forests.contributions(made.X, hours).sum(axis=1)
    np.testing.assert_allclose(whole, raw.mean(axis=1), atol=1e-9)
    assert len(set(forests.base(np.array(HOURS)).tolist())) == 2


def test_a_row_alone_is_scored_as_in_company(bag) -> None:
    made, _ = table()
    hours = made.rows["checkpoint_h"].to_numpy(float)
    forests = Forests.of(bag.texts, HOURS)
    together = forests.log_odds(made.X, hours)
    for i in (0, 1, 7):
        assert forests.log_odds(made.X[i : i + 1], hours[i : i + 1])[0].tobytes() == together[i].tobytes()


def test_stages_are_checkpoints_with_five_batches_of_each_outcome_while_they_are_few() -> None:
    hours, failed = np.tile([0.0, 8.0, 16.0], 20), np.repeat(np.arange(20) < 6, 3)
    assert stages_of(hours, failed) == (0.0, 8.0, 16.0)
    ended = failed & (hours == 8.0) & (np.arange(60) < 6)  # two failed batches have no row at 8 h
    assert stages_of(hours[~ended], failed[~ended]) == (0.0, 16.0)
    assert stages_of(hours, failed, apart=False) == (0.0,)
    assert stages_of(np.tile(np.arange(7.0), 20), np.repeat(np.arange(20) < 6, 7)) == (0.0,)
