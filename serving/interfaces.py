"""Interfaces between the outside of the endpoint (records, access, HTTP) and its inside (bundle, state, scoring).

The record store is the truth and an engine is a cache over it: the outside commits rows, and an engine that may differ
from the store is thrown away and built again from the stored rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self, TypeAlias

from pydantic import JsonValue

from features.errors import BatchguardError
from models.explain.changes import Changes
from models.explain.what_if import WhatIf
from models.scoring.score import Model, Score

Row: TypeAlias = Mapping[str, Any]
"""One row of a run-history table, by the names of its columns."""

Verdict = Literal["accepted", "duplicate", "rejected"]
ROW_TABLES = ("observations", "events", "materials", "dispositions")
PLANT_TABLES = ("lot_results", "environment")  # rows that belong to no single batch


class UnscorableError(BatchguardError):
    """A batch that cannot be scored at that time: it has not started, or the snapshot cannot be read."""


class EngineError(BatchguardError):
    """No model can be served, not even a last known good one."""


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
    row: Row | None = None


@dataclass(frozen=True)
class StoredRow:
    """A row as the store keeps it: `seq` orders all rows of the plant; table `batches` for the batch itself.

    A row of `PLANT_TABLES` has an empty batch id.
    """

    seq: int
    batch_id: str
    table: str
    row: Row


class SnapshotView(Protocol):
    """All that was known of one batch at one moment, with the model that scored it; later rows do not change it."""

    @property
    def probability(self) -> float:
        """Calibrated probability of failure at this moment."""
        ...

    def changes_since(self, earlier: Self) -> Changes:
        """Changes of the risk since an earlier moment of the batch, by the model of this view."""
        ...

    def what_if(self) -> WhatIf:
        """The smallest change of controllable parameters that ends the alarm."""
        ...


class Engine(Protocol):
    """Scores from incremental state. `score` may run in several threads at once, but never beside a change."""

    def model(self) -> Model:
        """The serving model.

        Raises:
            EngineError: There is none.
        """
        ...

    def released_for(self) -> Mapping[str, JsonValue]:
        """`intended_use` and `thresholds` of the serving model, as they were signed; None where its bundle has none."""
        ...

    def validate_batch(self, batch: Row) -> None:
        """Do what of `put_batch` needs no exclusive use of the engine; may run beside a change. The row may never be put."""
        ...

    def put_batch(self, batch: Row) -> RowVerdict:
        """Check the row of a batch by the contract and take it in, in the place of an earlier one."""
        ...

    def add(self, batch_id: str, table: str, rows: Sequence[Row]) -> list[RowVerdict]:
        """Check rows by the same rules as a run history and take in those that are accepted, all in one call.

        Rows of `PLANT_TABLES` come with an empty batch id.
        """
        ...

    def ready_site(self, batch_id: str) -> str | None:
        """The site, if the batch can be scored from memory; else None."""
        ...

    def score(self, batch_id: str, as_of_us: int, *, reasons: bool = True) -> Score:
        """Score a batch with what was available at a time; without reasons, they are None.

        Raises:
            UnscorableError: It had not started, or its snapshot cannot be read.
        """
        ...

    def score_inline(self, history: Mapping[str, Sequence[Row]], batch_id: str, as_of_us: int) -> Score:
        """Score a history that is given in whole; nothing is kept.

        Raises:
            UnscorableError: As for `score`, or a row breaks the contract.
        """
        ...

    def view(self, batch_id: str, as_of_us: int) -> SnapshotView:
        """A batch at a moment, for queries that take longer than a score.

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
