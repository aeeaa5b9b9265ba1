"""The application: routes, doors and bounds put together."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi

from features.canonical import canonical
from serving.access.signing import Signing
from serving.api import health, plant_rows, problems, requests, responses, score_history, score_queries, v1, v2
from serving.api.fast_path import FastScorePath
from serving.api.guard import PERMISSION, GuardedRoute, Verifier, verifier_of
from serving.api.head_requests import HeadRequests
from serving.api.limits import Limits
from serving.api.telemetry import Metrics, Telemetry
from serving.service.scoring_service import ScoringService
from serving.settings import EndpointSettings

VERSION = "1"


class Helper(Protocol):
    """Works in a thread of its own."""

    def start(self) -> None:
        """Begin."""
        ...

    def stop(self) -> None:
        """End, soon."""
        ...


def make_app(
    service: ScoringService,
    verifiers: Mapping[str, Verifier],
    settings: EndpointSettings,
    helpers: Sequence[Helper] = (),
) -> FastAPI:
    """The ASGI application over a desk.

    Args:
        service: Does the work.
        verifiers: `key` and, where there is a provider, `token`.
        settings: Bounds.
        helpers: Run beside the app: deliver events, look for a newer model.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        for helper in helpers:
            helper.start()
        yield
        for helper in helpers:
            helper.stop()
        service.close()

    app = FastAPI(title="batchguard", version=VERSION, docs_url=None, redoc_url=None, openapi_url=None,
                  redirect_slashes=False, lifespan=lifespan)  # fmt: skip
    metrics = Metrics()
    app.state.service, app.state.verifiers, app.state.metrics = service, dict(verifiers), metrics
    app.state.signing = Signing(lambda shown: verifier_of(verifiers, shown).principal(shown), service.clock)
    for router in (
        v1.router,
        score_history.router,
        score_queries.router,
        plant_rows.router,
        v2.router,
        health.router,
        _description(),
    ):
        app.include_router(router)
    problems.install(app)
    app.add_middleware(FastScorePath, service=service, verifiers=verifiers, metrics=metrics)
    app.add_middleware(Limits, max_bytes=settings.max_body_bytes, timeout_s=settings.body_timeout_s)
    app.add_middleware(HeadRequests)
    app.add_middleware(Telemetry, metrics=metrics)
    return app


def openapi(app: FastAPI) -> dict[str, Any]:
    """The whole API, with its one way to authenticate and the problems it answers with."""
    found = get_openapi(title=app.title, version=app.version, routes=app.routes, openapi_version="3.1.0",
                        description="Failure risk of batches in progress. Decision support: a person decides.")  # fmt: skip
    schemas = found["components"]["schemas"]
    schemas["Problem"] = responses.Problem.model_json_schema()
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    for name, schema in schemas.items():
        shape = getattr(requests, name, None) or getattr(responses, name, None)
        if shape is not None and "examples" in schema:
            config = getattr(shape, "model_config", None) or shape.__pydantic_config__
            schema["examples"] = config["json_schema_extra"]["examples"]  # FastAPI takes the nulls out
    found["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    for path in found["paths"].values():
        for operation in path.values():
            operation["security"] = [] if operation.get(PERMISSION) == "open" else [{"bearer": []}]
    return found


def _description() -> APIRouter:
    router = APIRouter(route_class=GuardedRoute)

    @router.get("/openapi.json", openapi_extra={PERMISSION: "read"}, include_in_schema=False)
    def description(request: Request) -> Response:
        """The whole API."""
        return Response(canonical(openapi(request.app)), media_type="application/json")

    return router
