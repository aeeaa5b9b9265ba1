"""Routes of liveness, readiness and metrics."""

from __future__ import annotations

from typing import cast

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from features.errors import BatchguardError
from serving.api import responses
from serving.api.guard import PERMISSION, GuardedRoute
from serving.api.middleware import Metrics
from serving.api.replies import as_json, problems, service_of
from serving.ids import now_us
from serving.interfaces import EngineError
from serving.service.scoring_service import ScoringService

router = APIRouter(route_class=GuardedRoute)
_OPEN = {PERMISSION: "open"}


@router.get("/health/live", response_model=responses.Health, openapi_extra=_OPEN)
async def live() -> Response:
    """The process runs."""
    return Response(b'{"status":"ok"}', media_type="application/json")


@router.get("/health/ready", response_model=responses.Health, openapi_extra=_OPEN,
            responses={503: {"model": responses.Health, "description": "A part is not there"}})  # fmt: skip
def ready(request: Request) -> Response:
    """The records can be read and a model can score."""
    found = readiness(service_of(request))
    return as_json(found.model_dump(exclude_none=True), 200 if found.status == "ok" else 503)


@router.get("/metrics", openapi_extra={PERMISSION: "metrics"}, response_class=Response,
            responses={200: {"content": {"text/plain": {"example": "batchguard_scores_total 1.0\n"}}},
                       **problems(400, 401, 403, 422, 500, 503)})  # fmt: skip
def metrics(request: Request) -> Response:
    """Metrics in Prometheus' text format; for a principal of some sites: of what principals of the same sites did."""
    measured = cast("Metrics", request.app.state.metrics).of(request.state.principal)
    since = service_of(request).stale_since_us()
    measured.stale.set(0.0 if since is None else max(0, now_us() - since) / 1e6)
    return Response(generate_latest(measured.registry), media_type=CONTENT_TYPE_LATEST)


def readiness(service: ScoringService) -> responses.Health:
    """Whether records and model can be used: what is stored can be written, and a score waits for no compiler."""
    if service.engine_cache.is_filling:
        return responses.Health(status="unavailable", records="ok", model="unavailable")
    try:
        service.disk.check()
        with service.engine_cache.reading() as (engine, _):
            engine.model()
    except EngineError:
        return responses.Health(status="unavailable", records="ok", model="unavailable")
    except BatchguardError:
        return responses.Health(status="unavailable", records="unavailable")
    is_newest = service.stale_since_us() is None
    return responses.Health(status="ok", records="ok", model="ok" if is_newest else "stale")
