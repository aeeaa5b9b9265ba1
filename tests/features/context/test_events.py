import numpy as np
import pandas as pd

from features.context.columns import Batches, block
from features.context.events import Events
from features.context.vocabulary import vocabulary
from tests.features.context.plant import PROCESS, snapshots, tables

BATCHES = [{"batch_id": "b0", "started_at": 0}, {"batch_id": "b1", "started_at": 0}]


def event_block(found, *asked) -> pd.DataFrame:
    history = tables(batches=BATCHES, events=found)
    index = Batches.of(history["batches"]).index
    family = Events.of(history["events"], index, PROCESS, vocabulary(history, PROCESS))
    return block(family, snapshots(history["batches"], *asked), index).values


def phase(code, begin, end=None, **more) -> dict[str, object]:
    return {"batch_id": "b0", "kind": "phase", "code": code, "started_at": begin, "ended_at": end} | more


def deviation(begin, end=None, **more) -> dict[str, object]:
    return {"batch_id": "b0", "kind": "Deviation", "code": f"d{begin}", "started_at": begin, "ended_at": end} | more


def test_the_phase_is_the_one_that_began_last_and_its_end_is_unknown_before_it_ends() -> None:
    found = event_block([phase("grow", 0, 46), phase("wash", 46, 52)], ("b0", 10), ("b0", 45), ("b0", 48), ("b0", 60))
    assert found["phase.now.name"].tolist() == ["grow", "grow", "wash", "wash"]
    assert found["phase.now.elapsed_h"].tolist() == [10, 45, 2, 6]
    assert found["phase.now.progress"].tolist() == [0.25, 1.125, 0.5, 1.5]
    assert found["phase.now.overrun_h"].tolist() == [0, 5, 0, 2]
    assert found["phase.now.late_h"].tolist() == [0, 0, 6, 6]
    assert found["phase.grow.now.elapsed_h"].tolist() == [10, 45, 46, 46]
    np.testing.assert_equal(found["phase.wash.now.elapsed_h"].to_numpy(), [np.nan, np.nan, 2, 6])


def test_a_phase_counts_from_when_its_begin_could_be_seen() -> None:
    found = event_block([phase("grow", 0, 46), phase("wash", 46, available_at=50)], ("b0", 49), ("b0", 50))
    assert found["phase.now.name"].tolist() == ["grow", "wash"]
    assert found["phase.now.elapsed_h"].tolist() == [46, 4]


def test_a_phase_that_runs_twice_adds_up_and_one_outside_the_recipe_has_no_plan() -> None:
    found = event_block([phase("hold", 1, 3), phase("hold", 7)], ("b0", 2), ("b0", 5), ("b0", 10))
    assert found["phase.hold.now.elapsed_h"].tolist() == [1, 2, 5]
    assert found["phase.now.name"].tolist() == ["hold"] * 3
    assert found[["phase.now.progress", "phase.now.overrun_h", "phase.now.late_h"]].isna().all(axis=None)


def test_a_batch_without_a_phase_has_none() -> None:
    found = event_block([phase("grow", 0)], ("b1", 10))
    assert found.isna().all(axis=None)
    assert found["phase.now.name"].dtype == "str"


def test_deviations_are_counted_since_start_in_windows_open_and_severe() -> None:
    found = event_block(
        [deviation(1, 3, severity="major"), deviation(4, 9, severity="minor"), deviation(8, severity="critical")],
        ("b0", 0.5), ("b0", 2), ("b0", 8), ("b0", 10), ("b1", 10),
    )  # fmt: skip
    assert found["event.deviation.since_start.n"].tolist() == [0, 1, 3, 3, 0]
    assert found["event.deviation.since_start.n_severe"].tolist() == [0, 1, 2, 2, 0]
    assert found["event.deviation.now.n_open"].tolist() == [0, 1, 2, 1, 0]
    assert found["event.deviation.last_6h.n"].tolist() == [0, 1, 2, 1, 0]  # (t - 6 h, t]
    np.testing.assert_equal(found["event.deviation.now.since_newest_h"].to_numpy(), [np.nan, 1, 0, 2, np.nan])


def test_an_event_that_is_reported_late_is_neither_open_nor_closed_before() -> None:
    found = event_block([deviation(1, 3, available_at=5)], ("b0", 4), ("b0", 5))
    assert found["event.deviation.since_start.n"].tolist() == [0, 1]
    assert found["event.deviation.now.n_open"].tolist() == [0, 0]
    assert found["event.deviation.last_6h.n"].tolist() == [0, 1]


def test_an_event_that_was_announced_counts_only_from_when_it_begins() -> None:
    found = event_block([deviation(6, available_at=2)], ("b0", 4), ("b0", 6))
    assert found["event.deviation.since_start.n"].tolist() == [0, 1]
