"""What the Open Inference Protocol allows and promises on HTTP: its fields, addresses, media types and errors."""

import gzip
import json
from importlib.metadata import version

import pytest
from httpx2 import Response

from serving.records.store import RecordsUnavailableError
from serving.service import score_requests
from tests.serving.api.conftest import Api
from tests.serving.services import BATCH, reading

INFER = "/v2/models/soup/infer"
TENSOR = {"name": "batch_id", "datatype": "BYTES", "shape": [1], "data": ["B1"]}
PROBLEM = {"accept": "application/problem+json"}


@pytest.fixture
def api(shared_api) -> Api:
    shared_api("PUT", "/v1/batches/B1", json=BATCH)
    shared_api("POST", "/v1/batches/B1/observations", json={"observations": [reading(1, 5.0), reading(2, 7.0)]})
    return shared_api


def infer(api, *, tensor: dict | None = None, **more) -> Response:
    return api("POST", INFER, json={"inputs": [TENSOR | (tensor or {})]} | more)


def error_of(answer: Response) -> tuple[int, str]:
    """Status and text of an error, in the protocol's form and one line."""
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert "\n" not in error
    assert len(answer.content) < 4_000
    return answer.status_code, error


def scores_of(api) -> int:
    return len(api("GET", "/v1/batches/B1/scores?limit=200").json()["scores"])


def names_of(answer: Response) -> list[str]:
    return [output["name"] for output in answer.json()["outputs"]]


def test_the_server_says_its_name_its_release_and_that_it_knows_no_extension(api) -> None:
    for path in ("/v2", "/v2/"):
        told = api("GET", path).json()
        assert told == {"name": "batchguard", "version": version("batchguard"), "extensions": []}


def test_an_address_may_name_the_version_that_serves(api) -> None:
    for end in ("", "/ready"):
        plain, by_version = (api("GET", f"/v2/models/soup{part}{end}") for part in ("", "/versions/3"))
        assert (by_version.status_code, by_version.json()) == (200, plain.json())
        assert error_of(api("GET", f"/v2/models/soup/versions/4{end}")) == (
            404, "Not found: the serving model has another version. GET /v2/models/soup gives its version.",
        )  # fmt: skip
    body, before = {"inputs": [TENSOR]}, scores_of(api)
    assert api("POST", "/v2/models/soup/versions/3/infer", json=body).json()["model_version"] == "3"
    assert api("POST", "/v2/models/soup/versions/4/infer", json=body).status_code == 404
    assert scores_of(api) == before + 1


@pytest.mark.parametrize("path", ["/v2", "/v2/", "/v2/models/soup", "/v2/models/soup/ready", "/v2/health/ready"])
def test_an_address_may_end_in_a_slash_and_be_asked_for_its_head(api, path) -> None:
    told = api("GET", path)
    assert (told.status_code, api("GET", f"{path.rstrip('/')}/").json()) == (200, told.json())
    head = api("HEAD", path)
    assert (head.status_code, head.content, head.headers["content-type"]) == (200, b"", "application/json")
    assert head.headers["content-length"] == str(len(told.content))


def test_the_head_of_an_error_has_its_status_and_no_content(api) -> None:
    head = api("HEAD", "/v2/models/stew")
    assert (head.status_code, head.content, head.headers["content-type"]) == (404, b"", "application/json")


def test_outputs_are_those_that_are_wanted_in_their_order(api) -> None:
    every = ["failure_probability", "score_id", "score"]
    assert names_of(infer(api)) == names_of(infer(api, outputs=[])) == names_of(infer(api, outputs=None)) == every
    two = infer(
        api, outputs=[{"name": "score_id"}, {"name": "failure_probability", "parameters": {"binary_data": True}}]
    )
    assert names_of(two) == ["score_id", "failure_probability"]
    assert two.json()["outputs"][1] == {
        "name": "failure_probability", "datatype": "FP64", "shape": [1], "data": [0.5],
    }  # fmt: skip


@pytest.mark.parametrize(
    "more",
    [
        {"parameters": {"priority": 3, "timeout": 5, "sequence_id": 7, "binary_data_output": True}},
        {"parameters": {}},
        {"parameters": None},
        {"parameters": {"content_type": "str", "headers": {"nested": ["as", "MLServer's"]}}},
        {"tensor": {"parameters": {"content_type": "str"}}},
        {"model_name": "soup"},
        {"model_name": "soup", "model_version": "3"},
        {"model_version": ""},
    ],
)
def test_what_has_no_meaning_here_is_ignored(api, more) -> None:
    assert infer(api, **more).json()["outputs"][0]["data"] == [0.5]


@pytest.mark.parametrize(
    ("more", "status", "said"),
    [
        ({"tensor": {"parameters": {"binary_data_size": 6}}}, 422, "parameter binary_data_size: expected `data` in the JSON"),
        ({"tensor": {"parameters": {"shared_memory_region": "r"}}}, 422, "parameter shared_memory_region"),
        ({"outputs": [{"name": "score", "parameters": {"classification": 2}}]}, 422, "parameter classification"),
        ({"outputs": [{"name": "score", "parameters": {"shared_memory_region": "r"}}]}, 422, "shared_memory_region"),
        ({"outputs": [{"name": "risk"}]}, 422, "body/outputs/0/name: Input should be 'failure_probability', 'score_id'"),
        ({"outputs": [{"name": "score"}, {"name": "score"}]}, 422, "an output is wanted twice"),
        ({"outputs": [{}]}, 422, "body/outputs/0/name: Field required"),
        ({"parameters": [1]}, 422, "body/parameters"),
        ({"model_name": "stew"}, 422, "the body names another model than the address"),
        ({"model_version": "4"}, 404, "the serving model has another version"),
        ({"output": []}, 422, "body/output: Extra inputs are not permitted"),
        ({"id": 7}, 422, "body/id: Input should be a valid string"),
    ],
)  # fmt: skip
def test_what_would_be_answered_otherwise_than_asked_is_refused_before_anything_is_scored(
    api, more, status, said
) -> None:
    before = scores_of(api)
    found, error = error_of(infer(api, **more))
    assert found == status
    assert said in error
    assert scores_of(api) == before


def test_an_id_comes_back_and_is_left_out_where_none_was_given(api) -> None:
    assert infer(api, id="q-1").json()["id"] == "q-1"
    assert "id" not in infer(api).json()


BODY = json.dumps({"inputs": [TENSOR]}).encode()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": ""},
        {"content-type": "application/json; charset=utf-8"},
        {"content-type": "Application/JSON"},
        {"content-type": "application/octet-stream", "inference-header-content-length": str(len(BODY))},
        {"inference-header-content-length": str(len(BODY))},
        {"accept-encoding": "gzip", "accept": "*/*"},
    ],
)
def test_json_is_read_with_and_without_a_media_type(api, headers) -> None:
    assert api("POST", INFER, content=BODY, headers=headers).json()["outputs"][0]["data"] == [0.5]


@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        (BODY + b"\2\0\0\0B1", {"inference-header-content-length": str(len(BODY))}, 400, "binary tensors are not read"),
        (BODY, {"inference-header-content-length": "7"}, 400, "binary tensors are not read"),
        (BODY, {"inference-header-content-length": "x"}, 400, "binary tensors are not read"),
        (BODY + b"\2\0\0\0B1", {}, 400, "the body is not valid JSON"),
        (BODY, {"content-type": "application/octet-stream"}, 415, "the body is not declared as JSON"),
        (BODY, {"content-type": "text/plain"}, 415, "the body is not declared as JSON"),
        (gzip.compress(BODY, mtime=0), {"content-encoding": "gzip"}, 415, "Compressed bodies are not accepted"),
        (gzip.compress(BODY, mtime=0), {"content-encoding": "deflate"}, 415, "Compressed bodies are not accepted"),
        (b"", {}, 422, "body: Field required"),
        (b" " * 200_001, {}, 413, "The body is too large"),
    ],
)  # fmt: skip
def test_a_body_that_cannot_be_read_is_refused_in_the_protocols_form(api, body, headers, status, said) -> None:
    found, error = error_of(api("POST", INFER, content=body, headers=headers))
    assert found == status
    assert said in error


@pytest.mark.parametrize(
    ("method", "path", "who", "status"),
    [
        ("GET", "/v2", "nobody", 401),
        ("GET", "/v2/models/soup", "nobody", 401),
        ("POST", INFER, "viewer", 403),
        ("GET", "/v2/models/stew", "mes", 404),
        ("GET", "/v2/models/-", "mes", 422),
        ("GET", "/v2/nothing", "mes", 404),
        ("GET", "/v2/models/soup/config", "mes", 404),
        ("GET", "/v2/repository/index", "mes", 404),
        ("PUT", "/v2/models/soup", "mes", 405),
        ("GET", INFER, "mes", 405),
        ("GET", "/v2?verbose=1", "mes", 422),
    ],
)
def test_every_error_has_the_protocols_form_and_is_a_problem_for_who_accepts_that(
    api, method, path, who, status
) -> None:
    answer = api(method, path, who=who)
    assert error_of(answer)[0] == status
    assert answer.json()["status"] == status
    asked = api(method, path, who=who, headers=PROBLEM)
    assert (asked.status_code, asked.headers["content-type"]) == (status, "application/problem+json")
    assert asked.json().keys() == answer.json().keys()
    assert all(answer.headers.get(name) == asked.headers.get(name) for name in ("allow", "www-authenticate"))


@pytest.mark.parametrize(("error", "status"), [(RecordsUnavailableError("away"), 503), (ZeroDivisionError(), 500)])
def test_an_error_of_the_endpoint_has_the_protocols_form(api, monkeypatch, error, status) -> None:
    def broken(*_, **__) -> None:
        raise error

    monkeypatch.setattr(score_requests, "score_all", broken)
    assert error_of(infer(api))[0] == status


def test_a_long_list_of_mistakes_is_one_short_line(api) -> None:
    tensor = {"name": "batch_id", "datatype": "BYTES", "shape": [32], "data": [1] * 32}
    status, error = error_of(api("POST", INFER, json={"inputs": [tensor]}))
    assert status == 422
    assert error.startswith(
        "The request does not fit the schema: body/inputs/0/data/0: Input should be a valid string; "
    )
    assert error.endswith("; 29 more")
    assert len(error) < 300


def test_what_is_not_ready_says_so_in_the_protocols_form(api, monkeypatch) -> None:
    def away() -> None:
        raise RecordsUnavailableError("away")

    monkeypatch.setattr(api.service.engine_cache, "reading", away)
    status, error = error_of(api.client.get("/v2/health/ready"))
    assert (status, error) == (503, "the records cannot be used now. Try again.")
    assert api.client.get("/v2/health/ready").json()["ready"] is False
    assert error_of(api("GET", "/v2/models/soup/ready"))[0] == 503


@pytest.mark.parametrize("path", ["/v1/batches/B0/scores", "/v1/nothing", "/v20", "/v2x/models"])
def test_other_addresses_answer_problems_as_before(api, path) -> None:
    answer = api("GET", path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert "error" not in answer.json()


def test_a_body_of_v1_without_a_media_type_is_refused_as_before(api) -> None:
    assert api("POST", "/v1/batches/B1/scores", content=b"{}").status_code == 415
    assert api("GET", "/v1/batches/").status_code == 404
