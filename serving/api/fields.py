"""Fields that several request and response schemas share, and the configuration that attaches examples to a schema."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, JsonValue

from features.contracts import OBSERVATIONS
from features.parsing import INTEGER_END
from serving.ids import ID_PATTERN, checked_time

PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]*$"
MAX_ROWS = 20_000

Id = Annotated[str, Field(pattern=ID_PATTERN, min_length=1, max_length=120)]
Text = Annotated[str, Field(pattern=PRINTABLE, max_length=200)]
Moment = Annotated[
    str,
    AfterValidator(checked_time),
    Field(max_length=40, json_schema_extra={"format": "date-time"}, examples=["2026-01-31T08:00:00+01:00"]),
]
RowTime = Annotated[  # validated with its row: a wrong time rejects one row, not the request
    str, Field(pattern=PRINTABLE, max_length=40, examples=["2026-01-31T08:00:00+01:00"])
]
Number = Annotated[float, Field(allow_inf_nan=False)]
Revision = Annotated[int, Field(ge=OBSERVATIONS["revision"].low, le=INTEGER_END - 1)]


def example(*examples: dict[str, JsonValue], extra: Literal["allow"] | None = None) -> ConfigDict:
    """The configuration of a schema with its examples; without `extra` the base class decides about unknown keys."""
    config = ConfigDict(json_schema_extra={"examples": [*examples]})
    if extra is not None:
        config["extra"] = extra
    return config
