"""Rows of batches as the endpoint took them in: numbered, never changed; a correction is a row of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, bindparam, func, insert, select, text

from features.canonical import canonical
from features.contracts import RUN_HISTORY
from serving.ids import new_id
from serving.interfaces import StoredRow
from serving.records.store import Head
from serving.records.tables import AROUND, OF_BATCHES, OF_LOTS, quarantine, rows

_AT_ONCE = 20_000
_OF_BATCH = (rows.c.batch_id == bindparam("id")) & (rows.c.table_name == "batches")
_NEWEST = select(rows).where(_OF_BATCH).order_by(rows.c.seq.desc()).limit(1)  # built once: every score asks it


@dataclass(frozen=True)
class BatchRow:
    """The newest row of a batch."""

    batch_id: str
    site_id: str
    revision: int
    content: Mapping[str, Any]


class KeptRow(NamedTuple):
    """What the audit trail vouches for of a row."""

    seq: int
    site_id: str
    key: str
    content: str


def append_rows(
    connection: Connection,
    now: Head,
    batch_id: str,
    site_id: str,
    table: str,
    keyed: Sequence[tuple[str, Mapping[str, Any]]],
    *,
    at_us: int,
    request_id: str,
) -> list[KeptRow]:
    """Number and store rows of one batch, or of none.

    Args:
        connection: A transaction that holds the head.
        now: The head; its `rows_seq` moves on.
        batch_id: The batch; empty for a row that belongs to none.
        site_id: Its site; `*` for a row of all.
        table: Table of the run history.
        keyed: Key and content of each row.
        at_us: When.
        request_id: By which request.

    Returns:
        The rows as they are kept.
    """
    made = [(now.rows_seq + i, key, canonical(row).decode()) for i, (key, row) in enumerate(keyed, start=1)]
    common = {
        "batch_id": batch_id,
        "site_id": site_id,
        "table_name": table,
        "recorded_us": at_us,
        "request_id": request_id,
    }
    if made:
        connection.execute(
            insert(rows), [{**common, "seq": seq, "key": key, "content": content} for seq, key, content in made]
        )
        now.rows_seq = made[-1][0]
    return [KeptRow(seq, site_id, key, content) for seq, key, content in made]


def key_of(table: str, row: Mapping[str, Any]) -> str:
    """Key of a row among those of its batch and table; an open event and the row that tells its end are two rows."""
    key = [row.get(name) for name in RUN_HISTORY[table].key if name != "batch_id"]
    ended = [row["ended_at"]] if table == "events" and row.get("ended_at") else []
    return canonical(key + ended).decode()


def owners_of_lots(connection: Connection, keys: Sequence[str]) -> dict[str, str]:
    """Site whose batch was the first known to have used each of these lots, by the key of a row of materials."""
    first = select(func.min(rows.c.seq)).where(text(OF_LOTS), rows.c.key.in_(keys)).group_by(rows.c.key)
    found = connection.execute(select(rows.c.key, rows.c.site_id).where(rows.c.seq.in_(first)))
    return {row.key: row.site_id for row in found}


def append_quarantine(
    connection: Connection,
    batch_id: str,
    table: str,
    rejected: Sequence[tuple[str, str, Mapping[str, Any]]],
    *,
    at_us: int,
    request_id: str,
) -> None:
    """Keep rows that were rejected, each with the code and the reason, as they came."""
    common = {"batch_id": batch_id, "table_name": table, "recorded_us": at_us, "request_id": request_id}
    if rejected:
        connection.execute(
            insert(quarantine),
            [{**common, "id": new_id(at_us), "code": code, "reason": reason, "content": canonical(row).decode()}
             for code, reason, row in rejected],
        )  # fmt: skip


def rows_between(connection: Connection, after: int, until: int) -> Iterator[StoredRow]:
    """Rows in their order, from the one behind `after` up to `until`."""
    while True:
        wanted = select(rows.c.seq, rows.c.batch_id, rows.c.table_name, rows.c.content)
        found = connection.execute(
            wanted.where(rows.c.seq > after, rows.c.seq <= until).order_by(rows.c.seq).limit(_AT_ONCE)
        ).all()
        if not found:
            return
        for row in found:
            yield StoredRow(row.seq, row.batch_id, row.table_name, orjson.loads(row.content))
        after = found[-1].seq


def rows_about(
    connection: Connection, batch_id: str, after: int, until: int, *, parameter: str | None
) -> Iterator[StoredRow]:
    """All that a score of one batch rests on: every row that is no reading, its own readings, and those that decide outcomes.

    Args:
        connection: A transaction.
        batch_id: The batch.
        after: Rows behind this number.
        until: Rows up to this number.
        parameter: Whose readings decide the outcomes of all batches; None: no reading does.

    Returns:
        The rows that are no readings in their order, then the readings in theirs.
    """
    between = (rows.c.seq > after) & (rows.c.seq <= until)
    readings = rows.c.table_name == "observations"
    parts = [between & text(AROUND), between & readings & (rows.c.batch_id == batch_id)]
    if parameter is not None:
        begin = canonical([parameter]).decode().removesuffix("]") + ","  # how a key of such a reading begins
        parts.append(between & readings & (rows.c.batch_id != batch_id) & rows.c.key.startswith(begin, autoescape=True))
    for part in parts:
        found = connection.execute(select(rows).where(part).order_by(rows.c.seq).execution_options(yield_per=_AT_ONCE))
        for row in found:
            yield StoredRow(row.seq, row.batch_id, row.table_name, orjson.loads(row.content))


def first_told(connection: Connection, batch_ids: Collection[str]) -> dict[str, int]:
    """Number of the first row of each of these batches."""
    own = rows.c.batch_id.in_(sorted(batch_ids)) & (rows.c.table_name == "batches")
    first = select(rows.c.batch_id, func.min(rows.c.seq)).where(own).group_by(rows.c.batch_id)
    return {str(batch_id): int(seq) for batch_id, seq in connection.execute(first)}


def own_rows(connection: Connection, batch_id: str, until: int) -> list[StoredRow]:
    """Observations and events of a batch in their order, up to the one of number `until`."""
    mine = (rows.c.batch_id == batch_id) & rows.c.table_name.in_(("observations", "events")) & (rows.c.seq <= until)
    wanted = select(rows.c.seq, rows.c.table_name, rows.c.content).where(mine).order_by(rows.c.seq)
    return [StoredRow(r.seq, batch_id, r.table_name, orjson.loads(r.content)) for r in connection.execute(wanted)]


def find_batch(connection: Connection, batch_id: str) -> BatchRow | None:
    """The newest row of a batch, or None."""
    found = connection.execute(_NEWEST, {"id": batch_id}).one_or_none()
    return None if found is None else _batch(found)


def list_batches(connection: Connection, sites: Collection[str] | None, *, after: str, limit: int) -> list[BatchRow]:
    """Newest rows of the batches of some sites (None: of all), by id, behind an id."""
    newest = select(func.max(rows.c.seq)).where(text(OF_BATCHES), rows.c.batch_id > after)
    if sites is not None:
        newest = newest.where(rows.c.site_id.in_(sorted(sites)))
    newest = newest.group_by(rows.c.batch_id).order_by(rows.c.batch_id).limit(limit)
    found = connection.execute(select(rows).where(rows.c.seq.in_(newest)).order_by(rows.c.batch_id)).all()
    return [_batch(row) for row in found]


def _batch(row: Any) -> BatchRow:
    return BatchRow(row.batch_id, row.site_id, int(row.key), orjson.loads(row.content))
