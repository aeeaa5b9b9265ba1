"""Bodies and answers of the Open Inference Protocol. Keys that it does not have are refused, as everywhere."""

from __future__ import annotations

import re
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from serving.api import examples
from serving.api.fields import Text, example
from serving.ids import ID_PATTERN, checked_time

MAX_SCORES = 32  # of one call: it has to end before an MES gives up
InputName = Literal["batch_id", "as_of"]
OutputName = Literal["failure_probability", "score_id", "score"]
INPUT_NAMES: tuple[InputName, ...] = get_args(InputName)
OUTPUT_NAMES: tuple[OutputName, ...] = get_args(OutputName)
Parameters = Annotated[
    dict[str, JsonValue], Field(description="Of the protocol's extensions; what has no meaning here is ignored")
]
_ELSEWHERE = ("binary_data_size", "shared_memory_region")  # where the values would be instead of in the JSON


class Tensor(BaseModel):
    """One input: `batch_id`, or the times of the scores."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: InputName
    datatype: Literal["BYTES"]
    shape: list[Annotated[int, Field(ge=1, le=MAX_SCORES)]] = Field(min_length=1, max_length=1)
    parameters: Parameters | None = None
    data: list[Annotated[str, Field(max_length=120)]] = Field(
        description=f"Ids of batches, or times with their offset; 1 to {MAX_SCORES}, as many as `shape` says"
    )

    @model_validator(mode="before")
    @classmethod
    def _in_the_json(cls, given: JsonValue) -> JsonValue:
        return _without(given, _ELSEWHERE, "expected `data` in the JSON, neither binary nor in shared memory")

    @model_validator(mode="after")
    def _of_its_kind(self) -> Tensor:
        if self.name == "batch_id" and not all(re.fullmatch(ID_PATTERN, batch_id) for batch_id in self.data):
            raise PydanticCustomError("id", "expected ids of batches")
        if self.name == "as_of":
            for moment in self.data:
                checked_time(moment)
        return self


class RequestedOutput(BaseModel):
    """One output that is wanted."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: OutputName
    parameters: Parameters | None = None

    @model_validator(mode="before")
    @classmethod
    def _as_it_is(cls, given: JsonValue) -> JsonValue:
        return _without(given, ("classification", "shared_memory_region"), "expected an output as it is, in the JSON")


class Inference(BaseModel):
    """A request for scores."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [examples.INFERENCE]})

    id: Text | None = None
    model_name: Text | None = Field(None, description="Of the address, where it is given")
    model_version: Text | None = Field(None, description="Of the serving model, where it is given")
    parameters: Parameters | None = None
    inputs: list[Tensor] = Field(min_length=1, max_length=2)
    outputs: list[RequestedOutput] | None = Field(
        None, max_length=len(OUTPUT_NAMES), description="None or an empty list: all"
    )

    def output_names(self) -> tuple[OutputName, ...]:
        """The outputs that are wanted, in the order of the request."""
        return tuple(output.name for output in self.outputs or ()) or OUTPUT_NAMES


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


class TensorForm(BaseModel):
    """Name and form of a tensor; -1 stands for any length."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """The serving model with the forms of its tensors."""

    model_config = example(examples.MODEL_METADATA)

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorForm]
    outputs: list[TensorForm]


class ServerMetadata(BaseModel):
    """The endpoint, its release, and the protocol's extensions that it knows."""

    model_config = example(examples.SERVER_METADATA)

    name: str
    version: str
    extensions: list[str]


class Ready(BaseModel):
    """Readiness of the process or of a model; `error` says what is not there."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [{"ready": True}]})

    ready: bool | None = None
    live: bool | None = None
    name: str | None = None
    error: str | None = None


FORMS = {
    name: TensorForm(name=name, datatype="FP64" if name == "failure_probability" else "BYTES", shape=[-1])
    for name in (*INPUT_NAMES, *OUTPUT_NAMES)
}


def _without(given: JsonValue, refused: tuple[str, ...], expected: str) -> JsonValue:
    """A tensor whose parameters ask for nothing that would make its answer another one if it were ignored.

    Raises:
        PydanticCustomError: One of them does.
    """
    parameters = given.get("parameters") if isinstance(given, dict) else None
    found = [name for name in refused if name in parameters] if isinstance(parameters, dict) else []
    if found:
        raise PydanticCustomError("parameter", "{what}", {"what": f"parameter {found[0]}: {expected}"})
    return given
