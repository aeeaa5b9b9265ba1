"""Which rows a snapshot has, and what stands beside the series in it."""

from __future__ import annotations

import pandas as pd

from features.contracts import LABELS
from features.process import ProcessDefinition
from features.snapshots import checkpoint_rows, rows_as_of

START = pd.Timestamp("2025-03-01T06:00Z").as_unit("us")
PROCESS = ProcessDefinition.model_validate(
    {
        "process": {"id": "p", "name": "P", "version": "1", "planned_duration_h": 24, "bin_h": 0.5, "every_h": 12},
        "parameter": [{"name": "ph", "label": "pH", "unit": "1", "kind": "sensor"}],
    }
)
BATCHES = pd.DataFrame({"batch_id": ["a", "b"], "started_at": [START, START + pd.Timedelta("2h")]})
NOBODY = LABELS.arrow().empty_table().to_pandas()


def at(hours: float) -> pd.Timestamp:
    moment = START + pd.Timedelta(hours=hours)
    assert isinstance(moment, pd.Timestamp)
    return moment


def known(batch_id: str, hours: float) -> pd.DataFrame:
    return pd.DataFrame(
        {"batch_id": [batch_id], "revision": [0], "failed": [True], "censored": [False]}
        | {"label_available_at": [at(hours)]}
    )


def test_every_batch_has_a_row_at_every_checkpoint_it_reached() -> None:
    rows = checkpoint_rows(BATCHES, NOBODY, PROCESS)
    assert rows[["batch_id", "checkpoint_h"]].to_numpy().tolist() == [
        ["a", 12.0],
        ["a", 24.0],
        ["b", 12.0],
        ["b", 24.0],
    ]
    assert rows["as_of"][2] == START + pd.Timedelta("14h")


def test_a_checkpoint_at_which_the_outcome_was_known_is_no_row() -> None:
    rows = checkpoint_rows(BATCHES, known("a", 24), PROCESS)
    assert rows[["batch_id", "checkpoint_h"]].to_numpy().tolist() == [["a", 12.0], ["b", 12.0], ["b", 24.0]]


def test_a_checkpoint_beyond_what_is_known_is_no_row() -> None:
    rows = checkpoint_rows(BATCHES, NOBODY, PROCESS, until=at(24))
    assert rows[["batch_id", "checkpoint_h"]].to_numpy().tolist() == [["a", 12.0], ["a", 24.0], ["b", 12.0]]


def test_as_of_a_moment_a_batch_stands_at_its_own_hour_and_later_batches_do_not_exist() -> None:
    rows = rows_as_of(BATCHES, at(1.5))
    assert rows[["batch_id", "checkpoint_h"]].to_numpy().tolist() == [["a", 1.5]]
