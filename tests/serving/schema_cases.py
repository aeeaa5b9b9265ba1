"""Cases made from the OpenAPI description, valid and not: every answer has to be one that the description knows."""

from collections import Counter

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import checks as known
from schemathesis.core.failures import FailureGroup

from serving.api.app import openapi
from tests.serving.api.conftest import Api
from tests.serving.desks import BATCH, reading

CHECKS = [known.not_a_server_error, known.status_code_conformance, known.content_type_conformance,
          known.response_schema_conformance]  # fmt: skip


def run_cases(api: Api, n_per_operation: int, *, seed: int = 0) -> Counter:
    """Send cases to every operation.

    Returns:
        How many answers there were by status.

    Raises:
        AssertionError: An answer was a server error, or not as described; with the case.
    """
    api("PUT", "/v1/batches/B1", json=BATCH)
    api("POST", "/v1/batches/B1/observations", json={"observations": [reading(1, 5.0)]})
    schema = schemathesis.openapi.from_dict(openapi(api.app))
    schema.app = api.app
    answers: Counter = Counter()
    for result in schema.get_all_operations():
        operation = result.ok()
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            _run(api, operation, mode, n_per_operation, answers)
    return answers


def _run(api: Api, operation, mode, n: int, answers: Counter) -> None:
    who = "reviewer" if operation.path.endswith("reviews") else "admin" if operation.path == "/metrics" else "mes"
    headers = {"Authorization": f"Bearer bg_{who}"}
    try:
        strategy = operation.as_strategy(generation_mode=mode)

        @given(case=strategy)
        @settings(max_examples=n, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        def send(case):
            response = case.call(headers=headers)
            answers[response.status_code] += 1
            case.validate_response(response, checks=CHECKS, headers=headers)

        send()
    except Unsatisfiable:
        assert mode is schemathesis.GenerationMode.NEGATIVE  # an operation without input has no wrong one
    except FailureGroup as group:
        raise AssertionError("\n".join(str(e) for e in group.exceptions)) from group
