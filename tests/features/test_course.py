"""Levels of sensors: worked by hand, the same in bulk and live, blind to what came later."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from features.course import CoursePlan, Lags, is_course
from features.process import ProcessDefinition
from features.runs import HistoryRuns, series_block
from features.summaries import OBSERVATION_COLUMNS, SUMMARIES, grid_of, summarise

START = pd.Timestamp("2025-03-01T06:00Z").as_unit("us")
HEAD = {
    "id": "p", "name": "P", "version": "1", "planned_duration_h": 48, "bin_h": 1, "checkpoints_h": [12, 24],
    "windows_h": [6, 24, 72],
}  # fmt: skip
SENSORS = [{"name": name, "label": name.upper(), "unit": "1", "kind": "sensor"} for name in ("ph", "flow")]
ASSAY = {"name": "glucose", "label": "Glucose", "unit": "mM", "kind": "assay"}
PROCESS = ProcessDefinition.model_validate({"process": HEAD, "parameter": [*SENSORS, ASSAY]})
BATCHES = pd.DataFrame({"batch_id": ["a", "b"], "started_at": [START, START]})
Reading = tuple[float, float]


def levels(
    readings: list[Reading], at_h: float, *, delay_h: float = 0.0, later: Sequence[Reading] = ()
) -> dict[str, float]:
    """Levels of the pH of batch `a` at an hour; `later` are corrections of the same times that became known at 40 h."""
    rows = [("a", "ph", at, at + delay_h, 0, value, "good") for at, value in readings]
    rows += [("a", "ph", at, 40.0, 1, value, "good") for at, value in later]
    names = ["batch_id", "parameter", "observed_h", "available_h", "revision", "value", "quality"]
    frame = pd.DataFrame(rows, columns=names).sort_values(["observed_h", "revision"])
    for name in ("observed", "available"):
        frame[f"{name}_at"] = START + pd.to_timedelta((frame[f"{name}_h"] * 3600e6).round().astype("int64"), unit="us")
    table = pa.Table.from_pandas(frame[list(OBSERVATION_COLUMNS)], preserve_index=False)
    grid = grid_of(BATCHES, PROCESS)
    made = summarise([lambda a=a, b=b: table.slice(a, b - a) for a, b in pairwise([0, len(table)])], grid)
    asked = pd.DataFrame({"batch_id": ["a"], "as_of": [START + pd.Timedelta(hours=at_h)]})
    runs = HistoryRuns.of(asked, pa.Table.from_batches(made, SUMMARIES), grid)
    found = series_block(CoursePlan.of(PROCESS), asked, runs).values.iloc[0]
    return {name.removeprefix("ph."): float(value) for name, value in found.items() if str(name).startswith("ph.")}


def hourly(until: int = 30) -> list[Reading]:
    """The reading in the middle of bin k is k."""
    return [(k - 0.5, float(k)) for k in range(1, until + 1)]


def test_levels_are_means_over_whole_bins_that_end_some_hours_ago() -> None:
    assert levels(hourly(), 30) == {
        "lag_0h.mean_3h": 29.0,
        "lag_6h.short_1h": 24.0,
        "lag_6h.mean_3h": 23.0,
        "lag_12h.mean_3h": 17.0,
        "lag_24h.long_3h": 5.0,
    }


def test_a_bin_without_a_reading_takes_the_newest_one_before_it_for_one_lag_and_no_longer() -> None:
    only = [(9.5, 7.0)]  # bin 10
    assert levels(only, 16)["lag_0h.mean_3h"] == 7.0
    assert np.isnan(levels(only, 17)["lag_0h.mean_3h"])
    assert np.isnan(levels(only, 11)["lag_0h.mean_3h"])  # bin 9 has nothing before it


def test_a_bin_of_several_readings_counts_once() -> None:
    assert levels([(0.5, 1.0), (1.2, 4.0), (1.4, 6.0), (2.5, 9.0)], 3)["lag_0h.mean_3h"] == pytest.approx(5.0)


def test_what_is_not_known_yet_plays_no_part_and_a_correction_counts_once_it_is_known() -> None:
    assert levels(hourly(), 30, later=[(29.5, 300.0)]) == levels(hourly(), 30)
    assert levels(hourly(41), 41, later=[(38.5, 42.0)])["lag_0h.mean_3h"] == pytest.approx((42 + 40 + 41) / 3)
    assert levels(hourly(41), 41, delay_h=3)["lag_0h.mean_3h"] == pytest.approx(38.0)  # bin 38 is the newest known


def test_only_sensors_of_a_process_with_two_windows_have_levels() -> None:
    names = [feature.name for feature in CoursePlan.of(PROCESS).features]
    assert {name.split(".")[0] for name in names} == {"ph", "flow"}
    assert len(names) == 10
    one = ProcessDefinition.model_validate({"process": HEAD | {"windows_h": [6]}, "parameter": SENSORS})
    alone = ProcessDefinition.model_validate({"process": HEAD, "parameter": SENSORS[:1]})
    assert CoursePlan.of(one).features == CoursePlan.of(alone).features == ()
    assert Lags.of(one) is None


@pytest.mark.parametrize("windows_h", [[6, 12], [2, 4], [1, 2], [6, 24, 72], [24, 6]])
def test_columns_have_names_of_their_own_whatever_the_windows(windows_h) -> None:
    """Two lags may be the long lag, and a short mean may be as long as a level."""
    process = ProcessDefinition.model_validate({"process": HEAD | {"windows_h": windows_h}, "parameter": SENSORS})
    names = [feature.name for feature in CoursePlan.of(process).features]
    assert len(set(names)) == len(names) == 10


def test_the_family_is_told_from_all_others_by_its_window() -> None:
    assert all(is_course(feature) for feature in CoursePlan.of(PROCESS).features)
