"""Errors as RFC 9457 problems of at most 4 kB, which never repeat the body of the request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from features.canonical import canonical
from features.errors import BatchguardError
from serving.access.key_ring import KeysBusyError
from serving.access.principals import ForbiddenError, UnauthenticatedError
from serving.access.signing import FRESH_S, SESSION_S, SignatureError, SigningPausedError
from serving.access.tokens import ProviderUnavailableError
from serving.api.guard import BadJsonError, MediaTypeError, request_id_of
from serving.interfaces import EngineError, UnscorableError
from serving.records.answers import InFlightError, KeyReusedError
from serving.records.store import RecordsUnavailableError
from serving.service.errors import ConflictError, ModelGoneError, NotThereError, RefusedError, TooManyError

MEDIA_TYPE = "application/problem+json"
_MOST_ERRORS, _MOST_TEXT = 10, 300
_RETRY: dict[str, str] = {"retry-after": "1"}
_STEP_UP = f'Bearer error="insufficient_user_authentication", max_age="{FRESH_S}"'  # RFC 9470
_log = structlog.get_logger("batchguard.api")


# Error -> status, title, headers. The title names the kind of problem, the detail of an answer the single case.
_KINDS: Sequence[tuple[type[BatchguardError], int, str, Mapping[str, str]]] = (
    (BadJsonError, 400, "The body is not JSON as it is accepted here", {}),
    (SigningPausedError, 429, "Too many refused signatures", {"retry-after": str(SESSION_S)}),
    (SignatureError, 401, "A signature needs more", {"www-authenticate": _STEP_UP}),
    (KeysBusyError, 503, "Too many keys are being verified", _RETRY),
    (UnauthenticatedError, 401, "Not authenticated", {"www-authenticate": "Bearer"}),
    (ForbiddenError, 403, "Not allowed", {}),
    (NotThereError, 404, "Not found", {}),
    (InFlightError, 409, "Still being answered", _RETRY),
    (KeyReusedError, 409, "Idempotency-Key used for another request", {}),
    (ModelGoneError, 409, "The model of the score is not here", {}),
    (TooManyError, 429, "Too many at once", _RETRY),
    (ConflictError, 409, "Contradicts what is kept", {}),
    (MediaTypeError, 415, "Not a media type that is read here", {"accept": "application/json"}),
    (RefusedError, 422, "Cannot be accepted", {}),
    (UnscorableError, 422, "Cannot be scored", {}),
    (RecordsUnavailableError, 503, "The records cannot be used now", _RETRY),
    (ProviderUnavailableError, 503, "The identity provider cannot be used now", _RETRY),
    (EngineError, 503, "No model can be served", _RETRY),
)


def problem(
    status: int,
    title: str,
    detail: str = "",
    *,
    request_id: str = "",
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document."""
    content: dict[str, object] = {"type": "about:blank", "title": title, "status": status}
    if detail:
        content["detail"] = _printable(detail)
    if request_id:
        content["request_id"] = request_id
    if errors:
        content["errors"] = list(errors[:_MOST_ERRORS])
        content["n_errors"] = len(errors)
    return Response(canonical(content), status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def install(app: FastAPI) -> None:
    """Answer every error of the app as a problem."""
    app.add_exception_handler(BatchguardError, _batchguard_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)


def of_error(error: BatchguardError, request_id: str) -> Response:
    """The problem document of an error."""
    for kind, status, title, headers in _KINDS:
        if isinstance(error, kind):
            return problem(status, title, str(error), request_id=request_id, headers=headers)
    _log.error("unmapped error", kind=type(error).__name__, request_id=request_id)
    return problem(422, "Cannot be carried out", str(error), request_id=request_id)


async def _batchguard_error(request: Request, error: Exception) -> Response:
    return of_error(cast("BatchguardError", error), request_id_of(request))


async def _validation_error(request: Request, error: Exception) -> Response:
    invalid = cast("RequestValidationError", error)  # registered for this type
    errors = [
        {"where": _printable("/".join(str(part) for part in found["loc"]), 100), "what": _printable(found["msg"], 150)}
        for found in invalid.errors()
    ]
    return problem(422, "The request does not fit the schema", request_id=request_id_of(request), errors=errors)


async def _http_error(request: Request, error: Exception) -> Response:
    refused = cast("HTTPException", error)  # registered for this type
    headers = {"allow": _allowed(request)} if refused.status_code == 405 else refused.headers
    return problem(refused.status_code, str(refused.detail), request_id=request_id_of(request), headers=headers)


def _allowed(request: Request) -> str:
    """All methods of an address, which several routes may share."""
    scope = {"type": "http", "path": request.url.path, "root_path": "", "headers": [], "app": request.app}
    found = [
        method
        for method in ("GET", "PUT", "POST")
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    ]
    return ", ".join([*(["HEAD"] if "GET" in found else []), *found])


def _printable(text: str, most: int = _MOST_TEXT) -> str:
    """Text cut to a length, without lone surrogates."""
    clean = text.encode("utf-8", "replace").decode()
    return clean if len(clean) <= most else clean[: most - 3] + "..."
