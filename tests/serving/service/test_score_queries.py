"""What changed and what could still be done: as the bulk scorer says it, from memory or from stored rows alike."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pandas as pd
import pytest

from models.scoring.score import Score
from models.scoring.snapshots import SnapshotScorer, score_snapshots
from serving.audit.anchor import Anchor
from serving.bundle.store import Version
from serving.ids import microseconds
from serving.model_releases import ModelReleases
from serving.records.store import Records
from serving.service import intake, score_queries, score_requests
from serving.service.engine_cache import EngineCache
from serving.service.errors import ModelGoneError, NotThereError, RefusedError, TooManyError
from serving.service.scoring_service import ScoringService
from tests.serving.bulk_engine import BulkEngine, _frame
from tests.serving.conftest import sqlite_url
from tests.serving.services import BATCH, MES, NOON, NORTH, SOUTH, call, make_service, reading
from tests.serving.small_plant import SmallPlant

RELEASE = Version("soup", "1")
OWN = BATCH | {"line": "a"}


@pytest.fixture(scope="module")
def plant(small_plant) -> SmallPlant:
    force, *others = small_plant.process.parameter
    movable = force.model_copy(update={"controllable": True})
    return replace(small_plant, process=small_plant.process.model_copy(update={"parameter": (movable, *others)}))


def models_of(records: Records, folder: Path) -> ModelReleases:
    return ModelReleases(folder / "bundles", folder / "keys", records, "soup")


@pytest.fixture
def service(plant, sqlite_shape, tmp_path, monkeypatch) -> Iterator[ScoringService]:
    monkeypatch.setattr("serving.bundle.loader.run_canary", lambda _: None)  # its child process has tests of its own
    monkeypatch.setattr("serving.model_releases.run_canary", lambda _: None)
    records = Records(sqlite_url(sqlite_shape, tmp_path))
    plant.release(records, tmp_path / "bundles", tmp_path / "keys", "1")
    models = models_of(records, tmp_path)
    made = ScoringService(
        records, models.make, EngineCache(records, models.make), Anchor(tmp_path / "anchor"), clock=lambda: NOON
    )
    intake.put_batch(made, call(request_id="p"), "B1", OWN, "")
    tell(made, *[reading(hour, 5.0 + hour / 4) for hour in range(1, 12)])
    yield made
    records.close()


NUMBER = iter(range(10_000))


def tell(service, *rows, batch_id="B1") -> None:
    said = intake.add_rows(service, call(request_id=f"r{next(NUMBER)}"), batch_id, {"observations": rows})
    assert orjson.loads(said.body)["rejected"] == 0


def scored(service, at: str) -> str:
    return orjson.loads(score_requests.score(service, call(), "B1", microseconds(at)).body)["score_id"]


def bulk(plant, rows, at: str, before: str | None = None) -> Score:
    """`changes` and `what_if` by the scorer of frames, over the given rows."""
    engine = BulkEngine(plant.predictor, RELEASE, plant.process)
    engine.put_batch({**OWN, "batch_id": "B1"})
    engine.add("B1", "observations", rows)
    history = {name: _frame(name, kept.values(), plant.process) for name, kept in engine._rows.items()}
    moments = pd.to_datetime([time for time in (at, before) if time]).as_unit("us")
    frames = [engine._snapshot(history, "B1", moment) for moment in moments]
    frame, features = frames[0]
    scorer = SnapshotScorer(plant.predictor, plant.process, engine.model(), features)
    (found,) = score_snapshots(scorer, frame, data_sha256="d", before=frames[1][0] if before else None)
    return found


ROWS = [reading(hour, 5.0 + hour / 4) for hour in range(1, 12)]


def test_what_changed_is_what_the_bulk_scorer_says(service, plant) -> None:
    first, second = scored(service, "2026-03-01T04:30:00Z"), scored(service, "2026-03-01T11:00:00Z")
    found = score_queries.changes(service, MES, second, None)
    assert found.since is not None
    assert found.changes is not None
    assert (found.since.score_id, found.score_id) == (first, second)
    wanted = bulk(plant, ROWS, "2026-03-01T11:00:00Z", "2026-03-01T04:30:00Z").changes
    assert found.changes == wanted
    assert "Compression force" in {row.label for row in found.changes.rows}
    assert found.changes.probability == found.failure_probability != found.since.failure_probability
    assert score_queries.changes(service, MES, first, None).changes is None


def test_what_could_be_done_is_what_the_bulk_scorer_says(service, plant) -> None:
    made = scored(service, "2026-03-01T11:00:00Z")
    found = score_queries.what_if(service, MES, made).what_if
    assert found.probability > plant.predictor.thresholds.high
    assert found == bulk(plant, ROWS, "2026-03-01T11:00:00Z").what_if
    assert [move.parameter for move in found.changes[0].moves] == ["force_kn"]


def test_rows_that_came_later_change_no_answer_whether_they_could_have_counted_or_not(service, monkeypatch) -> None:
    first, second = scored(service, "2026-03-01T04:30:00Z"), scored(service, "2026-03-01T11:00:00Z")
    before = score_queries.changes(service, MES, second, None), score_queries.what_if(service, MES, second)
    made = []
    monkeypatch.setattr(score_queries._Views, "_again", lambda own, score: made.append(score) or again(own, score))
    intake.put_batch(service, call(request_id="b2"), "B2", BATCH | {"started_at": "2026-03-01T20:00:00Z"}, "")
    tell(
        service,
        reading(12, 9.0),
        reading(3, 9.0, parameter="purity_pct", unit="%", available_at="2026-03-01T18:00:00Z"),
    )
    tell(service, reading(21, 9.0), batch_id="B2")
    assert (score_queries.changes(service, MES, second, None), score_queries.what_if(service, MES, second)) == before
    assert made == []  # nothing of this was known then: the memory still holds what they rested on
    tell(service, reading(2, 1.0, revision=1), reading(10, 2.0, revision=1))
    assert (score_queries.changes(service, MES, second, None), score_queries.what_if(service, MES, second)) == before
    assert len(made) == 3
    assert score_queries.changes(service, MES, second, first) == before[0]


again = score_queries._Views._again


def test_a_start_that_was_corrected_since_changes_no_answer(service) -> None:
    first, second = scored(service, "2026-03-01T04:30:00Z"), scored(service, "2026-03-01T11:00:00Z")
    before = score_queries.changes(service, MES, second, None)
    intake.put_batch(
        service, call(request_id="late"), "B1", OWN | {"started_at": "2026-03-01T06:00:00Z"}, "typing error"
    )
    assert score_queries.changes(service, MES, second, first) == before


def test_a_correction_is_told_by_the_score_that_supersedes(service) -> None:
    first = scored(service, "2026-03-01T11:00:00Z")
    tell(service, reading(11, 5.0, revision=1))
    second = scored(service, "2026-03-01T11:00:00Z")
    found = score_queries.changes(service, MES, second, None)
    assert found.since is not None
    assert found.changes is not None
    assert (found.since.score_id, found.changes.hours) == (first, 0.0)
    assert found.changes.rows[0].parameter == "force_kn"
    assert sum(row.points for row in found.changes.rows) == pytest.approx(
        100 * (found.failure_probability - found.since.failure_probability), abs=0.05
    )


def test_the_model_that_scored_answers_also_when_another_speaks_and_says_so_when_it_is_gone(
    service, plant, tmp_path
) -> None:
    made = scored(service, "2026-03-01T11:00:00Z")
    before = score_queries.what_if(service, MES, made)
    [folder] = [path for path in (tmp_path / "bundles").iterdir() if path.is_dir()]
    plant.release(service.records, tmp_path / "bundles", tmp_path / "keys", "2")
    later = models_of(service.records, tmp_path)
    other = replace(service, make_engine=later.make, engine_cache=EngineCache(service.records, later.make))
    assert score_queries.what_if(other, MES, made) == before
    shutil.rmtree(folder)
    last = models_of(service.records, tmp_path)
    with pytest.raises(ModelGoneError, match=r"no bundle holds model.*Restore the folder"):
        score_queries.what_if(
            replace(service, make_engine=last.make, engine_cache=EngineCache(service.records, last.make)), MES, made
        )


def test_nothing_is_kept_of_a_question(service) -> None:
    made = scored(service, "2026-03-01T11:00:00Z")
    before = service.records.head()
    score_queries.changes(service, MES, made, None)
    score_queries.what_if(service, MES, made)
    assert service.records.head() == before


def test_questions_leave_room_for_scores(service) -> None:
    made = scored(service, "2026-03-01T11:00:00Z")
    with score_queries._turn(service), score_queries._turn(service):
        with pytest.raises(TooManyError):
            score_queries.what_if(service, MES, made)
        scored(service, "2026-03-01T11:00:00Z")
    score_queries.what_if(service, MES, made)


def test_only_scores_of_one_batch_in_order_of_time_are_compared(service) -> None:
    first, second = scored(service, "2026-03-01T04:30:00Z"), scored(service, "2026-03-01T11:00:00Z")
    intake.put_batch(service, call(request_id="b2"), "B2", BATCH, "")
    other = orjson.loads(score_requests.score(service, call(), "B2", NOON).body)["score_id"]
    for one, since in ((first, second), (second, other)):
        with pytest.raises(RefusedError):
            score_queries.changes(service, MES, one, since)


def test_a_history_that_came_along_can_be_asked_about_too(service, plant) -> None:
    history = {"batches": [{"batch_id": "B1", **OWN}], "observations": ROWS}
    at = "2026-03-01T11:00:00Z"
    made = orjson.loads(score_requests.score_inline(service, call(), "B1", microseconds(at), history).body)["score_id"]
    assert score_queries.changes(service, MES, made, None).changes is None
    assert score_queries.what_if(service, MES, made).what_if == bulk(plant, ROWS, at).what_if


def test_another_site_is_told_nothing(records, tmp_path) -> None:
    service = make_service(records, tmp_path)
    intake.put_batch(service, call(), "B1", BATCH, "")
    made = scored(service, "2026-03-01T11:00:00Z")
    assert score_queries.changes(service, NORTH, made, None).score_id == made
    for ask in (
        lambda: score_queries.changes(service, SOUTH, made, None),
        lambda: score_queries.what_if(service, SOUTH, made),
    ):
        with pytest.raises(NotThereError):
            ask()


def test_an_answer_from_memory_and_one_from_stored_rows_are_the_same_on_either_database(records, tmp_path) -> None:
    service = make_service(records, tmp_path)
    intake.put_batch(service, call(request_id="p"), "B1", BATCH, "")
    tell(service, reading(1, 9.0), reading(2, 5.0))
    first = scored(service, "2026-03-01T01:30:00Z")
    second = scored(service, "2026-03-01T02:00:00Z")
    before = score_queries.changes(service, MES, second, None)
    assert before.changes is not None
    assert (before.changes.before, before.changes.probability) == (1.0, 0.5)
    tell(service, reading(1, 5.0, revision=1))
    assert score_queries.changes(service, MES, second, first) == before
