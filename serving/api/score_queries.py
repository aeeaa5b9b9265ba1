"""Routes for what is asked about a score: worked out from the records when asked, and never kept."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from serving.api import responses
from serving.api.guard import PERMISSION, GuardedRoute
from serving.api.replies import ScoreId, as_json, problems, service_of
from serving.service import score_queries

router = APIRouter(prefix="/v1/scores", route_class=GuardedRoute)
_MAY = {PERMISSION: "read"}
_ANSWERS = problems(400, 401, 403, 404, 409, 422, 429, 500, 503)
Since = Annotated[
    str | None,
    Query(
        pattern=r"^[0-9a-f-]{36}$", description="An earlier score of the batch; absent: the one made before this one"
    ),
]


@router.get("/{score_id}/changes", response_model=responses.ScoreChanges, openapi_extra=_MAY, responses=_ANSWERS)
def changes(request: Request, score_id: ScoreId, since: Since = None) -> Response:
    """What moved the risk since an earlier score, parameter by parameter, said by the model of this score.

    It takes longer than a score. 409: that model is not here any more. 429: others are asking.
    """
    return as_json(score_queries.changes(service_of(request), request.state.principal, score_id, since))


@router.get("/{score_id}/what-if", response_model=responses.ScoreWhatIf, openapi_extra=_MAY, responses=_ANSWERS)
def what_if(request: Request, score_id: ScoreId) -> Response:
    """The smallest change of what can still be changed that would end the alarm: the model's view, not a promise.

    It takes longer than a score. 409: that model is not here any more. 429: others are asking.
    """
    return as_json(score_queries.what_if(service_of(request), request.state.principal, score_id))
