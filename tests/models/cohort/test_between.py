import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.process import ProcessDefinition
from models.cohort.between import MOST_TIMES, between_rows, stretches
from tests.models.plant import labels, utc


def process(checkpoints_h: list[float], *, planned_h: float = 96, bin_h: float = 1.0) -> ProcessDefinition:
    head = {"id": "soup", "name": "Soup", "version": "1", "planned_duration_h": planned_h, "bin_h": bin_h}
    return ProcessDefinition.model_validate({
        "process": head | {"checkpoints_h": checkpoints_h},
        "parameter": [{"name": "ph", "label": "pH", "unit": "1", "kind": "sensor"}],
        "outcome": {},
    })  # fmt: skip


def started(n: int) -> pd.DataFrame:
    at = pd.Series(utc("2026-01-01") + pd.to_timedelta(2 * np.arange(n), unit="D")).astype("datetime64[us, UTC]")
    return pd.DataFrame({"batch_id": pd.array([f"B{i}" for i in range(n)], dtype="str"), "started_at": at})


NO_LOG = labels(("another", False, "2026-01-01"))


@pytest.mark.parametrize(
    ("checkpoints_h", "planned_h", "bin_h", "found"),
    [
        ([24, 72], 96, 1, [(24, 72), (72, 97)]),  # the planned end may be drawn
        ([24, 72, 96], 96, 1, [(24, 72), (72, 96)]),  # nothing between the last checkpoint and the planned end
        ([0, 12], 12, 12, []),  # no bin ends between them
        ([0, 12, 13], 13, 1, [(0, 12)]),
        ([8], 9, 1, [(8, 10)]),
        ([8], 8, 1, []),
    ],
)
def test_stretches_lie_between_checkpoints_and_up_to_the_planned_end(checkpoints_h, planned_h, bin_h, found) -> None:
    assert stretches(process(checkpoints_h, planned_h=planned_h, bin_h=bin_h)) == found


def test_every_batch_has_one_time_strictly_inside_each_stretch_at_the_end_of_a_bin() -> None:
    rows = between_rows(started(200), NO_LOG, process([24, 72], bin_h=4))
    hours = rows["checkpoint_h"].to_numpy().reshape(200, 2)
    assert set(hours[:, 0]) == set(np.arange(28.0, 72, 4))  # each of the eleven is drawn by some of 200 batches
    assert set(hours[:, 1]) == set(np.arange(76.0, 97, 4))  # the planned end too
    assert (rows["as_of"] - rows["started_at"] == pd.to_timedelta(rows["checkpoint_h"], unit="h")).all()


def test_with_many_stretches_a_batch_has_a_few_times_spread_over_all_of_them() -> None:
    rows = between_rows(started(50), NO_LOG, process(list(range(0, 97, 4))))  # 24 stretches
    assert (rows.groupby("batch_id").size() == MOST_TIMES).all()
    hours = rows["checkpoint_h"].to_numpy().reshape(50, MOST_TIMES)
    assert (hours // 16 == np.arange(MOST_TIMES)).all()  # one in each group of four stretches of 4 h
    assert (hours % 4 != 0).all()


def test_no_time_is_drawn_when_the_outcome_was_known_or_later_than_what_is_known() -> None:
    log = labels(("B0", True, utc("2026-01-01") + pd.Timedelta(hours=25)))  # no whole hour lies between 24 and 25 h
    rows = between_rows(started(2), log, process([24, 72]), until=utc("2026-01-06"))  # 72 h after the start of B1
    assert list(rows["batch_id"]) == ["B1"]
    assert rows["checkpoint_h"].between(25, 71).all()


@given(st.permutations(range(12)))
@settings(max_examples=10, deadline=None)
def test_the_times_of_a_batch_depend_on_nothing_but_its_name(order) -> None:
    runs = started(12)
    rows = between_rows(runs.iloc[list(order)], NO_LOG, process([0, 24, 72]))
    whole = between_rows(runs, NO_LOG, process([0, 24, 72]))
    assert rows.sort_values(["batch_id", "checkpoint_h"]).to_numpy().tolist() == (
        whole.sort_values(["batch_id", "checkpoint_h"]).to_numpy().tolist()
    )
