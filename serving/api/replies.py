"""What routes share: headers and path parts, the problems they may answer with, and how an answer goes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from fastapi import Header, Path, Request, Response
from pydantic import BaseModel

from features.canonical import canonical
from serving.api import examples
from serving.api.guard import call_of
from serving.api.telemetry import Metrics
from serving.records.answers import Answer, Call
from serving.service.scoring_service import ScoringService

KEY_PATTERN = r"^[!-~]{1,200}$"
ScoreId = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$", description="The score")]
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


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries of the problems a route may answer with."""
    return {status: {"description": _TITLES[status], "content": _problem(status)} for status in statuses}


def _problem(status: int) -> dict[str, Any]:
    example = {"type": "about:blank", "title": _TITLES[status], "status": status,
               "request_id": examples.PROBLEM["request_id"]}  # fmt: skip
    return {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}}


READS = problems(400, 401, 403, 404, 422, 500, 503)
WRITES = problems(400, 401, 403, 404, 408, 409, 413, 415, 422, 500, 503)


def rows_answers(taken: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries of a route that takes rows: 422 may also tell what became of each."""
    both = {
        **_problem(422),
        "application/json": {"schema": {"$ref": f"#/components/schemas/{taken.__name__}"}},
    }
    return {**WRITES, 422: {"description": "The request does not fit, or no row was accepted", "content": both}}


def service_of(request: Request) -> ScoringService:
    """The desk of the app."""
    return request.app.state.service


def call_for(request: Request, key: str | None) -> Call:
    """The call that a request makes."""
    return call_of(request, key, request._body)


def as_json(content: Mapping[str, Any]) -> Response:
    """An answer that is not kept."""
    return Response(canonical(content), media_type="application/json")


def answered(answer: Answer) -> Response:
    """An answer that was committed, now or before."""
    headers = {"idempotent-replayed": "true"} if answer.replayed else None
    return Response(answer.body, answer.status, media_type="application/json", headers=headers)


def scored(request: Request, answer: Answer) -> Response:
    """A score, counted where it is new."""
    if not answer.replayed:
        metrics: Metrics = request.app.state.metrics
        metrics.scores.inc()
    return answered(answer)


def rows_told(request: Request, answer: Answer) -> Response:
    """What became of rows; counted where they were not told before."""
    if not answer.replayed:
        metrics: Metrics = request.app.state.metrics
        told = orjson.loads(answer.body)
        for verdict in ("accepted", "duplicates", "rejected"):
            metrics.rows.labels(verdict).inc(told[verdict])
    return answered(answer)
