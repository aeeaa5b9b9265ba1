from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.backtest.history import History, LookAheadError, outcomes_of
from tests.models.backtest.lived import CENSORED, CORRECTED, CORRECTED_AFTER, UNDECIDED, lived
from tests.models.plant import labels, utc

NEXT = pd.Timedelta(microseconds=1)
HISTORY = lived()
FIRST_KNOWN = HISTORY.log.groupby("batch_id")["label_available_at"].min()


@given(st.integers(0, 28 * 24 - 1))
def test_nothing_at_or_after_the_moment_is_seen(hours) -> None:
    moment = utc(f"2026-01-{1 + hours // 24:02d}T{hours % 24:02d}:00")
    known = HISTORY.at(moment)
    ids = pd.Index(known.outcomes["batch_id"])
    assert (known.log["label_available_at"] < moment).all()
    assert (known.batches["started_at"] < moment).all()
    assert (known.outcomes["known_at"] < moment).all()
    for rows in (known.snapshots(ids), known.between(ids)):
        assert (rows["as_of"] < moment).all()
    assert set(ids) == set(FIRST_KNOWN.index[moment > FIRST_KNOWN]) - {CENSORED}


def test_what_became_known_at_the_very_moment_is_not_known_yet() -> None:
    moment = FIRST_KNOWN["B010"]
    assert "B010" not in set(HISTORY.at(moment).outcomes["batch_id"])
    assert "B010" in set(HISTORY.at(moment + NEXT).outcomes["batch_id"])


@pytest.mark.parametrize("table", ["snapshots", "between"])
def test_snapshots_of_a_batch_whose_outcome_was_not_known_are_a_look_ahead(table) -> None:
    known = HISTORY.at(FIRST_KNOWN["B010"])
    assert len(getattr(known, table)(pd.Index(["B009"])))
    with pytest.raises(LookAheadError, match=r"^the outcome of batch B010 was asked for at 2026-01-09T00:00:00\+00:00"):
        getattr(known, table)(pd.Index(["B009", "B010"]))


@pytest.mark.parametrize("batch", [CENSORED, UNDECIDED])
def test_a_batch_without_an_outcome_is_never_known(batch) -> None:
    known = HISTORY.at(utc("2027-01-01"))
    with pytest.raises(LookAheadError, match=batch):
        known.snapshots(pd.Index([batch]))


def test_a_corrected_label_counts_as_it_was_known_then() -> None:
    first = FIRST_KNOWN[CORRECTED]
    before, after = (
        HISTORY.at(first + CORRECTED_AFTER + late).outcomes.set_index("batch_id") for late in (0 * NEXT, NEXT)
    )
    assert before.loc[CORRECTED, "failed"] != after.loc[CORRECTED, "failed"]
    assert before.loc[CORRECTED, "known_at"] == after.loc[CORRECTED, "known_at"] == first


def test_a_time_that_was_not_reached_yet_is_refused_with_what_it_was() -> None:
    known, times = HISTORY.at(utc("2026-01-05")), pd.Series([utc("2026-01-04"), utc("2026-01-05")])
    known.require(times[:1], "a score")
    with pytest.raises(LookAheadError, match=r"^a score of 2026-01-05T00:00:00\+00:00 was asked for at 2026-01-05"):
        known.require(times, "a score")


def test_without_release_results_none_are_known() -> None:
    known = HISTORY.at(utc("2026-02-01"))
    assert known.observations is None
    assert known.dispositions is None


def test_release_results_and_dispositions_are_known_from_their_own_times(foreseen_plant) -> None:
    plant = foreseen_plant
    history = History(
        plant.process, plant.snapshots, plant.snapshots.iloc[:0], plant.features, plant.batches, plant.log,
        plant.release.observations, plant.release.dispositions,
    )  # fmt: skip
    known = history.at(utc("2026-01-05"))  # a batch every 12 h, results after two days, decisions after three
    assert known.observations is not None
    assert known.dispositions is not None
    assert set(known.observations["batch_id"]) == {"B000", "B001", "B002", "B003"}
    assert set(known.dispositions["batch_id"]) == {"B000", "B001"}


def test_outcomes_stand_in_the_order_in_which_they_were_known() -> None:
    log = labels(("b", True, "2026-01-03"), ("a", False, "2026-01-04"), ("c", False, "2026-01-03"))
    batches = pd.DataFrame({"batch_id": ["a", "b", "c"]})
    assert outcomes_of(batches, log)["batch_id"].tolist() == ["b", "c", "a"]


def test_the_outcome_that_was_first_known_is_moved_by_no_correction() -> None:
    rows = [
        ("a", True, "2026-01-03"), ("a", False, "2026-01-09", True, 1),  # taken out later
        ("b", False, "2026-01-02"), ("b", True, "2026-01-08", False, 1),  # turned later
        ("c", False, "2026-01-01", True, 0), ("c", True, "2026-01-07", False, 1),  # decided late
        ("d", False, "2026-01-01", True, 0),
    ]  # fmt: skip
    log = labels(*rows)
    history = History(
        HISTORY.process, HISTORY.snapshots, HISTORY.between, (), pd.DataFrame({"batch_id": list("abcd")}), log
    )
    found = history.first_outcomes
    assert found["batch_id"].tolist() == ["b", "a", "c"]
    assert found["failed"].tolist() == [False, True, True]
    assert found["known_at"].dt.day.tolist() == [2, 3, 7]


def test_batches_are_scored_at_and_between_checkpoints_until_their_outcome_is_known() -> None:
    early = HISTORY.log["batch_id"].eq("B030") & HISTORY.log["revision"].eq(0)
    at = HISTORY.log["label_available_at"].mask(early, HISTORY.log["label_available_at"] - pd.Timedelta(hours=58))
    history = History(
        HISTORY.process, HISTORY.snapshots, HISTORY.between, HISTORY.features, HISTORY.batches,
        HISTORY.log.assign(label_available_at=at),
    )  # fmt: skip
    hours = history.scored.groupby("batch_id")["checkpoint_h"].agg(list)
    assert hours["B029"] == hours[UNDECIDED] == [0, 12, 18, 24]
    assert hours["B030"] == [0, 12]  # decided 14 h after its start


def test_a_process_without_hours_between_its_checkpoints_is_scored_at_these() -> None:
    bare = replace(HISTORY, between=HISTORY.between.iloc[:0][["batch_id", "checkpoint_h", "started_at", "as_of"]])
    assert set(bare.scored["checkpoint_h"]) <= set(bare.process.checkpoints_h)
    assert list(bare.scored.columns) == list(bare.snapshots.columns)
    known = bare.at(utc("2026-02-20"))
    assert len(known.between(pd.Index(known.outcomes["batch_id"][:1]))) == 0
