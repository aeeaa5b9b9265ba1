"""Which model speaks while releases come, are damaged and are taken back."""

import hashlib
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Never

import orjson
import pytest

from features.canonical import canonical
from features.process import ProcessDefinition
from serving.audit import chain, verification
from serving.audit.anchor import Anchor
from serving.bundle.manifest import BundleError
from serving.ids import microseconds
from serving.interfaces import EngineError
from serving.model_releases import SERVED, ModelReleases, ReleaseWatcher
from serving.records.store import Records, RecordsUnavailableError
from serving.release.site_keys import make_keys
from serving.service import intake, score_requests
from serving.service.engine_cache import EngineCache
from serving.service.scoring_service import ScoringService
from tests.serving.conftest import sqlite_url
from tests.serving.releases import EVIDENCE, by, service_of
from tests.serving.services import BATCH, NOON, call, reading
from tests.serving.small_plant import SmallPlant


@dataclass(frozen=True)
class Place:
    plant: SmallPlant
    root: Path
    keys: Path
    models: ModelReleases
    service: ScoringService

    def release(self, version: str) -> str:
        return self.plant.release(self.service.records, self.root, self.keys, version)

    def of(self, process: ProcessDefinition, version: str) -> str:
        """Release a version for another process definition."""
        return replace(self.plant, process=process).release(self.service.records, self.root, self.keys, version)

    def again(self) -> ModelReleases:
        """The releases as another process sees them."""
        return ModelReleases(self.root, self.keys, self.service.records, "soup")

    def served(self) -> list[tuple[str | None, str]]:
        """Former and new version of every entry on a change of the serving model."""
        with self.service.records.read() as connection:
            found = [entry for entry in chain.history(connection, "model:soup") if entry.action == SERVED]
        pairs = [(orjson.loads(e.old or "null"), orjson.loads(e.new or "null")) for e in found]
        return [(old and old["version"], new["version"]) for old, new in pairs]

    def score(self) -> dict:
        return orjson.loads(score_requests.score(self.service, call(), "B1", NOON).body)


@pytest.fixture
def place(small_plant, sqlite_shape, tmp_path, monkeypatch) -> Iterator[Place]:
    monkeypatch.setattr("serving.bundle.loader.run_canary", lambda _: None)  # its child process has tests of its own
    monkeypatch.setattr("serving.model_releases.run_canary", lambda _: None)
    root, keys = tmp_path / "bundles", tmp_path / "keys"
    records = Records(sqlite_url(sqlite_shape, tmp_path))
    small_plant.release(records, root, keys, "1")
    models = ModelReleases(root, keys, records, "soup")
    service = ScoringService(records, models.make, EngineCache(records, models.make), Anchor(tmp_path / "anchor"), clock=lambda: NOON,
                staleness=models.staleness)  # fmt: skip
    intake.put_batch(service, call(), "B1", BATCH, "")
    intake.add_rows(service, call(), "B1", {"observations": [reading(h, 7.0) for h in range(1, 6)]})
    yield Place(small_plant, root, keys, models, service)
    records.close()


def test_a_newer_release_speaks_of_the_same_rows_and_older_scores_are_still_made_again(place) -> None:
    first = place.score()
    place.release("2")
    place.models.check_for_release(place.service.engine_cache)
    second = place.score()
    assert (first["model"]["version"], second["model"]["version"]) == ("1", "2")
    assert second["failure_probability"] == first["failure_probability"]
    assert [score_requests.replay(place.service, s["score_id"]).is_equal for s in (first, second)] == [True, True]


def test_a_damaged_release_leaves_the_last_one_speaking_and_says_so(place) -> None:
    sha256 = place.release("2")
    model = next((place.root / sha256 / "predictor").glob("model*.txt"))
    content = model.read_bytes()
    for damaged in (content[:1000], content.replace(b"leaf_value=", b"leaf_value=9", 1), b""):
        model.write_bytes(damaged)
        place.models.check_for_release(place.service.engine_cache)
        score = place.score()
        assert (score["model"]["version"], score["stale_model"]["age_s"] <= 0) == ("1", True)
        assert score_requests.replay(place.service, score["score_id"]).is_equal
    model.write_bytes(content)
    place.models.check_for_release(place.service.engine_cache)
    assert (place.score()["model"]["version"], place.score()["stale_model"]) == ("2", None)


def test_every_change_of_the_serving_model_is_an_entry_of_the_trail_and_a_restart_is_none(place) -> None:
    place.score()
    for version in ("2", "3"):
        place.release(version)
        place.models.check_for_release(place.service.engine_cache)
    models = place.again()
    engine_cache = EngineCache(place.service.records, models.make)
    with engine_cache.reading():
        models.note_serving_model()
    place.score()
    assert place.served() == [(None, "1"), ("1", "2"), ("2", "3")]
    assert verification.verify(place.service.records, None).problems == ()


def test_a_change_that_cannot_be_recorded_does_not_take_place(place, monkeypatch) -> None:
    place.score()
    place.release("2")

    def unavailable(_: object) -> None:
        raise RecordsUnavailableError("the records cannot be used now")

    with monkeypatch.context() as away:
        away.setattr(place.models, "_note", unavailable)
        place.models.check_for_release(place.service.engine_cache)
    assert (place.score()["model"]["version"], place.models.staleness.since_us is None) == ("1", False)
    place.models.check_for_release(place.service.engine_cache)
    assert (place.score()["model"]["version"], place.served()[-1]) == ("2", ("1", "2"))


def test_a_score_names_its_release_and_whose_keys_sealed_it(place) -> None:
    first = place.score()["model"]
    release_id = place.release("2")
    place.models.check_for_release(place.service.engine_cache)
    second = place.score()["model"]
    assert (second["release_id"], second["released_by"], second["review"]) == (release_id, "two persons", "released")
    assert first["release_id"] not in (None, release_id)


def test_a_rollback_is_followed(place) -> None:
    place.score()
    place.release("2")
    place.models.check_for_release(place.service.engine_cache)
    service_of(place.service.records, place.root, place.keys, "soup").rollback(by("boris"))
    place.models.check_for_release(place.service.engine_cache)
    assert (place.score()["model"]["version"], place.models.staleness.since_us) == ("1", None)
    assert place.served() == [(None, "1"), ("1", "2"), ("2", "1")]


def test_a_submitted_or_approved_release_does_not_serve(place) -> None:
    place.score()
    service = service_of(place.service.records, place.root, place.keys, "soup")
    made = service.submit("2", lambda n: place.plant.bundle(place.root, "2", n), lambda: EVIDENCE, by("anna"))
    place.models.check_for_release(place.service.engine_cache)
    assert place.score()["model"]["version"] == "1"
    service.approve(made.release_id, by("boris"))
    place.models.check_for_release(place.service.engine_cache)
    assert (place.score()["model"]["version"], place.models.staleness.since_us) == ("1", None)


def test_another_process_definition_is_followed_where_the_rows_that_are_held_keep_it(place) -> None:
    place.score()
    head = place.plant.process.process.model_copy(update={"planned_duration_h": 25.0})
    place.of(place.plant.process.model_copy(update={"process": head}), "2")
    place.models.check_for_release(place.service.engine_cache)
    assert (place.score()["model"]["version"], place.models.staleness.since_us) == ("2", None)


def test_a_process_definition_that_held_rows_break_is_not_followed_and_one_line_says_so(place, capsys) -> None:
    place.score()
    gone = place.plant.process.model_copy(update={"parameter": place.plant.process.parameter[1:]})
    place.of(gone, "2")
    for _ in range(3):
        place.models.check_for_release(place.service.engine_cache)
    score = place.score()
    assert (score["model"]["version"], score["stale_model"] is None) == ("1", False)
    assert "a stored row is refused" in place.models.staleness.because
    assert capsys.readouterr().out.count("a stored row is refused") == 1


def test_a_release_that_fails_its_canary_is_tried_once_and_not_at_every_look(place, monkeypatch) -> None:
    place.score()
    tried = []

    def canary(bundle) -> Never:
        tried.append(bundle.manifest.version)
        raise BundleError("the canary died")

    monkeypatch.setattr(place.models._loader, "_canary", canary)
    place.release("2")
    for _ in range(5):
        place.models.check_for_release(place.service.engine_cache)
    assert tried == ["2"]
    assert "the canary died" in place.models.staleness.because


def test_a_release_speaks_in_the_end_though_the_records_were_away_when_it_was_found(place, monkeypatch) -> None:
    place.score()
    place.release("2")
    with monkeypatch.context() as away:
        away.setattr(
            place.service.engine_cache, "replace", lambda *_: (_ for _ in ()).throw(RecordsUnavailableError("away"))
        )
        place.models.check_for_release(place.service.engine_cache)
    assert (place.score()["model"]["version"], place.models.staleness.since_us is None) == ("1", False)
    place.models.check_for_release(place.service.engine_cache)
    assert (place.score()["model"]["version"], place.models.staleness.since_us) == ("2", None)


def test_stored_rows_that_no_longer_keep_the_definition_leave_no_model_to_speak(place) -> None:
    gone = place.plant.process.model_copy(update={"parameter": place.plant.process.parameter[1:]})
    place.of(gone, "2")
    models = place.again()
    service = replace(place.service, engine_cache=EngineCache(place.service.records, models.make))
    with pytest.raises(EngineError, match="Release a bundle with the definition"):
        score_requests.score(service, call(), "B1", NOON)


def test_a_score_names_what_its_model_was_released_for_and_by_which_limits_it_decided(place) -> None:
    said = place.score()["model"]
    with place.service.engine_cache.reading() as (engine, _):
        released = engine.released_for()
    digests = {name: hashlib.sha256(canonical(released[name])).hexdigest() for name in ("intended_use", "thresholds")}
    assert (said["intended_use_sha256"], said["thresholds_sha256"]) == (digests["intended_use"], digests["thresholds"])
    assert released["thresholds"]["thresholds"]["high"] == place.plant.predictor.thresholds.high
    assert released["intended_use"]["decision_points_h"] == [6, 12, 18]


def test_assays_without_a_result_are_named_until_it_is_available(place) -> None:
    assert place.score()["assays_pending"] == ["purity_pct"]
    rows = [{"parameter": "purity_pct", "observed_at": "2026-03-01T02:00:00Z", "available_at": "2026-03-01T09:00:00Z",
             "value": 98.0}]  # fmt: skip
    intake.add_rows(place.service, call(), "B1", {"observations": rows})
    at = [
        orjson.loads(score_requests.score(place.service, call(), "B1", microseconds(f"2026-03-01T0{h}:00:00Z")).body)
        for h in (8, 9)
    ]
    assert [s["assays_pending"] for s in at] == [["purity_pct"], []]


def test_a_release_by_keys_that_nobody_trusts_any_more_does_not_speak(place) -> None:
    place.score()
    place.release("2")
    for path in place.keys.glob("*.p*"):
        path.unlink()
    make_keys(place.keys)
    place.models.check_for_release(place.service.engine_cache)
    assert place.score()["model"]["version"] == "1"
    assert "not sealed by trusted keys" in place.models.staleness.because


def test_scores_go_on_while_models_change_and_each_is_made_again(place) -> None:
    made, stop = [], threading.Event()

    def work() -> None:
        while not stop.is_set():
            made.append(place.score())

    thread = threading.Thread(target=work)
    thread.start()
    for version in ("2", "3", "4"):
        place.release(version)
        place.models.check_for_release(place.service.engine_cache)
    stop.set()
    thread.join()
    assert place.score()["model"]["version"] == "4"
    assert len({s["failure_probability"] for s in made}) == 1


def test_without_a_model_there_is_no_score(place, tmp_path) -> None:
    with pytest.raises(EngineError):
        ModelReleases(tmp_path / "none", place.keys, place.service.records, "soup").make(None)
    with pytest.raises(EngineError, match="no release is effective"):
        ModelReleases(place.root, place.keys, place.service.records, "stew").make(None)
    with pytest.raises(EngineError, match="not as this software writes it"):
        place.models.make(place.score()["model"] | {"release_id": "0" * 64})
    with pytest.raises(EngineError, match="version without releases"):
        place.models.make(place.score()["model"] | {"release_id": None})
    with pytest.raises(EngineError, match="other feature code"):
        place.models.make(place.score()["model"] | {"release_id": "0" * 64, "features_sha256": "0" * 64})


def test_the_watch_looks_by_itself(place) -> None:
    place.score()
    place.release("2")
    watch = ReleaseWatcher(place.models, place.service.engine_cache, every_s=0.01)
    watch.start()
    for _ in range(500):
        if place.score()["model"]["version"] == "2":
            break
    watch.stop()
    assert place.score()["model"]["version"] == "2"


def test_an_engine_that_is_made_again_needs_no_folder(place) -> None:
    """A commit fails while the whole folder is gone: the rows are read again, the model is the one in memory."""
    first = place.score()
    shutil.rmtree(place.root)
    place.models.check_for_release(place.service.engine_cache)
    with pytest.raises(RuntimeError), place.service.engine_cache.transaction() as (_, _, engine):
        engine()
        raise RuntimeError  # nothing is committed: the engine is discarded
    second = place.score()
    assert (second["model"], second["failure_probability"]) == (first["model"], first["failure_probability"])
    assert second["stale_model"] is None  # the effective release serves


def test_a_release_whose_rows_could_not_be_read_is_taken_at_the_next_look(place, monkeypatch) -> None:
    place.score()
    place.release("2")

    def unavailable(_: object) -> None:
        raise RecordsUnavailableError("the records cannot be used now")

    monkeypatch.setattr(place.service.engine_cache, "replace", unavailable)
    place.models.check_for_release(place.service.engine_cache)
    assert (place.score()["model"]["version"], place.models.staleness.since_us is None) == ("1", False)
    monkeypatch.undo()
    monkeypatch.setattr("serving.bundle.loader.run_canary", lambda _: None)
    place.models.check_for_release(place.service.engine_cache)
    assert (place.score()["model"]["version"], place.models.staleness.since_us) == ("2", None)


def test_a_release_that_fails_in_a_way_that_nobody_thought_of_leaves_the_former_one(place, monkeypatch) -> None:
    place.score()
    place.release("2")

    def unforeseen(_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(place.service.engine_cache, "replace", unforeseen)
    place.models.check_for_release(place.service.engine_cache)
    assert (place.score()["model"]["version"], place.models.staleness.since_us is None) == ("1", False)


def test_the_watch_loads_the_model_before_anybody_asks(place) -> None:
    models = place.again()
    engine_cache = EngineCache(place.service.records, models.make)
    watch = ReleaseWatcher(models, engine_cache, every_s=60.0)
    watch.start()
    for _ in range(500):
        if models.staleness.since_us is None and models._serving_model is not None:
            break
        time.sleep(0.01)
    watch.stop()
    assert models._serving_model is not None
