"""Which model speaks while releases come, are damaged and are taken back."""

import hashlib
import shutil
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import pytest

from serving.bundle.manifest import BundleError
from serving.desk import intake, scoring
from serving.desk.desk import Desk
from serving.desk.memory import Memory
from serving.ids import microseconds
from serving.models import Models, Watch
from serving.records.store import Records, RecordsUnavailableError
from serving.seam import EngineError, canonical
from serving.trail.anchor import Anchor
from tests.serving.conftest import sqlite_url
from tests.serving.desks import BATCH, NOON, call, reading
from tests.serving.small_plant import SmallPlant


@dataclass(frozen=True)
class Place:
    plant: SmallPlant
    root: Path
    keys: Path
    models: Models
    desk: Desk

    def release(self, version: str) -> str:
        return self.plant.bundle(self.root, self.keys, version)

    def score(self) -> dict:
        return orjson.loads(scoring.score(self.desk, call(), "B1", NOON).body)


@pytest.fixture
def place(small_plant, sqlite_shape, tmp_path, monkeypatch):
    monkeypatch.setattr("serving.bundle.keeper.sing", lambda bundle: None)  # its child process has tests of its own
    monkeypatch.setattr("serving.models.sing", lambda bundle: None)
    root, keys = tmp_path / "bundles", tmp_path / "keys"
    small_plant.bundle(root, keys, "1")
    models, records = Models(root, keys), Records(sqlite_url(sqlite_shape, tmp_path))
    desk = Desk(records, models.make, Memory(records, models.make), Anchor(tmp_path / "anchor"), clock=lambda: NOON,
                stale_since_us=models.stale_since_us)  # fmt: skip
    intake.put_batch(desk, call(), "B1", BATCH, "")
    intake.add_rows(desk, call(), "B1", {"observations": [reading(h, 7.0) for h in range(1, 6)]})
    yield Place(small_plant, root, keys, models, desk)
    records.close()


def test_a_newer_release_speaks_of_the_same_rows_and_older_scores_are_still_made_again(place):
    first = place.score()
    place.release("2")
    place.models.look(place.desk.memory)
    second = place.score()
    assert (first["model"]["version"], second["model"]["version"]) == ("1", "2")
    assert second["failure_probability"] == first["failure_probability"]
    assert [scoring.replay(place.desk, s["score_id"]).is_equal for s in (first, second)] == [True, True]


def test_a_damaged_release_leaves_the_last_one_speaking_and_says_so(place):
    sha256 = place.release("2")
    model = next((place.root / sha256 / "predictor").glob("model*.txt"))
    content = model.read_bytes()
    for damaged in (content[:1000], content.replace(b"leaf_value=", b"leaf_value=9", 1), b""):
        model.write_bytes(damaged)
        place.models.look(place.desk.memory)
        score = place.score()
        assert (score["model"]["version"], score["stale_model"]["age_s"] <= 0) == ("1", True)
        assert scoring.replay(place.desk, score["score_id"]).is_equal
    model.write_bytes(content)
    place.models.look(place.desk.memory)
    assert (place.score()["model"]["version"], place.score()["stale_model"]) == ("2", None)


def test_an_older_release_does_not_come_back_by_its_pointer(place):
    old = place.models.store.pointed()
    place.release("2")
    place.models.look(place.desk.memory)
    (place.root / "current").write_text(old)
    place.models.look(place.desk.memory)
    assert (place.score()["model"]["version"], place.models.stale_since_us() is None) == ("2", False)


def test_another_process_definition_is_followed_where_the_rows_that_are_held_keep_it(place):
    place.score()
    head = place.plant.process.process.model_copy(update={"planned_duration_h": 25.0})
    changed = replace(place.plant, process=place.plant.process.model_copy(update={"process": head}))
    changed.bundle(place.root, place.keys, "2")
    place.models.look(place.desk.memory)
    assert (place.score()["model"]["version"], place.models.stale_since_us()) == ("2", None)


def test_a_process_definition_that_held_rows_break_is_not_followed_and_one_line_says_so(place, capsys):
    place.score()
    gone = place.plant.process.model_copy(update={"parameter": place.plant.process.parameter[1:]})
    replace(place.plant, process=gone).bundle(place.root, place.keys, "2")
    for _ in range(3):
        place.models.look(place.desk.memory)
    score = place.score()
    assert (score["model"]["version"], score["stale_model"] is None) == ("1", False)
    assert "a stored row is refused" in place.models.stale_because()
    assert capsys.readouterr().out.count("a stored row is refused") == 1


def test_a_release_that_fails_its_canary_is_tried_once_and_not_at_every_look(place, monkeypatch):
    place.score()
    tried = []

    def canary(bundle):
        tried.append(bundle.manifest.version)
        raise BundleError("the canary died")

    monkeypatch.setattr(place.models._keeper, "_canary", canary)
    place.release("2")
    for _ in range(5):
        place.models.look(place.desk.memory)
    assert tried == ["2"]
    assert "the canary died" in place.models.stale_because()


def test_a_release_speaks_in_the_end_though_the_records_were_away_when_it_was_found(place, monkeypatch):
    place.score()
    place.release("2")
    with monkeypatch.context() as away:
        away.setattr(place.desk.memory, "renew", lambda *_: (_ for _ in ()).throw(RecordsUnavailableError("away")))
        place.models.look(place.desk.memory)
    assert (place.score()["model"]["version"], place.models.stale_since_us() is None) == ("1", False)
    place.models.look(place.desk.memory)
    assert (place.score()["model"]["version"], place.models.stale_since_us()) == ("2", None)


def test_stored_rows_that_no_longer_keep_the_definition_leave_no_model_to_speak(place):
    gone = place.plant.process.model_copy(update={"parameter": place.plant.process.parameter[1:]})
    replace(place.plant, process=gone).bundle(place.root, place.keys, "2")
    models = Models(place.root, place.keys)
    desk = replace(place.desk, memory=Memory(place.desk.records, models.make))
    with pytest.raises(EngineError, match="Release a bundle with the definition"):
        scoring.score(desk, call(), "B1", NOON)


def test_a_score_names_what_its_model_was_released_for_and_by_which_limits_it_decided(place):
    said = place.score()["model"]
    with place.desk.memory.reading() as (engine, _):
        released = engine.released_for()
    digests = {name: hashlib.sha256(canonical(released[name])).hexdigest() for name in ("intended_use", "thresholds")}
    assert (said["intended_use_sha256"], said["thresholds_sha256"]) == (digests["intended_use"], digests["thresholds"])
    assert released["thresholds"]["thresholds"]["high"] == place.plant.predictor.thresholds.high
    assert released["intended_use"]["decision_points_h"] == [6, 12, 18]


def test_assays_without_a_result_are_named_until_it_is_available(place):
    assert place.score()["assays_pending"] == ["purity_pct"]
    rows = [{"parameter": "purity_pct", "observed_at": "2026-03-01T02:00:00Z", "available_at": "2026-03-01T09:00:00Z",
             "value": 98.0}]  # fmt: skip
    intake.add_rows(place.desk, call(), "B1", {"observations": rows})
    at = [
        orjson.loads(scoring.score(place.desk, call(), "B1", microseconds(f"2026-03-01T0{h}:00:00Z")).body)
        for h in (8, 9)
    ]
    assert [s["assays_pending"] for s in at] == [["purity_pct"], []]


def test_a_release_by_an_unknown_key_does_not_speak(place, tmp_path):
    place.plant.bundle(place.root, tmp_path / "others", "2")
    place.models.look(place.desk.memory)
    assert place.score()["model"]["version"] == "1"


def test_scores_go_on_while_models_change_and_each_is_made_again(place):
    made, stop = [], threading.Event()

    def work():
        while not stop.is_set():
            made.append(place.score())

    thread = threading.Thread(target=work)
    thread.start()
    for version in ("2", "3", "4"):
        place.release(version)
        place.models.look(place.desk.memory)
    stop.set()
    thread.join()
    assert place.score()["model"]["version"] == "4"
    assert len({s["failure_probability"] for s in made}) == 1


def test_without_a_model_there_is_no_score(place, tmp_path):
    with pytest.raises(EngineError):
        Models(tmp_path / "none", place.keys).make(None)
    with pytest.raises(EngineError, match="no bundle holds model"):
        place.models.make(place.score()["model"] | {"sha256": "0" * 64})
    with pytest.raises(EngineError, match="other feature code"):
        place.models.make(place.score()["model"] | {"features_sha256": "0" * 64})


def test_the_watch_looks_by_itself(place):
    place.score()
    place.release("2")
    watch = Watch(place.models, place.desk.memory, every_s=0.01)
    watch.start()
    for _ in range(500):
        if place.score()["model"]["version"] == "2":
            break
    watch.stop()
    assert place.score()["model"]["version"] == "2"


def test_an_engine_that_is_made_again_needs_no_folder(place):
    """A commit fails while the whole folder is gone: the rows are read again, the model is the one in memory."""
    first = place.score()
    shutil.rmtree(place.root)
    place.models.look(place.desk.memory)
    with place.desk.memory.alone() as change, place.desk.records.write() as (connection, now):
        change.engine(connection, now.rows_seq)  # and never settled: thrown away
    second = place.score()
    assert (second["model"], second["failure_probability"]) == (first["model"], first["failure_probability"])
    assert second["stale_model"] is not None


def test_a_folder_put_back_from_a_backup_does_not_bring_an_older_release_back(place, tmp_path):
    shutil.copytree(place.root, tmp_path / "backup")
    place.release("2")
    place.models.look(place.desk.memory)
    shutil.rmtree(place.root)
    shutil.copytree(tmp_path / "backup", place.root)
    place.models.look(place.desk.memory)
    assert (place.score()["model"]["version"], place.models.stale_since_us() is None) == ("2", False)


def test_a_release_whose_rows_could_not_be_read_is_taken_at_the_next_look(place, monkeypatch):
    place.score()
    place.release("2")

    def unavailable(_: object) -> None:
        raise RecordsUnavailableError("the records cannot be used now")

    monkeypatch.setattr(place.desk.memory, "renew", unavailable)
    place.models.look(place.desk.memory)
    assert (place.score()["model"]["version"], place.models.stale_since_us() is None) == ("1", False)
    monkeypatch.undo()
    monkeypatch.setattr("serving.bundle.keeper.sing", lambda bundle: None)
    place.models.look(place.desk.memory)
    assert (place.score()["model"]["version"], place.models.stale_since_us()) == ("2", None)


def test_a_release_that_fails_in_a_way_that_nobody_thought_of_leaves_the_former_one(place, monkeypatch):
    place.score()
    place.release("2")

    def unforeseen(_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(place.desk.memory, "renew", unforeseen)
    place.models.look(place.desk.memory)
    assert (place.score()["model"]["version"], place.models.stale_since_us() is None) == ("1", False)


def test_the_watch_loads_the_model_before_anybody_asks(place):
    models = Models(place.root, place.keys)
    memory = Memory(place.desk.records, models.make)
    watch = Watch(models, memory, every_s=60.0)
    watch.start()
    for _ in range(500):
        if models.stale_since_us() is None and models._speaking is not None:
            break
        time.sleep(0.01)
    watch.stop()
    assert models._speaking is not None
