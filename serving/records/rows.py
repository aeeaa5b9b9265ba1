"""Rows of the run history as the endpoint stores them: numbered, never changed; a correction is a row of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import orjson
from sqlalchemy import ColumnElement, Connection, bindparam, func, insert, or_, select, text
from sqlalchemy import Row as SqlRow

from features.canonical import canonical
from features.contracts import RUN_HISTORY
from serving.ids import new_id
from serving.interfaces import Row, StoredRow
from serving.records.store import Head
from serving.records.tables import AROUND, OF_BATCHES, OF_LOTS, quarantine, rows

_CHUNK = 20_000
_OF_BATCH = (rows.c.batch_id == bindparam("id")) & (rows.c.table_name == "batches")
_NEWEST = select(rows).where(_OF_BATCH).order_by(rows.c.seq.desc()).limit(1)  # built once: every score runs it
_CONTENT = select(rows.c.seq, rows.c.batch_id, rows.c.table_name, rows.c.content).order_by(rows.c.seq)


@dataclass(frozen=True)
class BatchRow:
    """The newest row of a batch."""

    batch_id: str
    site_id: str
    revision: int
    content: Row


class KeptRow(NamedTuple):
    """The part of a row that the audit trail covers."""

    seq: int
    site_id: str
    key: str
    content: str


class RejectedRow(NamedTuple):
    """A row that was rejected: the rule that it broke, the reason, and the row as it was sent."""

    code: str
    reason: str
    row: Row


def append_rows(
    connection: Connection, now: Head, batch_id: str, site_id: str, table: str, keyed: Sequence[tuple[str, Row]], *,
    at_us: int, request_id: str,
) -> list[KeptRow]:  # fmt: skip
    """Number and store rows of one batch, or of none.

    Args:
        connection: A transaction that holds the head.
        now: The head; its `rows_seq` is advanced.
        batch_id: The batch; empty for rows of no batch.
        site_id: The site; `*` for rows of all sites.
        table: Table of the run history.
        keyed: Key and content of each row.
        at_us: Time of the request, microseconds UTC.
        request_id: Id of the request.

    Returns:
        The rows as they are stored.
    """
    kept = [KeptRow(now.rows_seq + i, site_id, key, canonical(row).decode()) for i, (key, row) in enumerate(keyed, 1)]
    common = {"batch_id": batch_id, "table_name": table, "recorded_us": at_us, "request_id": request_id}
    if kept:
        connection.execute(insert(rows), [common | row._asdict() for row in kept])
        now.rows_seq = kept[-1].seq
    return kept


def append_quarantine(
    connection: Connection, batch_id: str, table: str, rejected: Sequence[RejectedRow], *, at_us: int, request_id: str
) -> list[dict[str, str | int]]:
    """Store rows that were rejected, each with its code and reason, as they were sent; returns them as they are stored."""
    common = {"batch_id": batch_id, "table_name": table, "recorded_us": at_us, "request_id": request_id}
    kept = [
        {**common, "id": new_id(at_us), "code": code, "reason": reason, "content": canonical(row).decode()}
        for code, reason, row in rejected
    ]
    if kept:
        connection.execute(insert(quarantine), kept)
    return kept


def key_of(table: str, row: Row) -> str:
    """Key of a row among those of its batch and table; an open event and the row with its end are two rows."""
    known, later = RUN_HISTORY[table], {"events": "ended_at", "materials": "consumed_at"}.get(table, "")
    key = [row.get(name) for name in known.key if name not in ("batch_id", later)]
    return canonical([*key, *([row[later]] if row.get(later) else [])]).decode()


def key_of_lot(row: Row) -> str:
    """Key of a lot: that of its use at no stated time."""
    return canonical([row["material"], row["lot_id"]]).decode()


def owners_of_lots(connection: Connection, keys: Sequence[str]) -> dict[str, str]:
    """Site of the batch that was the first known user of each lot, by `key_of_lot`; at most some hundred lots at once."""
    begins = [(key, key.removesuffix("]") + ",") for key in keys]  # of the same with a time
    own = or_(*((rows.c.key == key) | rows.c.key.startswith(begin, autoescape=True) for key, begin in begins))
    found = connection.execute(select(rows.c.key, rows.c.site_id).where(text(OF_LOTS), own).order_by(rows.c.seq.desc()))
    return {canonical(orjson.loads(row.key)[:2]).decode(): row.site_id for row in found}  # the first one is last


def rows_between(connection: Connection, after: int, until: int) -> Iterator[StoredRow]:
    """Rows with numbers above `after` and up to `until`, in order."""
    while True:
        part = (rows.c.seq > after) & (rows.c.seq <= until)
        found = connection.execute(_CONTENT.where(part).limit(_CHUNK)).all()
        if not found:
            return
        yield from map(_stored, found)
        after = found[-1].seq


def rows_about(
    connection: Connection, batch_id: str, after: int, until: int, *, parameter: str | None
) -> Iterator[StoredRow]:
    """All rows that can count for a score of one batch: no reading of another batch, unless it decides an outcome.

    Args:
        connection: A transaction.
        batch_id: The batch.
        after: Rows with higher numbers.
        until: Rows with numbers up to this one.
        parameter: The parameter whose readings decide the outcomes of all batches; None: no reading does.

    Returns:
        The rows that are no readings in order, then the readings of the batch, then those of other batches.
    """
    between = (rows.c.seq > after) & (rows.c.seq <= until)
    readings = rows.c.table_name == "observations"
    parts = [between & text(AROUND), between & readings & (rows.c.batch_id == batch_id)]
    if parameter is not None:
        begin = canonical([parameter]).decode().removesuffix("]") + ","  # the beginning of the key of such a reading
        parts.append(between & readings & (rows.c.batch_id != batch_id) & rows.c.key.startswith(begin, autoescape=True))
    for part in parts:
        found = connection.execute(_CONTENT.where(part).execution_options(yield_per=_CHUNK))
        yield from map(_stored, found)


def own_rows(connection: Connection, batch_id: str, until: int) -> list[StoredRow]:
    """Observations and events of a batch with numbers up to `until`, in order."""
    own: ColumnElement[bool] = (rows.c.batch_id == batch_id) & rows.c.table_name.in_(("observations", "events"))
    return [_stored(row) for row in connection.execute(_CONTENT.where(own & (rows.c.seq <= until)))]


def first_seqs(connection: Connection, batch_ids: Collection[str]) -> dict[str, int]:
    """Number of the first row of each batch."""
    own = rows.c.batch_id.in_(sorted(batch_ids)) & (rows.c.table_name == "batches")
    first = select(rows.c.batch_id, func.min(rows.c.seq)).where(own).group_by(rows.c.batch_id)
    return {str(batch_id): int(seq) for batch_id, seq in connection.execute(first)}


def find_batch(connection: Connection, batch_id: str) -> BatchRow | None:
    """The newest row of a batch, or None."""
    found = connection.execute(_NEWEST, {"id": batch_id}).one_or_none()
    return None if found is None else _batch(found)


def list_batches(connection: Connection, sites: Collection[str] | None, *, after: str, limit: int) -> list[BatchRow]:
    """Newest rows of the batches of some sites (None: of all), by id, for ids above `after`."""
    newest = select(func.max(rows.c.seq)).where(text(OF_BATCHES), rows.c.batch_id > after)
    if sites is not None:
        newest = newest.where(rows.c.site_id.in_(sorted(sites)))
    newest = newest.group_by(rows.c.batch_id).order_by(rows.c.batch_id).limit(limit)
    found = connection.execute(select(rows).where(rows.c.seq.in_(newest)).order_by(rows.c.batch_id)).all()
    return [_batch(row) for row in found]


def _stored(row: SqlRow) -> StoredRow:
    return StoredRow(row.seq, row.batch_id, row.table_name, orjson.loads(row.content))


def _batch(row: SqlRow) -> BatchRow:
    return BatchRow(row.batch_id, row.site_id, int(row.key), orjson.loads(row.content))
