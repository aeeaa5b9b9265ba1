"""Validates rows of a request: those from the future, those that the principal may not send, then the engine's contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from features.contracts import RUN_HISTORY
from serving.ids import iso, microseconds
from serving.interfaces import Engine, Row, RowVerdict
from serving.records.rows import RejectedRow, key_of

MAX_EXPLAINED = 100  # rejected rows in an answer; all are in the quarantine table


class Rejection(TypedDict):
    """One rejected row in an answer."""

    table: str
    index: int
    code: str
    reason: str


class RowsSummary(TypedDict):
    """Verdicts on the rows of a request: counts, and the first rejected rows with their reasons."""

    accepted: int
    duplicates: int
    rejected: int
    rejections: list[Rejection]


@dataclass(frozen=True)
class ValidatedRows:
    """Rows as they were sent, each with its verdict."""

    rows: Sequence[Row]
    verdicts: Sequence[RowVerdict]

    def accepted(self, table: str) -> list[tuple[str, Row]]:
        """Key and content of the rows to store."""
        return [(key_of(table, v.row), v.row) for v in self.verdicts if v.row is not None]

    def rejected(self) -> list[RejectedRow]:
        """The rows that were rejected."""
        pairs = zip(self.rows, self.verdicts, strict=True)
        return [RejectedRow(v.code, v.reason, row) for row, v in pairs if v.verdict == "rejected"]


def validate_rows(
    engine: Engine, batch_id: str, table: str, rows: Sequence[Row], *, latest_us: int,
    refusal: Callable[[Row], RowVerdict | None] = lambda _: None,
) -> ValidatedRows:  # fmt: skip
    """Validate rows, and add the accepted ones to an engine.

    Args:
        engine: Holds all committed rows.
        batch_id: Batch of the rows; empty for rows of no batch.
        table: Table of the rows.
        rows: As they were sent.
        latest_us: A row that became known later has a wrong clock.
        refusal: The verdict on a row that the principal may not send; None for other rows.
    """
    early = [refusal(row) or _from_the_future(table, row, latest_us) for row in rows]
    remaining = [row for row, fault in zip(rows, early, strict=True) if fault is None]
    verdicts = iter(engine.add(batch_id, table, remaining) if remaining else [])
    return ValidatedRows(rows, [fault or next(verdicts) for fault in early])


def summary(validated: Mapping[str, ValidatedRows]) -> RowsSummary:
    """The verdicts on all rows of a request, by table."""
    verdicts = [v.verdict for rows in validated.values() for v in rows.verdicts]
    rejections: list[Rejection] = [
        {"table": table, "index": i, "code": v.code, "reason": v.reason[:300]}
        for table, rows in validated.items()
        for i, v in enumerate(rows.verdicts)
        if v.verdict == "rejected"
    ]
    return {
        "accepted": verdicts.count("accepted"),
        "duplicates": verdicts.count("duplicate"),
        "rejected": verdicts.count("rejected"),
        "rejections": rejections[:MAX_EXPLAINED],
    }


def status_of(counts: RowsSummary) -> int:
    """422 if every row was rejected, else 200."""
    return 422 if counts["rejected"] and not counts["accepted"] + counts["duplicates"] else 200


def known_us(table: str, row: Row) -> int | None:
    """When a row could be known, in microseconds UTC; None if the row has no such time, or is a batch's own row.

    A batch's row may be a correction of its start, and would then have counted before.
    """
    if table == "batches":
        return None
    try:
        return microseconds(str(RUN_HISTORY[table].known_time(row)))
    except ValueError:
        return None


def _from_the_future(table: str, row: Row, latest_us: int) -> RowVerdict | None:
    known = known_us(table, row)
    if known is None or known <= latest_us:
        return None  # the engine's contract rejects a row without a time, with a better reason
    return RowVerdict(
        "rejected", "from_the_future",
        f"known at {iso(known)}, which lies in the future; expected at most {iso(latest_us)}. Compare the clocks",
    )  # fmt: skip
