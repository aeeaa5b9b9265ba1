"""The application: routes, middleware and OpenAPI description."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from anyio import CapacityLimiter
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from pydantic import JsonValue

from serving.access.signing import Signing
from serving.access.verification_queue import VerificationQueue, Verifier
from serving.api import health, problems, requests, responses, v1, v2
from serving.api.fast_path import FastScorePath
from serving.api.guard import PERMISSION, GuardedRoute, verifier_of
from serving.api.inference_protocol import InferenceErrors
from serving.api.middleware import HeadRequests, Limits, Metrics, Telemetry
from serving.api.refusals import RefusalPacing, Sleep
from serving.api.replies import as_json
from serving.service.scoring_service import ScoringService
from serving.settings import EndpointSettings

VERSION = "1"


class BackgroundWorker(Protocol):
    """Works in a thread of its own while the application runs."""

    def start(self) -> None:
        """Start the thread."""
        ...

    def stop(self) -> None:
        """End the thread within seconds."""
        ...


def make_app(
    service: ScoringService,
    verifiers: Mapping[str, Verifier],
    settings: EndpointSettings,
    workers: Sequence[BackgroundWorker] = (),
    *,
    sleep: Sleep = asyncio.sleep,
) -> FastAPI:
    """The ASGI application over a scoring service.

    Args:
        service: Carries out the requests.
        verifiers: `key` and, where there is a provider, `token`.
        settings: Limits of a request.
        workers: Started and stopped with the app.
        sleep: Holds refusals back.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        for worker in workers:
            worker.start()
        yield
        for worker in workers:
            worker.stop()
        service.close()

    app = FastAPI(title="batchguard", version=VERSION, docs_url=None, redoc_url=None, openapi_url=None,
                  redirect_slashes=False, lifespan=lifespan)  # fmt: skip
    metrics = Metrics()
    app.state.readiness_limiter = CapacityLimiter(1)
    app.state.verification_queues = {verifier: VerificationQueue() for verifier in verifiers.values()}
    app.state.service, app.state.verifiers, app.state.metrics = service, dict(verifiers), metrics
    app.state.signing = Signing(
        lambda credential: verifier_of(verifiers, credential).principal(credential), service.clock
    )
    for router in (v1.router, v2.router, health.router, _description()):
        app.include_router(router)
    problems.install(app)
    app.add_middleware(FastScorePath, service=service, verifiers=verifiers, metrics=metrics)
    app.add_middleware(Limits, max_bytes=settings.max_body_bytes, timeout_s=settings.body_timeout_s)
    app.add_middleware(HeadRequests)
    app.add_middleware(Telemetry, metrics=metrics)
    app.add_middleware(InferenceErrors)
    app.add_middleware(RefusalPacing, sleep=sleep)
    return app


def openapi(app: FastAPI) -> dict[str, JsonValue]:
    """The OpenAPI description, with bearer authentication and the schema of problems."""
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
        """The OpenAPI description."""
        return as_json(openapi(request.app))

    return router
