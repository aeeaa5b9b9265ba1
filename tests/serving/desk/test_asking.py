"""What changed and what could still be done: as the bulk scorer says it, from memory or from stored rows alike."""

import json
import shutil
from dataclasses import replace

import orjson
import pandas as pd
import pytest

from serving.desk import asking, intake, scoring
from serving.desk.desk import Desk
from serving.desk.memory import Memory
from serving.desk.refusals import ModelGoneError, NotThereError, RefusedError, TooManyError
from serving.ids import microseconds
from serving.models import Models
from serving.records.store import Records
from serving.scorer import Release, score
from serving.trail.anchor import Anchor
from tests.serving.bulk_engine import BulkEngine, _frame
from tests.serving.conftest import sqlite_url
from tests.serving.desks import BATCH, MES, NOON, NORTH, SOUTH, call, make_desk, reading

RELEASE = Release("soup", "1")
OWN = BATCH | {"line": "a"}


@pytest.fixture(scope="module")
def plant(small_plant):
    force, *others = small_plant.process.parameter
    movable = force.model_copy(update={"controllable": True})
    return replace(small_plant, process=small_plant.process.model_copy(update={"parameter": (movable, *others)}))


@pytest.fixture
def desk(plant, sqlite_shape, tmp_path, monkeypatch):
    monkeypatch.setattr("serving.bundle.keeper.sing", lambda bundle: None)  # its child process has tests of its own
    monkeypatch.setattr("serving.models.sing", lambda bundle: None)
    plant.bundle(tmp_path / "bundles", tmp_path / "keys", "1")
    models, records = Models(tmp_path / "bundles", tmp_path / "keys"), Records(sqlite_url(sqlite_shape, tmp_path))
    made = Desk(records, models.make, Memory(records, models.make), Anchor(tmp_path / "anchor"), clock=lambda: NOON)
    intake.put_batch(made, call(request_id="p"), "B1", OWN, "")
    tell(made, *[reading(hour, 5.0 + hour / 4) for hour in range(1, 12)])
    yield made
    records.close()


NUMBER = iter(range(10_000))


def tell(desk, *rows, batch_id="B1"):
    said = intake.add_rows(desk, call(request_id=f"r{next(NUMBER)}"), batch_id, {"observations": rows})
    assert orjson.loads(said.body)["rejected"] == 0


def scored(desk, at: str) -> str:
    return orjson.loads(scoring.score(desk, call(), "B1", microseconds(at)).body)["score_id"]


def bulk(plant, rows, at: str, before: str | None = None) -> dict:
    """`changes` and `what_if` by the scorer of frames, over the given rows."""
    engine = BulkEngine(plant.predictor, RELEASE, plant.process)
    engine.put_batch({**OWN, "batch_id": "B1"})
    engine.add("B1", "observations", rows)
    history = {name: _frame(name, kept.values(), plant.process) for name, kept in engine._rows.items()}
    frames = [engine._snapshot(history, "B1", pd.Timestamp(time).as_unit("us")) for time in (at, before) if time]
    frame, features = frames[0]
    found = score(plant.predictor, frame, features, plant.process, release=RELEASE, data_version="d",
                  before=frames[1][0] if before else None)  # fmt: skip
    return {name: json.loads(found[name].iloc[0]) for name in ("changes", "what_if")}


ROWS = [reading(hour, 5.0 + hour / 4) for hour in range(1, 12)]


def test_what_changed_is_what_the_bulk_scorer_says(desk, plant):
    first, second = scored(desk, "2026-03-01T04:30:00Z"), scored(desk, "2026-03-01T11:00:00Z")
    said = asking.changes(desk, MES, second, None)
    assert (said["since"]["score_id"], said["score_id"]) == (first, second)
    wanted = bulk(plant, ROWS, "2026-03-01T11:00:00Z", "2026-03-01T04:30:00Z")["changes"]
    assert said["changes"] == wanted
    assert {row["label"] for row in said["changes"]["rows"]} >= {"Compression force", "Stage of the batch"}
    assert said["changes"]["probability"] == said["failure_probability"] != said["since"]["failure_probability"]
    assert asking.changes(desk, MES, first, None)["changes"] is None


def test_what_could_be_done_is_what_the_bulk_scorer_says(desk, plant):
    made = scored(desk, "2026-03-01T11:00:00Z")
    said = asking.what_if(desk, MES, made)["what_if"]
    assert said["probability"] > plant.predictor.thresholds.high
    assert said == bulk(plant, ROWS, "2026-03-01T11:00:00Z")["what_if"]
    assert [move["parameter"] for move in said["changes"][0]["moves"]] == ["force_kn"]


def test_rows_that_came_later_change_no_answer_whether_they_could_have_counted_or_not(desk, monkeypatch):
    first, second = scored(desk, "2026-03-01T04:30:00Z"), scored(desk, "2026-03-01T11:00:00Z")
    before = asking.changes(desk, MES, second, None), asking.what_if(desk, MES, second)
    made = []
    monkeypatch.setattr(asking._Looks, "_again", lambda own, score: made.append(score) or again(own, score))
    intake.put_batch(desk, call(request_id="b2"), "B2", BATCH | {"started_at": "2026-03-01T20:00:00Z"}, "")
    tell(desk, reading(12, 9.0), reading(3, 9.0, parameter="purity_pct", unit="%", available_at="2026-03-01T18:00:00Z"))
    tell(desk, reading(21, 9.0), batch_id="B2")
    assert (asking.changes(desk, MES, second, None), asking.what_if(desk, MES, second)) == before
    assert made == []  # nothing of this was known then: the memory still holds what they rested on
    tell(desk, reading(2, 1.0, revision=1), reading(10, 2.0, revision=1))
    assert (asking.changes(desk, MES, second, None), asking.what_if(desk, MES, second)) == before
    assert len(made) == 3
    assert asking.changes(desk, MES, second, first) == before[0]


again = asking._Looks._again


def test_a_start_that_was_corrected_since_changes_no_answer(desk):
    first, second = scored(desk, "2026-03-01T04:30:00Z"), scored(desk, "2026-03-01T11:00:00Z")
    before = asking.changes(desk, MES, second, None)
    intake.put_batch(desk, call(request_id="late"), "B1", OWN | {"started_at": "2026-03-01T06:00:00Z"}, "typing error")
    assert asking.changes(desk, MES, second, first) == before


def test_a_correction_is_told_by_the_score_that_supersedes(desk):
    first = scored(desk, "2026-03-01T11:00:00Z")
    tell(desk, reading(11, 5.0, revision=1))
    second = scored(desk, "2026-03-01T11:00:00Z")
    said = asking.changes(desk, MES, second, None)
    assert (said["since"]["score_id"], said["changes"]["hours"]) == (first, 0.0)
    assert said["changes"]["rows"][0]["parameter"] == "force_kn"
    assert sum(row["points"] for row in said["changes"]["rows"]) == pytest.approx(
        100 * (said["failure_probability"] - said["since"]["failure_probability"]), abs=0.05
    )


def test_the_model_that_scored_answers_also_when_another_speaks_and_says_so_when_it_is_gone(desk, plant, tmp_path):
    made = scored(desk, "2026-03-01T11:00:00Z")
    before = asking.what_if(desk, MES, made)
    [folder] = [path for path in (tmp_path / "bundles").iterdir() if path.is_dir()]
    plant.bundle(tmp_path / "bundles", tmp_path / "keys", "2")
    later = Models(tmp_path / "bundles", tmp_path / "keys")
    other = replace(desk, make_engine=later.make, memory=Memory(desk.records, later.make))
    assert asking.what_if(other, MES, made) == before
    shutil.rmtree(folder)
    last = Models(tmp_path / "bundles", tmp_path / "keys")
    with pytest.raises(ModelGoneError, match=r"no bundle holds model.*Restore the folder"):
        asking.what_if(replace(desk, make_engine=last.make, memory=Memory(desk.records, last.make)), MES, made)


def test_nothing_is_kept_of_a_question(desk):
    made = scored(desk, "2026-03-01T11:00:00Z")
    before = desk.records.head()
    asking.changes(desk, MES, made, None)
    asking.what_if(desk, MES, made)
    assert desk.records.head() == before


def test_questions_leave_room_for_scores(desk):
    made = scored(desk, "2026-03-01T11:00:00Z")
    with asking._turn(desk), asking._turn(desk):
        with pytest.raises(TooManyError):
            asking.what_if(desk, MES, made)
        scored(desk, "2026-03-01T11:00:00Z")
    asking.what_if(desk, MES, made)


def test_only_scores_of_one_batch_in_order_of_time_are_compared(desk):
    first, second = scored(desk, "2026-03-01T04:30:00Z"), scored(desk, "2026-03-01T11:00:00Z")
    intake.put_batch(desk, call(request_id="b2"), "B2", BATCH, "")
    other = orjson.loads(scoring.score(desk, call(), "B2", NOON).body)["score_id"]
    for one, since in ((first, second), (second, other)):
        with pytest.raises(RefusedError):
            asking.changes(desk, MES, one, since)


def test_a_history_that_came_along_can_be_asked_about_too(desk, plant):
    history = {"batches": [{"batch_id": "B1", **OWN}], "observations": ROWS}
    at = "2026-03-01T11:00:00Z"
    made = orjson.loads(scoring.score_inline(desk, call(), "B1", microseconds(at), history).body)["score_id"]
    assert asking.changes(desk, MES, made, None)["changes"] is None
    assert asking.what_if(desk, MES, made)["what_if"] == bulk(plant, ROWS, at)["what_if"]


def test_another_site_is_told_nothing(records, tmp_path):
    desk = make_desk(records, tmp_path)
    intake.put_batch(desk, call(), "B1", BATCH, "")
    made = scored(desk, "2026-03-01T11:00:00Z")
    assert asking.changes(desk, NORTH, made, None)["score_id"] == made
    for ask in (lambda: asking.changes(desk, SOUTH, made, None), lambda: asking.what_if(desk, SOUTH, made)):
        with pytest.raises(NotThereError):
            ask()


def test_an_answer_from_memory_and_one_from_stored_rows_are_the_same_on_either_database(records, tmp_path):
    desk = make_desk(records, tmp_path)
    intake.put_batch(desk, call(request_id="p"), "B1", BATCH, "")
    tell(desk, reading(1, 9.0), reading(2, 5.0))
    first = scored(desk, "2026-03-01T01:30:00Z")
    second = scored(desk, "2026-03-01T02:00:00Z")
    before = asking.changes(desk, MES, second, None)
    assert before["changes"] == {"before": 1.0, "probability": 0.5}
    tell(desk, reading(1, 5.0, revision=1))
    assert asking.changes(desk, MES, second, first) == before
