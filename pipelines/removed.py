"""Rows that left a source since the last ingest: named, and asked about above a limit."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from features.contracts import RUN_HISTORY
from features.errors import ContractError
from pipelines.report import IngestReport, TableReport
from pipelines.storage import Store

FEW_ROWS = 10  # so many rows may leave a table unasked, whatever share they are
MOST_NAMED = 5


def compare(
    report: IngestReport, store: Store, batches: Collection[str], max_percent: float, months: Sequence[str] | None
) -> None:
    """Note in a report how many rows fewer each table has than the stored history, and which batches are gone.

    Args:
        report: Of the rows that were read, before they are stored; it is completed.
        store: The history as it stands.
        batches: Ids of the batches that were kept.
        max_percent: Share of a table's stored rows that may be gone.
        months: Only these months are replaced; None: all.

    Raises:
        ContractError: More rows are gone from a table.
    """
    lines = []
    for name in RUN_HISTORY:
        table = report.tables.setdefault(name, TableReport()) if store.months(name) else report.tables.get(name)
        if table is None:
            continue
        stored = {m: store.rows(name, [m]) for m in store.months(name) if months is None or m in months}
        table.rows_removed = sum(max(0, n - table.rows_by_month.get(month, 0)) for month, n in stored.items())
        if name == "batches" and table.rows_removed:
            former = store.read("batches", columns=["batch_id"])["batch_id"].to_pylist()
            gone = sorted(set(former) - set(batches))
            table.removed = [
                *gone[:MOST_NAMED],
                *([f"and {len(gone) - MOST_NAMED} more"] if len(gone) > MOST_NAMED else []),
            ]
        before = sum(stored.values())
        if table.rows_removed > max(FEW_ROWS, before * max_percent / 100):
            which = f" ({', '.join(table.removed)})" if table.removed else ""
            lines.append(f"  {name}: {table.rows_removed:,} of {before:,} rows{which}")
    if lines:
        raise ContractError(
            "\n".join([f"more than {max_percent:g} % of a table's rows are gone from the source", *lines, ""]).rstrip(),
            remedy="Export the source again; if the rows left on purpose, accept that with --accept-removed, or with "
            "max_removed_percent = 100 in [source].",
        )
