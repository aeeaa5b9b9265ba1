"""Parts of a predictor as open JSON, derived from the fields of their dataclasses.

A field's type says how its value is stored: `Floats` and `Places` are arrays, `Lower` and `Upper` are limits that may be
infinite. Every other type is stored as pydantic writes it. The stored keys are the names of the fields.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from textwrap import shorten
from typing import Annotated, Self, TypeVar

import numpy as np
from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    ValidationError,
)

from features.errors import ContractError


def nested_lists(values: np.ndarray) -> list[JsonValue]:
    """An array as nested lists; NaN is null."""
    plain = values.astype(object)
    plain[values != values] = None
    return plain.tolist()


def _without(infinite: float) -> BeforeValidator:
    return BeforeValidator(lambda value: infinite if value is None else value)


_NULL_IF_INFINITE = PlainSerializer(lambda value: float(value) if math.isfinite(value) else None)

Floats = Annotated[np.ndarray, PlainValidator(lambda nested: np.array(nested, float)), PlainSerializer(nested_lists)]
Places = Annotated[np.ndarray, PlainValidator(lambda nested: np.array(nested, int)), PlainSerializer(nested_lists)]
Lower = Annotated[float, _without(-math.inf), _NULL_IF_INFINITE]
Upper = Annotated[float, _without(math.inf), _NULL_IF_INFINITE]
HoursKey = Annotated[float, PlainSerializer(lambda hours: f"{hours:g}")]  # a key of a JSON object is a text


class Persistent:
    """Base of dataclasses that are stored as JSON."""

    __pydantic_config__ = ConfigDict(ser_json_inf_nan="constants")  # no NaN but those of `Floats` becomes null unseen

    def to_json(self) -> dict[str, JsonValue]:
        """The fields as plain JSON values."""
        return _adapter(type(self)).dump_python(self, mode="json")

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Self:
        """Back from `to_json`.

        Raises:
            ContractError: The data have another form, for example that of another version.
        """
        try:
            return _adapter(cls).validate_python(data)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise ContractError(
                f"stored {cls.__name__.lower()} {place} {shorten(str(first['input']), 60)}",
                expected=first["msg"],
                remedy="Load it with the version of the software that wrote it, or train again.",
            ) from None


Part = TypeVar("Part", bound=Persistent)
LaterField = Annotated[Part | None, Field(exclude_if=lambda value: value is None)]
"""A part that former versions did not have: it is left out where there is none, so that what they stored keeps its bytes."""


@cache
def _adapter(kind: type[Part]) -> TypeAdapter[Part]:
    return TypeAdapter(kind)
