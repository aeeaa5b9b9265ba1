"""All batches of a plant, kept up to date row by row: a score reads summaries and prepared context, never rows."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from features.context import Vocabulary
from features.contracts import QUALITIES, RUN_HISTORY
from features.incremental import ACCEPTED, DUPLICATE
from features.live import Columns, series_families
from features.process import ProcessDefinition
from features.summaries import microseconds
from serving.interfaces import RowVerdict, StoredRow, UnscorableError, canonical
from serving.live.batches import NEVER, EvictionPolicy, HeldBatches, OwnRows, all_kept
from serving.live.context import Context, PreparedContext
from serving.live.readings import SentReadings, sent_readings
from serving.live.rows import CONTRADICTS, REPEATED, Row, TypedRows, typed
from serving.live.tables import HeldRows, Plain, no_rows

_AROUND = ("batches", "materials", "lot_results", "environment", "dispositions")
_T = TypeVar("_T")
_AT_ONCE = 50_000  # stored rows that are typed together
_OTHER_BATCH = RowVerdict(
    "rejected", "other_batch", "the row names another batch; expected that of the address. Send it there"
)


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

    One thread changes it at a time, while nobody asks; any number ask beside each other. What a change makes stale of the context is prepared again by the
    next question, so that a change costs no more than its rows; a question never reads a context that lacks one.

    Args:
        process: The process definition.
        words: Names for which there are columns: those of the history that the model learned from.
        forgetting: When batches give up their readings and events.
    """

    def __init__(self, process: ProcessDefinition, words: Vocabulary, eviction: EvictionPolicy = NEVER) -> None:
        self._process, self._of_series = process, series_families(process)
        self._tables = {name: HeldRows(RUN_HISTORY[name], no_rows(RUN_HISTORY[name], process)) for name in _AROUND}
        self._batches = HeldBatches(process, eviction)
        self._context = Context(process, words)
        self._prepared: PreparedContext | None = None
        self._digest = 0
        self._changing, self._lock = threading.Lock(), threading.Lock()
        self.columns = Columns(self._of_series, ())

    @property
    def held(self) -> int:
        """Number of readings held."""
        return self._batches.n_readings

    @property
    def holding(self) -> Collection[str]:
        """Ids of the batches that hold their readings and events."""
        return self._batches.holding

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
            sent = sent_readings(rows, self._process, self._batches.ids, without=without)
            with self._changing:
                verdicts = self._observe(sent)
            return [verdicts[place] for place in range(len(rows))]
        found = typed(contract, rows, self._process, self._batches.ids, without=without)
        with self._changing:
            if batch_id in self._batches.ids or "batch_id" not in contract.names:
                held = self._batches.reloaded(batch_id).events if table == "events" else self._tables[table]
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
            for part in _parts(rows):
                for table, several in _by_table(part):
                    if table == "observations":
                        sent = sent_readings(several, self._process)
                        all_kept(sent.rejected)
                        self._observe(sent)
                    else:
                        found = typed(RUN_HISTORY[table], several, self._process)
                        all_kept(found.rejected)
                        self._take(table, found)
                self._batches.evict(part[-1].seq)
            if self._prepared is None and self._batches.ids:  # the first score after a restart does not wait for it
                self._prepare()

    def evict(self, until: int) -> None:
        """Give up readings and events of batches that have long been silent; rows up to a number are stored."""
        with self._changing:
            self._batches.evict(until)

    def row(self, batch_id: str, as_of_us: int) -> LiveRow:
        """All that is known of a batch at a moment.

        Raises:
            UnscorableError: The batch is not known, or had not started.
        """
        return self._ask(batch_id, lambda rows, prepared: self._row(batch_id, rows, prepared, as_of_us))

    def pending_assays(self, batch_id: str, names: Sequence[str], as_of_us: int) -> list[str]:
        """Which of these parameters had no result yet that was available at a moment, in their order."""

        def without(rows: OwnRows, _: PreparedContext) -> list[str]:
            return [name for name in names if not (rows.series.readings(name).available <= as_of_us).any()]

        return self._ask(batch_id, without)

    def ready_site(self, batch_id: str) -> str | None:
        """Site of a batch of which a question has nothing to read or make ready first; None of any other."""
        row = self._tables["batches"].get(batch_id)
        if row is None or self._context.is_stale or self._batches.rows(batch_id) is None:
            return None
        return str(row.get("site_id", ""))

    def _ask(self, batch_id: str, question: Callable[[OwnRows, PreparedContext], _T]) -> _T:
        """The answer to a question about a batch that is ready, and does not change meanwhile."""
        while True:
            self._settle(batch_id)
            with self._lock:
                found = self._asked(batch_id)
                if found is not None:
                    return question(*found)

    def _asked(self, batch_id: str) -> tuple[OwnRows, PreparedContext] | None:
        """What a question reads; None where a change came between, and it has to be made ready again."""
        if batch_id not in self._batches.ids:
            raise UnscorableError(f"batch {batch_id!r} is not known", remedy="Put the batch first.")
        rows, prepared = self._batches.rows(batch_id), self._prepared
        return None if rows is None or prepared is None or self._context.is_stale else (rows, prepared)

    def _row(self, batch_id: str, rows: OwnRows, prepared: PreparedContext, as_of_us: int) -> LiveRow:
        started = rows.series.started_us
        if as_of_us < started:
            at = np.datetime64(as_of_us, "us")
            raise UnscorableError(f"batch {batch_id} had not started at {at}+00:00", remedy="Ask after its start.")
        questions = prepared.questions(batch_id, rows.prepared(batch_id, prepared), started, as_of_us)
        values = self.columns.row(rows.series, questions, as_of_us)
        return LiveRow(values, self.columns, float(values[0]), f"{self._digest:064x}")

    def _settle(self, batch_id: str) -> None:
        """Make ready what a question about a batch reads: the context, and its rows where it gave them up."""
        is_known = batch_id in self._batches.ids
        if not is_known or (self._batches.rows(batch_id) is not None and not self._context.is_stale):
            return
        with self._changing:
            self._batches.reloaded(batch_id)
            if self._context.is_stale:
                self._prepare()

    def _prepare(self) -> None:
        prepared = self._context.settle(self._tables, self._results)
        columns = Columns(self._of_series, prepared.families)
        same = (columns.features, columns.categories) == (self.columns.features, self.columns.categories)
        with self._lock:
            self._prepared, self.columns = prepared, self.columns if same else columns
            self._context.is_stale = False  # not earlier: a question beside this one would read the former context

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
                    self._batches.start(str(name), int(started))
        elif table in ("materials", "lot_results"):
            for material in {row["material"] for row in rows.plain}:
                self._context.changed(table, material)
        else:
            self._context.changed("labels" if table == "dispositions" else table)

    def _take_events(self, rows: TypedRows) -> None:
        batch, names = pd.factorize(rows.frame["batch_id"])
        order = np.argsort(batch, kind="stable")
        frame, plain = rows.frame.iloc[order], [rows.plain[i] for i in order]
        known = np.maximum(microseconds(frame["started_at"]), microseconds(frame["available_at"]))
        persons, ends = frame["person_key"].tolist(), np.cumsum(np.bincount(batch)).tolist()
        for name, first, behind in zip(names.tolist(), [0, *ends], ends, strict=False):
            held, own = self._batches.reloaded(name), slice(first, behind)
            with self._lock:
                changes = held.events.put(TypedRows(frame.iloc[own], plain[own], order[own], {}))
                held.batch_events = None
            self._told("events", changes)
            self._batches.told(name, int(known[own].max()))
            for i in range(first, behind):
                if persons[i]:
                    self._context.saw(name, persons[i], int(known[i]))

    def _observe(self, sent: SentReadings) -> dict[int, RowVerdict]:
        """Take readings in; a verdict on each row sent."""
        verdicts, rule, taken = dict(sent.rejected), self._process.label_rule, []
        for (batch_id, parameter), members in sent.by_series().items():
            series, own = self._batches.reloaded(batch_id).series, sent.readings[members]
            with self._lock:
                found = series.add(parameter, own)
            self._batches.told(batch_id, int(own.available.max()))
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
        found = self._batches.results(rule.parameter)
        columns = {"observed_at": "observed", "available_at": "available", "revision": "revision", "value": "value"}
        joined = {
            name: np.concatenate([getattr(r, of) for _, r in found] or [np.empty(0)]) for name, of in columns.items()
        }
        times = {n: pd.Series(joined[n].astype("datetime64[us]")).dt.tz_localize("UTC") for n in list(columns)[:2]}
        quality = np.array(QUALITIES)[np.concatenate([r.quality for _, r in found] or [np.empty(0, np.int32)])]
        names = pd.Series([name for name, r in found for _ in range(len(r))], dtype="str")
        frame = pd.DataFrame({"batch_id": names, "parameter": rule.parameter, **joined, **times, "quality": quality})
        return frame.astype({"parameter": "str", "quality": "str"})


def _said(verdict: int, row: Mapping[str, Any]) -> RowVerdict:
    if verdict == ACCEPTED:
        return RowVerdict("accepted", row=row)
    return REPEATED if verdict == DUPLICATE else CONTRADICTS


def _digest(table: str, row: Plain) -> int:
    return int.from_bytes(hashlib.sha256(canonical([table, row])).digest())


def _parts(rows: Iterable[StoredRow]) -> Iterator[list[StoredRow]]:
    """A bounded number of rows at a time."""
    pending = iter(rows)
    while part := list(islice(pending, _AT_ONCE)):
        yield part


def _by_table(part: Sequence[StoredRow]) -> Iterator[tuple[str, list[Row]]]:
    """Rows of one table together, batches first."""
    for table in RUN_HISTORY:
        several = [stored.row for stored in part if stored.table == table]
        if several:
            yield table, several
