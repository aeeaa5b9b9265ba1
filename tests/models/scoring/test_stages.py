import numpy as np
import pytest

from features.dictionary import Feature
from features.process import ProcessDefinition
from models.scoring.rows import FeatureColumns
from models.scoring.stages import BEFORE_START, CURRENT, RUNNING, SINCE_START, Stages

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


AGE = feature("ph.since_start.age_h")
PHASE = feature(CURRENT)
COLUMNS = FeatureColumns((AGE, PHASE), {1: ("boil", "cool", "rinse")})
ROWS = [(np.array([1.0, np.nan]), 12.0), (np.array([20.0, np.nan]), 36.0)]


def stages(name: str, rows: list[tuple[np.ndarray, float]] = ROWS, process: ProcessDefinition = PROCESS) -> list[str]:
    made = Stages((feature(name),), COLUMNS, process)
    return [made.names[int(made.at(row, hours)[0])] for row, hours in rows]


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
def test_the_stage_of_a_contribution_is_where_its_window_lies(name: str, where: list[str]) -> None:
    assert stages(name) == where


def test_a_value_from_before_the_start_counts_to_it_and_an_absent_one_to_no_phase() -> None:
    rows = [(np.array([15.0, np.nan]), 12.0), (np.array([np.nan, np.nan]), 12.0)]
    assert stages("ph.since_start.last", rows) == [BEFORE_START, SINCE_START]


def test_a_newest_value_whose_age_is_no_column_is_spread_over_the_batch() -> None:
    made = Stages((feature("ph.since_start.last"),), FeatureColumns((), {}), PROCESS)
    assert [made.names[i] for i in made.at(np.empty(0), 12.0)] == [SINCE_START]


def test_the_phase_that_the_events_name_goes_before_the_plan() -> None:
    recorded = [(np.array([1.0, 1.0]), 12.0), (np.array([1.0, np.nan]), 36.0)]
    assert stages("ph.last_24h.mean", recorded) == ["cool", "cool"]
    unknown = [(np.array([1.0, 2.0]), 12.0), (np.array([1.0, 0.0]), 36.0)]
    assert stages("ph.last_24h.mean", unknown) == ["boil", "boil"]


@pytest.mark.parametrize(("hours", "phase"), [(0.0, "boil"), (23.9, "boil"), (24.0, "cool"), (99.0, "cool")])
def test_a_phase_begins_at_its_planned_hour_and_the_last_one_goes_on(hours: float, phase: str) -> None:
    assert stages("ph.last_24h.mean", [(np.full(2, np.nan), hours)]) == [phase]


def test_a_process_without_phases_has_one_that_is_running() -> None:
    assert stages("ph.last_24h.mean", process=BARE) == [RUNNING, RUNNING]
