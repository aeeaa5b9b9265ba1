"""Schemas of request bodies. They are strict: no unknown key, no text and no flag for a number.

They decide what JSON is accepted; the contract of the run history validates each row (units, ranges, order of times).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from features.contracts import ENVIRONMENT, GRADES, ORIGINS, SEVERITIES
from features.process import OUTCOMES
from serving.access.signing import MEANINGS
from serving.api import examples
from serving.api.fields import MAX_ROWS, PRINTABLE, Id, Moment, Number, Revision, RowTime, Text, example
from serving.interfaces import PLANT_TABLES, ROW_TABLES, Row


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Batch(_Strict):
    """A batch as it is known at its start."""

    model_config = example(examples.BATCH)

    product_id: Text | None = None
    site_id: Id
    process_version: Text | None = None
    scale_l: Number | None = Field(None, description="Working volume, L")
    equipment_id: Text | None = None
    subject_key: Text | None = Field(None, description="Pseudonym of patient or donor, never an identity")
    started_at: RowTime
    planned_end_at: RowTime | None = None
    origin: Literal[ORIGINS]  # ty: ignore[invalid-type-form] - a tuple of names
    attributes: dict[Text, Number | Text] = Field(
        {}, max_length=200, description="Attributes of the process definition"
    )

    def row(self) -> Row:
        """The batch as a row of the run history."""
        given = self.model_dump(exclude_none=True)
        return given.pop("attributes") | given


class _Measured(_Strict):
    parameter: Text
    observed_at: RowTime
    revision: Revision = Field(0, description="Higher for each correction")
    available_at: RowTime | None = Field(None, description="When it could be seen; absent: when observed")
    unit: Text | None = Field(None, description="As reported; absent: the parameter's own")


class Observation(_Measured):
    """One reading or result."""

    value: Number | None = Field(None, description="May be absent only where the quality is bad")
    quality: Text | Annotated[int, Field(ge=0, le=2**32 - 1)] | None = Field(
        None, description="good, uncertain or bad, as a word of a historian or an OPC code; absent: good"
    )


class Event(_Strict):
    """A phase, deviation, intervention, alarm, calibration, handover, ..."""

    kind: Text
    code: Text | None = None
    started_at: RowTime
    ended_at: RowTime | None = None
    available_at: RowTime | None = None
    severity: Literal[SEVERITIES] | None = None  # ty: ignore[invalid-type-form] - a tuple of names
    person_key: Text | None = Field(None, description="Pseudonym, never an identity")


class Material(_Strict):
    """A lot of material that the batch used."""

    material: Text
    lot_id: Text
    supplier: Text | None = None
    quantity: Number | None = None
    unit: Text | None = None
    consumed_at: RowTime | None = None


class Disposition(_Strict):
    """What was decided on the batch."""

    revision: Revision = 0
    outcome: Literal[OUTCOMES]  # ty: ignore[invalid-type-form] - a tuple of names
    failure_modes: Text | None = Field(None, description="Separated by ;")
    decided_at: RowTime
    source: Text | None = None
    verified_by: Text | None = None


class Rows(_Strict):
    """Rows of one batch; any of the four tables."""

    model_config = example(examples.ROWS)

    observations: list[Observation] = Field([], max_length=MAX_ROWS)
    events: list[Event] = Field([], max_length=MAX_ROWS)
    materials: list[Material] = Field([], max_length=MAX_ROWS)
    dispositions: list[Disposition] = Field([], max_length=MAX_ROWS)

    def tables(self) -> dict[str, list[Row]]:
        """Rows by table of the run history, without empty tables."""
        return {table: rows for table in ROW_TABLES if (rows := rows_of(self, table))}


def rows_of(body: BaseModel, table: str) -> list[Row]:
    """Rows of a table of the run history, which a body holds under the table's name."""
    rows: Sequence[BaseModel] = getattr(body, table)
    return [row.model_dump(exclude_none=True) for row in rows]


class LotResult(_Measured):
    """A result of a material lot: of its certificate, or of a retest. It counts for every batch that used the lot."""

    lot_id: Text
    material: Text
    value: Number


class RoomSample(_Strict):
    """A sample of a room: counts of particles or of colonies."""

    site_id: Id
    area_id: Text | None = Field(None, description="Suite or room")
    metric: Text = Field(description="What was counted, with its unit: viable_air_cfu_m3")
    observed_at: RowTime
    available_at: RowTime | None = Field(None, description="When it could be seen; absent: when observed")
    value: Annotated[float, Field(allow_inf_nan=False, ge=ENVIRONMENT["value"].low)]
    grade: Literal[GRADES] | None = None  # ty: ignore[invalid-type-form] - a tuple of names


class LotResults(_Strict):
    """Results of material lots, of any number of lots."""

    model_config = example(examples.LOT_RESULTS)

    lot_results: list[LotResult] = Field(min_length=1, max_length=MAX_ROWS)


class Environment(_Strict):
    """Samples of rooms, of any number of rooms and sites."""

    model_config = example(examples.ENVIRONMENT)

    environment: list[RoomSample] = Field(min_length=1, max_length=MAX_ROWS)


class ScoreRequest(_Strict):
    """Options of a score."""

    model_config = example({}, {"as_of": "2026-01-31T08:00:00+01:00"}, {"reasons": False})

    as_of: Moment | None = Field(None, description="Nothing known later counts; absent: now")
    reasons: bool = Field(True, description="Whether to say why, which takes most of the time")


class InlineBatch(Batch):
    """A batch with its id."""

    model_config = example(examples.BATCH | {"batch_id": "B-2026-0117"})

    batch_id: Id


class InlineRequest(Rows):
    """One batch's whole history, to be scored without being taken in."""

    model_config = example(examples.INLINE)

    batch: InlineBatch
    lot_results: list[LotResult] = Field([], max_length=MAX_ROWS, description="Of the lots that the batch used")
    environment: list[RoomSample] = Field([], max_length=MAX_ROWS, description="Of the rooms of its site")
    as_of: Moment | None = None

    def tables(self) -> dict[str, list[Row]]:
        """Rows by table of the run history, without empty tables."""
        return super().tables() | {table: rows for table in PLANT_TABLES if (rows := rows_of(self, table))}


class ReviewRequest(_Strict):
    """What a person decided on a score."""

    model_config = example(examples.REVIEW_REQUEST)

    decision: Literal["agree", "disagree", "act", "no_action"]
    reason: Annotated[str, Field(pattern=PRINTABLE, min_length=3, max_length=2000)]
    deviation: Id | None = Field(None, description="Linked deviation record")
    meaning: Literal[MEANINGS] = Field(  # ty: ignore[invalid-type-form] - a tuple of names
        description="What the signature says; an approval is an approver's"
    )
    signer: Text | None = Field(None, description="The signer's own id; needed at the first signature of a session")
