"""The Open Inference Protocol, version 2, over the same service: every value of `batch_id` gives a stored score."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import version as installed_version
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from features.canonical import canonical
from serving.api.fields import Id
from serving.api.guard import PERMISSION
from serving.api.health import readiness_apart
from serving.api.inference_protocol import InferenceRoute, inference_errors
from serving.api.replies import Key, answered, as_json, call_for, service_of
from serving.api.tensors import (
    FORMS,
    INPUT_NAMES,
    OUTPUT_NAMES,
    Inference,
    Inferred,
    ModelMetadata,
    Ready,
    ServerMetadata,
)
from serving.ids import microseconds
from serving.service import score_requests
from serving.service.errors import NotThereError, RefusedError

router = APIRouter(prefix="/v2", route_class=InferenceRoute)
Name = Annotated[Id, Path(description="Registered model")]
Version = Annotated[Id, Path(description="Its version: the one that serves")]
_ERRORS = inference_errors(400, 401, 403, 404, 408, 409, 413, 415, 422, 500, 503)
_READ: dict[str, Any] = {"openapi_extra": {PERMISSION: "read"}, "responses": _ERRORS}


@router.get("", response_model=ServerMetadata, **_READ)
def server_metadata() -> Response:
    """The endpoint, its release, and which extensions of the protocol it knows: none."""
    return as_json({"name": "batchguard", "version": _release(), "extensions": []})


@router.get("/health/live", response_model=Ready, openapi_extra={PERMISSION: "open"})
async def live() -> Response:
    """The process runs."""
    return Response(b'{"live":true}', media_type="application/json")


@router.get("/health/ready", response_model=Ready, openapi_extra={PERMISSION: "open"},
            responses={503: {"model": Ready, "description": "A part is not there"}})  # fmt: skip
async def ready(request: Request) -> Response:
    """The records can be read and a model can score."""
    found = await readiness_apart(request)
    if found.status == "ok":
        return as_json({"ready": True})
    part = "the model" if found.records == "ok" else "the records"
    return as_json({"ready": False, "error": f"{part} cannot be used now. Try again."}, 503)


@router.get("/models/{name}", response_model=ModelMetadata, **_READ)
def metadata(request: Request, name: Name) -> Response:
    """Inputs and outputs of the serving model."""
    return _metadata(name, _version(request, name))


@router.get("/models/{name}/versions/{version}", response_model=ModelMetadata, **_READ)
def metadata_of_version(request: Request, name: Name, version: Version) -> Response:
    """Inputs and outputs of the serving model, if this is its version."""
    return _metadata(name, _version(request, name, version))


@router.get("/models/{name}/ready", response_model=Ready, **_READ)
def model_ready(request: Request, name: Name) -> Response:
    """Whether this is the serving model."""
    _version(request, name)
    return as_json({"name": name, "ready": True})


@router.get("/models/{name}/versions/{version}/ready", response_model=Ready, **_READ)
def version_ready(request: Request, name: Name, version: Version) -> Response:
    """Whether this is the version of the serving model."""
    _version(request, name, version)
    return as_json({"name": name, "ready": True})


@router.post("/models/{name}/infer", response_model=Inferred, openapi_extra={PERMISSION: "score"}, responses=_ERRORS)
def infer(request: Request, name: Name, body: Inference, key: Key = None) -> Response:
    """Score batches that are held here: all are scored and kept, or none."""
    return _infer(request, name, None, body, key)


@router.post("/models/{name}/versions/{version}/infer", response_model=Inferred,
             openapi_extra={PERMISSION: "score"}, responses=_ERRORS)  # fmt: skip
def infer_by_version(request: Request, name: Name, version: Version, body: Inference, key: Key = None) -> Response:
    """Score batches as without a version, if this is the version of the serving model."""
    return _infer(request, name, version, body, key)


def _infer(request: Request, name: str, version: str | None, body: Inference, key: str | None) -> Response:
    def checked() -> list[tuple[str, int | None]]:
        _version(request, name, version)
        _check_model(request, name, body)
        return _pairs(body)

    def rendered(scores: Sequence[dict[str, Any]]) -> bytes:
        return canonical(_inferred(name, body, scores))

    answer = score_requests.score_all(service_of(request), call_for(request, key), checked, rendered)
    if not answer.replayed:
        for _ in body.inputs[0].data:
            request.app.state.metrics.count_score(request.state.principal)
    return answered(answer)


def _pairs(body: Inference) -> list[tuple[str, int | None]]:
    """Batches and times in microseconds UTC; None: now.

    Raises:
        RefusedError: The tensors do not belong together, or a time has no offset.
    """
    by_name = {tensor.name: tensor for tensor in body.inputs}
    if "batch_id" not in by_name or len(by_name) != len(body.inputs):
        raise RefusedError("the inputs", expected="one tensor batch_id and at most one as_of")
    lengths = {len(tensor.data) for tensor in body.inputs}
    if len(lengths) != 1 or any(tensor.shape != [len(tensor.data)] for tensor in body.inputs):
        raise RefusedError("the shapes", expected="[n] for all tensors, with n values each")
    batch_ids = by_name["batch_id"].data
    if "as_of" not in by_name:
        return [(batch_id, None) for batch_id in batch_ids]
    try:
        return list(zip(batch_ids, map(microseconds, by_name["as_of"].data), strict=True))
    except ValueError:
        raise RefusedError("as_of is no time with offset", expected="for example 2026-01-31T08:00:00Z") from None


def _inferred(name: str, body: Inference, scores: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The answer: the outputs that are wanted, of every score, in their order."""
    data = {
        "failure_probability": [score["failure_probability"] for score in scores],
        "score_id": [score["score_id"] for score in scores],
        "score": [canonical(score).decode() for score in scores],
    }
    outputs = [
        {**FORMS[wanted].model_dump(), "shape": [len(scores)], "data": data[wanted]} for wanted in body.output_names()
    ]
    version = scores[-1]["model"]["version"]  # of the scores, which may be from before a newer release
    given = {} if body.id is None else {"id": body.id}
    return {**given, "model_name": name, "model_version": version, "outputs": outputs}


def _metadata(name: str, version: str) -> Response:
    inputs, outputs = ([FORMS[tensor].model_dump() for tensor in names] for names in (INPUT_NAMES, OUTPUT_NAMES))
    content = {"name": name, "versions": [version], "platform": "batchguard", "inputs": inputs, "outputs": outputs}
    return as_json(content)


@cache
def _release() -> str:
    return installed_version("batchguard")


def _check_model(request: Request, name: str, body: Inference) -> None:
    """Refuse a body that names another model than the address, another version than serves, or an output twice.

    Raises:
        NotThereError: The serving model has another name or version.
        RefusedError: The body contradicts the address or itself.
    """
    _version(request, name, body.model_version or None)
    if (body.model_name or name) != name:
        raise RefusedError("the body names another model than the address", expected="the same, or no model_name")
    if len(set(body.output_names())) != len(body.output_names()):
        raise RefusedError("an output is wanted twice", expected="each output once")


def _version(request: Request, name: str, wanted: str | None = None) -> str:
    """Version of the serving model, if that is its name and the version that is wanted.

    Raises:
        NotThereError: The serving model has another name or version.
    """
    with service_of(request).engine_cache.reading() as (engine, _):
        info = engine.model()
    if info.name != name:
        raise NotThereError("the serving model has another name", remedy="GET /v1/model gives its name.")
    if wanted not in (None, info.version):
        raise NotThereError("the serving model has another version", remedy=f"GET /v2/models/{name} gives its version.")
    return info.version
