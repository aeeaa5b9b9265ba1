"""The score record, declared once: the Parquet schema of `risk_scores` and the shapes of the HTTP API derive from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PlainSerializer, TypeAdapter

from models.explain.attributes import AttributeForecast
from models.explain.changes import Changes
from models.explain.modes import TopMode
from models.explain.what_if import WhatIf
from models.learners.applicability.domain import Cause, Finding, Support
from models.learners.sensor_words import SensorFinding
from models.scoring.call import Call, Decision
from models.scoring.reasons import Reason

VERSION = 2
# what version 1 did not have, and the decision that it made by a rule of its own
OF_VERSION = frozenset({"version", "call", "call_cause", "support", "support_causes", "decision", "cause"})

Review: TypeAlias = Literal["unreviewed", "released"]
ReleasedBy: TypeAlias = Literal["two persons", "demo keys"]


def _z(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


UtcTime: TypeAlias = Annotated[datetime, PlainSerializer(_z, when_used="json")]
"""A time; as JSON in UTC with microseconds, `2026-01-31T07:00:00.000000Z`."""


@dataclass(frozen=True)
class Model:
    """The model that made a score."""

    name: Annotated[str, Field(description="Registered model")]
    version: Annotated[str, Field(description="Its version in the registry")]
    sha256: Annotated[str, Field(description="Digest of the manifest of its files")]
    review: Annotated[Review, Field(description="Whether a person released it")]
    process_id: Annotated[str, Field(description="Process it was made for")]
    process_sha256: Annotated[str, Field(description="Digest of the process definition: limits, ranges, thresholds")]
    features_sha256: Annotated[str, Field(description="Digest of the code that makes features")]
    thresholds_sha256: Annotated[str | None, Field(description="Digest of the limits by which it decides")] = None
    intended_use_sha256: Annotated[str | None, Field(description="Digest of what it was released for")] = None
    release_id: Annotated[
        str | None, Field(description="Digest of the manifest of its bundle, which two keys signed; null: not released")
    ] = None
    released_by: Annotated[ReleasedBy | None, Field(description="Whose keys signed; null: not released")] = None


class Score(BaseModel):
    """Risk of one batch at one moment. A newer version of the predictor may add fields: clients ignore the unknown ones."""

    model_config = ConfigDict(frozen=True, extra="ignore", json_schema_extra={"additionalProperties": True})

    version: int = Field(description="Of this shape")
    batch_id: str
    as_of: UtcTime = Field(description="Nothing that became available later counts")
    elapsed_h: float = Field(ge=0, description="Hours since the batch's start")
    failure_probability: float = Field(ge=0, le=1, description="Calibrated probability that the batch fails")
    base_probability: float = Field(ge=0, le=1, description="That of a batch of which only the hour is known")
    interval: list[float] = Field(min_length=2, max_length=2, description="Low and high end of the 90 % interval")
    call: Call | None = Field(
        None, description="From the risk alone; it never changes a batch's status: a person does. Null: of version 1"
    )
    call_cause: str | None = Field(None, description="Why there is no call yet; null where there is one")
    support: Support | None = Field(
        None,
        description="How far the model knows such batches: it stands beside the call and takes none back. Null: of version 1",
    )
    support_causes: list[Cause] | None = Field(
        None, description="Why the support is not sufficient, most important first; the numbers are in `domain`"
    )
    decision: Decision = Field(
        description="Deprecated, see `call` and `support`: `undecided` where there is no call yet or no support",
        json_schema_extra={"deprecated": True},
    )
    cause: str | None = Field(
        description="Deprecated: why `decision` is undecided, separated by '; '; null where it is not",
        json_schema_extra={"deprecated": True},
    )
    possible: list[str] = Field(description="Outcomes that the stated error rates leave open")
    modes: dict[str, float] = Field(description="Probability by failure mode that has a model")
    likeliest_mode: TopMode | None = Field(None, description="The likeliest failure mode, and those with too few cases")
    attributes: list[AttributeForecast] = Field(description="Expected release attributes, interval, limit")
    reasons: list[Reason] | None = Field(description="Largest first; null: not requested")
    missing: list[str] = Field(description="Parameters of the model without a value yet")
    stale: dict[str, float] = Field(
        description="Parameters whose newest value is older than usual, with its age in hours"
    )
    sensors: list[SensorFinding] = Field(description="Sensors found at fault, whose readings do not count")
    domain: list[Finding] = Field(
        description="Findings behind the support, with their numbers; empty: it is sufficient"
    )
    domain_ratios: dict[str, float] = Field(
        {}, description="Value over limit of each applicability check; above 1: outside"
    )
    assays_pending: list[str] | None = Field(None, description="Assays without a result yet, excluded ones too")
    changes: Changes | None = Field(None, description="Changes since the score before; null: not part of this score")
    what_if: WhatIf | None = Field(
        None, description="Smallest change that ends the alarm; null: not part of this score"
    )
    data_sha256: str = Field(description="Digest of the run history that the score rests on")
    process_version: str = Field(description="Version of the process definition")
    model: Model

    def to_json(self) -> dict[str, JsonValue]:
        """As plain JSON values."""
        return self.model_dump(mode="json")


_SCORES = TypeAdapter(list[Score])


def scores_of(plain: object) -> list[Score]:
    """Scores from plain values, checked.

    Raises:
        pydantic.ValidationError: A value is absent, or lies outside its range.
    """
    return _SCORES.validate_python(plain)
