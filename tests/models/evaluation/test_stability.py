from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.evaluation.stability import (
    calls_by_checkpoint,
    flip_rate,
    flips,
    no_call_causes,
    set_sizes,
    support_by_checkpoint,
    support_causes,
)
from tests.models.evaluation.frames import trail

CALLS = ("none yet", "low", "elevated", "high")


def called(paths: dict[str, list[str]], failed=frozenset(), **columns) -> pd.DataFrame:
    rows = [call for path in paths.values() for call in path]
    return trail({b: [0.5] * len(path) for b, path in paths.items()}, failed, call=rows, **columns)


def test_flips_are_counted_within_a_batch_only() -> None:
    found = flips(called({"A": ["low", "high", "high", "low"], "B": ["high"], "C": ["low", "low"]}, {"A"}))
    assert found["n_pairs"].to_dict() == {"A": 3, "B": 0, "C": 1}
    assert found["n_flips"].to_dict() == {"A": 2, "B": 0, "C": 0}


def test_flips_of_one_call_leave_the_others_out() -> None:
    scores = called({"A": ["low", "elevated", "high", "none yet", "low"]})
    assert flips(scores, of="high")["n_flips"].tolist() == [2]
    assert flips(scores)["n_flips"].tolist() == [4]


def test_the_rate_pools_pairs_and_names_the_failures() -> None:
    scores = called({"A": ["low", "high", "high"], "B": ["low", "low"], "C": ["low"]}, {"A"})
    found = flip_rate(scores).set_index("batches")
    assert found["flip_rate"].tolist() == [pytest.approx(1 / 3), 0, 0.5]
    assert found["n_failed"].tolist() == [1, 0, 1]
    assert found.loc["good", "flip_rate_high"] == pytest.approx(0.975)  # 0 of 1 batch with a pair: Clopper and Pearson
    assert found.loc["all", "flips_per_batch"] == pytest.approx(1 / 3)
    assert np.isnan(flip_rate(called({"A": ["low"]})).loc[0, "flip_rate"])


@given(st.lists(st.lists(st.sampled_from(CALLS), min_size=1, max_size=5), min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_a_batch_flips_at_most_between_all_its_scores(paths) -> None:
    scores = called({f"B{i}": path for i, path in enumerate(paths)})
    found = flips(scores.sample(frac=1, random_state=1))
    assert found["n_pairs"].tolist() == [len(path) - 1 for path in paths]
    assert found["n_flips"].tolist() == [sum(a != b for a, b in pairwise(p)) for p in paths]


def test_scores_without_a_call_are_counted_per_checkpoint_and_cause() -> None:
    scores = called(
        {"A": ["none yet", "high"], "B": ["none yet", "none yet"], "C": ["low", "low"], "D": ["none yet"]},
        {"A"},
        call_cause=["both outcomes possible", "", "both outcomes possible", "too early", "", "", ""],
    )
    found = calls_by_checkpoint(scores).set_index("checkpoint_h")
    assert found["no_call"].tolist() == found["none yet"].tolist() == [0.75, pytest.approx(1 / 3)]
    assert found[["low", "elevated", "high"]].to_numpy().tolist() == [[0.25, 0, 0], [pytest.approx(1 / 3), 0, pytest.approx(1 / 3)]]  # fmt: skip
    assert found[["n", "n_failed", "n_no_call"]].to_numpy().tolist() == [[4, 1, 3], [3, 1, 1]]
    causes = no_call_causes(scores).set_index(["checkpoint_h", "cause"])["share"]
    assert causes[0.0].to_dict() == {"both outcomes possible": 0.5, "no cause given": 0.25, "too early": 0}
    assert causes[12.0].to_dict() == {
        "both outcomes possible": 0,
        "no cause given": 0,
        "too early": pytest.approx(1 / 3),
    }
    for hours, shares in causes.groupby("checkpoint_h"):
        assert shares.sum() == pytest.approx(found.loc[hours, "no_call"])


def test_where_every_score_has_a_call_no_cause_is_counted() -> None:
    scores = called({"A": ["low"]}, call_cause="")
    assert no_call_causes(scores).empty
    assert calls_by_checkpoint(scores)["no_call"].tolist() == [0]


def test_weak_support_is_counted_per_checkpoint_kind_and_first_cause_whatever_the_call() -> None:
    scores = called(
        {"A": ["high", "high"], "B": ["low", "none yet"], "C": ["low", "low"], "D": ["low", "low"]},
        {"A"},
        support=["none", "limited", "limited", "limited", "sufficient", "sufficient", "sufficient", "limited"],
        support_causes=["outside; stale", "stale", "subgroup; outside", "stale", "", "", "", "subgroup"],
    )
    found = support_by_checkpoint(scores).set_index("checkpoint_h")
    assert found["limited"].tolist() == [0.25, 0.75]
    assert found["unsupported"].tolist() == [0.25, 0]
    assert found["n_limited"].tolist() == [1, 3]
    causes = support_causes(scores).set_index(["support", "checkpoint_h", "cause"])["share"]
    assert causes["limited", 0.0].to_dict() == {"stale": 0, "subgroup": 0.25}
    assert causes["limited", 12.0].to_dict() == {"stale": 0.5, "subgroup": 0.25}
    assert causes["none"].to_dict() == {(0.0, "outside"): 0.25, (12.0, "outside"): 0}
    of_one_kind = scores.assign(support=scores["support"].replace("none", "limited"))
    assert support_causes(of_one_kind)["n_found"].dtype.kind == "i"


def test_where_all_support_is_sufficient_no_cause_is_counted() -> None:
    scores = called({"A": ["low"]}, support="sufficient", support_causes="")
    assert support_causes(scores).empty
    assert support_causes(scores).columns.tolist()[-1] == "support"
    assert support_by_checkpoint(scores)[["limited", "unsupported"]].to_numpy().tolist() == [[0, 0]]


def test_sets_are_of_four_kinds() -> None:
    scores = trail(
        {b: [0.5] for b in "ABCD"}, may_fail=[True, True, False, False], may_succeed=[True, False, True, False]
    )
    row = set_sizes(scores).iloc[0]
    assert row[["both", "fails", "succeeds", "neither"]].tolist() == [0.25] * 4
