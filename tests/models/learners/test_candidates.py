import json

import numpy as np
import pandas as pd
import pytest

from models.learners.blend import TREES_ALONE
from models.learners.candidates import LEAST, Choice, blend_of, choose
from models.learners.deviations import LARGEST


def scored(failed: list[bool], trees: list[float], deviation: list[float]) -> pd.DataFrame:
    """Each batch at 0 h, where nothing is told apart, and at 12 h."""
    last = pd.DataFrame({
        "batch_id": [f"B{i}" for i in range(len(failed))], "checkpoint_h": 12.0, "failed": failed, "trees": trees,
        "deviation": deviation,
    })  # fmt: skip
    return pd.concat([last.assign(checkpoint_h=0.0, trees=0.0, deviation=0.0), last], ignore_index=True)


FAILED = [True] * 5 + [False] * 15
FAR = [9.0] * 5 + [1.0] * 15  # orders every batch: AUROC 1
HALF = [1.0, 1.0, 1.0, 0.0, 0.0] + [0.0] * 15  # 3 of 5 failures above all, 2 tied with all: (3 + 2 / 2) / 5 = 0.8
WRONG = [-1.0] * 5 + [0.0] * 15  # AUROC 0


def test_the_figures_are_those_of_each_batch_at_its_last_checkpoint_worked_by_hand() -> None:
    found = choose(scored(FAILED, HALF, FAR), "auto")
    assert (found.trees, found.deviations) == (pytest.approx(0.8), 1.0)
    assert (found.n_batches, found.n_failed) == (20, 5)


def test_deviations_that_order_batches_better_beyond_chance_are_chosen() -> None:
    found = choose(scored(FAILED, WRONG, FAR), "auto")
    assert (found.learner, found.low, found.high) == ("deviations", 1.0, 1.0)  # no resample differs


def test_trees_stay_where_deviations_are_better_by_no_more_than_chance() -> None:
    slightly = [*HALF[:4], 2.0, *HALF[5:]]  # one failure more than the trees find, of five
    found = choose(scored(FAILED, HALF, slightly), "auto")
    assert found.deviations == pytest.approx(0.9)
    assert found.low == 0.0  # the one batch is missing in a third of the resamples
    assert found.learner == "trees"
    assert choose(scored(FAILED, FAR, WRONG), "auto").learner == "trees"


@pytest.mark.parametrize("asked", ["trees", "deviations"])
def test_what_the_policy_asks_for_is_taken_and_its_figures_stand_beside_it(asked) -> None:
    found = choose(scored(FAILED, HALF, WRONG), asked)
    assert (found.learner, found.asked) == (asked, asked)
    assert found.deviations == 0.0


def test_too_few_failures_or_successes_compare_nothing() -> None:
    few = [True] * (LEAST - 1) + [False] * 16
    found = choose(scored(few, WRONG, FAR), "auto")
    assert found == Choice("trees", "auto", 20, 4)
    assert choose(scored([not failed for failed in few], WRONG, FAR), "auto").trees is None
    assert "4 of 20 batches of the forward folds failed, too few to compare" in found.words


def test_a_deviation_that_is_not_known_is_taken_as_usual() -> None:
    unknown = [9.0, 9.0, 9.0, 9.0, np.nan] + [1.0] * 15  # the mean is above all good batches
    assert choose(scored(FAILED, HALF, unknown), "auto").deviations == 1.0
    assert choose(scored(FAILED, HALF, [np.nan] * 20), "auto").deviations == 0.5


def test_the_order_of_the_rows_changes_nothing() -> None:
    rows = scored(FAILED, HALF, FAR)
    last_first = rows.iloc[::-1].sort_values("batch_id", kind="stable")
    assert choose(rows.sort_values("batch_id", kind="stable"), "auto") == choose(last_first, "auto")


def test_trees_are_taken_as_they_are_and_the_deviation_with_a_slope_that_is_never_negative() -> None:
    far, failed, weight = np.array(FAR)[:, None], np.array(FAILED), np.ones(20)
    assert blend_of("trees", far, failed, weight) == TREES_ALONE
    blend = blend_of("deviations", far, failed, weight)
    assert (blend.names, blend.trees_slope) == ((LARGEST,), 0.0)
    assert blend.slopes[0] > 0
    stated = 1 / (1 + np.exp(-blend.log_odds(np.full(20, 3.0), far)))  # whatever the trees say
    assert stated.sum() == pytest.approx(5, abs=1e-3)  # five failures observed
    assert blend_of("deviations", -far, failed, weight).slopes == (0.0,)


def test_it_survives_json_and_says_what_was_compared() -> None:
    found = choose(scored(FAILED, HALF, FAR), "auto")
    assert Choice.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert "AUROC of the trees 0.800, of the largest deviation 1.000" in found.words
    assert "5 of 20 batches of the forward folds failed" in found.words
