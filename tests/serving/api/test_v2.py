import json
from dataclasses import replace

import pytest

from serving.records.store import RecordsUnavailableError
from serving.service import score_requests
from tests.serving.api.conftest import Api
from tests.serving.services import BATCH, reading

INFER = "/v2/models/soup/infer"


@pytest.fixture
def api(shared_api) -> Api:
    shared_api("PUT", "/v1/batches/B1", json=BATCH)
    shared_api("POST", "/v1/batches/B1/observations", json={"observations": [reading(1, 5.0), reading(2, 7.0)]})
    return shared_api


def tensor(name, *data, **more) -> dict:
    return {"name": name, "datatype": "BYTES", "shape": [len(data)], "data": list(data)} | more


def test_every_row_gives_a_kept_score(api) -> None:
    as_of = tensor("as_of", "2026-03-01T01:30:00Z", "2026-03-01T05:00:00Z")
    told = api("POST", INFER, json={"id": "q", "inputs": [tensor("batch_id", "B1", "B1"), as_of]}).json()
    by_name = {output["name"]: output["data"] for output in told["outputs"]}
    assert (told["id"], told["model_name"], told["model_version"]) == ("q", "soup", "3")
    assert by_name["failure_probability"] == [0.0, 0.5]
    kept = [api("GET", f"/v1/scores/{score_id}").json() for score_id in by_name["score_id"]]
    assert [json.loads(text) | {"reviews": []} for text in by_name["score"]] == kept


def test_the_same_key_and_body_give_the_same_scores_and_another_body_is_a_conflict(api) -> None:
    body, headers = {"inputs": [tensor("batch_id", "B1", "B1")]}, {"idempotency-key": "infer"}
    first = api("POST", INFER, json=body, headers=headers)
    again = api("POST", INFER, json=body, headers=headers)
    assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
    assert "idempotent-replayed" not in first.headers
    other = api("POST", INFER, json={"inputs": [tensor("batch_id", "B1")]}, headers=headers)
    assert (other.status_code, other.headers["content-type"]) == (409, "application/json")
    assert (
        api("POST", "/v1/batches/B1/scores", headers=headers).status_code == 409
    )  # a key is of one request on every route


def test_a_repeated_request_by_version_gets_its_answer_after_a_newer_release(api, monkeypatch) -> None:
    body, headers = {"inputs": [tensor("batch_id", "B1", "B1")]}, {"idempotency-key": "by-version"}
    by_version = "/v2/models/soup/versions/3/infer"
    first = api("POST", by_version, json=body, headers=headers)
    before = scores_of(api, "B1")
    with api.service.engine_cache.reading() as (engine, _):
        monkeypatch.setattr(engine, "_model", replace(engine.model(), version="4"))
    assert api("GET", "/v2/models/soup").json()["versions"] == ["4"]
    assert api("POST", by_version, json=body).status_code == 404  # a new request: this version serves no more
    again = api("POST", by_version, json=body, headers=headers)
    assert (again.status_code, again.content, again.headers["idempotent-replayed"]) == (200, first.content, "true")
    assert again.json()["model_version"] == "3"
    other = api("POST", by_version, json={"inputs": [tensor("batch_id", "B1")]}, headers=headers)
    assert other.status_code == 409
    assert scores_of(api, "B1") == before


def scores_of(api: Api, batch_id: str) -> set[str]:
    return {score["score_id"] for score in api("GET", f"/v1/batches/{batch_id}/scores").json()["scores"]}


@pytest.mark.parametrize(
    ("last", "as_of", "status"),
    [("none", "2026-03-01T05:00:00Z", 404), ("B1", "2026-02-01T05:00:00Z", 422), ("B1", "2099-03-01T05:00:00Z", 422)],
)
def test_of_several_batches_all_are_scored_and_kept_or_none(api, last, as_of, status) -> None:
    before = scores_of(api, "B1")
    times = tensor("as_of", "2026-03-01T05:00:00Z", as_of)
    body, headers = {"inputs": [tensor("batch_id", "B1", last), times]}, {"idempotency-key": f"all-{last}-{as_of}"}
    assert api("POST", INFER, json=body, headers=headers).status_code == status
    assert scores_of(api, "B1") == before
    right = {"inputs": [tensor("batch_id", "B1", "B1")]}
    assert api("POST", INFER, json=right, headers=headers).status_code == 200  # a refusal takes no key
    assert len(scores_of(api, "B1")) == len(before) + 2


def test_records_that_fail_half_way_keep_none_and_the_next_attempt_makes_all(api, monkeypatch) -> None:
    store, calls = score_requests._store, []

    def once_broken(*arguments) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise RecordsUnavailableError("away")
        store(*arguments)

    monkeypatch.setattr(score_requests, "_store", once_broken)
    before = scores_of(api, "B1")
    body, headers = {"inputs": [tensor("batch_id", "B1", "B1")]}, {"idempotency-key": "half"}
    assert api("POST", INFER, json=body, headers=headers).status_code == 503
    assert scores_of(api, "B1") == before
    told = {
        output["name"]: output["data"] for output in api("POST", INFER, json=body, headers=headers).json()["outputs"]
    }
    assert scores_of(api, "B1") - before == set(told["score_id"])


@pytest.mark.parametrize(
    "inputs",
    [
        [],
        [tensor("as_of", "2026-03-01T05:00:00Z")],
        [tensor("batch_id", "B1"), tensor("batch_id", "B1")],
        [tensor("batch_id", "B1", shape=[2])],
        [tensor("batch_id", "B1"), tensor("as_of", "2026-03-01T05:00:00Z", "2026-03-01T06:00:00Z")],
        [tensor("batch_id", *["B1"] * 33)],
        [tensor("batch_id")],
        [tensor("batch_id", "")],
        [tensor("batch_id", "B1\n")],
        [tensor("batch_id", "b" * 121)],
        [tensor("batch_id", 1)],
        [tensor("batch_id", "B1"), tensor("as_of", "now")],
        [tensor("batch_id", "B1", datatype="FP32")],
    ],
)
def test_tensors_that_do_not_fit_are_refused(api, inputs) -> None:
    assert api("POST", INFER, json={"inputs": inputs}).status_code == 422


@pytest.mark.parametrize("as_of", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
def test_a_time_that_the_calendar_does_not_have_is_refused(api, as_of) -> None:
    answer = api("POST", INFER, json={"inputs": [tensor("batch_id", "B1"), tensor("as_of", as_of)]})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/json")


def test_only_the_model_that_speaks_is_there(api) -> None:
    assert api("GET", "/v2/models/soup").json()["versions"] == ["3"]
    assert api("GET", "/v2/models/soup/ready").json() == {"name": "soup", "ready": True}
    for path in ("/v2/models/stew", "/v2/models/stew/ready"):
        assert api("GET", path).status_code == 404
    assert api("POST", "/v2/models/stew/infer", json={"inputs": [tensor("batch_id", "B1")]}).status_code == 404
    assert api.client.get("/v2/health/ready").json() == {"ready": True}
    assert api.client.get("/v2/health/live").json() == {"live": True}
