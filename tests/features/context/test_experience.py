import numpy as np
import pandas as pd

from features.context.columns import Batches, block
from features.context.experience import Experience, FailureHistory
from features.context.failures import SATURATION
from features.dictionary import Block
from tests.features.context.plant import PROCESS, labels, snapshots, tables

BATCHES = [
    {"batch_id": "b0", "started_at": 0, "site_id": "n", "equipment_id": "e1", "subject_key": "p", "planned_end_at": 30},
    {"batch_id": "b1", "started_at": 10, "site_id": "n", "equipment_id": "e1", "subject_key": "p"},
    {"batch_id": "b2", "started_at": 20, "site_id": "s", "equipment_id": "e1", "subject_key": "q"},
    {"batch_id": "b3", "started_at": 40, "site_id": "n", "equipment_id": "", "subject_key": ""},
]


def experience_block(log, *asked, events=(), batches=BATCHES) -> pd.DataFrame:
    history = tables(batches=list(batches), events=list(events))
    rows = snapshots(history["batches"], *asked)
    batches = Batches.of(history["batches"])
    return block(Experience.of(batches, history["events"], log, PROCESS), rows, batches.index).values


def failure_history(rows, frame, log) -> Block:
    batches = Batches.of(frame)
    return block(FailureHistory.of(batches, log), rows, batches.index)


def test_attempts_and_use_of_equipment_count_batches_begun_earlier() -> None:
    found = experience_block(labels(), ("b0", 90), ("b1", 0), ("b2", 0), ("b3", 0))
    np.testing.assert_equal(found["subject.before_start.attempt"].to_numpy(), [1, 2, 1, np.nan])
    np.testing.assert_equal(found["equipment.before_start.n_batches"].to_numpy(), [0, 1, 2, np.nan])
    np.testing.assert_equal(found["equipment.before_start.gap_h"].to_numpy(), [np.nan, 10, 10, np.nan])


def test_running_batches_are_others_at_the_site_until_planned_end_or_known_outcome() -> None:
    # b0 is planned to end at 30; b1 has no plan (100 h of the recipe: 110) but its outcome is known at 60
    found = experience_block(labels(("b1", 0, True, 60)), ("b0", 5), ("b0", 15), ("b3", 0), ("b3", 19), ("b3", 20))
    assert found["site.now.n_running"].tolist() == [0, 1, 1, 1, 0]
    assert experience_block(labels(), ("b3", 69), ("b3", 70))["site.now.n_running"].tolist() == [1, 0]
    assert experience_block(labels(), ("b0", 300))["site.now.n_running"].tolist() == [0]


def test_an_outcome_that_is_known_later_does_not_end_a_batch_earlier() -> None:
    with_label = experience_block(labels(("b1", 0, True, 60)), ("b3", 0), ("b3", 19))
    without = experience_block(labels(), ("b3", 0), ("b3", 19))
    assert with_label.equals(without)


def test_batches_of_the_last_ninety_days_are_the_others_begun_at_the_site() -> None:
    found = experience_block(labels(), ("b0", 0), ("b3", 0), ("b0", 2160), ("b3", 2159.99))
    # at 2160 h the window opens after hour 0: b1 and b3; at 2199.99 h after 39.99: none but itself
    assert found["site.last_90d.n_batches"].tolist() == [0, 2, 2, 0]


def test_the_least_experienced_person_so_far_is_measured_in_earlier_batches() -> None:
    def seen(batch, hour, person, **more) -> dict[str, object]:
        return {
            "batch_id": batch,
            "kind": "handover",
            "code": f"{hour}",
            "started_at": hour,
            "person_key": person,
        } | more

    events = [
        seen("b0", 1, "ann"), seen("b0", 2, "ann"), seen("b1", 11, "ann"), seen("b1", 12, ""),
        seen("b3", 41, "ann"), seen("b3", 43, "bob", available_at=45), seen("b2", 44, "bob"),
    ]  # fmt: skip
    found = experience_block(labels(), ("b0", 0.5), ("b1", 5), ("b3", 4), ("b3", 5), ("b2", 24), events=events)
    np.testing.assert_equal(found["operators.since_start.n"].to_numpy(), [np.nan, 1, 1, 2, 1])
    np.testing.assert_equal(found["operators.since_start.least_experience"].to_numpy(), [np.nan, 1, 2, 1, 0])


def test_failures_of_site_equipment_and_subject_are_those_known_of_other_batches() -> None:
    history = tables(batches=BATCHES)
    rows = snapshots(history["batches"], ("b1", 24), ("b1", 25), ("b2", 20), ("b3", 0))
    log = labels(("b0", 0, True, 35), ("b1", 0, False, 36))
    found = failure_history(rows, history["batches"], log).values
    assert found["site.now.n_known"].tolist() == [0, 1, 0, 2]
    np.testing.assert_equal(found["site.now.failure_excess"].to_numpy(), [np.nan, 0.0, 0.0, 0.0])
    np.testing.assert_equal(found["equipment.now.n_known"].to_numpy(), [0, 1, 2, np.nan])
    np.testing.assert_equal(found["subject.now.n_known"].to_numpy(), [0, 1, 0, np.nan])
    np.testing.assert_equal(found["subject.now.failure_excess"].to_numpy(), [np.nan, 0.0, 0.0, np.nan])


def test_counts_of_experience_stop_growing() -> None:
    many = [{"batch_id": f"b{i}", "started_at": i, "site_id": "n", "equipment_id": "e"} for i in range(SATURATION + 50)]
    last = f"b{SATURATION + 49}"
    found = experience_block(labels(), ("b7", 0), (last, 0), batches=many)
    assert found["equipment.before_start.n_batches"].tolist() == [7, SATURATION]
    history = tables(batches=many)
    log = labels(*((f"b{i}", 0, i % 5 == 0, i + 1) for i in range(SATURATION + 40)))
    known = failure_history(snapshots(history["batches"], (last, 0)), history["batches"], log).values
    assert known["site.now.n_known"].tolist() == [SATURATION]
