from collections.abc import Iterator

import jsonschema_rs
import pytest

from benchmarks.serving.cases import run_cases
from serving.api.app import openapi
from tests.serving.services import BATCH, reading


@pytest.fixture(scope="module")
def description(shared_api) -> dict:
    return openapi(shared_api.app)


def operations(description) -> Iterator[tuple[str, dict]]:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_every_operation_says_what_it_does_what_it_needs_and_how_it_refuses(description) -> None:
    for name, operation in operations(description):
        assert operation["description"], name
        assert "x-permission" in operation, name
        is_open = operation["x-permission"] == "open"
        assert (operation["security"] == []) is is_open, name
        assert is_open or {"401", "403"} <= set(operation["responses"]), name
        schemas = str(operation["responses"])
        assert "HTTPValidationError" not in schemas, name


def test_every_body_has_an_example_that_fits_its_schema(description) -> None:
    found = 0
    for name, operation in operations(description):
        if "requestBody" not in operation:
            continue
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        reference = schema.get("$ref") or next(s["$ref"] for s in schema["anyOf"] if "$ref" in s)
        model = description["components"]["schemas"][reference.rsplit("/", 1)[1]]
        assert model["examples"], name
        validator = jsonschema_rs.validator_for({"$ref": reference, "components": description["components"]})
        for example in model["examples"]:
            assert validator.is_valid(example), (name, example)
            found += 1
    assert found >= 6


def test_every_answer_has_an_example_that_fits_its_schema(description) -> None:
    found = 0
    for name, operation in operations(description):
        for status, answer in operation["responses"].items():
            for kind, content in answer["content"].items():
                if kind == "text/plain":
                    assert content["example"], name
                    continue
                reference = content["schema"]["$ref"]
                model = description["components"]["schemas"][reference.rsplit("/", 1)[1]]
                given = [content["example"]] if "example" in content else model.get("examples", [])
                assert given, (name, status, kind)
                validator = jsonschema_rs.validator_for({"$ref": reference, "components": description["components"]})
                for example in given:
                    assert validator.is_valid(example), (name, status, example)
                    found += 1
    assert found > 150


def test_the_description_is_given_out(shared_api, description) -> None:
    assert shared_api("GET", "/openapi.json").json()["paths"].keys() == description["paths"].keys()


def test_cases_made_from_the_description_give_no_server_error_and_no_surprise(shared_api) -> None:
    shared_api("PUT", "/v1/batches/B1", json=BATCH)
    shared_api("POST", "/v1/batches/B1/observations", json={"observations": [reading(1, 5.0)]})
    answers = run_cases(shared_api.app, lambda role: f"bg_{role}", 8)
    assert sum(answers.values()) >= 150
    assert answers[200] > 20


def test_the_decision_of_version_1_is_marked_deprecated_and_call_and_support_stand_beside_it(description) -> None:
    fields = description["components"]["schemas"]["Score"]["properties"]
    assert {name for name, field in fields.items() if field.get("deprecated")} == {"decision", "cause"}
    assert fields["call"]["anyOf"][0]["enum"] == ["none yet", "low", "elevated", "high"]
    assert fields["support"]["anyOf"][0]["enum"] == ["sufficient", "limited", "none"]
