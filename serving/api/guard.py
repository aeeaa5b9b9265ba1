"""Every route's door: who asks, may they, and is the body JSON. A route without a permission lets nobody in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from serving.access.principals import ForbiddenError, Principal, UnauthenticatedError
from serving.api.problems import MediaTypeError, request_id_of
from serving.api.strict_json import strict_json
from serving.records.answers import Call
from serving.service.errors import RefusedError
from serving.service.scoring_service import ScoringService

PERMISSION = "x-permission"


class Verifier(Protocol):
    """Keys or tokens."""

    def is_quick(self, credential: str, /) -> bool:
        """Whether `principal` answers at once."""
        ...

    def principal(self, credential: str, /) -> Principal:
        """Whose it is.

        Raises:
            UnauthenticatedError: Nobody's.
        """
        ...


class GuardedRoute(APIRoute):
    """A route whose permission stands in its OpenAPI entry under `x-permission`."""

    @property
    def permission(self) -> str:
        """What a role has to be allowed; empty: nobody is."""
        return str((self.openapi_extra or {}).get(PERMISSION, ""))

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Checks, then the handler itself."""
        handle = super().get_route_handler()
        permission, known = self.permission, {parameter.alias for parameter in self.dependant.query_params}

        async def guarded(request: Request) -> Response:
            if permission != "open":
                request.state.principal = await _admitted(request, permission)
                _check_query(request, known)
            body = await request.body()
            if body:
                _check_media_type(request)
                request._json = strict_json(body)
            return await handle(request)

        return guarded


def _check_query(request: Request, known: set[str]) -> None:
    """A parameter that is mistyped, or given twice, must not be passed over: a reason would be lost."""
    given = [name for name, _ in request.query_params.multi_items()]
    if len(given) != len(set(given)) or not known.issuperset(given):
        raise RefusedError(
            "a query parameter is unknown or stands twice", expected=", ".join(sorted(known)) or "no query parameter"
        )


def _check_media_type(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise MediaTypeError("the body is not declared as JSON", expected="Content-Type: application/json")


def verifier_of(verifiers: Mapping[str, Verifier], credential: str) -> Verifier:
    """Who can say whose a credential is.

    Raises:
        UnauthenticatedError: Nobody here.
    """
    kind = "key" if credential.startswith("bg_") else "token"
    if kind not in verifiers:
        raise UnauthenticatedError(f"no {kind} is accepted here")
    return verifiers[kind]


async def _admitted(request: Request, permission: str) -> Principal:
    verifier, credential = _presented(request.app.state.verifiers, request.headers.get("authorization", ""))
    if verifier.is_quick(credential):
        return _allowed(verifier.principal(credential), permission)
    return _allowed(await run_in_threadpool(verifier.principal, credential), permission)


def known_at_once(verifiers: Mapping[str, Verifier], authorization: str, permission: str) -> Principal | None:
    """Who asks, where that is known without waiting; None otherwise.

    Raises:
        UnauthenticatedError: Nobody.
        ForbiddenError: Somebody who may not.
    """
    verifier, credential = _presented(verifiers, authorization)
    return _allowed(verifier.principal(credential), permission) if verifier.is_quick(credential) else None


def _presented(verifiers: Mapping[str, Verifier], authorization: str) -> tuple[Verifier, str]:
    scheme, _, credential = authorization.partition(" ")
    if scheme.lower() != "bearer" or not credential:
        raise UnauthenticatedError("no key or token", expected="Authorization: Bearer ...")
    return verifier_of(verifiers, credential), credential


def _allowed(principal: Principal, permission: str) -> Principal:
    if not principal.may(permission):  # ty: ignore[invalid-argument-type] - an unknown one is allowed to nobody
        raise ForbiddenError(f"role {principal.role} of a {principal.kind} may not do this")
    return principal


def call_of(request: Request, key: str | None, body: bytes) -> Call:
    """The call that a request makes."""
    service, principal, url = request.app.state.service, request.state.principal, request.url
    return call_from(service, principal, request_id_of(request), key, request.method, url.path, url.query, body)


def call_from(
    service: ScoringService,
    principal: Principal,
    request_id: str,
    key: str | None,
    method: str,
    path: str,
    query: str,
    body: bytes,
) -> Call:
    """The call that the parts of a request make."""
    said = f"{method} {path}?{query}\n".encode()
    return Call(principal, request_id, key, hashlib.sha256(said + body).hexdigest(), service.oldest_answer_us())
