"""Where the endpoint's outside (records, access, HTTP) meets its inside (bundle, state, scoring).

The record store is the truth and an engine is a cache over it: rows are committed first-hand by the outside, and an
engine that may hold something else than the store is thrown away and built again from the stored rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import orjson

from features.errors import BatchguardError

ScoreBody = dict[str, Any]
"""Everything of a score but its ids and its time of scoring: plain JSON values, by `serving.api.models.ScoreContent`."""

Verdict = Literal["accepted", "duplicate", "rejected"]
BODY_VERSION = 1
ROW_TABLES = ("observations", "events", "materials", "dispositions")


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
        stale_since_us: Since when a newer release cannot be used, in microseconds UTC; None: this is the newest.
    """

    name: str
    version: str
    sha256: str
    review: Literal["unreviewed", "released"]
    process_id: str
    process_sha256: str
    features_sha256: str
    stale_since_us: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


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
    """A row as the store keeps it: `seq` orders all rows of the plant; table `batches` for the batch itself."""

    seq: int
    batch_id: str
    table: str
    row: Mapping[str, Any]


class Engine(Protocol):
    """Scores from incremental state. `score` may run in several threads at once, but never beside a change."""

    def model(self) -> ModelInfo:
        """The model that speaks now.

        Raises:
            EngineError: None can.
        """
        ...

    def put_batch(self, batch: Mapping[str, Any]) -> RowVerdict:
        """Check the row of a batch by the contract and take it in, in the place of an earlier one."""
        ...

    def add(self, batch_id: str, table: str, rows: Sequence[Mapping[str, Any]]) -> list[RowVerdict]:
        """Check rows by the same rules as a run history and take in those that are accepted, all in one call."""
        ...

    def score(self, batch_id: str, as_of_us: int) -> ScoreBody:
        """Score a batch with what was available at a time.

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

    def rebuild(self, rows: Iterable[StoredRow]) -> None:
        """Take in rows that were accepted before, in their order; later calls go on where the last one ended."""
        ...

    def let_go(self, until: int) -> None:
        """All rows up to a number are committed: what the records can give back need not be held."""
        ...


def canonical(value: object) -> bytes:
    """The one spelling of a JSON value: keys in order, shortest floats, UTF-8. Equal values have equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
