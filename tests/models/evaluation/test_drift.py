"""Drift: shown where it is, not shown where it is not, and not judged from too few batches."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.evaluation.drift import drift


def frames(n_now: int, shift: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(3)
    before = pd.DataFrame({"a": rng.normal(size=200), "b": rng.normal(size=200)})
    return before, pd.DataFrame({"a": rng.normal(shift, 1, n_now), "b": rng.normal(size=n_now)})


def test_a_shifted_feature_has_drifted_and_the_other_has_not() -> None:
    found = drift(*frames(60, 2.0), ["a", "b"]).set_index("feature")
    assert found["verdict"].to_dict() == {"a": "drifted", "b": "not shown"}
    assert found["n_current"].tolist() == [60, 60]


def test_fewer_than_twenty_batches_are_not_judged() -> None:
    found = drift(*frames(19, 5.0), ["a"])
    assert found["verdict"].tolist() == ["insufficient data"]
    assert found["p_adjusted"].isna().all()


def test_a_value_that_is_missing_is_not_counted() -> None:
    before, now = frames(30, 0.0)
    now.loc[:14, "a"] = np.nan
    assert drift(before, now, ["a"])[["n_current", "verdict"]].to_numpy().tolist() == [[15, "insufficient data"]]
