"""Rows that belong to no single batch: results of material lots, and samples of rooms. Who may tell which is written here.

- A sample of a room names its site: only a principal that sees this site tells it.
- A lot belongs to the site whose batch was the first known to have used it: no other site can take it away by using it, or
  saying so. A principal of some sites tells results of lots of its own sites and of no others: it cannot change what is
  known of another site's lot. One that sees all sites tells results of every lot, also before it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import Connection

from features.canonical import canonical
from serving.access.principals import ALL_SITES, Principal
from serving.audit import trail
from serving.interfaces import RowVerdict
from serving.records import answers
from serving.records.answers import Answer, Call
from serving.records.rows import append_quarantine, append_rows, key_of, owners_of_lots
from serving.records.store import Head
from serving.service.row_validation import Judged, judge, status_of, summary
from serving.service.scoring_service import ScoringService

Row = Mapping[str, Any]
Refusal: TypeAlias = Callable[[Row], RowVerdict | None]
NO_BATCH = ""
_AT_ONCE = 500  # lots that are looked up together
_OTHER_SITE = RowVerdict(
    "rejected", "other_site", "the site is not one of this principal's; expected one of its own. Have that site tell it"
)
_OTHER_LOT = RowVerdict(
    "rejected", "lot_of_others",
    "the lot is not known as one that a batch of this principal's sites was the first to use; expected such a lot."
    " Send the batch's materials first, or have a principal of all sites tell it",
)  # fmt: skip


def add_plant_rows(service: ScoringService, call: Call, table: str, rows: Sequence[Row]) -> Answer:
    """Take in rows of a plant-wide table; each is accepted, a duplicate or rejected with the reason, which is kept as well.

    Args:
        service: Does the work.
        call: The request.
        table: One of `serving.interfaces.PLANT_TABLES`.
        rows: As they came.

    Raises:
        RecordsUnavailableError: Nothing of the call could be kept.
    """
    return service.once(call, lambda: _add(service, call, table, rows))


def _add(service: ScoringService, call: Call, table: str, rows: Sequence[Row]) -> Answer:
    at_us = service.clock()
    with service.engine_cache.alone() as change:
        with service.records.write() as (connection, now):
            refused = _refusal(connection, call.principal, table, rows)
            engine, latest_us = change.engine(connection, now.rows_seq), at_us + service.max_future_us
            judged = judge(engine, NO_BATCH, table, rows, latest_us=latest_us, refused=refused)
            _keep(connection, now, call, table, judged, at_us)
            body = summary({table: judged})
            answer = answers.keep(connection, call, Answer(status_of(body), canonical(body)), at_us)
        change.settle(now.rows_seq)
    service.anchor.note(now, at_us)
    return answer


def _refusal(connection: Connection, principal: Principal, table: str, rows: Sequence[Row]) -> Refusal:
    if ALL_SITES in principal.sites:
        return lambda row: None
    if table == "environment":
        return lambda row: None if principal.sees(str(row["site_id"])) else _OTHER_SITE
    own = _own_lots(connection, principal, rows)
    return lambda row: None if key_of("materials", row) in own else _OTHER_LOT


def _own_lots(connection: Connection, principal: Principal, rows: Iterable[Row]) -> set[str]:
    """Keys of the lots of the principal's sites."""
    keys, own = sorted({key_of("materials", row) for row in rows}), set()
    for first in range(0, len(keys), _AT_ONCE):
        owners = owners_of_lots(connection, keys[first : first + _AT_ONCE])
        own |= {key for key, site_id in owners.items() if principal.sees(site_id)}
    return own


def _keep(connection: Connection, now: Head, call: Call, table: str, judged: Judged, at_us: int) -> None:
    """Rows site by site under one entry of the trail: a room's row under its site, a lot's under all."""
    by_site: dict[str, list[tuple[str, Row]]] = {}
    for key, row in judged.accepted(table):
        by_site.setdefault(str(row.get("site_id", ALL_SITES)), []).append((key, row))
    stored = [
        kept
        for site, keyed in sorted(by_site.items())
        for kept in append_rows(connection, now, NO_BATCH, site, table, keyed, at_us=at_us, request_id=call.request_id)
    ]
    rejected, target = judged.rejected(), f"plant:{table}"
    append_quarantine(connection, NO_BATCH, table, rejected, at_us=at_us, request_id=call.request_id)
    if stored:
        new: Mapping[str, Any] = trail.rows_digest(NO_BATCH, table, stored)
        trail.append(connection, now, call.actor, "rows", target, at_us=at_us, new=new)
    if rejected:
        new = {"table": table, "n": len(rejected), "codes": sorted({code for code, _, _ in rejected})}
        trail.append(connection, now, call.actor, "rows_rejected", target, at_us=at_us, new=new)
