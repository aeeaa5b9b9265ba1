"""The Open Inference Protocol, version 2, over the same scorer: every row of `batch_id` gives a kept score."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from features.canonical import canonical
from serving.api import examples
from serving.api.fields import Id, Moment, Text
from serving.api.guard import PERMISSION, GuardedRoute
from serving.api.health import readiness
from serving.api.replies import Key, answered, call_for, problems, service_of
from serving.ids import microseconds
from serving.records.answers import Answer
from serving.service import score_requests
from serving.service.errors import NotThereError, RefusedError

router = APIRouter(prefix="/v2", route_class=GuardedRoute)
Name = Annotated[Id, Path(description="Registered model")]
MAX_SCORES = 32  # of one call: it has to end within an MES's patience

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
    data: list[Any]


class Inferred(BaseModel):
    """Scores; `score` holds the whole records as JSON."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.INFERRED]})

    id: str | None = None
    model_name: str
    model_version: str
    outputs: list[Output]


class Ready(BaseModel):
    """Whether it is."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [{"ready": True}]})


@router.get("/health/live", response_model=Ready, openapi_extra={PERMISSION: "open"})
async def live() -> Response:
    """The process answers."""
    return Response(b'{"live":true}', media_type="application/json")


@router.get("/health/ready", response_model=Ready, openapi_extra={PERMISSION: "open"},
            responses={503: {"model": Ready, "description": "A part is not there"}})  # fmt: skip
def ready(request: Request) -> Response:
    """The records can be read and a model can speak."""
    is_ready = readiness(service_of(request))["status"] == "ok"
    return Response(canonical({"ready": is_ready}), 200 if is_ready else 503, media_type="application/json")


@router.get("/models/{name}", response_model=Ready, openapi_extra={PERMISSION: "read"}, responses=_ERRORS)
def metadata(request: Request, name: Name) -> Response:
    """Inputs and outputs."""
    version = _serving_model(request, name)
    content = {"name": name, "versions": [version], "platform": "batchguard", "inputs": _INPUTS, "outputs": _OUTPUTS}
    return Response(canonical(content), media_type="application/json")


@router.get("/models/{name}/ready", response_model=Ready, openapi_extra={PERMISSION: "read"}, responses=_ERRORS)
def model_ready(request: Request, name: Name) -> Response:
    """Whether this model speaks."""
    _serving_model(request, name)
    return Response(canonical({"name": name, "ready": True}), media_type="application/json")


@router.post("/models/{name}/infer", response_model=Inferred, openapi_extra={PERMISSION: "score"}, responses=_ERRORS)
def infer(request: Request, name: Name, wanted: Inference, key: Key = None) -> Response:
    """Score batches that are held here, one after the other; each score is kept as any other.

    Under an Idempotency-Key each score has a part of the key: those that were made before are given again, also where
    the first attempt ended half way.
    """
    _serving_model(request, name)
    pairs, call = _pairs(wanted), call_for(request, key)
    made = [
        score_requests.score(
            service_of(request), call.part(i), batch_id, None if as_of is None else microseconds(as_of)
        )
        for i, (batch_id, as_of) in enumerate(pairs)
    ]
    scores = [orjson.loads(answer.body) for answer in made]
    data = {
        "failure_probability": [score["failure_probability"] for score in scores],
        "score_id": [score["score_id"] for score in scores],
        "score": [canonical(score).decode() for score in scores],
    }
    outputs = [{**form, "shape": [len(scores)], "data": data[str(form["name"])]} for form in _OUTPUTS]
    version = scores[-1]["model"]["version"]  # of the scores, which may be from before a newer release
    content = {"id": wanted.id, "model_name": name, "model_version": version, "outputs": outputs}
    return answered(Answer(200, canonical(content), replayed=all(answer.replayed for answer in made)))


def _pairs(wanted: Inference) -> list[tuple[str, str | None]]:
    """Batches and times; none: now.

    Raises:
        RefusedError: The tensors do not belong together.
    """
    by_name = {tensor.name: tensor for tensor in wanted.inputs}
    if "batch_id" not in by_name or len(by_name) != len(wanted.inputs):
        raise RefusedError("the inputs", expected="one tensor batch_id and at most one as_of")
    lengths = {len(tensor.data) for tensor in wanted.inputs}
    if len(lengths) != 1 or any(tensor.shape != [len(tensor.data)] for tensor in wanted.inputs):
        raise RefusedError("the shapes", expected="[n] for all tensors, with n values each")
    as_of: list[str | None] = [*by_name["as_of"].data] if "as_of" in by_name else [None] * len(by_name["batch_id"].data)
    for moment in as_of:
        if moment is not None:
            _checked(moment)
    return list(zip(by_name["batch_id"].data, as_of, strict=True))


def _checked(moment: str) -> None:
    try:
        microseconds(moment)
    except ValueError:
        raise RefusedError("as_of is no time with offset", expected="for example 2026-01-31T08:00:00Z") from None


def _serving_model(request: Request, name: str) -> str:
    """Version of the model that speaks, where that is its name."""
    with service_of(request).engine_cache.reading() as (engine, _):
        info = engine.model()
    if info.name != name:
        raise NotThereError("no model of this name speaks", remedy="GET /v1/model names the one that does.")
    return info.version
