import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ContractError
from models.evaluation.bands import banded, equal_bands
from models.evaluation.coverage import attributes_of, interval_coverage, set_coverage
from tests.models.evaluation.frames import trail


def test_bands_of_equal_width_hold_their_lower_edge_and_the_last_one_both() -> None:
    rows = trail({"A": [0.5] * 9})  # 0 to 96 h
    assert equal_bands(rows["checkpoint_h"]).tolist() == [0, 24, 48, 72, 96]
    assert [band["band"] for band, _ in banded(rows)] == ["0-12 h", "24-36 h", "48-60 h", "72-96 h"]
    assert [len(inside) for _, inside in banded(trail({"A": [0.5]}))] == [1]


@given(st.lists(st.integers(0, 216), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_every_row_is_in_exactly_one_band(hours) -> None:
    rows = pd.DataFrame({"checkpoint_h": [float(h) for h in hours], "row": range(len(hours))})
    found = [row for _, inside in banded(rows) for row in inside["row"]]
    assert sorted(found) == list(range(len(hours)))


def test_each_class_has_its_own_coverage_in_each_band() -> None:
    scores = trail(
        {"F": [0.5, 0.5], "G": [0.5, 0.5], "H": [0.5, 0.5]},
        {"F"},
        may_fail=[False, True, False, False, True, True],
        may_succeed=[True, True, True, True, False, False],
    )
    found = set_coverage(scores).set_index(["band", "outcome"])
    assert found["coverage"].to_dict() == {
        ("all", "failed"): 0.5, ("all", "good"): 0.5, ("0 h", "failed"): 0, ("0 h", "good"): 0.5,
        ("12 h", "failed"): 1, ("12 h", "good"): 0.5,
    }  # fmt: skip
    assert found.loc[("all", "good"), ["n", "n_batches", "n_failed"]].tolist() == [4, 2, 0]
    assert found.loc[("12 h", "failed"), "coverage_low"] == pytest.approx(0.025)  # 1 of 1 batch


def test_interval_coverage_and_width_by_hand() -> None:
    scores = trail({"A": [0.5], "B": [0.5], "C": [0.5], "D": [0.5]}, {"A"})
    scores = scores.assign(**{
        "dose.expected": [2.0, 3.0, 4.0, 5.0],
        "dose.low": [1.0, 2.5, 3.0, 4.0],
        "dose.high": [3.0, 3.5, 6.0, 6.0],
        "dose.actual": [3.0, 2.0, 7.0, np.nan],
    })  # fmt: skip
    row = interval_coverage(scores).iloc[0]
    assert attributes_of(scores) == ["dose"]
    assert row[["attribute", "band", "n", "n_failed", "n_left_out"]].tolist() == ["dose", "all", 3, 1, 1]
    assert row[["coverage", "below", "above"]].tolist() == pytest.approx([1 / 3] * 3)
    assert row[["median_width", "median_abs_error"]].tolist() == [2, 1]


def test_an_attribute_that_was_never_measured_has_no_coverage() -> None:
    scores = trail({"A": [0.5]}).assign(**{f"dose.{part}": np.nan for part in ("expected", "low", "high", "actual")})
    row = interval_coverage(scores).iloc[0]
    assert row["n"] == 0
    assert np.isnan(row["coverage"])
    with pytest.raises(ContractError, match=r"scores without purity\.expected"):
        interval_coverage(scores, ["purity"])


@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9), st.floats(0, 9)), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_every_value_is_covered_or_missed_on_one_side(drawn) -> None:
    low, width, actual = (np.array(c) for c in zip(*drawn, strict=True))
    scores = trail({f"B{i:02d}": [0.5] for i in range(len(low))})
    parts = {"expected": low, "low": low, "high": low + width, "actual": actual}
    row = interval_coverage(scores.assign(**{f"a.{k}": v for k, v in parts.items()})).iloc[0]
    assert row["coverage"] + row["below"] + row["above"] == pytest.approx(1)
    assert row["coverage_low"] <= row["coverage"] + 1e-12
    assert row["coverage_high"] >= row["coverage"] - 1e-12
