"""Batches and their rows on their way into the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from features.canonical import canonical
from serving.access.principals import ForbiddenError, Principal
from serving.audit import trail
from serving.interfaces import RowVerdict
from serving.records import answers
from serving.records.answers import Answer, Call
from serving.records.rows import BatchRow, append_quarantine, append_rows, find_batch
from serving.records.store import Head
from serving.service.errors import ConflictError, RefusedError
from serving.service.row_validation import Judged, judge, status_of, summary
from serving.service.scoring_service import ScoringService, visible_batch

Row = Mapping[str, Any]


def put_batch(service: ScoringService, call: Call, batch_id: str, batch: Row, why: str) -> Answer:
    """Take in a batch, or a correction of its row.

    Raises:
        RefusedError: It breaks the contract.
        ConflictError: It would move the batch to another site.
        ForbiddenError: Its site is not the principal's.
        RecordsUnavailableError: It could not be kept.
    """
    return service.once(call, lambda: _put_batch(service, call, batch_id, batch, why))


def add_rows(service: ScoringService, call: Call, batch_id: str, tables: Mapping[str, Sequence[Row]]) -> Answer:
    """Take in rows of a batch; each is accepted, a duplicate or rejected with the reason, which is kept as well.

    Raises:
        NotThereError: There is no such batch at the principal's sites.
        RecordsUnavailableError: Nothing of the call could be kept.
    """
    return service.once(call, lambda: _add_rows(service, call, batch_id, tables))


def _put_batch(service: ScoringService, call: Call, batch_id: str, batch: Row, why: str) -> Answer:
    at_us = service.clock()
    with service.engine_cache.alone() as change:
        with service.records.write() as (connection, now):
            before = _writable(connection, call.principal, batch_id, str(batch["site_id"]))
            verdict = change.engine(connection, now.rows_seq).put_batch({**batch, "batch_id": batch_id})
            if verdict.verdict == "rejected":
                change.settle(now.rows_seq)  # an engine keeps nothing of what it rejects
                raise RefusedError(verdict.reason)
            revision = _keep_batch(connection, now, call, batch_id, before, verdict, why, at_us)
            body = {"batch_id": batch_id, "verdict": verdict.verdict, "revision": revision}
            answer = answers.keep(connection, call, Answer(200 if before else 201, canonical(body)), at_us)
        change.settle(now.rows_seq)
    service.anchor.note(now, at_us)
    return answer


def _writable(connection: Connection, principal: Principal, batch_id: str, site_id: str) -> BatchRow | None:
    before = find_batch(connection, batch_id)
    if before is not None and not principal.sees(before.site_id):
        raise ForbiddenError(f"batch id {batch_id} is not free for this principal")
    if not principal.sees(site_id):
        raise ForbiddenError(f"site {site_id} is not one of this principal's")
    if before is not None and before.site_id != site_id:
        raise ConflictError(f"batch {batch_id} is at site {before.site_id}", expected="the same site")
    return before


def _keep_batch(
    connection: Connection, now: Head, call: Call, batch_id: str, before: BatchRow | None, verdict: RowVerdict,
    why: str, at_us: int,
) -> int:  # fmt: skip
    """Revision that the batch has now."""
    if verdict.row is None:
        return before.revision if before else 0
    revision = before.revision + 1 if before else 0
    site, keyed = str(verdict.row["site_id"]), [(str(revision), verdict.row)]
    stored = append_rows(connection, now, batch_id, site, "batches", keyed, at_us=at_us, request_id=call.request_id)
    old = before.content if before else None
    trail.append(
        connection, now, call.actor, "batch", f"batch:{batch_id}", at_us=at_us, old=old, new=verdict.row, why=why
    )
    new = trail.rows_digest(batch_id, "batches", stored)
    trail.append(connection, now, call.actor, "rows", f"batch:{batch_id}", at_us=at_us, new=new)
    return revision


def _add_rows(service: ScoringService, call: Call, batch_id: str, tables: Mapping[str, Sequence[Row]]) -> Answer:
    at_us = service.clock()
    with service.engine_cache.alone() as change:
        with service.records.write() as (connection, now):
            batch = visible_batch(connection, call.principal, batch_id)
            engine = change.engine(connection, now.rows_seq)
            told = {}
            for table, rows in tables.items():
                told[table] = judge(engine, batch_id, table, rows, latest_us=at_us + service.max_future_us)
                _keep_rows(connection, now, call, batch, table, told[table], at_us)
            body = {"batch_id": batch_id, **summary(told)}
            answer = answers.keep(connection, call, Answer(status_of(body), canonical(body)), at_us)
        change.settle(now.rows_seq)
    service.anchor.note(now, at_us)
    return answer


def _keep_rows(
    connection: Connection, now: Head, call: Call, batch: BatchRow, table: str, judged: Judged, at_us: int
) -> None:
    batch_id, accepted, rejected = batch.batch_id, judged.accepted(table), judged.rejected()
    stored = append_rows(
        connection, now, batch_id, batch.site_id, table, accepted, at_us=at_us, request_id=call.request_id
    )
    append_quarantine(connection, batch_id, table, rejected, at_us=at_us, request_id=call.request_id)
    if stored:
        new = trail.rows_digest(batch_id, table, stored)
        trail.append(connection, now, call.actor, "rows", f"batch:{batch_id}", at_us=at_us, new=new)
    if rejected:
        new = {"table": table, "n": len(rejected), "codes": sorted({code for code, _, _ in rejected})}
        trail.append(connection, now, call.actor, "rows_rejected", f"batch:{batch_id}", at_us=at_us, new=new)
