"""Batches that give up their rows and are read again: no bit of any batch's features, and no digest, knows of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.context import Vocabulary
from features.errors import ContractError
from features.process import ProcessDefinition
from serving.interfaces import StoredRow
from serving.live.batches import NEVER, EvictionPolicy
from serving.live.state import PlantState

HOUR = 3_600_000_000
START = 1_767_225_600_000_000  # 2026-01-01
N = 4
WORDS = Vocabulary(event_kinds=("deviation",), phases=("grow", "wash"))
RULED = ProcessDefinition.model_validate(
    {
        "process": {"id": "r", "name": "R", "version": "1", "planned_duration_h": 12, "every_h": 6, "windows_h": [6]},
        "outcome": {"label_from": "rule", "label_rule": "yield_pct < 97"},
        "parameter": [
            {"name": "ph", "label": "pH", "unit": "1", "kind": "sensor", "normal": [6, 8]},
            {"name": "yield_pct", "label": "Yield", "unit": "%", "kind": "assay", "excluded": True},
        ],
    }
)


def iso(at_us: int) -> str:
    return f"{np.datetime64(at_us, 'us')}+00:00"


class Recorded:
    """A state over a list of stored rows that lets go after each call, as the endpoint's memory does."""

    def __init__(self, after_h: float = 10.0, reload_cache: int = 1) -> None:
        self.stored: list[StoredRow] = []
        self.recalled: list[str] = []
        self.state = PlantState(RULED, WORDS, EvictionPolicy(self.recall, round(after_h * HOUR), reload_cache))

    def recall(self, batch_id: str, until: int) -> Iterator[StoredRow]:
        self.recalled.append(batch_id)
        for row in self.stored[:until]:
            if row.batch_id == batch_id and row.table in ("observations", "events"):
                yield row

    def tell(self, batch_id: str, table: str, *rows: dict) -> list[str]:
        if table == "batches":
            verdicts = [self.state.put_batch(row) for row in rows]
        else:
            verdicts = self.state.add(batch_id, table, rows)
        for verdict in verdicts:
            if verdict.row is not None:
                self.stored.append(StoredRow(len(self.stored) + 1, batch_id, table, verdict.row))
        self.state.evict(len(self.stored))
        return [verdict.verdict for verdict in verdicts]


def batch(number: int, **more) -> tuple[str, str, dict]:
    """Batches follow each other, a day apart."""
    row = {"batch_id": f"B{number}", "started_at": iso(start(number)), "origin": "simulated", "site_id": "n"}
    return f"B{number}", "batches", row | more


def start(number: int) -> int:
    return START + 24 * number * HOUR


Posted: TypeAlias = tuple[str, str, dict[str, object]]  # batch, table, row


def reading(number: int, quarter: int, value: float, *, late: int = 0, name: str = "ph", revision: int = 0) -> Posted:
    at = start(number) + quarter * HOUR // 4
    row: dict[str, object] = {
        "parameter": name,
        "observed_at": iso(at),
        "available_at": iso(at + late * HOUR // 2),
        "value": value,
    }
    return f"B{number}", "observations", row | {"revision": revision}


def event(number: int, quarter: int, *, ended: bool = False) -> Posted:
    row: dict[str, object] = {
        "kind": "phase",
        "code": "grow",
        "started_at": iso(start(number) + quarter * HOUR // 4),
        "person_key": "p",
    }
    if ended:
        row["ended_at"] = iso(start(number) + (quarter + 3) * HOUR // 4)
    return f"B{number}", "events", row


def rows() -> st.SearchStrategy:
    number, quarter = st.integers(0, N - 1), st.integers(0, 48)
    readings = st.builds(reading, number, quarter, st.sampled_from([6.5, 7.0, 8.5]), late=st.integers(0, 60),
                         revision=st.integers(0, 1))  # fmt: skip
    results = st.builds(reading, number, st.just(50), st.sampled_from([90.0, 99.0]), late=st.integers(0, 30),
                        name=st.just("yield_pct"), revision=st.integers(0, 1))  # fmt: skip
    moved = st.builds(batch, number, site_id=st.sampled_from(["n", "s"]))
    return st.one_of(readings, readings, results, st.builds(event, number, quarter, ended=st.booleans()), moved)


def assert_same(one: PlantState, other: PlantState, number: int, at_us: int) -> None:
    mine, theirs = one.row(f"B{number}", at_us), other.row(f"B{number}", at_us)
    np.testing.assert_array_equal(mine.values, theirs.values)
    assert mine.data_sha256 == theirs.data_sha256


@given(
    st.lists(rows(), max_size=30),
    st.lists(st.tuples(st.integers(0, N - 1), st.integers(0, 400)), max_size=8),
    st.randoms(),
)
@settings(max_examples=10, deadline=None)
def test_a_plant_that_forgets_says_of_every_row_and_every_score_what_one_says_that_does_not(
    told, asked, random
) -> None:
    forgets, keeps = Recorded(), PlantState(RULED, WORDS)
    for number in range(N):
        forgets.tell(*batch(number))
        keeps.put_batch(batch(number)[2])
    calls = [*told, *(told[i] for i in range(len(told)) if random.random() < 0.3)]  # some of them twice
    calls = [("row", call) for call in calls] + [("score", call) for call in asked]
    random.shuffle(calls)
    for kind, call in calls:
        if kind == "score":
            assert_same(forgets.state, keeps, call[0], start(call[0]) + call[1] * HOUR // 8)
        else:
            batch_id, table, row = call
            verdicts = [keeps.put_batch(row)] if table == "batches" else keeps.add(batch_id, table, [row])
            assert forgets.tell(*call) == [v.verdict for v in verdicts]
    again = PlantState(RULED, WORDS, EvictionPolicy(forgets.recall, HOUR))
    again.rebuild(forgets.stored)
    for number in range(N):
        assert_same(forgets.state, keeps, number, start(number) + 30 * HOUR)
        assert_same(again, keeps, number, start(number) + 30 * HOUR)


def test_a_silent_batch_gives_up_its_rows_and_gets_them_back_when_somebody_asks() -> None:
    plant = Recorded(after_h=10)
    plant.tell(*batch(0))
    plant.tell(*reading(0, 4, 7.0))
    plant.tell(*reading(0, 8, 7.5))
    assert (plant.state.held, set(plant.state.holding)) == (2, {"B0"})
    plant.tell(*batch(1))
    assert (plant.state.held, set(plant.state.holding)) == (2, {"B0", "B1"})  # a start may lie in the future
    plant.tell(*reading(1, 0, 7.0))  # 22 h after the newest reading of the first one
    assert (plant.state.held, set(plant.state.holding)) == (1, {"B1"})
    row = plant.state.row("B0", start(0) + 3 * HOUR)
    last = [f.name for f in row.columns.features].index("ph.since_start.last")
    assert (row.values[last], plant.state.held, plant.recalled) == (7.5, 3, ["B0"])
    plant.state.row("B0", start(0) + 3 * HOUR)
    assert plant.recalled == ["B0"]  # it is held, for now


def test_no_batch_is_silent_because_another_one_is_planned_for_next_year() -> None:
    plant = Recorded(after_h=10)
    plant.tell(*batch(0))
    plant.tell(*reading(0, 4, 7.0))
    plant.tell(*batch(1, started_at=iso(START + 400 * 24 * HOUR)))
    plant.tell(*reading(0, 8, 7.5))
    assert (set(plant.state.holding), plant.recalled) == ({"B0", "B1"}, [])


def test_the_batches_that_came_back_last_are_held_and_the_others_go_again() -> None:
    plant = Recorded(after_h=10, reload_cache=2)
    for number in range(4):
        plant.tell(*batch(number))
        plant.tell(*reading(number, 0, 7.0))
    for number in range(3):
        plant.state.row(f"B{number}", start(number))
    plant.state.evict(len(plant.stored))
    assert set(plant.state.holding) == {"B1", "B2", "B3"}


def test_a_late_row_of_a_batch_that_was_let_go_is_judged_by_what_it_had() -> None:
    plant = Recorded()
    plant.tell(*batch(0))
    plant.tell(*reading(0, 4, 7.0))
    plant.tell(*event(0, 4))
    plant.tell(*batch(1))
    plant.tell(*reading(1, 0, 7.0))
    assert "B0" not in plant.state.holding
    assert plant.tell(*reading(0, 4, 7.0)) == ["duplicate"]
    assert plant.tell(*reading(0, 4, 7.1)) == ["rejected"]
    assert plant.tell(*event(0, 4, ended=True)) == ["accepted"]
    assert plant.tell(*event(0, 4)) == ["rejected"]


def test_what_a_batch_that_was_let_go_decides_for_others_stays() -> None:
    plant = Recorded()
    for number in range(2):
        plant.tell(*batch(number))
        plant.tell(*reading(number, 50, 90.0, name="yield_pct"))
    plant.tell(*batch(3))
    row = plant.state.row("B3", start(3) + HOUR)
    names = [f.name for f in row.columns.features]
    assert plant.recalled == []
    assert [row.values[names.index(f"site.now.{n}")] for n in ("n_known", "failure_excess")] == [2.0, 0.0]


def test_nothing_is_given_up_that_the_records_do_not_hold() -> None:
    plant = Recorded()
    plant.tell(*batch(0))
    plant.state.add("B0", "observations", [reading(0, 4, 7.0)[2]])
    plant.state.put_batch(batch(1)[2])
    assert "B0" in plant.state.holding  # until somebody says that the rows are committed


def test_a_stored_row_that_no_longer_keeps_the_contract_stops_the_score() -> None:
    plant = Recorded()
    plant.tell(*batch(0))
    plant.tell(*reading(0, 4, 7.0))
    plant.tell(*batch(1))
    plant.tell(*reading(1, 0, 7.0))
    plant.stored[1] = StoredRow(2, "B0", "observations", {"batch_id": "B0", "parameter": "ph", "value": 1.0})
    with pytest.raises(ContractError, match="a stored row is refused"):
        plant.state.row("B0", start(0) + HOUR)


def test_a_plant_that_never_forgets_holds_everything() -> None:
    state = PlantState(RULED, WORDS, NEVER)
    for number in range(N):
        state.put_batch(batch(number)[2])
    state.evict(10)
    assert len(state.holding) == N
