import numpy as np
import pandas as pd
import pytest

from benchmarks.field.measures import auroc_at_last, calibration_above_floor, differences, measured
from features.errors import ContractError

START = pd.Timestamp("2025-01-01T00:00Z")


def frame(failed, early, late, name: str = "score") -> pd.DataFrame:
    """Scores at 10 h and 20 h of batches B00, B01, ..."""
    ids = [f"B{i:02d}" for i in range(len(failed))]
    parts = [
        pd.DataFrame({"batch_id": ids, "checkpoint_h": h, "as_of": START + pd.Timedelta(hours=h), "failed": failed,
                      name: np.asarray(values, float)})
        for h, values in ((10.0, early), (20.0, late))
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def by_measure(found) -> pd.DataFrame:
    return found.set_index("measure")


def test_auroc_counts_the_last_score_and_recall_the_highest() -> None:
    failed = [True, True, False, False, False, False]
    scores = frame(failed, early=[9, 0, 0, 0, 0, 8], late=[0, 5, 1, 2, 3, 0])
    found = by_measure(measured(scores, shares=(0.25, 0.5), resamples=200))
    # at 20 h: 0 is above none of 1, 2, 3 and even with one 0 (half of 1 of 4 pairs), 5 above all 4: (0.5 + 4) of 8
    assert found.loc["auroc_last", "value"] == pytest.approx(4.5 / 8)
    # one of four good batches may be alarmed, the one with 8: the threshold is the next, 3, and 9 and 5 lie above it
    assert found.loc["recall_at_0.25", "value"] == 1.0
    assert (found["n"] == 6).all()
    assert (found["n_failed"] == 2).all()


def test_no_share_of_good_batches_means_above_all_of_them() -> None:
    scores = frame([True, True, False], early=[9, 0, 8], late=[0, 5, 0])
    assert by_measure(measured(scores, shares=(0.0,), resamples=50)).loc["recall_at_0", "value"] == 0.5


def test_a_method_beside_itself_makes_no_difference_at_all() -> None:
    rng = np.random.default_rng(1)
    failed = np.arange(40) < 12
    scores = frame(failed, rng.normal(size=40), rng.normal(size=40) + failed)
    found = differences(scores, scores.sample(frac=1, random_state=0), resamples=200)
    assert found["measure"].tolist() == ["auroc_last", "recall_at_0.05", "recall_at_0.2"]
    assert (found[["difference", "low", "high"]] == 0).all().all()


def test_a_difference_is_ours_less_theirs_and_keeps_its_sign_in_every_resample() -> None:
    failed = [True] * 5 + [False] * 5
    right, wrong = (
        frame(failed, [1] * 5 + [0] * 5, [1] * 5 + [0] * 5),
        frame(failed, [0] * 5 + [1] * 5, [0] * 5 + [1] * 5),
    )
    found = by_measure(differences(right, wrong, resamples=200))
    assert found.loc["auroc_last", ["ours", "theirs", "difference", "low", "high"]].tolist() == [1, 0, 1, 1, 1]
    assert found.loc["recall_at_0.2", "difference"] == 1.0


def test_ranks_may_be_probabilities_and_any_growing_scale_gives_the_same() -> None:
    rng = np.random.default_rng(2)
    failed = np.arange(30) < 10
    early, late = rng.uniform(0.1, 0.9, 30), rng.uniform(0.1, 0.9, 30)
    as_p = by_measure(measured(frame(failed, early, late, "failure_probability"), resamples=100))
    as_log_odds = by_measure(measured(frame(failed, np.log(early), np.log(late)), resamples=100))
    assert "ece_above_floor" in as_p.index
    assert "ece_above_floor" not in as_log_odds.index
    pd.testing.assert_frame_equal(as_p.drop(index="ece_above_floor"), as_log_odds)


def test_probabilities_that_are_twice_the_rate_lie_above_the_floor_and_right_ones_do_not() -> None:
    failed = np.arange(400) % 10 == 0  # one in ten
    right, twice = (frame(failed, np.full(400, p), np.full(400, p), "failure_probability") for p in (0.1, 0.2))
    assert calibration_above_floor(right).value < 0.01
    above = calibration_above_floor(twice)
    # |0.2 - 0.1| less the floor of 400 batches at 20 %: at most ten bins with |mean| of about 0.8 sqrt(.16 / 40)
    assert 0.02 < above.value < 0.1
    assert above.low > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": np.nan}, "a score is missing or infinite"),
        ({"checkpoint_h": 10.0}, "two scores at one checkpoint"),
    ],
)
def test_scores_that_cannot_be_ranked_are_refused(change, message) -> None:
    with pytest.raises(ContractError, match=message):
        auroc_at_last(frame([True, False], [1, 2], [3, 4]).assign(**change))


def test_other_batches_on_one_side_are_refused() -> None:
    scores = frame([True, False, False], [1, 2, 3], [3, 4, 5])
    with pytest.raises(ContractError, match="scored by one side only"):
        differences(scores, scores[scores["batch_id"] != "B02"], resamples=10)
