"""From a source to the stored run history: checked row by row, sorted, in monthly partitions.

The source is read once, in parts; rows wait in temporary files, so memory holds one month. Nothing of the history is
replaced before every row of every table was checked.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from features.canonical import digest
from features.checks import (
    Checked,
    canonical_column,
    check_columns,
    check_rows,
    drop_duplicates,
    quarantine,
    quarantine_duplicates,
    without,
)
from features.contracts import BAD_QUALITY, BATCHES, QUARANTINE, RUN_HISTORY, Table
from features.digests import process_digest
from features.duplicates import find_duplicates
from features.errors import SourceError
from features.parsing import text_of, to_arrow, type_column
from features.process import ProcessDefinition
from features.rules import attribute_columns
from features.units import describe
from pipelines import removed
from pipelines.report import IngestReport, Limits, TableReport
from pipelines.sources import Source
from pipelines.spill import ROW, Spill, in_order, sort_order
from pipelines.storage import Staged, Store
from pipelines.storage.locks import Session, is_alive

INGEST = "ingest"  # the table that holds the last report
_REPORT = pa.schema([pa.field("report", pa.string(), nullable=False)])
_RULES = "2"  # raise when a rule changes, so that unchanged sources are read again
NO_LIMITS = Limits()
HELD_BACK = ("not_yet_started", "from_the_future")  # rules whose rows are taken in later
Progress = Callable[[str, int], None]


def ingest(
    source: Source,
    store: Store,
    process: ProcessDefinition,
    *,
    limits: Limits = NO_LIMITS,
    now: pd.Timestamp | None = None,
    months: Sequence[str] | None = None,
    first_month: str = "",
    progress: Progress | None = None,
) -> IngestReport:
    """Make the stored history equal to the source's, and quarantine the rows that break the contract.

    A source that did not change since the last successful ingest (same files, process definition and limits) is not
    read again, unless a row that was held back is known by now. Months that the source no longer has leave the newest
    version; former versions keep them.

    Args:
        source: Where the run history is; it is read as a whole.
        store: Where it is kept.
        process: Parameters, units and ranges.
        limits: Up to which losses the rows are taken in.
        now: Rows that become known later are quarantined until then; None: no row is.
        months: Replace only these months of the history (`YYYY-MM`); all rows are checked all the same.
        first_month: Batches that start before it, `YYYY-MM`, are quarantined.
        progress: Called with a table's name and the number of its rows read so far.

    Raises:
        SourceError: The source cannot be read as a run history.
        ContractError: More rows than accepted break the contract, or left the source; the quarantine table is new, the
            history is as it was.
        StorageError: The store cannot be written; the history is as it was.
    """
    columns = source.tables()
    _check_tables(columns, source, process)
    digest = _inputs(source.fingerprint(), process, limits, months)
    if store.inputs_digest(INGEST) == digest and not _is_due(last := last_report(store), now):
        return replace(last, changed=False)
    with _spill_folder(store.root) as folder:
        run = _Ingest(
            source, store, process, folder, IngestReport(inputs_digest=digest), now, months, first_month, progress
        )
        try:
            return run.run(columns, limits)
        finally:
            run.discard()


def _is_due(last: IngestReport, now: pd.Timestamp | None) -> bool:
    """Whether a row that was held back is known by now."""
    return now is not None and any(pd.Timestamp(text) <= now for text in last.due.values())


def month_of(times: pd.Series) -> np.ndarray:
    """Month `YYYY-MM` (UTC) of each time."""
    months = times.dt.tz_convert(None).to_numpy().astype("datetime64[M]")
    distinct, codes = np.unique(months, return_inverse=True)
    return np.array([str(month) for month in distinct], dtype=object)[codes]


@dataclass
class _Ingest:
    """State of one run: the rows that are spilled, staged and counted so far."""

    source: Source
    store: Store
    process: ProcessDefinition
    folder: Path
    report: IngestReport
    now: pd.Timestamp | None
    months: Sequence[str] | None
    first_month: str
    progress: Progress | None
    staged: dict[str, list[Staged]] = field(default_factory=dict)
    month_of_batch: dict[str, str] = field(default_factory=dict)
    started_us: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.quarantined = Spill(self.folder / QUARANTINE.name, QUARANTINE.arrow())

    def run(self, columns: Mapping[str, Sequence[str]], limits: Limits) -> IngestReport:
        """Read, check, stage; then commit everything, or the quarantine only."""
        for table in RUN_HISTORY.values():  # batches come first: the others are checked against them
            if table.name in columns:
                self._table(table, columns[table.name])
        self.report.check_sums()
        self._commit_quarantine()
        if limits.max_quarantined is not None and self.report.rows_refused > limits.max_quarantined:
            raise self.report.refusal(limits.max_quarantined)
        removed.compare(self.report, self.store, self.started_us, limits.max_removed_percent, self.months)
        for name in RUN_HISTORY:
            self._commit(name)
        text = pa.table([[self.report.to_json()]], schema=_REPORT)
        self.store.commit(
            INGEST, [self.store.stage(INGEST, None, text, _REPORT, inputs_digest=self.report.inputs_digest)]
        )
        return self.report

    def discard(self) -> None:
        """Remove staged files that were not committed."""
        for staged in self.staged.values():
            for item in staged:
                item.discard()

    def _table(self, table: Table, names: Sequence[str]) -> None:
        self.report.tables[table.name] = TableReport()
        schema = table.arrow(_attribute_types(names, self.process) if table.attributes else None)
        spill = Spill(self.folder / table.name, schema.append(pa.field(ROW, pa.int64())))
        parts = self._checked_parts(table)
        for part in [_joined(list(parts), table, self.source)] if table is BATCHES else parts:
            self._spill(part, table, spill)
        self._quarantine_unread(table)
        for month in spill.partitions():
            self._stage_month(table, month, spill, schema)

    def _checked_parts(self, table: Table) -> Generator[Checked]:
        report, batches = self.report.tables[table.name], None if table is BATCHES else self.started_us
        for frame, first_row in self.source.read(table.name):
            report.rows_in += len(frame)
            if self.progress:
                self.progress(table.name, report.rows_in)
            label = self.source.label(table.name)
            yield check_rows(
                frame,
                table,
                self.process,
                source=label,
                first_row=first_row,
                batches=batches,
                now=self.now,
                whole=False,
            )

    def _quarantine_unread(self, table: Table) -> None:
        """Count and quarantine the records that are no rows of the table's columns."""
        unread = self.source.unread(table.name)
        self.report.tables[table.name].rows_in += len(unread)
        if unread:
            rows, codes, reasons, texts = zip(*unread, strict=True)
            content = pd.DataFrame({"record": texts})
            label = self.source.label(table.name)
            self._quarantine(table, quarantine(table.name, label, np.array(rows), codes, reasons, False, content))

    def _spill(self, part: Checked, table: Table, spill: Spill) -> None:
        """Quarantine the faulty rows of a part and spill the others, by month."""
        part = self._without_early(part) if table is BATCHES else part
        self._quarantine(table, part.quarantined)
        report = self.report.tables[table.name]
        for (parameter, unit), n in part.converted.items():
            wanted = self.process[parameter]
            how = describe(wanted.unit_aliases.get(unit, unit), wanted.unit)
            report.converted[f"{parameter} from {unit} to {wanted.unit} ({how})"] += n
        if table.name == "observations":  # a batch may have an attribute of that name
            report.bad.update(part.kept.loc[part.kept["quality"] == BAD_QUALITY, "parameter"].tolist())
        if not len(part.kept):
            return
        if table is BATCHES:
            months = month_of(part.kept["started_at"])
            self.month_of_batch = dict(zip(part.kept["batch_id"], months, strict=True))
            starts = part.kept["started_at"].to_numpy(dtype="datetime64[us]").astype(np.int64)
            self.started_us = dict(zip(part.kept["batch_id"], starts.tolist(), strict=True))
        elif table.month_of == "observed_at":
            months = month_of(part.kept["observed_at"])
        else:
            months = part.kept["batch_id"].map(self.month_of_batch).to_numpy(dtype=object)
        spill.add(part.kept.assign(**{ROW: part.rows}), months.astype(str))

    def _without_early(self, part: Checked) -> Checked:
        """The batches without those that start before the first month, for which there is no partition."""
        early = month_of(part.kept["started_at"]) < self.first_month if len(part.kept) else np.zeros(0, bool)
        label = self.source.label(BATCHES.name)

        def reason(number: int, batch_id: str, start: pd.Timestamp) -> str:
            return (
                f"{label} row {number} (batch_id {text_of(batch_id)}): started_at {start.isoformat()} lies before the first "
                f"month {self.first_month}; expected a later start. Mend the time, or set BATCHGUARD_FIRST_MONTH"
            )

        return without(part, np.asarray(early, bool), BATCHES, "before_first_month", reason, source=label)

    def _stage_month(self, table: Table, month: str, spill: Spill, schema: pa.Schema) -> None:
        rows = spill.read(month)
        order, same = sort_order(rows, table.key)
        if same.any():
            order = self._without_duplicates(table, rows, order, same)
        report = self.report.tables[table.name]
        report.rows_kept += len(order)
        report.rows_by_month[month] = len(order)
        if len(order) and (self.months is None or month in self.months):
            staged = self.store.stage(table.name, month, in_order(rows, order), schema)
            if staged.inputs_digest != self.store.inputs_digest(table.name, month):
                report.months_changed.append(month)
            self.staged.setdefault(table.name, []).append(staged)
        spill.remove(month)

    def _without_duplicates(self, table: Table, rows: pa.Table, order: np.ndarray, same: np.ndarray) -> np.ndarray:
        """Quarantine rows that share their key with another; returns the order of the others."""
        twice = same.copy()
        twice[:-1] |= same[1:]
        some = rows.take(pa.array(order[twice])).to_pandas(strings_to_categorical=False)
        numbers = some.pop(ROW).to_numpy()
        found = find_duplicates(some, table)
        label = self.source.label(table.name)
        self._quarantine(table, quarantine_duplicates(some, numbers, found, table, source=label))
        gone = twice.copy()
        gone[twice] = found.gone
        return order[~gone]

    def _quarantine(self, table: Table, rows: pd.DataFrame) -> None:
        if len(rows):
            self.report.count_quarantined(table.name, rows)
            self._note_due(table, rows)
            self.quarantined.add(rows, np.full(len(rows), "all"))

    def _note_due(self, table: Table, rows: pd.DataFrame) -> None:
        """Note when the first row that was held back is known."""
        held = [json.loads(content) for content in rows.loc[rows["code"].isin(HELD_BACK), "content"]]
        known = type_column(
            to_arrow(pd.Series([table.known_time(row) for row in held])), table[table.known_from]
        ).column
        if known.notna().any():
            first = known.min().isoformat()
            self.report.due[table.name] = min(first, self.report.due.get(table.name, first))

    def _commit_quarantine(self) -> None:
        """Store the quarantined rows, also when there are none."""
        parts = self.quarantined.partitions()
        rows = self.quarantined.stream(parts[0]) if parts else iter(())
        self.store.write(QUARANTINE.name, None, rows, self.quarantined.schema)

    def _commit(self, name: str) -> None:
        staged = self.staged.pop(name, [])
        present = {item.month for item in staged}
        gone = [m for m in self.store.months(name) if m not in present and (self.months is None or m in self.months)]
        if staged or gone:
            self.store.commit(name, staged, drop_months=gone)
        if gone:
            self.report.tables.setdefault(name, TableReport()).months_dropped = gone


def _joined(parts: Sequence[Checked], table: Table, source: Source) -> Checked:
    """Parts of a table as a whole, keys compared over all of them."""
    if not parts:
        return Checked(pd.DataFrame(columns=list(table.names)), pd.DataFrame(columns=list(QUARANTINE.names)))
    whole = Checked(
        pd.concat([part.kept for part in parts], ignore_index=True),
        pd.concat([part.quarantined for part in parts], ignore_index=True),
        rows=np.concatenate([part.rows for part in parts]),
    )
    return drop_duplicates(whole, table, source=source.label(table.name))


def _check_tables(columns: Mapping[str, Sequence[str]], source: Source, process: ProcessDefinition) -> None:
    if BATCHES.name not in columns:
        raise SourceError("the source has no table of batches", expected="one row per batch", remedy="Export it too.")
    for name, names in columns.items():
        check_columns(names, RUN_HISTORY[name], process, source=source.label(name))


def _attribute_types(names: Sequence[str], process: ProcessDefinition) -> dict[str, pa.DataType]:
    """Stored types of the attributes a source has, in the order of the process definition."""
    present = {canonical_column(name, BATCHES, process) for name in names}
    return {
        name: pa.string() if column.kind == "text" else pa.float64()
        for name, column in attribute_columns(process).items()
        if name in present
    }


def _inputs(
    fingerprint: Mapping[str, str], process: ProcessDefinition, limits: Limits, months: Sequence[str] | None
) -> str:
    """Digest of everything that the outcome of an ingest depends on."""
    parts = [_RULES, dict(fingerprint), process_digest(process), asdict(limits), sorted(months) if months else None]
    return digest(parts)


def last_report(store: Store) -> IngestReport:
    """The report of the last successful ingest.

    Raises:
        StorageError: Nothing was ingested yet.
    """
    return IngestReport.from_json(store.read(INGEST)["report"][0].as_py())


@contextmanager
def _spill_folder(root: Path) -> Generator[Path]:
    """A folder for temporary files beside the store; those of killed runs are removed."""
    session = Session(root)
    for old in root.glob(".spill-*"):
        if not is_alive(root, old.name.removeprefix(".spill-")):
            shutil.rmtree(old, ignore_errors=True)
    folder = root / f".spill-{session.name}"
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        session.close()
