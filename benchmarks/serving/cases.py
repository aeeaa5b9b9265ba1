"""Cases made from the OpenAPI description, valid and not: every answer has to be one that the description knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import checks as known
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation

from benchmarks.record import figure
from benchmarks.serving.place import HOUR_US, Place, batch, observations
from serving.access.keys import add_key
from serving.api.app import openapi
from serving.audit.chain import Actor
from serving.ids import now_us
from serving.main import assemble
from serving.model_releases import KEYS
from serving.records.store import Records
from serving.settings import EndpointSettings

CASES_PER_OPERATION = 220
CHECKS = [known.not_a_server_error, known.status_code_conformance, known.content_type_conformance,
          known.response_schema_conformance]  # fmt: skip
Credential = Callable[[str], str]


def figures_of(place: Place) -> list[dict[str, object]]:
    """Cases sent to the whole endpoint over the place's model; one that it should not answer so raises."""
    url = f"sqlite:///{place.root / 'cases.db'}"
    settings = EndpointSettings(records_url=url, anchor=place.root / "cases.anchor", max_body_bytes=200_000)
    records = Records(url)
    records.prepare()
    place.release_first(records)
    records.close()
    app = assemble(settings, place.bundles, place.data_dir / KEYS, "bench")
    credential, began = _keys(url), now_us() - 24 * HOUR_US
    mes = TestClient(app, headers={"authorization": f"Bearer {credential('mes')}"})
    assert mes.put("/v1/batches/B1", json=batch(began)).status_code == 201
    sent = observations(began, 0, 5, np.random.default_rng(5))
    assert mes.post("/v1/batches/B1/observations", json={"observations": sent}).status_code == 200
    answers = run_cases(app, credential, CASES_PER_OPERATION)
    app.state.service.close()
    n, errors = sum(answers.values()), sum(count for status, count in answers.items() if status >= 500)
    return [
        figure("cases made from the OpenAPI description, valid and not", n, "cases", bound=5_000, n=n,
               note=f"answers by status {dict(sorted(answers.items()))}; none that the description does not know"),
        figure("server errors among them", errors, "cases", bound=0, side="max", n=n),
    ]  # fmt: skip


def run_cases(app: FastAPI, credential: Credential, n_per_operation: int) -> Counter:
    """Send cases to every operation.

    Args:
        app: Holds a batch `B1`.
        credential: Key of a role.
        n_per_operation: So many that fit the description, and so many that do not.

    Returns:
        How many answers there were by status.

    Raises:
        AssertionError: An answer was a server error, or not as described; with the case.
    """
    schema = schemathesis.openapi.from_dict(openapi(app))
    schema.app = app
    answers: Counter = Counter()
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), "the description of a route cannot be read"
        operation = result.ok()
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            _run(credential, operation, mode, n_per_operation, answers)
    return answers


def _run(
    credential: Credential, operation: APIOperation, mode: schemathesis.GenerationMode, n: int, answers: Counter
) -> None:
    who = "reviewer" if operation.path.endswith("reviews") else "admin" if operation.path == "/metrics" else "mes"
    headers = {"Authorization": f"Bearer {credential(who)}"}
    try:
        strategy = operation.as_strategy(generation_mode=mode)

        @given(case=strategy)
        @settings(max_examples=n, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        def send(case: schemathesis.Case) -> None:
            response = case.call(headers=headers)
            answers[response.status_code] += 1
            case.validate_response(response, checks=CHECKS, headers=headers)

        send()
    except Unsatisfiable:
        assert mode is schemathesis.GenerationMode.NEGATIVE  # an operation without input has no wrong one
    except FailureGroup as group:
        raise AssertionError("\n".join(str(e) for e in group.exceptions)) from group


def _keys(url: str) -> Credential:
    records, made = Records(url), {}
    for role, kind in (("mes", "service"), ("reviewer", "person"), ("admin", "person")):
        _, made[role] = add_key(records, name=role, kind=kind, role=role, sites=["*"], expires_us=None,
                                actor=Actor("bench", "operator", "bench"))  # fmt: skip
    records.close()
    return made.__getitem__
