import json

import numpy as np
import pandas as pd
import pytest

from models.evaluation.champion import BETTER, NOT_WORSE, UNKNOWN, WORSE, compare, paired_auroc, verdict_of
from models.evaluation.intervals import Interval
from tests.models.plant import utc

SINCE = utc("2026-01-01")


def scored(p: np.ndarray, failed: np.ndarray) -> pd.DataFrame:
    """Two scores a batch, at 12 h and 24 h, of batches that end 36 h after their start."""
    n, blocks = len(p), []
    started = SINCE + pd.to_timedelta(np.arange(n), unit="D")
    for hours in (12.0, 24.0):
        blocks.append(
            pd.DataFrame({
                "batch_id": [f"B{i:03d}" for i in range(n)], "checkpoint_h": hours, "failed": failed,
                "as_of": started + pd.Timedelta(hours=hours), "end_at": started + pd.Timedelta(hours=36),
                "failure_probability": p,
            })
        )  # fmt: skip
    return pd.concat(blocks, ignore_index=True)


def judged(ours: np.ndarray, theirs: np.ndarray, failed: np.ndarray, margin: float = 0.05):  # noqa: ANN201
    sides = scored(ours, failed), scored(theirs, failed)
    return compare(*sides, champion="3", since=SINCE, margin=margin, budget=0.1, ahead_h=12)


FAILED = np.arange(100) % 5 == 0
RIGHT = np.where(FAILED, 0.9, 0.1) + np.arange(100) / 2000  # every failure above every success
GUESS = np.random.default_rng(1).uniform(0, 1, 100)


def test_a_challenger_that_orders_every_batch_beats_one_that_guesses() -> None:
    found = judged(RIGHT, GUESS, FAILED)
    assert found.verdict == BETTER
    row = found.table.set_index("figure").loc["auroc"]
    by_hand = np.mean([[(f > g) + (f == g) / 2 for g in GUESS[~FAILED]] for f in GUESS[FAILED]])
    assert (row["challenger"], row["champion"]) == (1.0, pytest.approx(by_hand))
    assert (row["n"], row["n_failed"]) == (100, 20)
    assert judged(GUESS, RIGHT, FAILED).verdict == WORSE


def test_the_same_scores_are_not_worse() -> None:
    found = judged(RIGHT, RIGHT, FAILED)
    assert found.verdict == NOT_WORSE
    assert (found.table["difference"] == 0).all()


def test_recall_and_lead_at_the_budget_stand_beside_the_auroc() -> None:
    found = judged(RIGHT, RIGHT, FAILED).table.set_index("figure")
    assert list(found.index) == ["auroc", "recall", "warned", "median_lead_h"]
    assert found.loc["recall", "challenger"] == 1.0
    assert found.loc["median_lead_h", "challenger"] == 24.0  # first called at 12 h of 36 h


def test_too_few_failures_say_nothing() -> None:
    few = np.arange(100) < 4
    found = judged(RIGHT, GUESS, few)
    assert (found.verdict, found.n, found.n_failed) == (UNKNOWN, 100, 4)
    assert found.table.empty
    assert "4 of 100 batches since 2026-01-01 failed" in found.words


def test_snapshots_that_one_side_lacks_are_left_out() -> None:
    ours = scored(RIGHT, FAILED)
    theirs = scored(GUESS, FAILED).query("batch_id != 'B000'")
    found = compare(ours, theirs, champion="3", since=SINCE, margin=0.05, budget=0.1, ahead_h=12)
    assert (found.n, found.n_failed) == (99, 19)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.01, 0.2, BETTER), (-0.05, 0.2, NOT_WORSE), (-0.04, -0.01, NOT_WORSE), (-0.3, -0.01, WORSE), (-0.2, 0.2, UNKNOWN)],
)  # fmt: skip
def test_a_verdict_follows_from_the_interval_and_the_margin(low, high, verdict) -> None:
    assert verdict_of(Interval((low + high) / 2, low, high), 0.05) == verdict


def test_an_interval_that_cannot_be_computed_says_nothing() -> None:
    assert verdict_of(Interval(0.1, np.nan, np.nan), 0.05) == UNKNOWN


def test_both_sides_are_resampled_together() -> None:
    ours, theirs, difference = paired_auroc(FAILED, GUESS + 0.0, GUESS * 2)
    assert ours == theirs
    assert (difference.low, difference.high) == (0.0, 0.0)


def test_it_is_kept_as_open_files(tmp_path) -> None:
    found = judged(RIGHT, GUESS, FAILED)
    found.save(tmp_path)
    head = json.loads((tmp_path / "comparison.json").read_text())
    assert (head["champion"], head["verdict"], head["n_failed"]) == ("3", BETTER, 20)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "comparison.csv"), found.table, check_dtype=False)
