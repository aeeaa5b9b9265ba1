"""Rows that went wrong in other people's plants, as the endpoint's state takes them: by the rules of the ingest."""

import pandas as pd
import pytest

from features.context import Vocabulary
from features.process import ProcessDefinition
from serving.ids import microseconds
from serving.interfaces import RowVerdict, StoredRow
from serving.live.state import PlantState
from serving.records.rows import key_of

PROCESS = ProcessDefinition.model_validate({
    "process": {"id": "tiny", "name": "Tiny", "version": "1", "planned_duration_h": 24, "every_h": 6},
    "parameter": [
        {"name": "force_kn", "label": "Force", "unit": "kN", "kind": "sensor", "aliases": ["FC-1.PV"],
         "unit_aliases": {"KN": "kN"}},
        {"name": "donor_age", "label": "Age", "unit": "1", "kind": "attribute", "aliases": ["Donor Age"]},
    ],
})  # fmt: skip
BATCH = {"batch_id": "B1", "site_id": "north", "started_at": "2026-03-01T00:00:00Z", "origin": "real"}
READING = {"parameter": "force_kn", "observed_at": "2026-03-01T07:00:00Z", "value": 5.0}
NOON_US = microseconds("2026-03-01T12:00:00Z")


@pytest.fixture
def state() -> PlantState:
    found = PlantState(PROCESS, Vocabulary())
    assert found.put_batch(BATCH).verdict == "accepted"
    return found


def add(state: PlantState, change: dict, table: str = "observations", row: dict = READING) -> RowVerdict:
    [verdict] = state.add("B1", table, [row | change])
    return verdict


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"observed_at": "2024-03-01T01:00:00Z"}, "far_from_its_batch"),
        ({"observed_at": "2024-03-01T01:00:00Z", "unit": "N"}, "far_from_its_batch"),  # not plainly spelled
        ({"unit": "GN"}, "unit_mismatch"), ({"value": None}, "absent_value"), ({"quality": 128}, "not_allowed"),
    ],
)  # fmt: skip
def test_a_reading_that_the_ingest_would_refuse_is_rejected(state, change, code) -> None:
    assert add(state, change).code == code


@pytest.mark.parametrize("quality", ["bad", "BadSensorFailure", 0, "24"])
def test_a_bad_reading_needs_no_number_and_is_a_duplicate_when_it_comes_again(state, quality) -> None:
    bad = {"value": None, "quality": quality}
    row = add(state, bad).row
    assert row is not None
    assert ("value" in row, row["quality"]) == (False, "bad")
    assert add(state, bad).verdict == "duplicate"
    again = PlantState(PROCESS, Vocabulary())
    again.rebuild([StoredRow(1, "B1", "batches", BATCH), StoredRow(2, "B1", "observations", row)])
    one, other = (s.row("B1", NOON_US) for s in (state, again))
    assert one.data_sha256 == other.data_sha256
    assert pd.Series(one.values).equals(pd.Series(other.values))


def test_names_and_units_of_the_source_are_read_by_rule(state) -> None:
    row = add(state, {"parameter": "FC-1.PV", "unit": "KN"}).row
    assert row is not None
    assert (row["parameter"], row["unit"], row["value"]) == ("force_kn", "kN", 5.0)
    assert state.put_batch(BATCH | {"batch_id": "B2", "Donor Age": 61}).row["donor_age"] == 61


def test_a_batch_id_in_other_capitals_is_refused_with_the_one_it_resembles(state) -> None:
    verdict = state.put_batch(BATCH | {"batch_id": "b1"})
    assert verdict.code == "id_differs_by_case"
    assert "batch_id 'b1' differs from 'B1' only by capitals or blanks" in verdict.reason
    assert state.put_batch(BATCH | {"product_id": "P"}).verdict == "accepted"  # a correction of the batch itself


def test_an_end_planned_or_an_outcome_decided_before_the_start_is_refused(state) -> None:
    assert (
        state.put_batch(BATCH | {"planned_end_at": "2026-02-01T00:00:00Z"}).code == "planned_end_at_before_started_at"
    )
    early = {"outcome": "released", "decided_at": "2026-02-20T00:00:00Z"}
    assert add(state, early, "dispositions", {}).code == "before_its_batch"


def test_a_row_that_an_earlier_version_kept_stays(state) -> None:
    kept = BATCH | {"batch_id": "B9 ", "planned_end_at": "2026-02-01T00:00:00Z"}
    state.rebuild([StoredRow(1, "B9 ", "batches", kept)])
    assert state.row("B9 ", NOON_US).elapsed_h == 12


def test_a_lot_added_twice_is_two_rows_with_keys_of_their_own(state) -> None:
    use = {"material": "broth", "lot_id": "L77", "quantity": 5.0, "unit": "L"}
    times = [{"consumed_at": f"2026-03-01T0{hour}:00:00Z"} for hour in (2, 4)]
    rows = [add(state, time, "materials", use).row for time in times]
    assert len({key_of("materials", row) for row in rows if row is not None}) == 2
    assert add(state, times[0], "materials", use).verdict == "duplicate"
    verdict = add(state, times[0] | {"quantity": 6.0}, "materials", use)
    assert (verdict.code, "Give each addition of the lot its own consumed_at" in verdict.reason) == (
        "duplicate_key",
        True,
    )
