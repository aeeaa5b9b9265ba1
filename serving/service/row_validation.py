"""Rows on their way in: judged one by one, told one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from features.contracts import RUN_HISTORY
from serving.ids import iso, microseconds
from serving.interfaces import Engine, RowVerdict
from serving.records.rows import key_of

Row = Mapping[str, Any]
MAX_TOLD = 100  # rejected rows that an answer explains; all are in the quarantine table


@dataclass(frozen=True)
class Judged:
    """Rows as they came, each with its verdict."""

    rows: Sequence[Row]
    verdicts: Sequence[RowVerdict]

    def accepted(self, table: str) -> list[tuple[str, Row]]:
        """Key and content of the rows to keep."""
        return [(key_of(table, v.row), v.row) for v in self.verdicts if v.row is not None]

    def rejected(self) -> list[tuple[str, str, Row]]:
        """Code, reason and content of the rows that were rejected."""
        pairs = zip(self.rows, self.verdicts, strict=True)
        return [(v.code, v.reason, row) for row, v in pairs if v.verdict == "rejected"]


def judge(
    engine: Engine,
    batch_id: str,
    table: str,
    rows: Sequence[Row],
    *,
    latest_us: int,
    refused: Callable[[Row], RowVerdict | None] = lambda row: None,
) -> Judged:
    """Have an engine judge and take in rows; those from the future, or refused, do not reach it.

    Args:
        engine: Holds all that is committed.
        batch_id: Their batch; empty for rows that belong to none.
        table: Their table.
        rows: As they came.
        latest_us: What became known later than this is a wrong clock.
        refused: Why a row is not this principal's to tell; None: it is.
    """
    early = [refused(row) or _from_the_future(table, row, latest_us) for row in rows]
    fine = [row for row, fault in zip(rows, early, strict=True) if fault is None]
    judged = iter(engine.add(batch_id, table, fine) if fine else [])
    return Judged(rows, [fault or next(judged) for fault in early])


def summary(told: Mapping[str, Judged]) -> dict[str, Any]:
    """What became of a call's rows: counts, and the first rejected ones with their reasons."""
    verdicts = [v.verdict for judged in told.values() for v in judged.verdicts]
    explained = [
        {"table": table, "index": i, "code": v.code, "reason": v.reason[:300]}
        for table, judged in told.items()
        for i, v in enumerate(judged.verdicts)
        if v.verdict == "rejected"
    ]
    return {
        "accepted": verdicts.count("accepted"),
        "duplicates": verdicts.count("duplicate"),
        "rejected": verdicts.count("rejected"),
        "rejections": explained[:MAX_TOLD],
    }


def status_of(said: Mapping[str, Any]) -> int:
    """422 where every row was rejected, else 200."""
    return 422 if said["rejected"] and not said["accepted"] + said["duplicates"] else 200


def known_us(table: str, row: Row) -> int | None:
    """When a row could be known, in microseconds UTC; None: it has no such time, or is a batch's own row.

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
        return None  # without a time, too: the contract says so better
    return RowVerdict(
        "rejected", "from_the_future",
        f"known at {iso(known)}, which lies in the future; expected at most {iso(latest_us)}. Compare the clocks",
    )  # fmt: skip
