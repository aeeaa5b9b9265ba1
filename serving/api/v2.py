"""The Open Inference Protocol, version 2, over the same service: every value of `batch_id` gives a stored score."""

from __future__ import annotations

from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from features.canonical import canonical
from serving.api import examples
from serving.api.fields import Id, Moment, Text
from serving.api.guard import PERMISSION, GuardedRoute
from serving.api.health import readiness
from serving.api.replies import Key, answered, as_json, call_for, problems, service_of
from serving.ids import microseconds
from serving.records.answers import Answer
from serving.service import score_requests
from serving.service.errors import NotThereError, RefusedError

router = APIRouter(prefix="/v2", route_class=GuardedRoute)
Name = Annotated[Id, Path(description="Registered model")]
MAX_SCORES = 32  # of one call: it has to end before an MES gives up

_INPUTS = [
    {"name": "batch_id", "datatype": "BYTES", "shape": [-1]},
    {"name": "as_of", "datatype": "BYTES", "shape": [-1]},
]
_OUTPUTS = [
    {"name": "failure_probability", "datatype": "FP64", "shape": [-1]},
    {"name": "score_id", "datatype": "BYTES", "shape": [-1]},
    {"name": "score", "datatype": "BYTES", "shape": [-1]},
]
_ERRORS = problems(400, 401, 403, 404, 408, 409, 413, 415, 422, 500, 503)


class Tensor(BaseModel):
    """One input: `batch_id`, or the times of the scores."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Literal["batch_id", "as_of"]
    datatype: Literal["BYTES"]
    shape: list[Annotated[int, Field(ge=1, le=MAX_SCORES)]] = Field(min_length=1, max_length=1)
    data: list[Id] | list[Moment] = Field(min_length=1, max_length=MAX_SCORES)


class Inference(BaseModel):
    """A request for scores."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [examples.INFERENCE]})

    id: Text | None = None
    inputs: list[Tensor] = Field(min_length=1, max_length=2)


class Output(BaseModel):
    """One output: a value per batch."""

    name: str
    datatype: str
    shape: list[int]
    data: list[JsonValue]


class Inferred(BaseModel):
    """Scores; `score` holds the whole records as JSON."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.INFERRED]})

    id: str | None = None
    model_name: str
    model_version: str
    outputs: list[Output]


class Ready(BaseModel):
    """Readiness of the process or of a model."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [{"ready": True}]})


@router.get("/health/live", response_model=Ready, openapi_extra={PERMISSION: "open"})
async def live() -> Response:
    """The process runs."""
    return Response(b'{"live":true}', media_type="application/json")


@router.get("/health/ready", response_model=Ready, openapi_extra={PERMISSION: "open"},
            responses={503: {"model": Ready, "description": "A part is not there"}})  # fmt: skip
def ready(request: Request) -> Response:
    """The records can be read and a model can score."""
    is_ready = readiness(service_of(request)).status == "ok"
    return as_json({"ready": is_ready}, 200 if is_ready else 503)


@router.get("/models/{name}", response_model=Ready, openapi_extra={PERMISSION: "read"}, responses=_ERRORS)
def metadata(request: Request, name: Name) -> Response:
    """Inputs and outputs of the serving model."""
    version = _version(request, name)
    content = {"name": name, "versions": [version], "platform": "batchguard", "inputs": _INPUTS, "outputs": _OUTPUTS}
    return as_json(content)


@router.get("/models/{name}/ready", response_model=Ready, openapi_extra={PERMISSION: "read"}, responses=_ERRORS)
def model_ready(request: Request, name: Name) -> Response:
    """Whether this is the serving model."""
    _version(request, name)
    return as_json({"name": name, "ready": True})


@router.post("/models/{name}/infer", response_model=Inferred, openapi_extra={PERMISSION: "score"}, responses=_ERRORS)
def infer(request: Request, name: Name, body: Inference, key: Key = None) -> Response:
    """Score batches that are held here, one after the other; each score is kept as any other.

    Under an Idempotency-Key each score has a part of the key: those that were made before are given again, also where
    the first attempt ended half way.
    """
    _version(request, name)
    service, call = service_of(request), call_for(request, key)
    made = [score_requests.score(service, call.part(i), *pair) for i, pair in enumerate(_pairs(body))]
    scores = [orjson.loads(answer.body) for answer in made]
    data = {
        "failure_probability": [score["failure_probability"] for score in scores],
        "score_id": [score["score_id"] for score in scores],
        "score": [canonical(score).decode() for score in scores],
    }
    outputs = [{**form, "shape": [len(scores)], "data": data[str(form["name"])]} for form in _OUTPUTS]
    version = scores[-1]["model"]["version"]  # of the scores, which may be from before a newer release
    content = {"id": body.id, "model_name": name, "model_version": version, "outputs": outputs}
    return answered(Answer(200, canonical(content), replayed=all(answer.replayed for answer in made)))


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


def _version(request: Request, name: str) -> str:
    """Version of the serving model, if that is its name.

    Raises:
        NotThereError: The serving model has another name.
    """
    with service_of(request).engine_cache.reading() as (engine, _):
        info = engine.model()
    if info.name != name:
        raise NotThereError("the serving model has another name", remedy="GET /v1/model gives its name.")
    return info.version
