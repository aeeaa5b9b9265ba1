import math

import numpy as np
import pandas as pd
import pytest

from models.evaluation.findings import alarms, calibration, ranking, split_gap


def overall(auroc=0.865, low=0.767, high=0.946, n_failed=27, ece=0.03, ece_floor=0.025):
    return {
        "n_batches": 176, "n_failed": n_failed, "auroc": auroc, "auroc_low": low, "auroc_high": high,
        "ece": ece, "ece_floor": ece_floor,
    }  # fmt: skip


def judged(p: float, n: int, n_failed: int) -> pd.DataFrame:
    return pd.DataFrame({"failure_probability": np.full(n, p), "failed": np.arange(n) < n_failed})


def test_a_ranking_is_said_in_pairs_with_its_interval():
    said = ranking(overall())
    assert said == "A failed batch ranks above a good one in 86 of 100 pairs (95 % interval 77 to 95; chance gives 50)."


def test_an_interval_with_chance_in_it_shows_nothing():
    assert "includes chance" in ranking(overall(0.5, 0.39, 0.61))
    assert "includes chance" not in ranking(overall(0.6, 0.51, 0.7))


def test_few_failures_are_named():
    assert ranking(overall(n_failed=4)).endswith("It rests on 4 failures only.")
    assert ranking(overall(low=math.nan, high=math.nan, n_failed=1)).endswith("too few failures for an interval (1).")
    assert ranking({"n_batches": 9, "n_failed": 0}) == "0 of 9 test batches failed: nothing can be said of the ranking."


@pytest.mark.parametrize(
    ("p", "n_failed", "says"),
    [
        # 100 batches at 4 %: 4 expected, standard deviation sqrt(100 * .04 * .96) = 1.96
        (0.04, 15, "The calibration is poor: probabilities are too low; the stated probabilities add up to 4.0 failures, and 15 came."),
        (0.04, 8, "The calibration is poor: probabilities are too low"),
        (0.04, 7, "Nothing speaks against the calibration: the stated probabilities add up to 4.0 failures, and 7 came. With 7 failures this is a weak test."),
        (0.5, 30, "The calibration is poor: probabilities are too high"),
    ],
)  # fmt: skip
def test_calibration_compares_expected_with_observed_failures(p, n_failed, says):
    assert calibration(judged(p, 100, n_failed), overall()).startswith(says)


def test_the_order_is_recommended_only_where_the_test_shows_one():
    assert "order of the batches still says something" in calibration(judged(0.04, 100, 15), overall())
    assert "nor rely on the order" in calibration(judged(0.04, 100, 15), overall(0.61, 0.41, 0.80))


def test_the_right_number_at_the_wrong_probabilities_is_uneven():
    assert calibration(judged(0.4, 100, 40), overall(ece=0.06)).startswith("The calibration is uneven")
    assert calibration(judged(0.4, 100, 40), overall(ece=0.04)).startswith("Nothing speaks against")
    assert "No batch" in calibration(judged(0.4, 0, 0), {})


def leads(caught: int, false_alarms: int) -> pd.DataFrame:
    return pd.DataFrame({
        "planned_false_alarm_rate": [0.05, 0.2], "caught": [0, caught], "n_failed": 27, "n_good": 100,
        "false_alarms": [0, false_alarms],
    })  # fmt: skip


def test_thresholds_that_do_not_carry_over_are_called_so():
    # 20 % of 100 good batches, two standard deviations: 8
    held = "Planned for false alarms on 20 % of the good batches, the most liberal threshold caught 9 of 27 failures at 13 % false alarms."
    assert alarms(leads(9, 13)) == held
    assert alarms(leads(2, 0)).endswith("set them anew before any use.")
    assert alarms(leads(27, 29)).endswith("set them anew before any use.")
    assert alarms(pd.DataFrame()) == ""


def claims(random: float, forward: float, **other: tuple[float, float]) -> pd.DataFrame:
    questions = {"own": (random, forward), **other}
    rows = [(q, *pair) for q, both in questions.items() for pair in zip(("random", "forward"), both, strict=True)]
    return pd.DataFrame(rows, columns=["question", "split", "auroc"])


@pytest.mark.parametrize(
    ("splits", "says"),
    [
        (claims(0.74, 0.56), "claims 0.740, forward in time gives 0.560. Shuffling lets"),
        (claims(0.84, 0.83), "Here the two hardly differ."),
        (claims(0.84, 0.83, other=(0.96, 0.83)), "The gap is widest for other: 0.960 against 0.830. Shuffling lets"),
        (claims(0.84, math.nan, other=(0.96, 0.83)), "cannot be compared"),
    ],
)
def test_the_gap_between_the_splits_is_that_of_the_first_question_and_the_worst(splits, says):
    assert says in split_gap(splits)


def test_nothing_is_said_of_splits_that_were_not_compared():
    assert split_gap(pd.DataFrame()) == ""
