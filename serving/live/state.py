"""The state of all batches of a plant, updated row by row: a score reads summaries and prepared context, never rows."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import pandas as pd

from features.canonical import canonical
from features.checks import lookalike_reason
from features.context import Vocabulary
from features.context.asof import known_us
from features.contracts import QUALITIES, RUN_HISTORY
from features.incremental import ACCEPTED, DUPLICATE
from features.live import Columns
from features.process import ProcessDefinition
from features.snapshots import series_families
from features.summaries import microseconds
from serving.interfaces import RowVerdict, StoredRow, UnscorableError
from serving.live.batches import NEVER, EvictionPolicy, HeldBatches, OwnRows, check_all_kept
from serving.live.context import Context, PreparedContext
from serving.live.readings import ParsedReadings, parse_readings
from serving.live.rows import PlainRow, Row, TypedRows, contradicts, repeated, typed
from serving.live.tables import HeldRows, no_rows

_CONTEXT_TABLES = ("batches", "materials", "lot_results", "environment", "dispositions")
_T = TypeVar("_T")
_VALIDATED = 64  # rows of batches
_AT_ONCE = 50_000  # stored rows that are typed together
_OTHER_BATCH = RowVerdict(
    "rejected", "other_batch", "the row names another batch; expected that of the address. Send it there"
)


@dataclass(frozen=True)
class LiveRow:
    """The features of a batch at a moment.

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

    One thread changes the state at a time; any number query it at the same time. The next query prepares again the parts
    of the context that a change made stale, so a change costs no more than its rows, and no query reads a context that
    lacks a change.

    Args:
        process: The process definition.
        vocabulary: Names for which there are columns: those of the history that the model learned from.
        eviction: When readings and events of batches are evicted.
    """

    def __init__(self, process: ProcessDefinition, vocabulary: Vocabulary, eviction: EvictionPolicy = NEVER) -> None:
        self._process, self._of_series = process, series_families(process)
        self._tables = {
            name: HeldRows(RUN_HISTORY[name], no_rows(RUN_HISTORY[name], process)) for name in _CONTEXT_TABLES
        }
        self._batches = HeldBatches(process, eviction)
        self._context = Context(process, vocabulary)
        self._prepared: PreparedContext | None = None
        self._validated: dict[bytes, TypedRows] = {}  # rows of batches that are about to be inserted
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

    def validate_batch(self, row: Row) -> None:
        """Validate the row of a batch ahead of `put_batch`, which changes need not wait for: most of its time."""
        rows, key = typed(RUN_HISTORY["batches"], [row], self._process), canonical(row)
        with self._lock:
            self._validated[key] = rows
            while len(self._validated) > _VALIDATED:
                self._validated.pop(next(iter(self._validated)))

    def put_batch(self, row: Row) -> RowVerdict:
        """Insert the row of a batch, in the place of an earlier one."""
        with self._lock:
            rows = self._validated.pop(canonical(row), None)
        rows = typed(RUN_HISTORY["batches"], [row], self._process) if rows is None else rows
        if rows.rejected:
            return rows.rejected[0]
        batch_id = str(rows.plain[0]["batch_id"])
        if self._tables["batches"].get(batch_id) == rows.plain[0]:
            return repeated(RUN_HISTORY["batches"])
        if other := self._batches.lookalike(batch_id):
            return RowVerdict("rejected", "id_differs_by_case", lookalike_reason(batch_id, other))
        with self._changing:
            self._insert("batches", rows)
        return RowVerdict("accepted", row=rows.plain[0])

    def add(self, batch_id: str, table: str, rows: Sequence[Row]) -> list[RowVerdict]:
        """Check rows by the rules of the ingest and insert those that are new."""
        contract, without = RUN_HISTORY[table], {}
        if "batch_id" in contract.names:
            without = {i: _OTHER_BATCH for i, row in enumerate(rows) if row.get("batch_id", batch_id) != batch_id}
            rows = [{**row, "batch_id": batch_id} for row in rows]
        if table == "observations":
            parsed = parse_readings(rows, self._process, self._batches.starts, without=without)
            with self._changing:
                verdicts = self._insert_readings(parsed)
        else:
            found = typed(contract, rows, self._process, self._batches.starts, without=without)
            with self._changing:
                verdicts = self._insert_new(table, batch_id, found)
        return [verdicts[place] for place in range(len(rows))]

    def _insert_new(self, table: str, batch_id: str, rows: TypedRows) -> dict[int, RowVerdict]:
        if "batch_id" in RUN_HISTORY[table].names and batch_id not in self._batches.ids:
            return rows.rejected
        held = self._batches.reloaded(batch_id).events if table == "events" else self._tables[table]
        new, verdicts = held.new_rows(rows)
        self._insert(table, new)
        return verdicts

    def rebuild(self, rows: Iterable[StoredRow]) -> None:
        """Insert rows that were accepted before, in their order.

        Raises:
            ContractError: A stored row no longer keeps the contract.
        """
        with self._changing:
            pending = iter(rows)
            while part := list(islice(pending, _AT_ONCE)):
                for table in RUN_HISTORY:  # batches first
                    self._insert_stored(table, [stored.row for stored in part if stored.table == table])
                self._batches.evict(part[-1].seq)
            if self._prepared is None and self._batches.ids:  # the first score after a restart does not wait for this
                self._prepare()

    def _insert_stored(self, table: str, rows: Sequence[Row]) -> None:
        if table == "observations":
            parsed = parse_readings(rows, self._process)
            check_all_kept(parsed.rejected)
            self._insert_readings(parsed)
        elif rows:
            found = typed(RUN_HISTORY[table], rows, self._process, stored=True)
            check_all_kept(found.rejected)
            self._insert(table, found)

    def evict(self, until: int) -> None:
        """Evict readings and events of batches without new rows for long; rows up to a number are stored."""
        with self._changing:
            self._batches.evict(until)

    def row(self, batch_id: str, as_of_us: int) -> LiveRow:
        """The features of a batch at a moment.

        Raises:
            UnscorableError: The batch is not known, or had not started.
        """
        return self._query(batch_id, lambda rows, prepared: self._row(batch_id, rows, prepared, as_of_us))

    def pending_assays(self, batch_id: str, names: Sequence[str], as_of_us: int) -> list[str]:
        """Which of these parameters had no result yet that was available at a moment, in their order."""

        def without(rows: OwnRows, _: PreparedContext) -> list[str]:
            return [name for name in names if not (rows.series.readings(name).available <= as_of_us).any()]

        return self._query(batch_id, without)

    def ready_site(self, batch_id: str) -> str | None:
        """The site, if the batch can be scored from memory; else None."""
        row = self._tables["batches"].get(batch_id)
        if row is None or self._context.is_stale or self._batches.rows(batch_id) is None:
            return None
        return str(row.get("site_id", ""))

    def is_real(self, batch_id: str) -> bool:
        """Whether a batch is not simulated; an unknown one is real."""
        row = self._tables["batches"].get(batch_id)
        return row is None or row.get("origin") != "simulated"

    def _query(self, batch_id: str, read: Callable[[OwnRows, PreparedContext], _T]) -> _T:
        """The result of a function of a batch's rows and the context, which do not change meanwhile."""
        while True:
            self._make_ready(batch_id)
            with self._lock:
                found = self._ready(batch_id)
                if found is not None:
                    return read(*found)

    def _ready(self, batch_id: str) -> tuple[OwnRows, PreparedContext] | None:
        """A batch's rows and the context; None where a change came between, and they have to be made ready again."""
        if batch_id not in self._batches.ids:
            raise UnscorableError(f"batch {batch_id!r} is not known", remedy="Put the batch first.")
        rows, prepared = self._batches.rows(batch_id), self._prepared
        return None if rows is None or prepared is None or self._context.is_stale else (rows, prepared)

    def _row(self, batch_id: str, rows: OwnRows, prepared: PreparedContext, as_of_us: int) -> LiveRow:
        started = rows.series.started_us
        if as_of_us < started:
            at = np.datetime64(as_of_us, "us")
            raise UnscorableError(f"batch {batch_id} had not started at {at}+00:00", remedy="Ask after its start.")
        queries = prepared.queries(batch_id, rows.prepared(batch_id, prepared), started, as_of_us)
        values = self.columns.row(rows.series, queries, as_of_us)
        return LiveRow(values, self.columns, float(values[0]), f"{self._digest:064x}")

    def _make_ready(self, batch_id: str) -> None:
        """Reload a batch's rows if they are evicted, and refresh the context if it is stale."""
        is_known = batch_id in self._batches.ids
        if not is_known or (self._batches.rows(batch_id) is not None and not self._context.is_stale):
            return
        with self._changing:
            self._batches.reloaded(batch_id)
            if self._context.is_stale:
                self._prepare()

    def _prepare(self) -> None:
        prepared = self._context.refresh(self._tables, self._results)
        columns = Columns(self._of_series, prepared.families)
        same = (columns.features, columns.categories) == (self.columns.features, self.columns.categories)
        with self._lock:
            self._prepared, self.columns = prepared, self.columns if same else columns
            self._context.is_stale = False  # not earlier: another query would read the former context

    def _insert(self, table: str, rows: TypedRows) -> None:
        """Insert rows, each in the place of the one with its key."""
        if not rows.plain:
            return
        if table == "events":
            self._insert_events(rows)
            return
        changes = self._tables[table].put(rows)
        self._update_digest(table, changes)
        if table == "batches":
            self._context.batches_changed(known=any(former is not None for former, _ in changes))
            with self._lock:
                for name, started in zip(rows.frame["batch_id"], microseconds(rows.frame["started_at"]), strict=True):
                    self._batches.start(str(name), int(started))
        elif table in ("materials", "lot_results"):
            for material in set(rows.frame["material"]):
                self._context.changed(table, material)
        else:
            self._context.changed("labels" if table == "dispositions" else table)

    def _insert_events(self, rows: TypedRows) -> None:
        batch, names = pd.factorize(rows.frame["batch_id"])
        order = np.argsort(batch, kind="stable")
        frame, plain = rows.frame.iloc[order], [rows.plain[i] for i in order]
        known = known_us(frame, RUN_HISTORY["events"])
        persons, ends = frame["person_key"].tolist(), np.cumsum(np.bincount(batch)).tolist()
        for name, first, behind in zip(names.tolist(), [0, *ends], ends, strict=False):
            held, own = self._batches.reloaded(name), slice(first, behind)
            with self._lock:
                changes = held.events.put(TypedRows(frame.iloc[own], plain[own], order[own], {}))
                held.batch_events = None
            self._update_digest("events", changes)
            self._batches.note_rows(name, int(known[own].max()))
            for i in range(first, behind):
                if persons[i]:
                    self._context.add_sighting(name, persons[i], int(known[i]))

    def _insert_readings(self, parsed: ParsedReadings) -> dict[int, RowVerdict]:
        """Insert readings; returns a verdict on each row posted."""
        verdicts, rule, taken = dict(parsed.rejected), self._process.label_rule, []
        for (batch_id, parameter), members in parsed.by_series().items():
            series, own = self._batches.reloaded(batch_id).series, parsed.readings[members]
            with self._lock:
                found = series.add(parameter, own)
            self._batches.note_rows(batch_id, int(own.available.max()))
            for i, verdict in zip(members.tolist(), found.tolist(), strict=True):
                verdicts[int(parsed.places[i])] = _verdict(verdict, parsed.plain[i])
            new = members[found == ACCEPTED].tolist()
            taken += new
            if new and rule is not None and parameter == rule.parameter:
                self._context.changed("labels")
        self._update_digest("observations", [(None, parsed.plain[i]) for i in taken])
        return verdicts

    def _update_digest(self, table: str, changes: Sequence[tuple[PlainRow | None, PlainRow]]) -> None:
        """Update the digest of all rows held: a sum of the rows' own digests, which no order changes."""
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


def _verdict(verdict: int, row: PlainRow) -> RowVerdict:
    if verdict == ACCEPTED:
        return RowVerdict("accepted", row=row)
    table = RUN_HISTORY["observations"]
    return repeated(table) if verdict == DUPLICATE else contradicts(table)


def _digest(table: str, row: PlainRow) -> int:
    return int.from_bytes(hashlib.sha256(canonical([table, row])).digest())
