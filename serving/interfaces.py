"""Where the endpoint's outside (records, access, HTTP) meets its inside (bundle, state, scoring).

The record store is the truth and an engine is a cache over it: rows are committed first-hand by the outside, and an
engine that may hold something else than the store is thrown away and built again from the stored rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self

from features.canonical import canonical as canonical
from features.errors import BatchguardError

ScoreBody = dict[str, Any]
"""Everything of a score but its ids and its time of scoring: plain JSON values, by `serving.api.responses.ScoreContent`."""

Verdict = Literal["accepted", "duplicate", "rejected"]
BODY_VERSION = 1
ROW_TABLES = ("observations", "events", "materials", "dispositions")
PLANT_TABLES = ("lot_results", "environment")  # rows that belong to no single batch


class UnscorableError(BatchguardError):
    """A batch that cannot be scored at that time: it has not started, or the snapshot cannot be read."""


class EngineError(BatchguardError):
    """There is no model that could speak, not even a last known good one."""


@dataclass(frozen=True)
class ModelInfo:
    """The model that speaks.

    Attributes:
        name: Registered model.
        version: Its version in the registry.
        sha256: Digest of the manifest of its files.
        review: Whether a person released it.
        process_id: Process it was made for.
        process_sha256: Digest of the process definition: limits, ranges, thresholds.
        features_sha256: Digest of the code that makes features.
        thresholds_sha256: Digest of the thresholds and error rates by which it decides; None: a bundle of before.
        intended_use_sha256: Digest of what it was released for; None as before.
        stale_since_us: Since when a newer release cannot be used, in microseconds UTC; None: this is the newest.
    """

    name: str
    version: str
    sha256: str
    review: Literal["unreviewed", "released"]
    process_id: str
    process_sha256: str
    features_sha256: str
    thresholds_sha256: str | None = None
    intended_use_sha256: str | None = None
    stale_since_us: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return dict(vars(self))


@dataclass(frozen=True)
class RowVerdict:
    """What became of one row.

    Attributes:
        verdict: Accepted (kept), duplicate (says nothing new) or rejected.
        code: The rule that a rejected row broke; empty otherwise.
        reason: What, what was expected, what to do; empty for an accepted row.
        row: An accepted row by its contract: times in ISO 8601 UTC, values in the parameter's unit. None otherwise.
    """

    verdict: Verdict
    code: str = ""
    reason: str = ""
    row: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class StoredRow:
    """A row as the store keeps it: `seq` orders all rows of the plant; table `batches` for the batch itself.

    A row of `PLANT_TABLES` has an empty batch id.
    """

    seq: int
    batch_id: str
    table: str
    row: Mapping[str, Any]


class Looked(Protocol):
    """What a model sees of one batch at one moment; nothing that happens later changes it."""

    @property
    def probability(self) -> float:
        """Of failure, as a score of this moment says it."""
        ...

    def changes_since(self, earlier: Self) -> ScoreBody:
        """What moved the risk since an earlier moment of the batch, said by this look's model."""
        ...

    def what_if(self) -> ScoreBody:
        """The smallest change of what can still be changed that ends the alarm."""
        ...


class Engine(Protocol):
    """Scores from incremental state. `score` may run in several threads at once, but never beside a change."""

    def model(self) -> ModelInfo:
        """The model that speaks now.

        Raises:
            EngineError: None can.
        """
        ...

    def released_for(self) -> Mapping[str, Any]:
        """`intended_use` and `thresholds` of the model that speaks, as they were signed; None where its bundle has none."""
        ...

    def put_batch(self, batch: Mapping[str, Any]) -> RowVerdict:
        """Check the row of a batch by the contract and take it in, in the place of an earlier one."""
        ...

    def add(self, batch_id: str, table: str, rows: Sequence[Mapping[str, Any]]) -> list[RowVerdict]:
        """Check rows by the same rules as a run history and take in those that are accepted, all in one call.

        Rows of `PLANT_TABLES` come with an empty batch id.
        """
        ...

    def ready_site(self, batch_id: str) -> str | None:
        """Site of a batch of which a score has nothing to read or make ready first; None of any other."""
        ...

    def score(self, batch_id: str, as_of_us: int, *, reasons: bool = True) -> ScoreBody:
        """Score a batch with what was available at a time; without reasons, they are None.

        Raises:
            UnscorableError: It had not started, or its snapshot cannot be read.
        """
        ...

    def score_inline(
        self, history: Mapping[str, Sequence[Mapping[str, Any]]], batch_id: str, as_of_us: int
    ) -> ScoreBody:
        """Score a history that is given in whole; nothing is kept.

        Raises:
            UnscorableError: As for `score`, or a row breaks the contract.
        """
        ...

    def look(self, batch_id: str, as_of_us: int) -> Looked:
        """What the model sees of a batch at a time, for questions that take longer than a score.

        Raises:
            UnscorableError: As for `score`.
        """
        ...

    def decides_outcomes(self) -> str | None:
        """The parameter whose readings decide the outcomes of all batches; None: dispositions do."""
        ...

    def rebuild(self, rows: Iterable[StoredRow]) -> None:
        """Take in rows that were accepted before, in their order; later calls go on where the last one ended."""
        ...

    def evict(self, until: int) -> None:
        """All rows up to a number are committed: what the records can give back need not be held."""
        ...
