import math

import numpy as np
import pandas as pd
import pytest

from models.evaluation.findings import budgets, calibration, coverage, ranking, split_gap


def overall(auroc=0.865, low=0.767, high=0.946, n_failed=27, ece=0.03, ece_floor=0.025) -> dict[str, float]:
    return {
        "n_batches": 176, "n_failed": n_failed, "auroc": auroc, "auroc_low": low, "auroc_high": high,
        "ece": ece, "ece_floor": ece_floor,
    }  # fmt: skip


def judged(p: float, n: int, n_failed: int) -> pd.DataFrame:
    return pd.DataFrame({"failure_probability": np.full(n, p), "failed": np.arange(n) < n_failed})


def test_a_ranking_is_said_in_pairs_with_its_interval() -> None:
    said = ranking(overall())
    assert said == "A failed batch ranks above a good one in 86 of 100 pairs (95 % interval 77 to 95; chance gives 50)."


def test_an_interval_with_chance_in_it_shows_nothing() -> None:
    assert "includes chance" in ranking(overall(0.5, 0.39, 0.61))
    assert "includes chance" not in ranking(overall(0.6, 0.51, 0.7))


def test_few_failures_are_named() -> None:
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
        # 50 expected, standard deviation 5: 61 is beyond chance, and 1.22 times what was stated
        (0.5, 61, "Probabilities are a little too low, beyond chance: the stated probabilities add up to 50.0 failures, and 61 came. For every 10 failures that were stated, 12.2 came."),
        (0.5, 63, "The calibration is poor: probabilities are too low"),
    ],
)  # fmt: skip
def test_calibration_compares_expected_with_observed_failures(p, n_failed, says) -> None:
    assert calibration(judged(p, 100, n_failed), overall()).startswith(says)


def test_the_order_is_recommended_only_where_the_test_shows_one() -> None:
    assert "order of the batches still says something" in calibration(judged(0.04, 100, 15), overall())
    assert "nor rely on the order" in calibration(judged(0.04, 100, 15), overall(0.61, 0.41, 0.80))


def test_the_right_number_at_the_wrong_probabilities_is_uneven() -> None:
    assert calibration(judged(0.4, 100, 40), overall(ece=0.06)).startswith("The calibration is uneven")
    assert calibration(judged(0.4, 100, 40), overall(ece=0.04)).startswith("Nothing speaks against")
    assert "No batch" in calibration(judged(0.4, 0, 0), {})


def came(
    asked: float, good_alarmed: float, low: float, high: float, n_good: int = 100, *, raised: bool = False
) -> pd.DataFrame:
    row = {
        "call": "high",
        "asked": asked,
        "good_alarmed": good_alarmed,
        "good_alarmed_low": low,
        "good_alarmed_high": high,
    }
    row |= {"n_good": n_good, "raised_by_cost": raised}
    return pd.DataFrame([row])


def test_thresholds_that_do_not_carry_over_are_called_so() -> None:
    said = "Of 100 good batches ever called high: 5 % asked, 4.0 % came."
    assert budgets(came(0.05, 0.04, 0.01, 0.08)) == said
    assert budgets(came(0.05, 0.11, 0.06, 0.17)).endswith(
        "More than asked, beyond chance: set the thresholds anew before any use."
    )
    assert budgets(came(0.05, 0.01, 0.0, 0.03)).endswith("the thresholds are stricter than they need be.")
    assert budgets(came(0.05, 0.01, 0.0, 0.03, raised=True)).endswith("an alarm costs more than it saves.")
    assert budgets(came(0.05, math.nan, math.nan, math.nan, n_good=0)) == ""


def test_coverage_is_said_of_each_class_with_its_number_of_batches() -> None:
    rows = [("failed", 8, 0.75, 0.5, 0.95), ("good", 200, 0.95, 0.93, 0.97)]
    columns = ["outcome", "n_batches", "coverage", "coverage_low", "coverage_high"]
    sets = pd.DataFrame(rows, columns=columns).assign(band="all", n=10, n_failed=[8, 0])
    assert coverage(sets, 0.9) == (
        "The 90 % sets hold the outcome in 75.0 % of the scores of 8 failures (50.0 to 95.0; as promised) and in 95.0 % of the "
        "scores of 200 good batches (93.0 to 97.0; more than promised)."
    )
    assert "too few" in coverage(sets.assign(coverage_high=0.8, coverage_low=0.5), 0.9)
    assert coverage(sets.assign(n=0), 0.9) == ""


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
def test_the_gap_between_the_splits_is_that_of_the_first_question_and_the_worst(splits, says) -> None:
    assert says in split_gap(splits)


def test_nothing_is_said_of_splits_that_were_not_compared() -> None:
    assert split_gap(pd.DataFrame()) == ""
