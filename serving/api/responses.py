"""Shapes of what is answered. A newer version may say more: clients ignore what they do not know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from models.scoring import score
from serving.api import examples
from serving.api.fields import example
from serving.service import score_queries


class Taken(BaseModel):
    """What became of a batch."""

    model_config = example(examples.TAKEN)

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

    model_config = example(examples.PLANT_ROWS_TAKEN)

    accepted: int
    duplicates: int
    rejected: int
    rejections: list[Rejection]


class RowsTaken(PlantRowsTaken):
    """What became of rows of a batch."""

    model_config = example(examples.ROWS_TAKEN)

    batch_id: str


@dataclass(frozen=True, kw_only=True)
class ModelNow(score.Model):
    """The serving model."""

    __pydantic_config__ = example(examples.MODEL_NOW)

    stale_since_us: Annotated[
        int | None, Field(description="Since when a newer release cannot be used; null: this is the newest")
    ]
    stale_because: Annotated[str | None, Field(description="Why it cannot be used, and what to do")] = None
    thresholds: Annotated[dict[str, JsonValue] | None, Field(description="The limits by which it decides")] = None
    intended_use: Annotated[
        dict[str, JsonValue] | None, Field(description="What it was released for, as it was signed")
    ] = None


class StaleModel(BaseModel):
    """A newer release could not be used when this was scored."""

    since: str
    age_s: float


class Review(BaseModel):
    """A review as it is kept."""

    model_config = example(examples.REVIEW)

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


class FoundReview(Review):
    """A review with batch and site of its score."""

    model_config = example(examples.FOUND_REVIEW)

    batch_id: str
    site_id: str


class Score(score.Score):
    """A score as it is kept: `supersedes` names the earlier one of the same batch and time."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": True, "examples": [examples.SCORE]})

    score_id: str
    site_id: str
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


@dataclass(frozen=True)
class ScoreChanges(score_queries.ScoreChanges):
    """What changed since an earlier score: `points` of the rows sum to the change of the risk, in percentage points."""

    __pydantic_config__ = example(examples.CHANGES)


@dataclass(frozen=True)
class ScoreWhatIf(score_queries.ScoreWhatIf):
    """What could still be done: `changes`, smallest first; what was `left_out`, and why; a `sentence`."""

    __pydantic_config__ = example(examples.WHAT_IF)


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
    """The entries of the audit trail about a score."""

    model_config = example(examples.HISTORY)

    score_id: str
    entries: list[AuditEntry]


class BatchPage(BaseModel):
    """Batches by id; `next` is the `after` of the next page, null at the end."""

    model_config = example(examples.BATCH_PAGE)

    batches: list[dict[str, Any]]
    next: str | None


class ScorePage(BaseModel):
    """Scores, the newest made first; `next` is the `before` of the next page, null at the end."""

    model_config = example(examples.SCORE_PAGE)

    scores: list[Score]
    next: str | None


class ReviewPage(BaseModel):
    """Reviews, the newest first; `next` is the `before` of the next page, null at the end."""

    model_config = example(examples.REVIEW_PAGE)

    reviews: list[FoundReview]
    next: str | None


class Problem(BaseModel):
    """RFC 9457."""

    model_config = example(examples.PROBLEM, extra="allow")

    type: str
    title: str
    status: int
    detail: str | None = None
    request_id: str | None = None
    errors: list[dict[str, str]] | None = None


class Health(BaseModel):
    """`ok`, or what is not."""

    model_config = example(examples.HEALTH)

    status: Literal["ok", "unavailable"]
    records: Literal["ok", "unavailable"] | None = None
    model: Literal["ok", "stale", "unavailable"] | None = None
