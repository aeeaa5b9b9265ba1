"""The rows of each batch: held while new rows come, evicted after a long silence, reloaded for the next query.

What other batches' context needs of a batch (its row, lots, outcomes, people, the results that decide its label) is
held elsewhere, or kept here, for good. The records are the truth: evicted rows are read from them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from features.context import Vocabulary
from features.context.events import BatchEvents
from features.contracts import RUN_HISTORY
from features.duplicates import folded
from features.errors import ContractError
from features.incremental import BatchSeries, Readings, SeriesGrid
from features.process import ProcessDefinition
from serving.interfaces import RowVerdict, StoredRow
from serving.live.context import PreparedContext
from serving.live.readings import parse_readings
from serving.live.rows import Row, typed
from serving.live.tables import HeldRows, no_rows

Reload: TypeAlias = Callable[[str, int], Iterable[StoredRow]]
"""Observations and events of a batch as they were stored, up to the row of a number."""


@dataclass(frozen=True)
class EvictionPolicy:
    """When the rows of a batch are evicted.

    Attributes:
        recall: Reads them again.
        after_us: Time without new rows of the batch, by the newest time of a reading or event of any batch.
        reload_cache: Number of batches, the last that were reloaded, whose rows are held all the same.
    """

    recall: Reload
    after_us: int
    reload_cache: int = 16


NEVER = EvictionPolicy(lambda _batch_id, _until: (), 2**62)


@dataclass
class OwnRows:
    """Readings and events of one batch; changed events are prepared again by the next query."""

    series: BatchSeries
    events: HeldRows
    batch_events: BatchEvents | None = None
    vocabulary: Vocabulary | None = None

    def prepared(self, batch_id: str, context: PreparedContext) -> BatchEvents:
        """The events, prepared for the context."""
        if self.batch_events is None or self.vocabulary is not context.vocabulary:
            self.batch_events, self.vocabulary = context.batch_events(batch_id, self.events), context.vocabulary
        return self.batch_events


@dataclass
class _Batch:
    """A batch; without `rows` they are evicted, and are the stored ones up to number `until`."""

    started_us: int
    newest_us: int
    rows: OwnRows | None
    until: int = 0
    results: Readings = field(default_factory=Readings.none)


class HeldBatches:
    """All batches of a plant. One thread changes them at a time.

    Args:
        process: The process definition.
        eviction: When their rows are evicted.

    Attributes:
        starts: Start of each batch by id, microseconds UTC.
    """

    def __init__(self, process: ProcessDefinition, eviction: EvictionPolicy) -> None:
        self._process, self._eviction, self._grid = process, eviction, SeriesGrid.of(process)
        self._no_events = no_rows(RUN_HISTORY["events"], process)
        self._batches: dict[str, _Batch] = {}
        self._by_folded: dict[str, str] = {}
        self.starts: dict[str, int] = {}
        self._holding: set[str] = set()
        self._reload_cache: deque[str] = deque(maxlen=eviction.reload_cache)
        self._newest_us = 0

    @property
    def ids(self) -> Collection[str]:
        """Ids of all batches."""
        return self._batches.keys()

    def lookalike(self, batch_id: str) -> str | None:
        """A batch whose id differs from this one, which is of no batch, only by capitals or blanks."""
        return None if batch_id in self._batches else self._by_folded.get(folded(batch_id))

    @property
    def holding(self) -> Collection[str]:
        """Ids of those that hold their rows."""
        return self._holding

    @property
    def n_readings(self) -> int:
        """Number of readings held."""
        return sum(rows.series.held for name in self._holding if (rows := self._batches[name].rows))

    def start(self, batch_id: str, started_us: int) -> None:
        """Add a batch, or correct its start; that counts as no new row for the eviction of others."""
        batch = self._batches.get(batch_id)
        self.starts[batch_id] = started_us
        self._by_folded.setdefault(folded(batch_id), batch_id)
        if batch is None:
            self._batches[batch_id] = _Batch(started_us, started_us, self._no_rows(started_us))
            self._holding.add(batch_id)
        elif batch.started_us != started_us:
            batch.started_us = started_us
            if batch.rows is not None:
                batch.rows.series.restart(started_us)
        held = self._batches[batch_id]
        held.newest_us = max(held.newest_us, started_us)  # no clock: a batch may be planned, or mistyped, for next year

    def note_rows(self, batch_id: str, newest_us: int) -> None:
        """Note that rows of a batch came, the newest of them known at a time."""
        batch = self._batches[batch_id]
        batch.newest_us = max(batch.newest_us, newest_us)
        self._newest_us = max(self._newest_us, newest_us)

    def rows(self, batch_id: str) -> OwnRows | None:
        """A batch's rows; None: they are evicted."""
        return self._batches[batch_id].rows

    def reloaded(self, batch_id: str) -> OwnRows:
        """A batch's rows, read from the records if they are evicted.

        Raises:
            StorageError: The rows cannot be read now.
            ContractError: A stored row no longer keeps the contract.
        """
        batch = self._batches[batch_id]
        if batch.rows is None:
            batch.rows = self._reload(batch_id, batch)
            if batch_id not in self._reload_cache:
                self._reload_cache.append(batch_id)  # the batch reloaded first is evicted first
            self._holding.add(batch_id)
        return batch.rows

    def evict(self, until: int) -> None:
        """Evict the rows of batches without new rows for long; all rows up to a number are stored."""
        before = self._newest_us - self._eviction.after_us
        for name in [n for n in self._holding if self._batches[n].newest_us < before and n not in self._reload_cache]:
            self._evict(self._batches[name], until)
            self._holding.discard(name)

    def results(self, parameter: str) -> list[tuple[str, Readings]]:
        """All readings of the parameter of the label rule, by batch."""
        found = ((name, batch.rows, batch.results) for name, batch in self._batches.items())
        return [(name, kept if rows is None else rows.series.readings(parameter)) for name, rows, kept in found]

    def _reload(self, batch_id: str, batch: _Batch) -> OwnRows:
        by_table: dict[str, list[Row]] = {"observations": [], "events": []}
        for stored in self._eviction.recall(batch_id, batch.until):
            by_table[stored.table].append(stored.row)
        parsed = parse_readings(by_table["observations"], self._process)
        events = typed(RUN_HISTORY["events"], by_table["events"], self._process, stored=True)
        check_all_kept(parsed.rejected | events.rejected)
        rows = self._no_rows(batch.started_us)
        for (_, parameter), members in parsed.by_series().items():
            rows.series.add(parameter, parsed.readings[members])
        rows.events.put(events)
        return rows

    def _evict(self, batch: _Batch, until: int) -> None:
        rule = self._process.label_rule
        if batch.rows is not None and rule is not None:
            batch.results = batch.rows.series.readings(rule.parameter).copy()
        batch.rows, batch.until = None, until

    def _no_rows(self, started_us: int) -> OwnRows:
        return OwnRows(BatchSeries(self._grid, started_us), HeldRows(RUN_HISTORY["events"], self._no_events))


def check_all_kept(rejected: Mapping[int, RowVerdict]) -> None:
    """Check that no stored row was rejected.

    Raises:
        ContractError: A stored row no longer keeps the contract.
    """
    for verdict in rejected.values():
        raise ContractError(f"a stored row is refused: {verdict.reason}", remedy="Use the definition it was kept by.")
