"""Fields that several shapes have, and how an example stands with a shape."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from features.contracts import OBSERVATIONS
from features.parsing import INTEGER_END
from serving.ids import ID_PATTERN, microseconds

PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]*$"
MAX_ROWS = 20_000


def _time(text: str) -> str:
    try:
        microseconds(text)
    except ValueError:
        raise ValueError("not a time with offset from UTC, for example 2026-01-31T08:00:00+01:00") from None
    return text


Id = Annotated[str, Field(pattern=ID_PATTERN, min_length=1, max_length=120)]
Text = Annotated[str, Field(pattern=PRINTABLE, max_length=200)]
Moment = Annotated[
    str,
    AfterValidator(_time),
    Field(max_length=40, json_schema_extra={"format": "date-time"}, examples=["2026-01-31T08:00:00+01:00"]),
]
RowTime = Annotated[  # a row's own fault, told with the row
    str, Field(pattern=PRINTABLE, max_length=40, examples=["2026-01-31T08:00:00+01:00"])
]
Number = Annotated[float, Field(allow_inf_nan=False)]
Revision = Annotated[int, Field(ge=OBSERVATIONS["revision"].low, le=INTEGER_END - 1)]


def example(*shown: dict[str, Any], **more: Any) -> ConfigDict:
    """A shape's configuration with its examples."""
    return ConfigDict(json_schema_extra={"examples": list(shown)}, **more)
