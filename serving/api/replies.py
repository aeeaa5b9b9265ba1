"""Parts that routes share: parameters, OpenAPI entries of problems, responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeAlias

import orjson
from fastapi import Header, Path, Request, Response
from pydantic import BaseModel, JsonValue

from features.canonical import canonical
from serving.api import examples
from serving.api.guard import call_from, request_id_of
from serving.api.middleware import Metrics
from serving.records.answers import Answer, Call
from serving.service.scoring_service import ScoringService

Responses: TypeAlias = dict[int | str, dict[str, JsonValue]]  # OpenAPI entries by status
KEY_PATTERN = r"^[!-~]{1,200}$"
SCORE_ID_PATTERN = r"^[0-9a-f-]{36}$"
ScoreId = Annotated[str, Path(pattern=SCORE_ID_PATTERN, description="The score")]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=KEY_PATTERN,
        description="Same key and body: the stored answer. Same key, other body: 409.",
    ),
]

_TITLES = {
    400: "Not JSON as it is accepted here", 401: "Not authenticated", 403: "Not allowed", 404: "Not found",
    408: "The body took too long", 409: "Conflict, or still being answered", 413: "Too large", 415: "Not JSON, or compressed",
    422: "Does not fit", 429: "Too many at once, or too often", 500: "An error of the endpoint", 503: "Try again",
}  # fmt: skip


def problems(*statuses: int) -> Responses:
    """OpenAPI entries of the problems a route may answer with."""
    return {status: {"description": _TITLES[status], "content": _problem(status)} for status in statuses}


def _problem(status: int) -> dict[str, JsonValue]:
    example = {"type": "about:blank", "title": _TITLES[status], "status": status,
               "request_id": examples.PROBLEM["request_id"]}  # fmt: skip
    return {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}}


READS = problems(400, 401, 403, 404, 422, 500, 503)
WRITES = problems(400, 401, 403, 404, 408, 409, 413, 415, 422, 500, 503)


def rows_responses(taken: type[BaseModel]) -> Responses:
    """OpenAPI entries of a route that takes rows: 422 may also list the verdicts on the rows."""
    verdicts: dict[str, JsonValue] = {"schema": {"$ref": f"#/components/schemas/{taken.__name__}"}}
    content: dict[str, JsonValue] = {**_problem(422), "application/json": verdicts}
    return {**WRITES, 422: {"description": "The request does not fit, or no row was accepted", "content": content}}


def service_of(request: Request) -> ScoringService:
    """The scoring service of the app."""
    return request.app.state.service


def call_for(request: Request, key: str | None) -> Call:
    """The call of a routed request."""
    target = f"{request.method} {request.url.path}?{request.url.query}"
    principal, request_id = request.state.principal, request_id_of(request)
    return call_from(service_of(request), principal, request_id, key, target, request._body)


def as_json(content: Mapping[str, object], status: int = 200) -> Response:
    """A response that is not stored."""
    return Response(canonical(content), status, media_type="application/json")


def answered(answer: Answer) -> Response:
    """The response of an answer that is committed."""
    headers = {"idempotent-replayed": "true"} if answer.replayed else None
    return Response(answer.body, answer.status, media_type="application/json", headers=headers)


def scored(request: Request, answer: Answer) -> Response:
    """The response of a score; a new score is counted."""
    if not answer.replayed:
        _metrics(request).count_score(request.state.principal)
    return answered(answer)


def rows_taken(request: Request, answer: Answer) -> Response:
    """The response of rows; rows of a request that was not answered before are counted."""
    if not answer.replayed:
        _metrics(request).count_rows(request.state.principal, orjson.loads(answer.body))
    return answered(answer)


def _metrics(request: Request) -> Metrics:
    return request.app.state.metrics
