"""Routes of version 1."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response

from serving.access.signing import Signature, Signing
from serving.api import fields, requests, responses
from serving.api.guard import PERMISSION, GuardedRoute
from serving.api.replies import READS, WRITES, Key, ScoreId, problems, rows_answers, rows_told, scored
from serving.api.replies import answered as _answer
from serving.api.replies import as_json as _json
from serving.api.replies import call_for as _call
from serving.api.replies import service_of as _service
from serving.ids import microseconds
from serving.service import intake, reviews, score_requests
from serving.service.scoring_service import ScoringService

router = APIRouter(prefix="/v1", route_class=GuardedRoute)

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


@router.put("/batches/{batch_id}", response_model=responses.Taken, openapi_extra={PERMISSION: "write_batches"},
            responses={201: {"model": responses.Taken, "description": "A new batch"}, **WRITES})  # fmt: skip
def put_batch(
    request: Request,
    batch_id: BatchId,
    batch: requests.Batch,
    key: Key = None,
    reason: Annotated[fields.Text, Query(description="Why a batch is corrected; goes into the audit trail")] = "",
) -> Response:
    """Take in a batch; the same again changes nothing, another content is kept as a new revision."""
    return _answer(intake.put_batch(_service(request), _call(request, key), batch_id, batch.row(), reason))


@router.post(
    "/batches/{batch_id}/observations",
    response_model=responses.RowsTaken,
    openapi_extra={PERMISSION: "write_batches"},
    responses=rows_answers(responses.RowsTaken),
)
def add_rows(request: Request, batch_id: BatchId, rows: requests.Rows, key: Key = None) -> Response:
    """Take in observations, events, materials and dispositions; each row is accepted, a duplicate, or rejected with why."""
    answer = intake.add_rows(_service(request), _call(request, key), batch_id, rows.tables())
    return rows_told(request, answer)


@router.post("/batches/{batch_id}/scores", response_model=responses.Score, openapi_extra={PERMISSION: "score"},
             responses=WRITES)  # fmt: skip
def score(
    request: Request, batch_id: BatchId, wanted: requests.ScoreRequest | None = None, key: Key = None
) -> Response:
    """Score a batch. The record is kept before it is answered: no answer, no score."""
    wanted = wanted or requests.ScoreRequest()
    as_of_us = microseconds(wanted.as_of) if wanted.as_of else None
    call = _call(request, key)
    return scored(request, score_requests.score(_service(request), call, batch_id, as_of_us, reasons=wanted.reasons))


@router.post("/scores", response_model=responses.Score, openapi_extra={PERMISSION: "score"}, responses=WRITES)
def score_inline(request: Request, wanted: requests.InlineRequest, key: Key = None) -> Response:
    """Score one batch's history that comes along. Nothing of it joins the batches that are held here."""
    history = {"batches": [wanted.batch.row()], **wanted.tables()}
    as_of_us = microseconds(wanted.as_of) if wanted.as_of else None
    call = _call(request, key)
    return scored(
        request, score_requests.score_inline(_service(request), call, wanted.batch.batch_id, as_of_us, history)
    )


@router.get("/scores/{score_id}", response_model=responses.Score, openapi_extra={PERMISSION: "read"}, responses=READS)
def read_score(request: Request, score_id: ScoreId) -> Response:
    """A score with its reviews, as it was answered."""
    return _json(reviews.score_with_reviews(_service(request), request.state.principal, score_id))


@router.get("/batches", response_model=responses.BatchPage, openapi_extra={PERMISSION: "read"}, responses=READS)
def list_batches(request: Request, after: fields.Text = "", limit: Limit = 100) -> Response:
    """Batches of the sites that the caller sees."""
    found = reviews.batches_of(_service(request), request.state.principal, after=after, limit=limit)
    return _json({"batches": found, "next": found[-1]["batch_id"] if len(found) == limit else None})


@router.get("/batches/{batch_id}/scores", response_model=responses.ScorePage, openapi_extra={PERMISSION: "read"},
            responses=READS)  # fmt: skip
def list_scores(request: Request, batch_id: BatchId, before: fields.Text | None = None, limit: Limit = 100) -> Response:
    """Scores of a batch, the newest made first."""
    found = reviews.scores_of(_service(request), request.state.principal, batch_id, before=before, limit=limit)
    return _json({"scores": found, "next": found[-1]["score_id"] if len(found) == limit else None})


@router.post("/scores/{score_id}/reviews", status_code=201, response_model=responses.Review,
             openapi_extra={PERMISSION: "review"}, responses={**WRITES, **problems(429)})  # fmt: skip
def review(
    request: Request, score_id: ScoreId, wanted: requests.ReviewRequest, key: Key = None, credential: Credential = None
) -> Response:
    """Keep what a person decided on a score, signed and bound to its digest. Keys of services can never do this.

    The first signature of a session takes `signer` and the header; each next one within 15 minutes the header at least.
    """
    signing: Signing = request.app.state.signing
    decided = reviews.Decided(wanted.decision, wanted.reason, wanted.deviation)

    def sign() -> Signature:
        return signing.sign(request.state.principal, wanted.meaning, wanted.signer, credential)

    return _answer(reviews.review(_service(request), _call(request, key), score_id, decided, sign))


@router.get("/model", response_model=responses.ModelNow, openapi_extra={PERMISSION: "read"}, responses=READS)
def read_model(request: Request) -> Response:
    """The model that speaks, with its digests."""
    service = _service(request)
    with service.engine_cache.reading() as (engine, _):
        return _json({**asdict(engine.model()), **engine.released_for(), **_staleness(service)})


def _staleness(service: ScoringService) -> dict[str, Any]:
    return {"stale_since_us": service.stale_since_us(), "stale_because": service.stale_because() or None}
