from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.field import rivals
from benchmarks.field.golden import levels, over_limit
from benchmarks.field.rivals import RIVALS, TestRows, TrainRows
from benchmarks.field.series import at_checkpoints
from pipelines.plant import Plant
from pipelines.settings import Settings

START = pd.Timestamp("2025-01-01T00:00Z")


def snapshots(n: int, *, seed: int = 0, first: int = 0) -> tuple[pd.DataFrame, pd.Series]:
    """Batches at 0 h and 24 h: one in four fails and has, at 24 h, little glucose and a temperature off the flows."""
    rng = np.random.default_rng(seed)
    ids = [f"B{first + i:03d}" for i in range(n)]
    failed = pd.Series(np.arange(n) % 4 == 0, index=ids)
    parts = []
    for hours in (0.0, 24.0):
        shift, common = 8.0 * failed.to_numpy() if hours else 0.0, rng.normal(size=n)
        flows = {f"flow_{i}.since_start.mean": common + rng.normal(0, 0.3, n) for i in range(4)}
        parts.append(
            pd.DataFrame(
                {
                    "batch_id": ids,
                    "checkpoint_h": hours,
                    "started_at": [START + pd.Timedelta(days=first + i) for i in range(n)],
                    "temperature.since_start.last": 37 + common + shift if hours else np.nan,
                    "temperature.since_start.slope": rng.normal(size=n),
                    "glucose.since_start.last": rng.normal(5, 1, n) - shift / 2,
                    "site.before_start.value": pd.Categorical(np.where(np.arange(n) % 2, "north", "south")),
                    **flows,
                }
            )
        )
    return pd.concat(parts, ignore_index=True), failed


@pytest.fixture
def train() -> TrainRows:
    return TrainRows(*snapshots(120))


@pytest.fixture
def block() -> TestRows:
    return TestRows(snapshots(40, seed=1, first=200)[0])


@pytest.mark.parametrize("name", RIVALS)
def test_every_rival_ranks_what_fails_above_what_does_not_once_it_shows(name, train, block) -> None:
    score = RIVALS[name](train, block)
    late = (block.rows["checkpoint_h"] == 24).to_numpy()
    fails = np.arange(40) % 4 == 0
    right = score[late][fails][:, None] > score[late][~fails]
    assert right.mean() > 0.75
    assert np.isfinite(score).all()


@pytest.mark.parametrize("name", RIVALS)
def test_scores_repeat_to_the_last_bit_and_the_order_of_rows_does_not_matter(name, train, block) -> None:
    shuffled = TrainRows(train.rows.sample(frac=1, random_state=3), train.failed.sample(frac=1, random_state=4))
    mixed = TestRows(block.rows.sample(frac=1, random_state=5))
    back = np.argsort(mixed.rows.index)
    first = RIVALS[name](train, block)
    assert np.array_equal(first, RIVALS[name](train, block))
    assert np.array_equal(first, RIVALS[name](shuffled, mixed)[back])


@pytest.mark.parametrize("name", RIVALS)
def test_batches_without_a_known_outcome_teach_nothing(name, train, block) -> None:
    known = train.failed.iloc[:100]
    later = train.rows["batch_id"].isin(train.failed.index[100:])
    spoilt = train.rows.assign(**{"glucose.since_start.last": train.rows["glucose.since_start.last"].mask(later, 1e6)})
    only = train.rows[~later]
    assert np.array_equal(RIVALS[name](TrainRows(spoilt, known), block), RIVALS[name](TrainRows(only, known), block))


@pytest.mark.parametrize("name", ["plain LightGBM", "logistic regression"])
def test_where_nothing_failed_yet_nothing_is_said(name, train, block) -> None:
    assert RIVALS[name](TrainRows(train.rows, train.failed & False), block).tolist() == [0.0] * len(block.rows)


def test_a_site_never_seen_in_training_is_scored_as_an_unknown_one(train, block) -> None:
    named = block.rows.assign(**{"site.before_start.value": "west"})
    unknown = block.rows.assign(**{"site.before_start.value": pd.Series(None, block.rows.index, dtype="str")})
    for rival in (rivals.plain_lightgbm, rivals.logistic_regression):
        assert np.array_equal(rival(train, TestRows(named)), rival(train, TestRows(unknown)))


def test_a_checkpoint_without_training_rows_is_read_as_the_one_before_it(train, block) -> None:
    between = block.rows[block.rows["checkpoint_h"] == 24].reset_index(drop=True)
    later = TestRows(between.assign(checkpoint_h=30.0))
    assert np.array_equal(
        rivals.logistic_regression(train, TestRows(between)), rivals.logistic_regression(train, later)
    )


def test_levels_are_newest_values_means_and_attributes_that_differ() -> None:
    rows = pd.DataFrame({"batch_id": ["A", "B"], "checkpoint_h": [1.0, 2.0], "t.since_start.last": [1.0, 2.0],
                         "t.since_start.slope": [1.0, 2.0], "p.since_start.mean": [1.0, 1.0], "density": [0.0, 1.0]})  # fmt: skip
    assert levels(rows) == ["density", "t.since_start.last"]


def test_golden_batches_have_their_95th_percentile_at_one(train) -> None:
    good = train.rows[~train.rows["batch_id"].map(train.failed).astype(bool)]
    for statistic in ("t2", "spe"):
        at_24 = over_limit(good, good[good["checkpoint_h"] == 24], statistic)
        assert (at_24 > 1).mean() == pytest.approx(0.05, abs=0.012)  # of 90


def test_too_few_golden_batches_say_nothing(train) -> None:
    good = train.rows[train.rows["batch_id"].isin(train.failed.index[:19])]
    assert over_limit(good, train.rows, "spe").max() == 0.0


def test_an_hourly_method_gives_its_highest_score_up_to_each_checkpoint(train) -> None:
    def method(_, failed, ids) -> pd.DataFrame:
        assert failed.sum() == 30
        assert ids == ("X",)
        return pd.DataFrame({"batch_id": "X", "checkpoint_h": [3.0, 10.0, 20.0, 25.0], "score": [1.0, 5.0, 2.0, 9.0]})

    asked = pd.DataFrame({"batch_id": "X", "checkpoint_h": [24.0, 0.0, 5.0]})
    rival = at_checkpoints(method, Plant(Settings(Path(), Path())))
    assert rival(train, TestRows(asked)).tolist() == [5.0, 0.0, 1.0]
