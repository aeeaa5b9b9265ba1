"""Answers plain score requests on the event loop; every other request goes through FastAPI's routes.

FastAPI's way to a handler takes nearly as long as a score does. A plain request means the same on both paths, and a test
compares the answers of both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from features.errors import BatchguardError
from serving.access.verification_queue import Verifier
from serving.api.fields import Id
from serving.api.guard import cached_principal, call_from, strict_json
from serving.api.middleware import Metrics, replayed
from serving.api.replies import KEY_PATTERN
from serving.api.requests import ScoreRequest
from serving.ids import microseconds
from serving.records.answers import Answer
from serving.service import score_requests
from serving.service.engine_cache import BusyError
from serving.service.scoring_service import ScoringService

_ROUTE = SimpleNamespace(path="/v1/batches/{batch_id}/scores")
_PATH = re.compile(r"/v1/batches/([^/]+)/scores")
_ID: TypeAdapter[str] = TypeAdapter(Id)
_KEY: TypeAdapter[str | None] = TypeAdapter(Annotated[str, Field(pattern=KEY_PATTERN)] | None)


class FastScorePath:
    """Answers plain score requests; it stands behind `Limits`, which delivers the whole body in one message.

    Args:
        app: Answers all other requests.
        service: Scores.
        verifiers: As for the app.
        metrics: Counts scores.
    """

    def __init__(
        self, app: ASGIApp, *, service: ScoringService, verifiers: Mapping[str, Verifier], metrics: Metrics
    ) -> None:
        self._app, self._service, self._verifiers, self._metrics = app, service, verifiers, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        is_score = scope["type"] == "http" and scope["method"] == "POST" and not scope["query_string"]
        path = _PATH.fullmatch(scope["path"]) if is_score else None
        if path is None:
            await self._app(scope, receive, send)
            return
        body = (await receive())["body"]
        answer = await self._answer(scope, path[1], body)
        if answer is None:
            await self._app(scope, replayed(body, receive), send)
            return
        scope["route"] = _ROUTE
        if not answer.replayed:
            self._metrics.count_score(scope["state"]["principal"])
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer.body))]
        headers += [(b"idempotent-replayed", b"true")] if answer.replayed else []
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, batch_id: str, body: bytes) -> Answer | None:
        """The answer; None if the request needs the routes, which also explain what is wrong with it."""
        headers = {name: value.decode("latin-1") for name, value in reversed(scope["headers"])}  # the first one counts
        key = headers.get(b"idempotency-key")
        try:
            principal = cached_principal(self._verifiers, headers.get(b"authorization", ""), "score")
            _ID.validate_python(batch_id)
            _KEY.validate_python(key)
            if principal is None or (body and headers.get(b"content-type") != "application/json"):
                return None
            options = ScoreRequest.model_validate(strict_json(body)) if body else ScoreRequest()
        except (ValidationError, BatchguardError):
            return None
        as_of_us = microseconds(options.as_of) if options.as_of else None
        scope["state"]["principal"] = principal
        call = call_from(self._service, principal, scope["state"]["request_id"], key, f"POST {scope['path']}?", body)
        try:
            return await score_requests.score_at_once(self._service, call, batch_id, as_of_us, reasons=options.reasons)
        except BusyError:
            return None
