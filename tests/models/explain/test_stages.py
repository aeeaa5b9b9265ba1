import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.dictionary import Feature
from features.process import ProcessDefinition
from models.explain.stages import BEFORE_START, RUNNING, SINCE_START, by_parameter_and_stage, planned_phase, stages

PROCESS = ProcessDefinition.model_validate({
    "process": {"id": "soup", "name": "Soup", "version": "1", "planned_duration_h": 48, "every_h": 12},
    "parameter": [{"name": "ph", "label": "pH", "unit": "1", "kind": "sensor"}],
    "phase": [
        {"name": "boil", "label": "Boiling", "starts_h": 0, "planned_h": 24},
        {"name": "cool", "label": "Cooling", "starts_h": 24, "planned_h": 24},
    ],
})  # fmt: skip
BARE = PROCESS.model_copy(update={"phase": ()})


def feature(name: str) -> Feature:
    parameter, window, statistic = name.rsplit(".", 2)
    return Feature(name, parameter, parameter, "1", window, statistic, name)


ROWS = pd.DataFrame({"checkpoint_h": [12.0, 36.0], "ph.since_start.age_h": [1.0, 20.0]})


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("donor.before_start.value", [BEFORE_START, BEFORE_START]),
        ("titre.lot.value", [BEFORE_START, BEFORE_START]),
        ("lot.vector.now.failure_excess", [BEFORE_START, BEFORE_START]),
        ("site.now.n_running", [BEFORE_START, BEFORE_START]),
        ("ph.last_24h.mean", ["boil", "cool"]),
        ("event.alarm.now.n_open", ["boil", "cool"]),
        ("phase.now.progress", ["boil", "cool"]),
        ("phase.boil.now.elapsed_h", ["boil", "boil"]),
        ("ph.since_start.last", ["boil", "boil"]),  # measured at 11 h and at 16 h
        ("ph.since_start.mean", [SINCE_START, SINCE_START]),
        ("progress.now.elapsed_h", [SINCE_START, SINCE_START]),
        ("completeness.now.missing", [SINCE_START, SINCE_START]),
    ],
)
def test_the_stage_of_a_contribution_is_where_its_window_lies(name, where) -> None:
    assert stages(feature(name), ROWS, PROCESS).tolist() == where


def test_a_value_from_before_the_start_counts_to_it_and_an_absent_one_to_no_phase() -> None:
    rows = pd.DataFrame({"checkpoint_h": [12.0, 12.0], "ph.since_start.age_h": [15.0, np.nan]})
    assert stages(feature("ph.since_start.last"), rows, PROCESS).tolist() == [BEFORE_START, SINCE_START]


def test_the_phase_that_the_events_name_goes_before_the_plan() -> None:
    rows = ROWS.assign(**{"phase.now.name": pd.array(["cool", None], dtype="str")})
    assert stages(feature("ph.last_24h.mean"), rows, PROCESS).tolist() == ["cool", "cool"]
    unknown = ROWS.assign(**{"phase.now.name": pd.array(["rinse", "boil"], dtype="str")})
    assert stages(feature("ph.last_24h.mean"), unknown, PROCESS).tolist() == ["boil", "boil"]


def test_a_phase_begins_at_its_planned_hour_and_the_last_one_goes_on() -> None:
    assert planned_phase(np.array([0.0, 23.9, 24.0, 99.0]), PROCESS).tolist() == ["boil", "boil", "cool", "cool"]


def test_a_process_without_phases_has_one_that_is_running() -> None:
    assert stages(feature("ph.last_24h.mean"), ROWS, BARE).tolist() == [RUNNING, RUNNING]


def test_sums_are_by_parameter_and_stage() -> None:
    features = tuple(
        map(feature, ("ph.last_6h.mean", "ph.last_24h.mean", "ph.since_start.mean", "donor.before_start.value"))
    )
    points = pd.DataFrame([[1.0, 2.0, 4.0, 8.0], [1.0, 2.0, 4.0, 8.0]], columns=[f.name for f in features])
    sums = by_parameter_and_stage(points, ROWS, features, PROCESS)
    assert sums.columns.tolist() == [("donor", BEFORE_START), ("ph", "boil"), ("ph", "cool"), ("ph", SINCE_START)]
    assert sums.to_numpy().tolist() == [[8, 3, 0, 4], [8, 0, 3, 4]]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=6, max_size=6), st.permutations(range(3)))
def test_rows_keep_their_sum_in_whatever_order_the_features_come(values, order) -> None:
    features = tuple(map(feature, ("ph.last_6h.mean", "ph.since_start.last", "donor.before_start.value")))
    points = pd.DataFrame(np.reshape(values, (2, 3)), columns=[f.name for f in features])
    sums = by_parameter_and_stage(points, ROWS, features, PROCESS)
    np.testing.assert_allclose(sums.sum(axis=1), points.sum(axis=1), atol=1e-12)
    shuffled = by_parameter_and_stage(points, ROWS, tuple(features[i] for i in order), PROCESS)
    pd.testing.assert_frame_equal(shuffled, sums)
