"""The real engine over real records: what it gave up comes back from them, and nobody can tell."""

import orjson
import pytest

from serving.desk import intake, scoring
from serving.desk.desk import Desk
from serving.desk.memory import Memory, forgetting
from serving.ids import iso, microseconds
from serving.models import Models
from serving.trail.anchor import Anchor
from tests.serving.desks import call

START = microseconds("2026-03-01T00:00:00Z")
HOUR, DAY = 3_600_000_000, 86_400_000_000
FORCE = {"parameter": "force_kn", "unit": "kN"}


@pytest.fixture
def desk_of(small_plant, records, tmp_path, monkeypatch):
    """Makes endpoints over the same records: with an engine that forgets after half a day, or never."""
    monkeypatch.setattr("serving.bundle.keeper.sing", lambda bundle: None)  # its child process has tests of its own
    monkeypatch.setattr("serving.models.sing", lambda bundle: None)
    root, keys = tmp_path / "bundles", tmp_path / "keys"
    small_plant.bundle(root, keys, "1")

    def make(days: float, *, filled=lambda: None) -> Desk:
        models = Models(root, keys, forgetting(records, days))
        memory = Memory(records, models.make, filled)
        return Desk(records, models.make, memory, Anchor(tmp_path / "anchor"), clock=lambda: START + 10 * DAY)

    return make


def put(desk: Desk, number: int) -> None:
    batch = {"site_id": "north", "started_at": iso(START + number * DAY), "origin": "real"}
    intake.put_batch(desk, call(), f"B{number}", batch, "")


def tell(desk: Desk, number: int, hour: float, **tables) -> dict:
    at = iso(START + number * DAY + round(hour * HOUR))
    rows = {
        name: [row | {"started_at" if name == "events" else "observed_at": at}]
        for name, row in (tables or {"observations": FORCE | {"value": 4.0 + hour / 10}}).items()
    }
    return orjson.loads(intake.add_rows(desk, call(), f"B{number}", rows).body)


def score(desk: Desk, number: int, hour: float) -> dict:
    as_of = START + number * DAY + round(hour * HOUR)
    return orjson.loads(scoring.score(desk, call(), f"B{number}", as_of).body)


def without_ids(scored: dict) -> dict:
    return {k: v for k, v in scored.items() if k not in ("score_id", "supersedes")}


def holding(desk: Desk) -> set[str]:
    with desk.memory.reading() as (engine, _):
        return set(engine._state.holding)


def test_scores_of_a_batch_that_was_let_go_are_those_of_an_endpoint_that_never_forgets(desk_of):
    forgets, never = desk_of(0.5), desk_of(1000)
    for number in range(3):
        put(forgets, number)
        for hour in (1, 2.5, 6, 7):
            tell(forgets, number, hour)
        tell(forgets, number, 3, events={"kind": "deviation", "code": "x"})
    assert (holding(forgets), holding(never)) == ({"B2"}, {"B0", "B1", "B2"})
    for number, hour in ((0, 4), (0, 12), (1, 2.5), (2, 12)):
        one, other = score(forgets, number, hour), score(never, number, hour)
        assert without_ids(one) == without_ids(other)
        assert scoring.replay(forgets, one["score_id"]).is_equal
        assert scoring.replay(never, one["score_id"]).is_equal


def test_a_late_row_of_a_batch_that_was_let_go_counts_and_so_does_its_double(desk_of):
    forgets, never = desk_of(0.5), desk_of(1000)
    for number in range(2):
        put(forgets, number)
        tell(forgets, number, 1)
    assert "B0" not in holding(forgets)
    before = score(forgets, 0, 5)
    put(forgets, 2)
    assert tell(forgets, 0, 1)["duplicates"] == 1
    assert tell(forgets, 0, 2)["accepted"] == 1
    after = score(forgets, 0, 5)
    assert after["data_sha256"] != before["data_sha256"]
    assert without_ids(after) == without_ids(score(never, 0, 5))
    assert [scoring.replay(forgets, s["score_id"]).is_equal for s in (before, after)] == [True, True]


def test_the_end_of_an_open_event_is_told_later_also_of_a_batch_that_was_let_go(desk_of):
    forgets, never = desk_of(0.5), desk_of(1000)
    put(forgets, 0)
    opened = {"kind": "deviation", "code": "x"}
    assert tell(forgets, 0, 1, events=opened)["accepted"] == 1
    put(forgets, 1)
    tell(forgets, 1, 1)
    closed = opened | {"ended_at": iso(START + 2 * HOUR)}
    assert tell(forgets, 0, 1, events=closed)["accepted"] == 1
    assert tell(forgets, 0, 1, events=closed)["duplicates"] == 1
    assert (
        without_ids(score(forgets, 0, 3)) == without_ids(score(never, 0, 3)) == without_ids(score(desk_of(0.5), 0, 3))
    )


def test_an_engine_that_was_filled_says_so_once_and_again_after_it_was_thrown_away(desk_of, monkeypatch):
    filled = []
    desk = desk_of(14, filled=lambda: filled.append(True))
    put(desk, 0)
    tell(desk, 0, 1)
    score(desk, 0, 2)
    assert len(filled) == 1
    with monkeypatch.context() as broken:
        broken.setattr("serving.records.answers.keep", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tell(desk, 0, 2)
    score(desk, 0, 2)
    assert len(filled) == 2
