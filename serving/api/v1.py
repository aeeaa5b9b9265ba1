"""Routes of version 1."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import orjson
from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import JsonValue
from pydantic_core import to_jsonable_python

from serving.access.signing import Signature, Signing
from serving.api import examples, fields, replies, requests, responses
from serving.api.guard import PERMISSION, GuardedRoute
from serving.api.replies import READS, WRITES, Key, ScoreId, answered, as_json, call_for, service_of
from serving.audit.readable_copy import readable
from serving.ids import microseconds
from serving.service import intake, reviews, score_queries, score_requests
from serving.service.visible_model import visible_reason, visible_release

router = APIRouter(prefix="/v1", route_class=GuardedRoute)
_READ, _SCORE = {PERMISSION: "read"}, {PERMISSION: "score"}
_WRITE_BATCHES, _WRITE_PLANT = {PERMISSION: "write_batches"}, {PERMISSION: "write_plant"}
_PLANT_ROWS = replies.rows_responses(responses.PlantRowsTaken)
_QUERIES = replies.problems(400, 401, 403, 404, 409, 422, 429, 500, 503)

BatchId = Annotated[fields.Id, Path(description="The batch", examples=["B-2026-0117"])]
Credential = Annotated[
    str | None,
    Header(
        alias="Signature-Credential",
        pattern=r"^[!-~]{1,8192}$",
        description="The signer's own API key once more, or a token from a login just now (`auth_time`)",
    ),
]
Limit = Annotated[int, Query(ge=1, le=500)]
Reason = Annotated[fields.Text, Query(description="Why a batch is corrected; goes into the audit trail")]
Deviation = Annotated[
    fields.Id | None,
    Query(
        description="Only reviews that name this deviation, spelled exactly so; absent: all", examples=["DEV-2026-031"]
    ),
]
BeforeReview = Annotated[
    str | None, Query(pattern=replies.SCORE_ID_PATTERN, description="`next` of the page before; absent: the newest")
]
Since = Annotated[
    str | None,
    Query(
        pattern=replies.SCORE_ID_PATTERN,
        description="An earlier score of the batch; absent: the one made before this one",
    ),
]


@router.put("/batches/{batch_id}", response_model=responses.Taken, openapi_extra=_WRITE_BATCHES,
            responses={201: {"model": responses.Taken, "description": "A new batch"}, **WRITES})  # fmt: skip
def put_batch(
    request: Request, batch_id: BatchId, batch: requests.Batch, key: Key = None, reason: Reason = ""
) -> Response:
    """Take in a batch; the same again changes nothing, another content is kept as a new revision."""
    return answered(intake.put_batch(service_of(request), call_for(request, key), batch_id, batch.row(), reason))


@router.post("/batches/{batch_id}/observations", response_model=responses.RowsTaken, openapi_extra=_WRITE_BATCHES,
             responses=replies.rows_responses(responses.RowsTaken))  # fmt: skip
def add_rows(request: Request, batch_id: BatchId, rows: requests.Rows, key: Key = None) -> Response:
    """Take in observations, events, materials and dispositions; each row is accepted, a duplicate, or rejected with why."""
    answer = intake.add_rows(service_of(request), call_for(request, key), batch_id, rows.tables())
    return replies.rows_taken(request, answer)


@router.post("/lot-results", response_model=responses.PlantRowsTaken, openapi_extra=_WRITE_PLANT, responses=_PLANT_ROWS)
def add_lot_results(request: Request, body: requests.LotResults, key: Key = None) -> Response:
    """Take in results of material lots; they count for every batch that used the lot, from when they were available.

    A key of some sites may send results of lots that batches of its sites used, and of no others.
    """
    return _add_plant_rows(request, key, "lot_results", body)


@router.post("/environment", response_model=responses.PlantRowsTaken, openapi_extra=_WRITE_PLANT, responses=_PLANT_ROWS)
def add_environment(request: Request, body: requests.Environment, key: Key = None) -> Response:
    """Take in samples of rooms; they count for the batches of their site, from when they were available."""
    return _add_plant_rows(request, key, "environment", body)


def _add_plant_rows(
    request: Request, key: str | None, table: str, body: requests.LotResults | requests.Environment
) -> Response:
    rows = requests.rows_of(body, table)
    return replies.rows_taken(request, intake.add_plant_rows(service_of(request), call_for(request, key), table, rows))


@router.post("/batches/{batch_id}/scores", response_model=responses.Score, openapi_extra=_SCORE, responses=WRITES)
def score(
    request: Request, batch_id: BatchId, options: requests.ScoreRequest | None = None, key: Key = None
) -> Response:
    """Score a batch. The record is kept before it is answered: no answer, no score."""
    options = options or requests.ScoreRequest()
    as_of_us = microseconds(options.as_of) if options.as_of else None
    call = call_for(request, key)
    answer = score_requests.score(service_of(request), call, batch_id, as_of_us, reasons=options.reasons)
    return replies.scored(request, answer)


@router.post("/scores", response_model=responses.Score, openapi_extra=_SCORE, responses=WRITES)
def score_inline(request: Request, body: requests.InlineRequest, key: Key = None) -> Response:
    """Score one batch's history that comes along. Nothing of it joins the batches that are held here."""
    history = {"batches": [body.batch.row()], **body.tables()}
    as_of_us = microseconds(body.as_of) if body.as_of else None
    call = call_for(request, key)
    return replies.scored(
        request, score_requests.score_inline(service_of(request), call, body.batch.batch_id, as_of_us, history)
    )


@router.get("/scores/{score_id}", response_model=responses.Score, openapi_extra=_READ, responses=READS)
def read_score(request: Request, score_id: ScoreId) -> Response:
    """A score with its reviews, as it was answered."""
    return as_json(reviews.score_with_reviews(service_of(request), request.state.principal, score_id))


@router.get("/scores/{score_id}/history", response_model=responses.ScoreHistory, openapi_extra=_READ, responses=READS)
def history(request: Request, score_id: ScoreId) -> Response:
    """The audit trail of a score, in order: who did what, when and why, with the hashes of the chain."""
    entries = reviews.history_of(service_of(request), request.state.principal, score_id)
    found = [entry.to_json() | {"old": _parsed(entry.old), "new": _parsed(entry.new)} for entry in entries]
    content = responses.ScoreHistory.model_validate({"score_id": score_id, "entries": found})
    return as_json(content.model_dump())


def _parsed(content: str | None) -> JsonValue:
    return None if content is None else orjson.loads(content)


@router.get("/scores/{score_id}/copy", openapi_extra=_READ, response_class=Response,
            responses={200: {"content": {"text/plain": {"example": examples.COPY}}}, **READS})  # fmt: skip
def copy(request: Request, score_id: ScoreId) -> Response:
    """The whole record as text for people: the score, its reviews and its history."""
    service, principal = service_of(request), request.state.principal
    record = reviews.score_with_reviews(service, principal, score_id)
    return Response(readable(record, reviews.history_of(service, principal, score_id)), media_type="text/plain")


@router.get(
    "/scores/{score_id}/changes", response_model=responses.ScoreChanges, openapi_extra=_READ, responses=_QUERIES
)
def changes(request: Request, score_id: ScoreId, since: Since = None) -> Response:
    """What moved the risk since an earlier score, parameter by parameter, by the model of this score.

    It takes longer than a score. 409: that model is not here any more. 429: too many such queries at once.
    """
    found = score_queries.changes(service_of(request), request.state.principal, score_id, since)
    return as_json(to_jsonable_python(found))


@router.get("/scores/{score_id}/what-if", response_model=responses.ScoreWhatIf, openapi_extra=_READ, responses=_QUERIES)
def what_if(request: Request, score_id: ScoreId) -> Response:
    """The smallest change of what can still be changed that would end the alarm: the model's view, not a promise.

    It takes longer than a score. 409: that model is not here any more. 429: too many such queries at once.
    """
    found = score_queries.what_if(service_of(request), request.state.principal, score_id)
    return as_json(to_jsonable_python(found))


@router.get("/batches", response_model=responses.BatchPage, openapi_extra=_READ, responses=READS)
def list_batches(request: Request, after: fields.Text = "", limit: Limit = 100) -> Response:
    """Batches of the sites that the caller sees."""
    found = reviews.batches_of(service_of(request), request.state.principal, after=after, limit=limit)
    return as_json({"batches": found, "next": found[-1]["batch_id"] if len(found) == limit else None})


@router.get("/batches/{batch_id}/scores", response_model=responses.ScorePage, openapi_extra=_READ, responses=READS)
def list_scores(request: Request, batch_id: BatchId, before: fields.Text | None = None, limit: Limit = 100) -> Response:
    """Scores of a batch, the newest made first."""
    found = reviews.scores_of(service_of(request), request.state.principal, batch_id, before=before, limit=limit)
    return as_json({"scores": found, "next": found[-1]["score_id"] if len(found) == limit else None})


@router.get("/reviews", response_model=responses.ReviewPage, openapi_extra=_READ, responses=READS)
def list_reviews(
    request: Request, deviation: Deviation = None, before: BeforeReview = None, limit: Limit = 100
) -> Response:
    """Reviews at the sites that the caller sees, the newest first: of one deviation of the plant's own system, or all."""
    service, principal = service_of(request), request.state.principal
    found = reviews.reviews_of(service, principal, deviation=deviation, before=before, limit=limit)
    return as_json({"reviews": found, "next": found[-1]["review_id"] if len(found) == limit else None})


@router.post("/scores/{score_id}/reviews", status_code=201, response_model=responses.Review,
             openapi_extra={PERMISSION: "review"}, responses={**WRITES, **replies.problems(429)})  # fmt: skip
def review(
    request: Request, score_id: ScoreId, body: requests.ReviewRequest, key: Key = None, credential: Credential = None
) -> Response:
    """Keep what a person decided on a score, signed and bound to its digest. Keys of services can never do this.

    The first signature of a session takes `signer` and the header; each next one within 15 minutes the header at least.
    """
    signing: Signing = request.app.state.signing
    decision = reviews.ReviewDecision(body.decision, body.reason, body.deviation)

    def sign() -> Signature:
        return signing.sign(request.state.principal, body.meaning, body.signer, credential)

    return answered(reviews.review(service_of(request), call_for(request, key), score_id, decision, sign))


@router.get("/model", response_model=responses.ModelNow, openapi_extra=_READ, responses=READS)
def read_model(request: Request) -> Response:
    """The serving model, with its digests."""
    service, principal = service_of(request), request.state.principal
    because = visible_reason(principal, service.staleness.because) or None
    staleness = {"stale_since_us": service.stale_since_us(), "stale_because": because}
    with service.engine_cache.reading() as (engine, _):
        return as_json({**asdict(engine.model()), **visible_release(principal, engine.released_for()), **staleness})
