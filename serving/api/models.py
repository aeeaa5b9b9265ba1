"""Shapes of requests and answers. What is read is strict: no unknown key, no text for a number, no flag for one either.

These shapes say what JSON is accepted; whether a row is true (units, ranges, order of times) is said row by row by the
contract of the run history.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from features.contracts import GRADES, QUALITIES, SEVERITIES
from features.process import OUTCOMES
from serving.access.signing import MEANINGS
from serving.api import examples
from serving.ids import iso, microseconds
from serving.seam import PLANT_TABLES, ROW_TABLES

_PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]*$"
_ID = r"^[A-Za-z0-9][A-Za-z0-9._:@+-]*$"
MAX_ROWS = 20_000


def _time(text: str) -> str:
    try:
        iso(microseconds(text))  # also refuses years that the calendar does not have
    except (ValueError, OverflowError):
        raise ValueError("not a time with offset from UTC, for example 2026-01-31T08:00:00+01:00") from None
    return text


Id = Annotated[str, Field(pattern=_ID, min_length=1, max_length=120)]
Text = Annotated[str, Field(pattern=_PRINTABLE, max_length=200)]
Moment = Annotated[
    str,
    AfterValidator(_time),
    Field(max_length=40, json_schema_extra={"format": "date-time"}, examples=["2026-01-31T08:00:00+01:00"]),
]
RowTime = Annotated[  # a row's own fault, told with the row
    str, Field(pattern=_PRINTABLE, max_length=40, examples=["2026-01-31T08:00:00+01:00"])
]
Number = Annotated[float, Field(allow_inf_nan=False)]
Revision = Annotated[int, Field(ge=0, le=2**31 - 1)]


class _Read(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _example(*shown: dict[str, Any], **more: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": list(shown)}, **more)


class Batch(_Read):
    """A batch as it is known at its start."""

    model_config = _example(examples.BATCH)

    product_id: Text | None = None
    site_id: Id
    process_version: Text | None = None
    scale_l: Number | None = Field(None, description="Working volume, L")
    equipment_id: Text | None = None
    subject_key: Text | None = Field(None, description="Pseudonym of patient or donor, never an identity")
    started_at: RowTime
    planned_end_at: RowTime | None = None
    origin: Literal["real", "simulated"]
    attributes: dict[Text, Number | Text] = Field(
        {}, max_length=200, description="Attributes of the process definition"
    )

    def row(self) -> dict[str, Any]:
        """As a row of the run history."""
        given = self.model_dump(exclude_none=True)
        return given.pop("attributes") | given


class Observation(_Read):
    """One reading or result."""

    parameter: Text
    observed_at: RowTime
    revision: Revision = Field(0, description="Higher for each correction")
    available_at: RowTime | None = Field(None, description="When it could be seen; absent: when observed")
    value: Number
    unit: Text | None = Field(None, description="As reported; absent: the parameter's own")
    quality: Literal[QUALITIES] | None = None  # ty: ignore[invalid-type-form] - a tuple of names


class Event(_Read):
    """A phase, deviation, intervention, alarm, calibration, handover, ..."""

    kind: Text
    code: Text | None = None
    started_at: RowTime
    ended_at: RowTime | None = None
    available_at: RowTime | None = None
    severity: Literal[SEVERITIES] | None = None  # ty: ignore[invalid-type-form] - a tuple of names
    person_key: Text | None = Field(None, description="Pseudonym, never an identity")


class Material(_Read):
    """A lot of material that the batch used."""

    material: Text
    lot_id: Text
    supplier: Text | None = None
    quantity: Number | None = None
    unit: Text | None = None
    consumed_at: RowTime | None = None


class Disposition(_Read):
    """What was decided on the batch."""

    revision: Revision = 0
    outcome: Literal[OUTCOMES]  # ty: ignore[invalid-type-form] - a tuple of names
    failure_modes: Text | None = Field(None, description="Separated by ;")
    decided_at: RowTime
    source: Text | None = None
    verified_by: Text | None = None


class Rows(_Read):
    """Rows of one batch; any of the four tables."""

    model_config = _example(examples.ROWS)

    observations: list[Observation] = Field([], max_length=MAX_ROWS)
    events: list[Event] = Field([], max_length=MAX_ROWS)
    materials: list[Material] = Field([], max_length=MAX_ROWS)
    dispositions: list[Disposition] = Field([], max_length=MAX_ROWS)

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """By table of the run history, those without rows left out."""
        return _tables(self, ROW_TABLES)


def _tables(body: BaseModel, names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    given = {name: getattr(body, name) for name in names}
    return {name: [row.model_dump(exclude_none=True) for row in rows] for name, rows in given.items() if rows}


class LotResult(_Read):
    """A result of a material lot: of its certificate, or of a retest. It counts for every batch that used the lot."""

    lot_id: Text
    material: Text
    parameter: Text
    observed_at: RowTime
    revision: Revision = Field(0, description="Higher for each correction")
    available_at: RowTime | None = Field(None, description="When it could be seen; absent: when observed")
    value: Number
    unit: Text | None = Field(None, description="As reported; absent: the parameter's own")


class RoomSample(_Read):
    """A sample of a room: counts of particles or of colonies."""

    site_id: Id
    area_id: Text | None = Field(None, description="Suite or room")
    metric: Text = Field(description="What was counted, with its unit: viable_air_cfu_m3")
    observed_at: RowTime
    available_at: RowTime | None = Field(None, description="When it could be seen; absent: when observed")
    value: Annotated[float, Field(allow_inf_nan=False, ge=0)]
    grade: Literal[GRADES] | None = None  # ty: ignore[invalid-type-form] - a tuple of names


class LotResults(_Read):
    """Results of material lots, of any number of lots."""

    model_config = _example(examples.LOT_RESULTS)

    lot_results: list[LotResult] = Field(min_length=1, max_length=MAX_ROWS)

    def rows(self) -> list[dict[str, Any]]:
        """As rows of the run history."""
        return [row.model_dump(exclude_none=True) for row in self.lot_results]


class Environment(_Read):
    """Samples of rooms, of any number of rooms and sites."""

    model_config = _example(examples.ENVIRONMENT)

    environment: list[RoomSample] = Field(min_length=1, max_length=MAX_ROWS)

    def rows(self) -> list[dict[str, Any]]:
        """As rows of the run history."""
        return [row.model_dump(exclude_none=True) for row in self.environment]


class ScoreRequest(_Read):
    """When the score shall speak of."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{}, {"as_of": "2026-01-31T08:00:00+01:00"}, {"reasons": False}]}
    )

    as_of: Moment | None = Field(None, description="Nothing known later counts; absent: now")
    reasons: bool = Field(True, description="Whether to say why, which takes most of the time")


class InlineBatch(Batch):
    """A batch with its id."""

    model_config = _example(examples.BATCH | {"batch_id": "B-2026-0117"})

    batch_id: Id


class InlineRequest(Rows):
    """One batch's whole history, to be scored without being taken in."""

    model_config = _example(examples.INLINE)

    batch: InlineBatch
    lot_results: list[LotResult] = Field([], max_length=MAX_ROWS, description="Of the lots that the batch used")
    environment: list[RoomSample] = Field([], max_length=MAX_ROWS, description="Of the rooms of its site")
    as_of: Moment | None = None

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """By table of the run history, those without rows left out."""
        return super().tables() | _tables(self, PLANT_TABLES)


class ReviewRequest(_Read):
    """What a person decided on a score."""

    model_config = _example(examples.REVIEW_REQUEST)

    decision: Literal["agree", "disagree", "act", "no_action"]
    reason: Annotated[str, Field(pattern=_PRINTABLE, min_length=3, max_length=2000)]
    deviation: Id | None = Field(None, description="Linked deviation record")
    meaning: Literal[MEANINGS] = Field(  # ty: ignore[invalid-type-form] - a tuple of names
        description="What the signature says; an approval is an approver's"
    )
    signer: Text | None = Field(None, description="The signer's own id; needed at the first signature of a session")


class Taken(BaseModel):
    """What became of a batch."""

    model_config = _example(examples.TAKEN)

    batch_id: str
    verdict: Literal["accepted", "duplicate"]
    revision: int


class Rejection(BaseModel):
    """Why a row was rejected; `index` counts in its table of the request, from 0."""

    table: str
    index: int
    code: str
    reason: str


class PlantRowsTaken(BaseModel):
    """What became of rows; at most 100 rejections are explained, all are kept in the quarantine."""

    model_config = _example(examples.PLANT_ROWS_TAKEN)

    accepted: int
    duplicates: int
    rejected: int
    rejections: list[Rejection]


class RowsTaken(PlantRowsTaken):
    """What became of rows of a batch."""

    model_config = _example(examples.ROWS_TAKEN)

    batch_id: str


class Model(BaseModel):
    """The model that speaks."""

    name: str
    version: str
    sha256: str
    review: Literal["unreviewed", "released"]
    process_id: str
    process_sha256: str
    features_sha256: str = Field(description="Digest of the code that makes features")
    thresholds_sha256: str | None = Field(None, description="Digest of the limits by which it decides")
    intended_use_sha256: str | None = Field(None, description="Digest of what it was released for")


class ModelNow(Model):
    """The model that speaks now."""

    model_config = _example(examples.MODEL_NOW)

    stale_since_us: int | None = Field(
        description="Since when a newer release cannot be used; null: this is the newest"
    )
    stale_because: str | None = Field(None, description="Why it cannot be used, and what to do")
    thresholds: dict[str, Any] | None = Field(None, description="The limits by which it decides")
    intended_use: dict[str, Any] | None = Field(None, description="What it was released for, as it was signed")


class StaleModel(BaseModel):
    """A newer release could not be used when this was scored."""

    since: str
    age_s: float


class ScoreReason(BaseModel):
    """Why the probability is not the base probability: one parameter, with its value, unit and normal range."""

    model_config = ConfigDict(extra="allow")

    parameter: str
    label: str
    value: float | str | None
    unit: str
    normal: list[float | None]
    points: float = Field(description="Percentage points it adds to the probability")
    sentence: str


class ScoreContent(BaseModel):
    """What a score says. A new version of the predictor may say more: clients ignore what they do not know."""

    model_config = ConfigDict(extra="allow")

    version: int = Field(description="Of this shape")
    elapsed_h: float
    failure_probability: float = Field(ge=0, le=1)
    base_probability: float = Field(ge=0, le=1)
    interval: list[float] | None = Field(None, description="Low and high end of the probability's interval")
    decision: Literal["low", "elevated", "high", "undecided"] | None = Field(None, description="Absent: none is made")
    cause: str | None = Field(None, description="Why it is undecided; empty where it is not")
    possible: list[str] | None = Field(None, description="Outcomes that the stated error rates leave open")
    modes: dict[str, Any] | None = Field(None, description="Probability by failure mode")
    attributes: list[dict[str, Any]] | None = Field(None, description="Expected release attributes, interval, limit")
    sensors: list[dict[str, Any]] | None = Field(
        None, description="Sensors found at fault, whose readings do not count"
    )
    domain: list[dict[str, Any]] | None = Field(None, description="Why the model does not apply here; empty: it does")
    reasons: list[ScoreReason] | None = Field(description="Largest first; null: nobody asked")
    missing: list[str] = Field(description="Parameters without a value yet")
    stale: dict[str, float] = Field(
        description="Parameters whose newest value is older than usual, with its age in hours"
    )
    assays_pending: list[str] | None = Field(
        None, description="Assays without a result yet, also those that no model may see"
    )
    data_sha256: str = Field(description="Digest of all rows held")
    process_version: str
    model: Model


class Review(BaseModel):
    """A review as it is kept."""

    model_config = _example(examples.REVIEW)

    review_id: str
    score_id: str
    decision: str
    reason: str
    deviation: str | None
    reviewer: str
    score_sha256: str
    reviewed_at: str
    request_id: str
    signer_name: str | None = Field(description="As printed; null here and below: signed before it was kept")
    meaning: str | None = Field(description="What the signature says")
    signed_with: str | None = Field(description="Components of the signature that were shown")


class Score(ScoreContent):
    """A score as it is kept: `supersedes` names the earlier one of the same batch and time."""

    model_config = _example(examples.SCORE, extra="allow")

    score_id: str
    batch_id: str
    site_id: str
    as_of: str
    scored_at: str
    stale_model: StaleModel | None = Field(description="Null: the newest release spoke")
    code_sha256: str | None = Field(description="Digest of the software that scored, with its arithmetic libraries")
    rows_seq: int = Field(description="Newest row that it rests on")
    inline_sha256: str | None
    body_sha256: str
    supersedes: str | None
    request_id: str
    scored_for: str
    reviews: list[Review] | None = None


class ScoreNamed(BaseModel):
    """A score by its id, and what it said."""

    score_id: str
    batch_id: str
    as_of: str
    failure_probability: float
    model_sha256: str


class ScoreChanges(ScoreNamed):
    """What changed since an earlier score: `points` of the rows sum to the change of the risk, in percentage points."""

    model_config = _example(examples.CHANGES)

    since: ScoreNamed | None = Field(description="The earlier score; null: there is none")
    changes: dict[str, Any] | None = Field(description="`hours`, `before`, `probability`, `rows`, `sentence`")


class ScoreWhatIf(ScoreNamed):
    """What could still be done: `changes`, smallest first; what was `left_out`, and why; a `sentence`."""

    model_config = _example(examples.WHAT_IF)

    what_if: dict[str, Any]


class AuditEntry(BaseModel):
    """One entry of the audit trail; `hash` is over all of it and the hash of the one before."""

    seq: int
    at: str
    who: str
    role: str
    action: str
    why: str
    old: Any
    new: Any
    request_id: str
    previous: str
    hash: str


class ScoreHistory(BaseModel):
    """What the audit trail tells of a score."""

    model_config = _example(examples.HISTORY)

    score_id: str
    entries: list[AuditEntry]


class BatchPage(BaseModel):
    """Batches by id; `next` is the `after` of the next page, null at the end."""

    model_config = _example(examples.BATCH_PAGE)

    batches: list[dict[str, Any]]
    next: str | None


class ScorePage(BaseModel):
    """Scores, the newest made first; `next` is the `before` of the next page, null at the end."""

    model_config = _example(examples.SCORE_PAGE)

    scores: list[Score]
    next: str | None


class Problem(BaseModel):
    """RFC 9457."""

    model_config = _example(examples.PROBLEM, extra="allow")

    type: str
    title: str
    status: int
    detail: str | None = None
    request_id: str | None = None
    errors: list[dict[str, str]] | None = None


class Health(BaseModel):
    """`ok`, or what is not."""

    model_config = _example(examples.HEALTH)

    status: Literal["ok", "unavailable"]
    records: Literal["ok", "unavailable"] | None = None
    model: Literal["ok", "stale", "unavailable"] | None = None
