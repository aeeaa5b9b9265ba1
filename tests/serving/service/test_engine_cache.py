"""The real engine over real records: what it gave up comes back from them, and nobody can tell."""

from collections.abc import Callable

import orjson
import pytest

from serving.audit.anchor import Anchor
from serving.engine import LiveEngine
from serving.ids import iso, microseconds
from serving.live.rows import TypedRows, typed
from serving.model_releases import ModelReleases
from serving.records.rows import find_batch
from serving.service import intake, score_requests
from serving.service.engine_cache import EngineCache, eviction
from serving.service.scoring_service import ScoringService
from tests.serving.services import BATCH, call

START = microseconds("2026-03-01T00:00:00Z")
HOUR, DAY = 3_600_000_000, 86_400_000_000
FORCE = {"parameter": "force_kn", "unit": "kN"}


@pytest.fixture
def service_of(small_plant, records, tmp_path, monkeypatch) -> Callable[..., ScoringService]:
    """Makes endpoints over the same records: with an engine that forgets after half a day, or never."""
    monkeypatch.setattr("serving.bundle.loader.run_canary", lambda _: None)  # its child process has tests of its own
    monkeypatch.setattr("serving.model_releases.run_canary", lambda _: None)
    root, keys = tmp_path / "bundles", tmp_path / "keys"
    small_plant.release(records, root, keys, "1")

    def make(days: float, *, filled=lambda: None) -> ScoringService:
        models = ModelReleases(root, keys, records, "soup", eviction(records, days))
        engine_cache = EngineCache(records, models.make, filled)
        return ScoringService(
            records, models.make, engine_cache, Anchor(tmp_path / "anchor"), clock=lambda: START + 10 * DAY
        )

    return make


def put(service: ScoringService, number: int) -> None:
    batch = {"site_id": "north", "started_at": iso(START + number * DAY), "origin": "real"}
    intake.put_batch(service, call(), f"B{number}", batch, "")


def tell(service: ScoringService, number: int, hour: float, **tables) -> dict:
    at = iso(START + number * DAY + round(hour * HOUR))
    rows = {
        name: [row | {"started_at" if name == "events" else "observed_at": at}]
        for name, row in (tables or {"observations": FORCE | {"value": 4.0 + hour / 10}}).items()
    }
    return orjson.loads(intake.add_rows(service, call(), f"B{number}", rows).body)


def score(service: ScoringService, number: int, hour: float) -> dict:
    as_of = START + number * DAY + round(hour * HOUR)
    return orjson.loads(score_requests.score(service, call(), f"B{number}", as_of).body)


def without_ids(scored: dict) -> dict:
    return {k: v for k, v in scored.items() if k not in ("score_id", "supersedes")}


def holding(service: ScoringService) -> set[str]:
    with service.engine_cache.reading() as (engine, _):
        assert isinstance(engine, LiveEngine)
        return set(engine._state.holding)


def test_scores_of_a_batch_that_was_let_go_are_those_of_an_endpoint_that_never_forgets(service_of) -> None:
    forgets, never = service_of(0.5), service_of(1000)
    for number in range(3):
        put(forgets, number)
        for hour in (1, 2.5, 6, 7):
            tell(forgets, number, hour)
        tell(forgets, number, 3, events={"kind": "deviation", "code": "x"})
    assert (holding(forgets), holding(never)) == ({"B2"}, {"B0", "B1", "B2"})
    for number, hour in ((0, 4), (0, 12), (1, 2.5), (2, 12)):
        one, other = score(forgets, number, hour), score(never, number, hour)
        assert without_ids(one) == without_ids(other)
        assert score_requests.replay(forgets, one["score_id"]).is_equal
        assert score_requests.replay(never, one["score_id"]).is_equal


def test_a_late_row_of_a_batch_that_was_let_go_counts_and_so_does_its_double(service_of) -> None:
    forgets, never = service_of(0.5), service_of(1000)
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
    assert [score_requests.replay(forgets, s["score_id"]).is_equal for s in (before, after)] == [True, True]


def test_the_end_of_an_open_event_is_told_later_also_of_a_batch_that_was_let_go(service_of) -> None:
    forgets, never = service_of(0.5), service_of(1000)
    put(forgets, 0)
    opened = {"kind": "deviation", "code": "x"}
    assert tell(forgets, 0, 1, events=opened)["accepted"] == 1
    put(forgets, 1)
    tell(forgets, 1, 1)
    closed = opened | {"ended_at": iso(START + 2 * HOUR)}
    assert tell(forgets, 0, 1, events=closed)["accepted"] == 1
    assert tell(forgets, 0, 1, events=closed)["duplicates"] == 1
    assert (
        without_ids(score(forgets, 0, 3))
        == without_ids(score(never, 0, 3))
        == without_ids(score(service_of(0.5), 0, 3))
    )


def test_an_engine_that_was_filled_says_so_once_and_again_after_it_was_thrown_away(service_of, monkeypatch) -> None:
    filled = []
    service = service_of(14, filled=lambda: filled.append(True))
    put(service, 0)
    tell(service, 0, 1)
    score(service, 0, 2)
    assert len(filled) == 1
    with monkeypatch.context() as broken:
        broken.setattr("serving.records.answers.keep", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tell(service, 0, 2)
    score(service, 0, 2)
    assert len(filled) == 2


def test_the_row_of_a_batch_is_validated_before_others_have_to_wait_for_it(service_of, monkeypatch) -> None:
    service, validated = service_of(1e6), []
    put(service, 1)

    def noted(*arguments, **more) -> TypedRows:
        validated.append(service.engine_cache._lock._writing)
        return typed(*arguments, **more)

    monkeypatch.setattr("serving.live.state.typed", noted)
    put(service, 2)
    put(service, 2)
    assert validated == [False, False]


def test_a_batch_that_was_validated_for_another_engine_is_validated_again(service_of, monkeypatch) -> None:
    service = service_of(1e6)
    put(service, 1)
    row = {**BATCH, "batch_id": "B2"}
    service.engine_cache.validate_batch(row)
    monkeypatch.setattr(service.engine_cache, "_engine", None)  # a release took its place, or a commit failed
    put(service, 2)
    with service.records.read() as connection:
        assert find_batch(connection, "B2") is not None


def test_a_model_has_scored_once_before_it_scores_for_anybody(service_of, monkeypatch) -> None:
    scored = []
    monkeypatch.setattr(LiveEngine, "_score", lambda _, *given, **__: scored.append(given[1]))
    service = service_of(1e6)
    with service.engine_cache.reading():
        assert scored == ["warm-up"]
    service.make_engine(None)
    assert scored == ["warm-up"]
    with service.records.read() as connection:
        assert find_batch(connection, "warm-up") is None
