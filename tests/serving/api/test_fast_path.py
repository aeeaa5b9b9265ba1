"""The quick way to a score and FastAPI's own say the same."""

import threading
from collections.abc import Callable
from typing import Never

import pytest
from httpx2 import Response

from serving.interfaces import UnscorableError
from serving.service import score_requests
from serving.service.engine_cache import BusyError
from tests.serving.api.conftest import make_api
from tests.serving.counting_engine import CountingEngine
from tests.serving.services import BATCH, reading

SCORES = "/v1/batches/B1/scores"
JSON = {"content-type": "application/json"}
OWN = ("score_id", "request_id", "scored_at", "supersedes")  # another one for each score
REQUESTS = [
    {},
    {"json": {}},
    {"json": {"as_of": "2026-03-01T20:00:00+01:00"}},
    {"json": {"as_of": "2026-03-01T20:00:00+01:00", "reasons": False}},
    {"json": {"as_of": None}},
    {"json": None, "content": b"null", "headers": JSON},
    {"content": b" {} ", "headers": {"content-type": "application/json; charset=utf-8"}},
    {"content": b"{}", "headers": {"content-type": "text/plain"}},
    {"content": b'{"as_of": "2026-03-01T20:00:00+01:00", "as_of": "2026-03-01T21:00:00+01:00"}', "headers": JSON},
    {"content": b'{"reasons": NaN}', "headers": JSON},
    {"content": b"{", "headers": JSON},
    {"json": {"reasons": 1}},
    {"json": {"more": 1}},
    {"json": {"as_of": "2026-03-01T20:00:00"}},
    {"json": {"as_of": "2999-01-01T00:00:00Z"}},
    {"json": {"as_of": "2025-01-01T00:00:00Z"}},
    {"json": []},
    {"headers": {"idempotency-key": "two words"}},
    {"headers": {"idempotency-key": "k" * 201}},
    {"headers": {"idempotency-key": "k"}, "json": {"as_of": "2026-03-01T20:00:00+01:00"}},
    {"headers": {"idempotency-key": "k"}, "json": {"as_of": "2026-03-01T20:00:00+01:00"}},
    {"headers": {"idempotency-key": "k"}, "json": {"as_of": "2026-03-01T21:00:00+01:00"}},
    {"who": "south"},
    {"who": "viewer"},
    {"who": "nobody"},
    {"who": "nobody", "content": b"{", "headers": JSON},
]
PATHS = ["/v1/batches/B2/scores", "/v1/batches/-/scores", f"/v1/batches/{'b' * 121}/scores", f"{SCORES}?as_of=now"]


async def _busy(*_, **__) -> Never:
    raise BusyError("always")


@pytest.fixture
def both(records, tmp_path, monkeypatch) -> Callable[..., tuple[Response, Response]]:
    """An endpoint that takes the quick way, and what it says the ordinary way."""
    api = make_api(records, tmp_path)
    assert api("PUT", "/v1/batches/B1", json=BATCH).status_code == 201
    assert api(
        "POST", "/v1/batches/B1/observations", json={"observations": [reading(1, 5.0), reading(2, 7.0)]}
    ).is_success

    def ask(path, **request) -> tuple[Response, Response]:
        quick = api("POST", path, **request)
        if "headers" in request and "idempotency-key" in request["headers"]:
            request = request | {
                "headers": request["headers"] | {"idempotency-key": request["headers"]["idempotency-key"] + "'"}
            }
        with monkeypatch.context() as busy:
            busy.setattr(score_requests, "score_at_once", _busy)
            return quick, api("POST", path, **request)

    return ask


def _same(quick, ordinary) -> None:
    assert (quick.status_code, quick.headers["content-type"]) == (
        ordinary.status_code,
        ordinary.headers["content-type"],
    )
    replayed = [answer.headers.get("idempotent-replayed") for answer in (quick, ordinary)]
    assert replayed[0] == replayed[1]
    said = [{name: value for name, value in answer.json().items() if name not in OWN} for answer in (quick, ordinary)]
    assert said[0] == said[1]


def test_every_request_is_answered_alike_on_both_ways(both) -> None:
    statuses = set()
    for request in REQUESTS:
        quick, ordinary = both(SCORES, **request)
        _same(quick, ordinary)
        statuses.add(quick.status_code)
    for path in PATHS:
        _same(*both(path))
    assert statuses == {200, 400, 401, 403, 404, 409, 415, 422}


def test_a_plain_request_takes_the_quick_way(api, monkeypatch) -> None:
    assert api("PUT", "/v1/batches/B1", json=BATCH).status_code == 201
    monkeypatch.setattr(score_requests, "score", lambda *_, **__: pytest.fail("the ordinary way"))
    wanted = {"as_of": "2026-03-01T20:00:00+01:00"}
    assert api("POST", SCORES, json=wanted).status_code == 200
    assert api("POST", SCORES, json=wanted, headers={"idempotency-key": "k"}).status_code == 200
    assert api("POST", SCORES, json=wanted, headers={"idempotency-key": "k"}).headers["idempotent-replayed"] == "true"
    assert api("POST", SCORES, content=b"{", headers=JSON).status_code == 400


def test_rows_that_another_process_took_in_count_in_a_score_on_the_quick_way(api, tmp_path) -> None:
    assert api("PUT", "/v1/batches/B1", json=BATCH).status_code == 201
    before = api("POST", SCORES, json={"as_of": "2026-03-01T20:00:00+01:00"}).json()
    other = make_api(api.service.records, tmp_path)
    other("POST", "/v1/batches/B1/observations", json={"observations": [reading(1, 7.0)]})
    after = api("POST", SCORES, json={"as_of": "2026-03-01T20:00:00+01:00"}).json()
    assert (before["failure_probability"], after["failure_probability"]) == (0.0, 1.0)
    assert len(api("GET", SCORES).json()["scores"]) == 2


def test_a_request_that_was_answered_gets_its_answer_though_it_could_no_longer_be_scored(api, monkeypatch) -> None:
    assert api("PUT", "/v1/batches/B1", json=BATCH).status_code == 201
    first = api("POST", SCORES, headers={"idempotency-key": "k"})
    monkeypatch.setattr(CountingEngine, "_score", lambda *_: (_ for _ in ()).throw(UnscorableError("not any more")))
    assert api("POST", SCORES).status_code == 422
    assert api("POST", SCORES, headers={"idempotency-key": "k"}).content == first.content


def test_while_rows_are_taken_in_the_ordinary_way_waits_for_them(api) -> None:
    assert api("PUT", "/v1/batches/B1", json=BATCH).status_code == 201
    with api.service.engine_cache.transaction():
        answers = []
        asks = threading.Thread(target=lambda: answers.append(api("POST", SCORES)))
        asks.start()
        asks.join(0.3)
        assert not answers
    asks.join(5)
    assert answers[0].status_code == 200
