"""What is sent to the endpoint, and how its answers are compared with a replay."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.field import endpoint_month
from benchmarks.field.made_plant import PROCESS, MadePlant, made_plant
from features.checks import check_rows
from features.contracts import RUN_HISTORY
from serving.live.rows import plain_rows

ROW = {
    "failure_probability": 0.25, "probability_low": 0.1, "probability_high": 0.5, "call": "low", "call_cause": "",
    "support": "limited", "support_causes": "stale data; missing data",
}  # fmt: skip
ANSWER = {
    "failure_probability": 0.25, "interval": [0.1, 0.5], "call": "low", "call_cause": None, "support": "limited",
    "support_causes": ["stale data", "missing data"],
}  # fmt: skip


@pytest.fixture(scope="module")
def plant() -> MadePlant:
    return made_plant(20, per_hour=1)


def test_the_same_score_differs_in_nothing() -> None:
    assert set(endpoint_month.differences([ROW], [ANSWER]).values()) == {0}


@pytest.mark.parametrize(("field", "value"), [
    ("failure_probability", np.nextafter(0.25, 1)), ("interval", [0.1, np.nextafter(0.5, 0)]), ("call", "none yet"),
    ("call_cause", "both outcomes possible"), ("support", "none"), ("support_causes", []),
])  # fmt: skip
def test_one_bit_or_one_word_is_a_difference(field, value) -> None:
    found = endpoint_month.differences([ROW, ROW], [ANSWER, ANSWER | {field: value}])
    assert {name for name, count in found.items() if count} == {"scores", field}


def test_the_month_is_the_one_in_which_most_versions_spoke() -> None:
    at = pd.to_datetime(["2025-01-05", "2025-01-09", "2025-01-10", "2025-02-01", "2025-02-20"], utc=True)
    month, rows = endpoint_month.month_of(pd.DataFrame({"as_of": at, "version": [1, 1, 1, 1, 2]}))
    assert (month, rows["version"].tolist()) == ("2025-02", [1, 2])


def test_every_row_of_a_batch_is_sent_once(plant) -> None:
    sent = list(endpoint_month.rows_by_batch(plant.tables))
    assert [batch_id for batch_id, _ in sent] == plant.tables["batches"]["batch_id"].tolist()
    for table in ("observations", "events", "materials", "dispositions"):
        assert sum(len(own.get(table, [])) for _, own in sent) == len(plant.tables[table])


def test_attributes_stand_apart_in_the_body_of_a_batch(plant) -> None:
    row = plain_rows(plant.tables["batches"])[1]
    body = endpoint_month.batch_body(row, set(PROCESS.by_name))
    assert body["attributes"] == {name: row[name] for name in ("viability_pct", "donor")}
    assert "batch_id" not in body


def test_the_made_up_plant_keeps_the_contract_of_the_run_history(plant) -> None:
    ids = set(plant.tables["batches"]["batch_id"])
    for name, frame in plant.tables.items():
        checked = check_rows(
            frame, RUN_HISTORY[name], PROCESS, source=name, batches=None if name == "batches" else ids,
            whole=False, validated=False, stored=False,
        )  # fmt: skip
        assert checked.quarantined.empty, checked.quarantined
        assert len(checked.kept) == len(frame)


def test_readings_come_late_and_are_corrected_and_outcomes_are_overturned(plant) -> None:
    readings, decided = plant.tables["observations"], made_plant(60, per_hour=1).tables["dispositions"]
    assert (readings["available_at"] > readings["observed_at"]).any()
    assert (readings["revision"] > 0).any()
    assert (decided["revision"] > 0).any()
