from typing import Never

import pytest

from serving.records.writable import WritableCheck
from tests.serving.api.conftest import Api
from tests.serving.counting_engine import CountingEngine
from tests.serving.services import BATCH, reading

SCORES = "/v1/batches/B1/scores"
ROWS = "/v1/batches/B1/observations"
SIGNED = {"decision": "agree", "reason": "saw it", "meaning": "review", "signer": "user:anna"}
SHOWN = {"signature-credential": "bg_reviewer"}


@pytest.fixture
def running(api) -> Api:
    assert api("PUT", "/v1/batches/B1", json=BATCH).status_code == 201
    assert api("POST", ROWS, json={"observations": [reading(1, 5.0), reading(2, 7.0)]}).json()["accepted"] == 2
    return api


def test_a_batch_is_put_filled_scored_reviewed_and_read_back(running) -> None:
    score = running("POST", SCORES, json={"as_of": "2026-03-01T20:00:00+01:00"}).json()
    assert (score["failure_probability"], score["as_of"]) == (0.5, "2026-03-01T19:00:00.000000Z")
    review = running("POST", f"/v1/scores/{score['score_id']}/reviews", who="reviewer",
                     json=SIGNED, headers=SHOWN)  # fmt: skip
    assert review.status_code == 201
    assert running("GET", f"/v1/scores/{score['score_id']}", who="viewer").json() == score | {
        "reviews": [review.json()]
    }
    assert running("GET", SCORES, who="viewer").json() == {"scores": [score], "next": None}
    [batch] = running("GET", "/v1/batches").json()["batches"]
    assert (batch["batch_id"], batch["revision"], batch["site_id"]) == ("B1", 0, "north")
    assert running("GET", "/v1/model").json() == score["model"] | {
        "stale_since_us": None, "stale_because": None, "thresholds": None, "intended_use": None,
    }  # fmt: skip


def test_a_score_without_a_body_speaks_of_now(running) -> None:
    assert running("POST", SCORES).json()["as_of"] == "2026-03-02T12:00:00.000000Z"


def test_a_history_inline_is_scored_without_being_taken_in(api) -> None:
    body = {"batch": BATCH | {"batch_id": "X"}, "observations": [reading(1, 9.0)]}
    score = api("POST", "/v1/scores", json=body).json()
    assert (score["failure_probability"], score["batch_id"]) == (1.0, "X")
    assert api("GET", "/v1/batches").json()["batches"] == []


def test_the_same_key_and_bytes_are_answered_the_same_and_another_body_is_a_conflict(running) -> None:
    headers = {"idempotency-key": "abc"}
    first = running("POST", SCORES, headers=headers, json={"as_of": "2026-03-01T20:00:00Z"})
    again = running("POST", SCORES, headers=headers, json={"as_of": "2026-03-01T20:00:00Z"})
    other = running("POST", SCORES, headers=headers, json={"as_of": "2026-03-01T21:00:00Z"})
    assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
    assert "idempotent-replayed" not in first.headers
    assert (other.status_code, other.headers["content-type"]) == (409, "application/problem+json")
    assert len(running("GET", SCORES).json()["scores"]) == 1


def test_results_of_lots_and_samples_of_rooms_are_told_each_by_its_own_way_in(running) -> None:
    air = {"site_id": "north", "metric": "viable_air_cfu_m3", "observed_at": "2026-02-28T00:00:00Z", "value": 3}
    lot = {
        "lot_id": "L1",
        "material": "broth",
        "parameter": "purity_pct",
        "observed_at": "2026-02-01T00:00:00Z",
        "value": 97,
    }
    for path, name, row in (("/v1/environment", "environment", air), ("/v1/lot-results", "lot_results", lot)):
        told = running("POST", path, json={name: [row, row, row | {"value": 98}]}, headers={"idempotency-key": name})
        assert told.status_code == 200
        assert {n: told.json()[n] for n in ("accepted", "duplicates", "rejected")} == {
            "accepted": 1, "duplicates": 1, "rejected": 1,
        }  # fmt: skip
        again = running("POST", path, json={name: [row, row, row | {"value": 98}]}, headers={"idempotency-key": name})
        assert (again.content, again.headers["idempotent-replayed"]) == (told.content, "true")
        assert running("POST", path, json={name: [row | {"value": -1}]}).status_code == 422


def test_rows_that_are_all_rejected_are_422_with_the_reason_of_each(running) -> None:
    told = running("POST", ROWS, json={"observations": [reading(3, 5.0, unit="mol"), reading(4, 999.0)]})
    assert told.status_code == 422
    assert [r["code"] for r in told.json()["rejections"]] == ["unit_mismatch", "out_of_range"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/v1/batches/none/scores", 404), ("GET", "/v1/batches/none/scores", 404), ("GET", f"/v1/scores/{'0' * 36}", 404),
     ("GET", "/v1/nothing", 404), ("DELETE", "/v1/batches/B1", 405), ("GET", "/v1/batches/", 404)],
)  # fmt: skip
def test_what_is_not_there_is_a_problem(api, method, path, status) -> None:
    answer = api(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["status"] == status


def test_every_answer_has_our_request_id_and_says_not_to_be_kept(running) -> None:
    answer = running("POST", SCORES)
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["cache-control"] == "no-store"


def test_health_needs_no_key_and_metrics_do(running) -> None:
    assert running.client.get("/health/live").json() == {"status": "ok"}
    assert running.client.get("/health/ready").json() == {"status": "ok", "records": "ok", "model": "ok"}
    assert running.client.get("/metrics").status_code == 401
    running("POST", SCORES)
    text = running("GET", "/metrics", who="monitor").text
    assert "batchguard_scores_total 1.0" in text
    assert 'batchguard_rows_total{verdict="accepted"} 2.0' in text
    assert 'route="/v1/batches/{batch_id}/scores"' in text


def test_metrics_of_a_principal_of_some_sites_count_nothing_of_other_sites(running) -> None:
    running("POST", SCORES)
    running("POST", SCORES, who="north")
    running("POST", SCORES, who="south")  # not found
    seen, whole = running("GET", "/metrics", who="viewer").text, running("GET", "/metrics", who="monitor").text
    assert "batchguard_scores_total 1.0" in seen
    assert "batchguard_scores_total 2.0" in whole
    assert 'status="404"' not in seen
    assert 'status="404"' in whole
    assert "batchguard_rows_total{" not in seen


SUBGROUPS = {"site.before_start.value": {"north": 40, "south": 25}, "product.before_start.value": {"soup": 65}}


@pytest.mark.parametrize(
    ("who", "seen"),
    [
        ("mes", SUBGROUPS), ("admin", SUBGROUPS), ("north", {"site.before_start.value": {"north": 40}}),
        ("reviewer", {"site.before_start.value": {"north": 40}}), ("south", {"site.before_start.value": {"south": 25}}),
    ],
)  # fmt: skip
def test_the_model_shows_no_names_and_numbers_of_other_sites(running, monkeypatch, who, seen) -> None:
    released = {"intended_use": {"question": "Will it fail?", "subgroups": SUBGROUPS}, "thresholds": {"sets": {}}}
    monkeypatch.setattr(CountingEngine, "released_for", lambda _: released)
    monkeypatch.setattr(running.service.staleness, "because", "the row of batch S7 at site south is refused")
    model = running("GET", "/v1/model", who=who).json()
    assert model["intended_use"] == {"question": "Will it fail?", "subgroups": seen}
    assert ("S7" in model["stale_because"]) == (who in ("mes", "admin"))


def test_readiness_says_no_while_nothing_can_be_written_and_yes_again_afterwards(running, monkeypatch) -> None:
    steady = 0
    check = WritableCheck(running.service.records, steady=lambda: steady)
    monkeypatch.setitem(vars(running.service), "disk", check)
    assert running.client.get("/health/ready").status_code == 200
    with monkeypatch.context() as full:
        begin = running.service.records._begin
        full.setattr(running.service.records, "_begin", lambda options: broken(options) if options else begin(options))
        assert running.client.get("/health/ready").status_code == 200  # found out within a second
        steady = 1_000_000
        for path in ("/health/ready", "/v2/health/ready"):
            assert running.client.get(path).status_code == 503
        assert running.client.get("/health/live").status_code == 200
    steady = 2_000_000
    assert running.client.get("/health/ready").json()["status"] == "ok"


def test_readiness_answers_at_once_while_a_model_is_loaded(running, monkeypatch) -> None:
    monkeypatch.setattr(running.service.engine_cache, "_filling", True)
    answer = running.client.get("/health/ready")
    assert (answer.status_code, answer.json()["model"]) == (503, "unavailable")


def test_an_error_of_the_endpoint_is_a_problem_that_tells_nothing(running, monkeypatch) -> None:
    monkeypatch.setattr("serving.service.score_requests._kept", lambda *_, **__: 1 / 0)
    answer = running("POST", SCORES)
    assert answer.status_code == 500
    assert "ZeroDivision" not in answer.text


def test_records_that_are_away_give_503_and_no_score(running, monkeypatch) -> None:
    monkeypatch.setattr(running.service.records, "_begin", broken)
    answer = running("POST", SCORES)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "failure_probability" not in answer.text
    assert running.client.get("/health/ready").json() == {"status": "unavailable", "records": "unavailable"}


def broken(_) -> Never:
    from sqlalchemy.exc import OperationalError

    raise OperationalError("SELECT secret", {}, Exception("password=1"))


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("DELETE", "/v1/batches/B1", "PUT"), ("PATCH", SCORES, "HEAD, GET, POST"), ("OPTIONS", "/v1/model", "HEAD, GET"),
     ("POST", "/health/live", "HEAD, GET"), ("BREW", "/v1/scores", "POST")],
)  # fmt: skip
def test_a_method_that_is_not_there_is_a_problem_that_names_those_that_are(api, method, path, allowed) -> None:
    answer = api(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/health/live", "/v1/model", "/v1/batches", "/v1/nothing", "/openapi.json"])
def test_head_is_answered_as_get_without_content(running, path) -> None:
    got, asked = running("GET", path), running("HEAD", path)
    assert (asked.status_code, asked.content) == (got.status_code, b"")
    assert asked.headers["content-length"] == got.headers["content-length"]
    assert asked.headers["content-type"] == got.headers["content-type"]


def test_words_in_the_place_of_a_method_make_no_series_of_their_own(running) -> None:
    for i in range(5):
        running(f"WORD{i}", "/v1/model")
    text = running("GET", "/metrics", who="monitor").text
    assert "WORD" not in text
    assert 'method="other"' in text
