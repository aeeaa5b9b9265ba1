"""Routes for what a quality unit asks of a record: its audit history, and a copy for people to read."""

from __future__ import annotations

import orjson
from fastapi import APIRouter, Request, Response

from serving.api import examples, responses
from serving.api.guard import PERMISSION, GuardedRoute
from serving.api.replies import READS, ScoreId, as_json, service_of
from serving.audit.readable_copy import readable
from serving.service import reviews

router = APIRouter(prefix="/v1/scores", route_class=GuardedRoute)
_MAY = {PERMISSION: "read"}
_NAMES = ("seq", "at", "who", "role", "action", "why", "request_id", "previous", "hash")


@router.get("/{score_id}/history", response_model=responses.ScoreHistory, openapi_extra=_MAY, responses=READS)
def history(request: Request, score_id: ScoreId) -> Response:
    """What the audit trail tells of a score, in order: who did what, when and why, with the hashes of the chain."""
    told = [
        {**{name: entry[name] for name in _NAMES}, "old": _parsed(entry["old"]), "new": _parsed(entry["new"])}
        for entry in reviews.history_of(service_of(request), request.state.principal, score_id)
    ]
    return as_json({"score_id": score_id, "entries": told})


@router.get("/{score_id}/copy", openapi_extra=_MAY, response_class=Response,
            responses={200: {"content": {"text/plain": {"example": examples.COPY}}}, **READS})  # fmt: skip
def copy(request: Request, score_id: ScoreId) -> Response:
    """The whole record as text for people: the score, its reviews and its history."""
    service, principal = service_of(request), request.state.principal
    score = reviews.score_with_reviews(service, principal, score_id)
    return Response(readable(score, reviews.history_of(service, principal, score_id)), media_type="text/plain")


def _parsed(content: str | None) -> object:
    return None if content is None else orjson.loads(content)
