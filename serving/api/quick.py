"""The door of a route that is asked all day: a plain request is answered on the event loop, any other goes the ordinary way.

FastAPI's way to a handler takes as long as a score does. What a plain request means is the same on both ways, and a test
holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Request, Response
from pydantic import Field, TypeAdapter, ValidationError

from serving.api.fields import Id
from serving.api.guard import GuardedRoute, admitted_at_once, call_of
from serving.api.replies import KEY_PATTERN, scored
from serving.api.sent import ScoreRequest
from serving.api.strict_json import BadJsonError, strict_json
from serving.desk import scoring
from serving.desk.desk import Desk
from serving.desk.locks import BusyError
from serving.ids import microseconds

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
_ID: TypeAdapter[str] = TypeAdapter(Id)
_KEY: TypeAdapter[str | None] = TypeAdapter(Annotated[str, Field(pattern=KEY_PATTERN)] | None)


class QuickScore(GuardedRoute):
    """The route of scores: at once where nothing has to be waited for but the commit."""

    def get_route_handler(self) -> Handler:
        """The quick way, and behind it the ordinary one."""
        ordinary, permission = super().get_route_handler(), self.permission

        async def handle(request: Request) -> Response:
            desk: Desk = request.app.state.desk
            principal = admitted_at_once(request, permission)
            wanted = await _plain(request) if principal is not None else None
            if principal is None or wanted is None:
                return await ordinary(request)
            request.state.principal = principal
            call = call_of(request, request.headers.get("idempotency-key"), await request.body())
            as_of_us = microseconds(wanted.as_of) if wanted.as_of else None
            batch_id = request.path_params["batch_id"]
            try:
                answer = await scoring.score_at_once(desk, call, batch_id, as_of_us, reasons=wanted.reasons)
            except BusyError:
                return await ordinary(request)
            return scored(request, answer)

        return handle


async def _plain(request: Request) -> ScoreRequest | None:
    """What is wanted; None: let the ordinary way find out what is wrong."""
    body = await request.body()
    if request.url.query:
        return None
    try:
        _ID.validate_python(request.path_params["batch_id"])
        _KEY.validate_python(request.headers.get("idempotency-key"))
        if not body:
            return ScoreRequest()
        if request.headers.get("content-type") != "application/json":
            return None
        return ScoreRequest.model_validate(strict_json(body))
    except (ValidationError, BadJsonError):
        return None
