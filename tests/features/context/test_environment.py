import numpy as np
import pandas as pd

from features.context.columns import Batches, block
from features.context.environment import Environment
from features.context.vocabulary import vocabulary
from tests.features.context.plant import PROCESS, snapshots, tables

BATCHES = [
    {"batch_id": "b0", "started_at": 0, "site_id": "north"},
    {"batch_id": "b1", "started_at": 0, "site_id": "south"},
]


def environment_block(found, *asked) -> pd.DataFrame:
    history = tables(batches=BATCHES, environment=[{"site_id": "north", "metric": "Air CFU"} | f for f in found])
    rows = snapshots(history["batches"], *asked)
    batches = Batches.of(history["batches"])
    family = Environment.of(batches, history["environment"], vocabulary(history, PROCESS))
    return block(family, rows, batches.index).values


def test_counts_are_taken_over_the_areas_of_the_site_in_windows_of_observation() -> None:
    found = environment_block(
        [{"observed_at": -1, "value": 9}, {"observed_at": 0, "value": 1}, {"observed_at": 5, "value": 3, "area_id": "a"},
         {"observed_at": 5, "value": 5, "area_id": "b"}],
        ("b0", 0), ("b0", 24), ("b0", 29), ("b1", 24),
    )  # fmt: skip
    np.testing.assert_equal(found["environment.air_cfu.since_start.max"].to_numpy(), [1, 5, 5, np.nan])
    np.testing.assert_equal(found["environment.air_cfu.since_start.mean"].to_numpy(), [1, 3, 3, np.nan])
    np.testing.assert_equal(
        found["environment.air_cfu.last_24h.max"].to_numpy(), [9, 5, np.nan, np.nan]
    )  # (t - 24 h, t]
    np.testing.assert_equal(found["environment.air_cfu.last_24h.mean"].to_numpy(), [5, 4, np.nan, np.nan])
    np.testing.assert_equal(found["environment.air_cfu.now.age_h"].to_numpy(), [0, 19, 24, np.nan])


def test_a_plate_counts_when_its_incubation_is_over() -> None:
    found = environment_block(
        [{"observed_at": 2, "value": 7, "available_at": 20}, {"observed_at": 3, "value": 1}], ("b0", 19), ("b0", 20)
    )
    assert found["environment.air_cfu.since_start.max"].tolist() == [1, 7]
    assert found["environment.air_cfu.now.age_h"].tolist() == [16, 17]


def test_cleanroom_grades_are_kept_apart() -> None:
    found = environment_block(
        [{"observed_at": 1, "value": 1, "grade": "A"}, {"observed_at": 1, "value": 40, "grade": "D"}], ("b0", 2)
    )
    assert found["environment.air_cfu_grade_a.since_start.max"].tolist() == [1]
    assert found["environment.air_cfu_grade_d.since_start.max"].tolist() == [40]
