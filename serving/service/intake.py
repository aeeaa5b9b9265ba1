"""Takes batches and rows into the records.

Two rules decide who may send rows of no batch:

- A sample of a room names its site: only a principal that sees this site may send it.
- A lot belongs to the site whose batch was its first known user; using it later gives no other site a claim. A principal of
  some sites may send results of lots of its own sites only, so that it cannot change what is known of another site's lot.
  A principal of all sites may send results of every lot, also before the lot is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from sqlalchemy import Connection

from features.canonical import canonical
from serving.access.principals import ALL_SITES, ForbiddenError, Principal
from serving.audit import chain
from serving.interfaces import Row, RowVerdict
from serving.records import answers
from serving.records.answers import Answer, Call
from serving.records.rows import (
    BatchRow,
    RejectedRow,
    append_quarantine,
    append_rows,
    find_batch,
    key_of_lot,
    owners_of_lots,
)
from serving.records.store import Head
from serving.service.engine_cache import EngineSource
from serving.service.errors import ConflictError, RefusedError
from serving.service.row_validation import status_of, summary, validate_rows
from serving.service.scoring_service import ScoringService, visible_batch

_Store: TypeAlias = Callable[[Connection, Head, int, EngineSource], Answer]
NO_BATCH = ""
_CHUNK = 200  # lots of one query
_OTHER_SITE = RowVerdict(
    "rejected", "other_site", "the site is not one of this principal's; expected one of its own. Have that site send it"
)
_OTHER_LOT = RowVerdict(
    "rejected", "lot_of_others",
    "the lot is not known as one that a batch of this principal's sites was the first to use; expected such a lot."
    " Send the batch's materials first, or have a principal of all sites send it",
)  # fmt: skip


def put_batch(service: ScoringService, call: Call, batch_id: str, batch: Row, why: str) -> Answer:
    """Take in a batch, or a correction of its row.

    Raises:
        RefusedError: The row breaks the contract.
        ConflictError: The batch would move to another site.
        ForbiddenError: The site is not the principal's.
        RecordsUnavailableError: The row could not be stored.
    """

    def store(connection: Connection, now: Head, at_us: int, engine: EngineSource) -> Answer:
        before = _writable(connection, call.principal, batch_id, str(batch["site_id"]))
        verdict = engine().put_batch(row)
        if verdict.verdict == "rejected":
            raise RefusedError(verdict.reason)
        revision = _store_batch(connection, now, call, batch_id, before, verdict, why, at_us)
        body = {"batch_id": batch_id, "verdict": verdict.verdict, "revision": revision}
        return Answer(200 if before else 201, canonical(body))

    def work() -> Answer:
        service.engine_cache.validate_batch(row)
        return _committed(service, call, store)

    row = {**batch, "batch_id": batch_id}
    return service.once(call, work)


def add_rows(service: ScoringService, call: Call, batch_id: str, tables: Mapping[str, Sequence[Row]]) -> Answer:
    """Take in rows of a batch; each is accepted, a duplicate, or rejected with a reason that is stored as well.

    Raises:
        NotThereError: There is no such batch at the principal's sites.
        RecordsUnavailableError: Nothing of the call could be stored.
    """

    def store(connection: Connection, now: Head, at_us: int, engine: EngineSource) -> Answer:
        batch = visible_batch(connection, call.principal, batch_id)
        current, latest_us, validated = engine(), at_us + service.max_future_us, {}
        for table, rows in tables.items():
            validated[table] = found = validate_rows(current, batch_id, table, rows, latest_us=latest_us)
            by_site = {batch.site_id: found.accepted(table)}
            _store_rows(connection, now, call, batch_id, table, by_site, at_us=at_us, rejected=found.rejected())
        counts = summary(validated)
        return Answer(status_of(counts), canonical({"batch_id": batch_id, **counts}))

    return _change(service, call, store)


def add_plant_rows(service: ScoringService, call: Call, table: str, rows: Sequence[Row]) -> Answer:
    """Take in rows of no batch; each is accepted, a duplicate, or rejected with a reason that is stored as well.

    Args:
        service: Holds records and engine.
        call: The request.
        table: One of `serving.interfaces.PLANT_TABLES`.
        rows: As they were sent.

    Raises:
        RecordsUnavailableError: Nothing of the call could be stored.
    """

    def store(connection: Connection, now: Head, at_us: int, engine: EngineSource) -> Answer:
        refusal = _refusal(connection, call.principal, table, rows)
        latest_us = at_us + service.max_future_us
        validated = validate_rows(engine(), NO_BATCH, table, rows, latest_us=latest_us, refusal=refusal)
        by_site: dict[str, list[tuple[str, Row]]] = {}
        for key, row in validated.accepted(table):
            by_site.setdefault(str(row.get("site_id", ALL_SITES)), []).append((key, row))
        _store_rows(connection, now, call, NO_BATCH, table, by_site, at_us=at_us, rejected=validated.rejected())
        counts = summary({table: validated})
        return Answer(status_of(counts), canonical(counts))

    return _change(service, call, store)


def _change(service: ScoringService, call: Call, store: _Store) -> Answer:
    """Run `store` once per idempotency key, in one transaction with its answer and with exclusive use of the engine."""
    return service.once(call, lambda: _committed(service, call, store))


def _committed(service: ScoringService, call: Call, store: _Store) -> Answer:
    at_us = service.clock()
    with service.engine_cache.transaction() as (connection, now, engine):
        answer = store(connection, now, at_us, engine)
        answers.keep(connection, call, answer, at_us)
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


def _store_batch(
    connection: Connection, now: Head, call: Call, batch_id: str, before: BatchRow | None, verdict: RowVerdict,
    why: str, at_us: int,
) -> int:  # fmt: skip
    """Store the row of a batch; returns its revision."""
    if verdict.row is None:
        return before.revision if before else 0
    revision = before.revision + 1 if before else 0
    target, old = f"batch:{batch_id}", before.content if before else None
    by_site = {str(verdict.row["site_id"]): [(str(revision), verdict.row)]}
    chain.append(connection, now, call.actor, "batch", target, at_us=at_us, old=old, new=verdict.row, why=why)
    _store_rows(connection, now, call, batch_id, "batches", by_site, at_us=at_us)
    return revision


def _store_rows(
    connection: Connection, now: Head, call: Call, batch_id: str, table: str,
    by_site: Mapping[str, Sequence[tuple[str, Row]]], *, at_us: int, rejected: Sequence[RejectedRow] = (),
) -> None:  # fmt: skip
    """Store accepted rows site by site under one entry of the audit trail, and rejected rows in the quarantine."""
    request_id, target = call.request_id, f"batch:{batch_id}" if batch_id else f"plant:{table}"
    stored = [
        kept
        for site, keyed in sorted(by_site.items())
        for kept in append_rows(connection, now, batch_id, site, table, keyed, at_us=at_us, request_id=request_id)
    ]
    if stored:
        new = chain.rows_digest(batch_id, table, stored)
        chain.append(connection, now, call.actor, "rows", target, at_us=at_us, new=new)
    refused = append_quarantine(connection, batch_id, table, rejected, at_us=at_us, request_id=request_id)
    if rejected:
        codes = chain.quarantine_digest(table, refused)
        chain.append(connection, now, call.actor, "rows_rejected", target, at_us=at_us, new=codes)


def _refusal(
    connection: Connection, principal: Principal, table: str, rows: Sequence[Row]
) -> Callable[[Row], RowVerdict | None]:
    """The verdict on each row that the principal may not send."""
    if ALL_SITES in principal.sites:
        return lambda _: None
    if table == "environment":
        return lambda row: None if principal.sees(str(row["site_id"])) else _OTHER_SITE
    own = _own_lots(connection, principal, rows)
    return lambda row: None if key_of_lot(row) in own else _OTHER_LOT


def _own_lots(connection: Connection, principal: Principal, rows: Iterable[Row]) -> set[str]:
    """Keys of the lots of the principal's sites."""
    keys, own = sorted({key_of_lot(row) for row in rows}), set()
    for first in range(0, len(keys), _CHUNK):
        owners = owners_of_lots(connection, keys[first : first + _CHUNK])
        own |= {key for key, site_id in owners.items() if principal.sees(site_id)}
    return own
