from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.evaluation.stability import flip_rate, flips, set_sizes, undecided_by_checkpoint, undecided_causes
from tests.models.evaluation.frames import trail

DECISIONS = ("low", "elevated", "high", "undecided")


def decided(paths: dict[str, list[str]], failed=frozenset(), **columns) -> pd.DataFrame:
    rows = [decision for path in paths.values() for decision in path]
    return trail({b: [0.5] * len(path) for b, path in paths.items()}, failed, decision=rows, **columns)


def test_flips_are_counted_within_a_batch_only() -> None:
    found = flips(decided({"A": ["low", "high", "high", "low"], "B": ["high"], "C": ["low", "low"]}, {"A"}))
    assert found["n_pairs"].to_dict() == {"A": 3, "B": 0, "C": 1}
    assert found["n_flips"].to_dict() == {"A": 2, "B": 0, "C": 0}


def test_flips_of_one_decision_leave_the_others_out() -> None:
    scores = decided({"A": ["low", "elevated", "high", "undecided", "low"]})
    assert flips(scores, of="high")["n_flips"].tolist() == [2]
    assert flips(scores)["n_flips"].tolist() == [4]


def test_the_rate_pools_pairs_and_names_the_failures() -> None:
    scores = decided({"A": ["low", "high", "high"], "B": ["low", "low"], "C": ["low"]}, {"A"})
    found = flip_rate(scores).set_index("batches")
    assert found["flip_rate"].tolist() == [pytest.approx(1 / 3), 0, 0.5]
    assert found["n_failed"].tolist() == [1, 0, 1]
    assert found.loc["good", "flip_rate_high"] == pytest.approx(0.975)  # 0 of 1 batch with a pair: Clopper and Pearson
    assert found.loc["all", "flips_per_batch"] == pytest.approx(1 / 3)
    assert np.isnan(flip_rate(decided({"A": ["low"]})).loc[0, "flip_rate"])


@given(st.lists(st.lists(st.sampled_from(DECISIONS), min_size=1, max_size=5), min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_a_batch_flips_at_most_between_all_its_scores(paths) -> None:
    scores = decided({f"B{i}": path for i, path in enumerate(paths)})
    found = flips(scores.sample(frac=1, random_state=1))
    assert found["n_pairs"].tolist() == [len(path) - 1 for path in paths]
    assert found["n_flips"].tolist() == [sum(a != b for a, b in pairwise(p)) for p in paths]


def test_undecided_scores_are_counted_per_checkpoint_and_cause() -> None:
    scores = decided(
        {"A": ["undecided", "high"], "B": ["undecided", "undecided"], "C": ["low", "low"], "D": ["undecided"]},
        {"A"},
        cause=["both classes", "", "both classes", "stale data", "", "", ""],
    )
    found = undecided_by_checkpoint(scores).set_index("checkpoint_h")
    assert found["undecided"].tolist() == [0.75, pytest.approx(1 / 3)]
    assert found[["n", "n_failed", "n_undecided"]].to_numpy().tolist() == [[4, 1, 3], [3, 1, 1]]
    causes = undecided_causes(scores).set_index(["checkpoint_h", "cause"])["undecided"]
    assert causes[0.0].to_dict() == {"both classes": 0.5, "no cause given": 0.25, "stale data": 0}
    assert causes[12.0].to_dict() == {"both classes": 0, "no cause given": 0, "stale data": pytest.approx(1 / 3)}
    for hours, shares in causes.groupby("checkpoint_h"):
        assert shares.sum() == pytest.approx(found.loc[hours, "undecided"])


def test_nothing_undecided_has_no_cause() -> None:
    scores = decided({"A": ["low"]}, cause="")
    assert undecided_causes(scores).empty
    assert undecided_by_checkpoint(scores)["undecided"].tolist() == [0]


def test_sets_are_of_four_kinds() -> None:
    scores = trail(
        {b: [0.5] for b in "ABCD"}, may_fail=[True, True, False, False], may_succeed=[True, False, True, False]
    )
    row = set_sizes(scores).iloc[0]
    assert row[["both", "fails", "succeeds", "neither"]].tolist() == [0.25] * 4
