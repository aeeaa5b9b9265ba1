"""All batches of a plant, kept up to date row by row: a score reads summaries and prepared context, never rows."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from features.context import Vocabulary
from features.context.events import Begun
from features.contracts import QUALITIES, RUN_HISTORY
from features.errors import ContractError
from features.incremental import ACCEPTED, DUPLICATE, BatchSeries, SeriesGrid
from features.live import Columns, series_families
from features.process import ProcessDefinition
from features.summaries import microseconds
from serving.context import Context, PreparedContext
from serving.readings import SentReadings, sent_readings
from serving.rows import CONTRADICTS, REPEATED, Row, TypedRows, typed
from serving.seam import RowVerdict, StoredRow, UnscorableError, canonical
from serving.tables import HeldRows, Plain, no_rows

_AROUND = ("batches", "materials", "lot_results", "environment", "dispositions")
_AT_ONCE = 50_000  # stored rows that are typed together
_OTHER_BATCH = RowVerdict(
    "rejected", "other_batch", "the row names another batch; expected that of the address. Send it there"
)


@dataclass
class _Batch:
    """What is held of one batch; its events are prepared again when they have changed and somebody asks."""

    series: BatchSeries
    events: HeldRows
    begun: Begun | None = None
    words: Vocabulary | None = None

    def prepared(self, batch_id: str, context: PreparedContext) -> Begun:
        """Its events as the context wants them."""
        if self.begun is None or self.words is not context.words:
            self.begun, self.words = context.begun(batch_id, self.events), context.words
        return self.begun


@dataclass(frozen=True)
class LiveRow:
    """A batch at a moment.

    Attributes:
        values: One number per column of `PlantState.columns`.
        columns: The columns.
        elapsed_h: Hours since the batch's start.
        data_sha256: Digest of all rows held: the same rows give the same, in whatever order they came.
    """

    values: np.ndarray
    columns: Columns
    elapsed_h: float
    data_sha256: str


class PlantState:
    """Rows and summaries of all batches of one process.

    One thread changes it at a time; any number ask. What a change makes stale of the context is prepared again by the
    next question, so that a change costs no more than its rows; a question never reads a context that lacks one.

    Args:
        process: The process definition.
        words: Names for which there are columns: those of the history that the model learned from.
    """

    def __init__(self, process: ProcessDefinition, words: Vocabulary) -> None:
        self._process = process
        self._grid, self._of_series = SeriesGrid.of(process), series_families(process)
        self._tables = {name: HeldRows(RUN_HISTORY[name], no_rows(RUN_HISTORY[name], process)) for name in _AROUND}
        self._no_events = no_rows(RUN_HISTORY["events"], process)
        self._batches: dict[str, _Batch] = {}
        self._context = Context(process, words)
        self._prepared: PreparedContext | None = None
        self._digest = 0
        self._changing, self._lock = threading.Lock(), threading.Lock()
        self.columns = Columns(self._of_series, ())

    @property
    def held(self) -> int:
        """Number of readings held."""
        return sum(batch.series.held for batch in self._batches.values())

    def put_batch(self, row: Row) -> RowVerdict:
        """Take the row of a batch in, in the place of an earlier one."""
        rows = typed(RUN_HISTORY["batches"], [row], self._process)
        if rows.rejected:
            return rows.rejected[0]
        if self._tables["batches"].get(rows.plain[0]["batch_id"]) == rows.plain[0]:
            return REPEATED
        with self._changing:
            self._take("batches", rows)
        return RowVerdict("accepted", row=rows.plain[0])

    def add(self, batch_id: str, table: str, rows: Sequence[Row]) -> list[RowVerdict]:
        """Check rows by the rules of the ingest and take in those that say something new."""
        contract = RUN_HISTORY[table]
        if "batch_id" in contract.names:
            strangers = {i for i, row in enumerate(rows) if row.get("batch_id", batch_id) != batch_id}
            rows = [{**row, "batch_id": batch_id} for row in rows]
        else:
            strangers = set()
        without = dict.fromkeys(strangers, _OTHER_BATCH)
        if table == "observations":
            sent = sent_readings(rows, self._process, self._batches, without=without)
            with self._changing:
                verdicts = self._observe(sent)
            return [verdicts[place] for place in range(len(rows))]
        found = typed(contract, rows, self._process, self._batches, without=without)
        with self._changing:
            if batch_id in self._batches or "batch_id" not in contract.names:
                held = self._batches[batch_id].events if table == "events" else self._tables[table]
                new, verdicts = held.judged(found)
                self._take(table, new)
            else:
                verdicts = found.rejected
        return [verdicts[place] for place in range(len(rows))]

    def rebuild(self, rows: Iterable[StoredRow]) -> None:
        """Take in rows that were accepted before, in their order.

        Raises:
            ContractError: A stored row no longer keeps the contract.
        """
        with self._changing:
            for table, several in _runs_of_tables(rows):
                if table == "observations":
                    sent = sent_readings(several, self._process)
                    _all_kept(sent.rejected)
                    self._observe(sent)
                else:
                    found = typed(RUN_HISTORY[table], several, self._process)
                    _all_kept(found.rejected)
                    self._take(table, found)

    def use(self, words: Vocabulary) -> None:
        """Make columns for other names from now on."""
        with self._changing:
            self._context.use(words)

    def row(self, batch_id: str, as_of_us: int) -> LiveRow:
        """All that is known of a batch at a moment.

        Raises:
            UnscorableError: The batch is not known, or had not started.
        """
        while True:
            self._settle()
            with self._lock:
                if not self._context.is_stale or not self._batches:
                    return self._row(batch_id, as_of_us)

    def _row(self, batch_id: str, as_of_us: int) -> LiveRow:
        batch, prepared = self._batches.get(batch_id), self._prepared
        if batch is None or prepared is None:
            raise UnscorableError(f"batch {batch_id!r} is not known", remedy="Put the batch first.")
        started = batch.series.started_us
        if as_of_us < started:
            at = np.datetime64(as_of_us, "us")
            raise UnscorableError(f"batch {batch_id} had not started at {at}+00:00", remedy="Ask after its start.")
        questions = prepared.questions(batch_id, batch.prepared(batch_id, prepared), started, as_of_us)
        values = self.columns.row(batch.series, questions, as_of_us)
        return LiveRow(values, self.columns, float(values[0]), f"{self._digest:064x}")

    def _settle(self) -> None:
        """Prepare the context again where it is stale."""
        with self._changing:
            if self._context.is_stale and self._batches:
                prepared = self._context.settle(self._tables, self._results)
                columns = Columns(self._of_series, prepared.families)
                same = (columns.features, columns.categories) == (self.columns.features, self.columns.categories)
                with self._lock:
                    self._prepared, self.columns = prepared, self.columns if same else columns

    def _take(self, table: str, rows: TypedRows) -> None:
        """Take rows in, each in the place of the one with its key."""
        if not rows.plain:
            return
        if table == "events":
            self._take_events(rows)
            return
        changes = self._tables[table].put(rows)
        self._told(table, changes)
        if table == "batches":
            self._context.put(known=any(former is not None for former, _ in changes))
            with self._lock:
                for name, started in zip(rows.frame["batch_id"], microseconds(rows.frame["started_at"]), strict=True):
                    self._start(str(name), int(started))
        elif table in ("materials", "lot_results"):
            for material in {row["material"] for row in rows.plain}:
                self._context.changed(table, material)
        else:
            self._context.changed("labels" if table == "dispositions" else table)

    def _start(self, batch_id: str, started_us: int) -> None:
        batch = self._batches.get(batch_id)
        if batch is None:
            events = HeldRows(RUN_HISTORY["events"], self._no_events)
            self._batches[batch_id] = _Batch(BatchSeries(self._grid, started_us), events)
        elif batch.series.started_us != started_us:
            batch.series.restart(started_us)

    def _take_events(self, rows: TypedRows) -> None:
        for batch_id, places in rows.frame.groupby("batch_id", sort=False).indices.items():
            batch, own = self._batches[str(batch_id)], rows.frame.iloc[places]
            with self._lock:
                changes = batch.events.put(TypedRows(own, [rows.plain[i] for i in places], rows.places[places], {}))
                batch.begun = None
            self._told("events", changes)
            known = np.maximum(microseconds(own["started_at"]), microseconds(own["available_at"]))
            for person, since in zip(own["person_key"], known, strict=True):
                if person:
                    self._context.saw(str(batch_id), str(person), int(since))

    def _observe(self, sent: SentReadings) -> dict[int, RowVerdict]:
        """Take readings in; a verdict on each row sent."""
        verdicts, rule, taken = dict(sent.rejected), self._process.label_rule, []
        for (batch_id, parameter), members in sent.by_series().items():
            with self._lock:
                found = self._batches[batch_id].series.add(parameter, sent.readings[members])
            for i, verdict in zip(members.tolist(), found.tolist(), strict=True):
                verdicts[int(sent.places[i])] = _said(verdict, sent.plain[i])
            new = members[found == ACCEPTED].tolist()
            taken += new
            if new and rule is not None and parameter == rule.parameter:
                self._context.changed("labels")
        self._told("observations", [(None, sent.plain[i]) for i in taken])
        return verdicts

    def _told(self, table: str, changes: Sequence[tuple[Plain | None, Plain]]) -> None:
        """Keep the digest of all rows held: a sum of the rows' own digests, which no order changes."""
        change = sum(_digest(table, new) - (_digest(table, old) if old is not None else 0) for old, new in changes)
        with self._lock:
            self._digest = (self._digest + change) % (1 << 256)

    def _results(self) -> pd.DataFrame | None:
        """Observations that decide labels."""
        rule = self._process.label_rule
        if rule is None:
            return None
        found = [(name, batch.series.readings(rule.parameter)) for name, batch in self._batches.items()]
        columns = {"observed_at": "observed", "available_at": "available", "revision": "revision", "value": "value"}
        joined = {
            name: np.concatenate([getattr(r, of) for _, r in found] or [np.empty(0)]) for name, of in columns.items()
        }
        times = {n: pd.Series(joined[n].astype("datetime64[us]")).dt.tz_localize("UTC") for n in list(columns)[:2]}
        quality = np.array(QUALITIES)[np.concatenate([r.quality for _, r in found] or [np.empty(0, np.int32)])]
        names = pd.Series([name for name, r in found for _ in range(len(r))], dtype="str")
        frame = pd.DataFrame({"batch_id": names, "parameter": rule.parameter, **joined, **times, "quality": quality})
        return frame.astype({"parameter": "str", "quality": "str"})


def _all_kept(rejected: Mapping[int, RowVerdict]) -> None:
    for verdict in rejected.values():
        raise ContractError(f"a stored row is refused: {verdict.reason}", remedy="Use the definition it was kept by.")


def _said(verdict: int, row: Mapping[str, Any]) -> RowVerdict:
    if verdict == ACCEPTED:
        return RowVerdict("accepted", row=row)
    return REPEATED if verdict == DUPLICATE else CONTRADICTS


def _digest(table: str, row: Plain) -> int:
    return int.from_bytes(hashlib.sha256(canonical([table, row])).digest())


def _runs_of_tables(rows: Iterable[StoredRow]) -> Iterator[tuple[str, list[Row]]]:
    """Rows of one table together, batches first, a bounded number at a time."""
    pending = iter(rows)
    while part := list(islice(pending, _AT_ONCE)):
        for table in RUN_HISTORY:
            several = [stored.row for stored in part if stored.table == table]
            if several:
                yield table, several
