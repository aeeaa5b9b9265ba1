"""Guards every route: authentication, permission, known query parameters, a JSON body with one meaning.

A route without a permission is closed to everybody.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Coroutine, Mapping

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import JsonValue

from features.errors import BatchguardError
from serving.access.principals import ForbiddenError, Principal, UnauthenticatedError
from serving.access.verification_queue import Verifier
from serving.records.answers import Call
from serving.service.errors import RefusedError
from serving.service.scoring_service import ScoringService

PERMISSION = "x-permission"


class BadJsonError(BatchguardError):
    """A body that is not JSON, or has two meanings."""


class MediaTypeError(BatchguardError):
    """A body that is declared as something else than JSON."""


class GuardedRoute(APIRoute):
    """A route whose permission stands in its OpenAPI entry under `x-permission`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[object, object, Response]]:
        """The handler behind the checks."""
        handle = super().get_route_handler()
        permission = str((self.openapi_extra or {}).get(PERMISSION, ""))
        known = {parameter.alias for parameter in self.dependant.query_params}

        async def guarded(request: Request) -> Response:
            if permission != "open":
                request.state.principal = await _authorized(request, permission)
                _check_query(request, known)
            body = await request.body()
            if body:
                request._json = self.parse(request, body)
            return await handle(request)

        return guarded

    def parse(self, request: Request, body: bytes) -> JsonValue:
        """The JSON of a body that is declared as JSON.

        Raises:
            BadJsonError: It is no JSON, or has two meanings.
            MediaTypeError: It is declared as something else.
        """
        _check_media_type(request)
        return strict_json(body)


def verifier_of(verifiers: Mapping[str, Verifier], credential: str) -> Verifier:
    """The verifier for a kind of credential.

    Raises:
        UnauthenticatedError: This kind is not accepted.
    """
    kind = "key" if credential.startswith("bg_") else "token"
    if kind not in verifiers:
        raise UnauthenticatedError(f"no {kind} is accepted here")
    return verifiers[kind]


def cached_principal(verifiers: Mapping[str, Verifier], authorization: str, permission: str) -> Principal | None:
    """The principal of an `Authorization` header, if its verifier has it cached; else None.

    Raises:
        UnauthenticatedError: The credential is missing or not valid.
        ForbiddenError: The principal lacks the permission.
    """
    verifier, credential = _presented(verifiers, authorization)
    return _permitted(verifier.principal(credential), permission) if verifier.is_cached(credential) else None


async def _authorized(request: Request, permission: str) -> Principal:
    verifier, credential = _presented(request.app.state.verifiers, request.headers.get("authorization", ""))
    if verifier.is_cached(credential):
        return _permitted(verifier.principal(credential), permission)
    queue = request.app.state.verification_queues[verifier]
    return _permitted(await queue.principal(verifier, credential), permission)


def _presented(verifiers: Mapping[str, Verifier], authorization: str) -> tuple[Verifier, str]:
    scheme, _, credential = authorization.partition(" ")
    if scheme.lower() != "bearer" or not credential:
        raise UnauthenticatedError("no key or token", expected="Authorization: Bearer ...")
    return verifier_of(verifiers, credential), credential


def _permitted(principal: Principal, permission: str) -> Principal:
    if not principal.may(permission):
        raise ForbiddenError(f"role {principal.role} of a {principal.kind} may not do this")
    return principal


def _check_query(request: Request, known: set[str]) -> None:
    """Refuse a parameter that is mistyped or repeated: ignoring it would lose, for example, a reason."""
    given = [name for name, _ in request.query_params.multi_items()]
    if len(given) != len(set(given)) or not known.issuperset(given):
        raise RefusedError(
            "a query parameter is unknown or repeated", expected=", ".join(sorted(known)) or "no query parameter"
        )


def _check_media_type(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise MediaTypeError("the body is not declared as JSON", expected="Content-Type: application/json")


def strict_json(body: bytes) -> JsonValue:
    """Parse a body: no NaN or infinity, no repeated key, no lone surrogate, at most 1024 levels.

    Whole numbers beyond 64 bits become floats, which the schemas refuse for integer fields.

    Raises:
        BadJsonError: The body is not such JSON in UTF-8; the error does not repeat the body.
    """
    try:
        orjson.loads(body)  # refuses what the standard library accepts: NaN, 1e999, lone surrogates, deep nesting
        return json.loads(body, object_pairs_hook=_unique_keys, parse_int=_bounded_int)
    except (orjson.JSONDecodeError, RecursionError) as error:
        where = f" at character {error.pos}" if isinstance(error, orjson.JSONDecodeError) else ": nested too deeply"
        raise BadJsonError(f"the body is not valid JSON{where}", expected="JSON by RFC 8259, in UTF-8") from None


def _unique_keys(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadJsonError("a key stands twice in one object", expected="each key once")
    return found


def _bounded_int(digits: str) -> int | float:
    return int(digits) if len(digits) < 20 else float(digits)


def request_id_of(request: Request) -> str:
    """The id that the endpoint gave a request."""
    return str(request.scope.get("state", {}).get("request_id", ""))


def call_from(
    service: ScoringService, principal: Principal, request_id: str, key: str | None, target: str, body: bytes
) -> Call:
    """A call whose digest covers the target (`METHOD path?query`) and the body."""
    digest = hashlib.sha256(f"{target}\n".encode() + body).hexdigest()
    return Call(principal, request_id, key, digest, service.oldest_answer_us())
