"""The judge of outages finds what is lost, doubled and wrong: a benchmark that cannot fail shows nothing."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import orjson
import pytest

from benchmarks.serving.outages.consistency import Before, Judge
from benchmarks.serving.outages.mes import Client, Told
from benchmarks.serving.server import Endpoint
from models.scoring.score import Score
from serving.audit.anchor import Anchor
from serving.interfaces import Engine
from serving.records.store import Records
from serving.service import intake, score_requests
from serving.service.engine_cache import EngineCache
from serving.service.scoring_service import ScoringService
from tests.serving.counting_engine import CountingEngine, make_counting_engine
from tests.serving.services import BATCH, MES, NOON, call, reading


@dataclass(frozen=True)
class Engines:
    empty: Callable[[], Engine]

    def make(self, model: Mapping[str, object] | None) -> Engine:
        assert model is not None
        return self.empty()


@dataclass(frozen=True)
class Place:
    judge: Judge
    service: ScoringService
    before: Before
    client: Client

    def add(self, hour: int, value: float) -> None:
        sent = reading(hour, value)
        intake.add_rows(self.service, call(request_id=f"r{hour}"), "B1", {"observations": [sent]})
        self.client.readings.append(("force_kn", sent["observed_at"].replace("Z", ".000000Z"), value))

    def score(self) -> str:
        told = orjson.loads(score_requests.score(self.service, call(MES, request_id="s"), "B1", NOON).body)
        self.client.scores[told["score_id"]] = told
        return told["score_id"]

    def found(self) -> dict:
        return self.judge.figure("x", 1, Told([self.client], [0.5]), self.before)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    records = Records(url)
    records.prepare()
    service = ScoringService(records, make_counting_engine, EngineCache(records, make_counting_engine), Anchor(tmp_path / "anchor", 0.0),
                clock=lambda: NOON)  # fmt: skip
    intake.put_batch(service, call(request_id="r0"), "B1", BATCH, "")
    judge = Judge(url, tmp_path / "anchor", Engines(CountingEngine))
    made = Place(judge, service, judge.before(), Client(cast("Endpoint", None)))
    for hour in (1, 2):
        made.add(hour, 5.0)
        made.score()
    yield made
    records.close()


def test_what_was_told_and_kept_is_right(place) -> None:
    found = place.found()
    assert (found["value"], found["n"], found["holds"]) == (0, 4, True)
    assert "2 scores and 2 readings answered: lost 0, doubled 0, wrong 0" in found["note"]


def test_a_score_that_was_told_and_not_kept_is_lost(place) -> None:
    place.client.scores["never"] = {}
    assert "lost 1, doubled 0" in place.found()["note"]
    assert place.found()["holds"] is False


def test_a_score_that_was_kept_and_not_told_is_doubled(place) -> None:
    del place.client.scores[place.score()]
    assert "lost 0, doubled 1" in place.found()["note"]


def test_a_score_that_was_told_otherwise_is_wrong(place) -> None:
    score_id = place.score()
    place.client.scores[score_id] = copy.deepcopy(place.client.scores[score_id]) | {"failure_probability": 0.123}
    assert "lost 0, doubled 0, wrong 1" in place.found()["note"]


def test_a_score_that_is_not_made_again_to_the_bit_is_wrong(place) -> None:
    class Other(CountingEngine):
        def _score(self, *asked, **more) -> Score:
            return super()._score(*asked, **more).model_copy(update={"failure_probability": 0.123})

    judge = Judge(place.judge.url, None, Engines(Other))
    note = judge.figure("x", 1, Told([place.client], [0.5]), place.before)["note"]
    assert "lost 0, doubled 0, wrong 2" in note


@pytest.mark.parametrize(("change", "said"), [
    (lambda readings: readings.append(("force_kn", "2026-03-01T09:00:00.000000Z", 5.0)), "lost 1, doubled 0"),
    (lambda readings: readings.pop(), "lost 0, doubled 1"),
    (lambda readings: readings.append((*readings.pop()[:2], 6.0)), "lost 1, doubled 1"),
])  # fmt: skip
def test_readings_are_compared_with_their_values(place, change, said) -> None:
    change(place.client.readings)
    assert said in place.found()["note"]


def test_nobody_may_go_unanswered_or_be_sent_away_without_a_time(place) -> None:
    place.client.gave_up, place.client.hurried = 1, 2
    assert place.found()["value"] == 3


def test_faults_of_the_outage_itself_count_as_well(place) -> None:
    found = place.judge.figure("x", 1, Told([place.client], [0.5]), place.before, "two faults", 2)
    assert (found["value"], found["holds"]) == (2, False)
