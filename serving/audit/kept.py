"""Records as they are kept, in the words of their entries, and what the entries of the trail say of them."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Connection, Row, select

from features.canonical import canonical
from serving.audit.chain import (
    Entry,
    document_digest,
    event_digest,
    key_digest,
    quarantine_digest,
    release_digest,
    review_digest,
    rows_digest,
    score_digest,
)
from serving.ids import microseconds
from serving.records.rows import KeptRow
from serving.records.scores import score_json
from serving.records.tables import (
    api_keys,
    deliveries,
    events_out,
    inline_histories,
    quarantine,
    release_actions,
    reviews,
    rows,
    scores,
    signed_documents,
)

_GROUP = ("request_id", "batch_id", "table_name", "recorded_us")
_STATE = ("attempts", "next_us", "delivered_us", "error")


@dataclass(frozen=True)
class Kept:
    """A record: its kind, and the content that its entry should have, newest spelling first."""

    kind: str
    spellings: tuple[str, ...]


@dataclass
class Recorded:
    """What the entries say: texts of records by kind, keys, events, states of deliveries, and when scores were made.

    Attributes:
        first_event: Number of the first entry on an event; earlier versions wrote none.
    """

    of_kind: dict[str, set[str]] = field(default_factory=dict)
    keys: dict[str, dict[str, object]] = field(default_factory=dict)
    events: dict[str, str] = field(default_factory=dict)
    deliveries: dict[tuple[str, str], dict[str, object]] = field(default_factory=dict)
    scores: dict[str, int] = field(default_factory=dict)
    first_event: int | None = None

    def add(self, entry: Entry) -> None:
        """Take in the content of an entry."""
        if not entry.new:
            return
        match entry.action:
            case "key_added" | "key_revoked":
                self.keys.setdefault(entry.object, {}).update(orjson.loads(entry.new))
            case "rows":
                self._text("rows", f"{entry.new} {entry.request_id} {entry.at_us}")
            case "rows_rejected":
                self._text("quarantine", f"{entry.new} {entry.object} {entry.request_id} {entry.at_us}")
            case "score" | "review" | "release" | "document":
                self._text(entry.action, f"{entry.new} {entry.who} {entry.request_id}")
                if entry.action == "score":
                    self.scores[entry.object.removeprefix("score:")] = entry.seq
            case "event":
                self._event(entry.seq, orjson.loads(entry.new))
            case "delivery":
                state = orjson.loads(entry.new)
                self.deliveries[state["event_id"], state["webhook"]] = {name: state[name] for name in _STATE}

    def texts(self) -> dict[str, set[str]]:
        """Texts of the records by kind."""
        return self.of_kind | {"key": {canonical(key).decode() for key in self.keys.values()}}

    def _text(self, kind: str, text: str) -> None:
        self.of_kind.setdefault(kind, set()).add(text)

    def _event(self, seq: int, new: dict[str, Any]) -> None:
        receivers = new.pop("receivers")
        self.first_event = self.first_event or seq
        self.events[new["event_id"]] = canonical(new).decode()
        state = {"attempts": 0, "next_us": new["made_us"], "delivered_us": None, "error": ""}
        for webhook in receivers:
            self.deliveries[new["event_id"], webhook] = dict(state)


def kept_records(connection: Connection) -> Iterator[Kept]:
    """All records that have an entry; one whose own digest is wrong counts as a record without an entry."""
    for score in connection.execute(select(scores)).mappings():
        body = hashlib.sha256(score["body"].encode()).hexdigest()
        content, by = score_digest({**score, "body_sha256": body}), f" {score['principal']} {score['request_id']}"
        earlier = {name: value for name, value in content.items() if name != "site_id"}
        yield Kept("score", (canonical(content).decode() + by, canonical(earlier).decode() + by))
        if body != score["body_sha256"]:
            yield Kept("digest of a score", (score["score_id"],))
    for review in connection.execute(select(reviews)).mappings():
        text = canonical(review_digest({**review})).decode()
        yield Kept("review", (f"{text} {review['reviewer']} {review['request_id']}",))
    for key in connection.execute(select(api_keys)).mappings():
        content = key_digest(key)
        earlier = {name: value for name, value in content.items() if name != "secret_hash_sha256"}
        yield Kept("key", (canonical(content).decode(), canonical(earlier).decode()))
    for history in connection.execute(select(inline_histories)):
        if hashlib.sha256(history.content.encode()).hexdigest() != history.sha256:
            yield Kept("inline history", (history.sha256,))
    yield from _signed_kept(connection)
    yield from _rows_kept(connection)
    yield from _quarantine_kept(connection)


def _signed_kept(connection: Connection) -> Iterator[Kept]:
    """Actions on releases, and signed documents."""
    for kind, table, said in (
        ("release", release_actions, release_digest),
        ("document", signed_documents, document_digest),
    ):
        for row in connection.execute(select(table)).mappings():
            yield Kept(kind, (f"{canonical(said({**row})).decode()} {row['principal']} {row['request_id']}",))


def _rows_kept(connection: Connection) -> Iterator[Kept]:
    """Rows of one request, batch and table, which share an entry."""
    wanted = select(*(rows.c[name] for name in (*_GROUP, *KeptRow._fields))).order_by(rows.c.seq)
    last = 0
    for group_key, group in itertools.groupby(connection.execute(wanted), _group):
        request_id, batch_id, table, recorded_us = group_key
        kept = [KeptRow._make(row[len(_GROUP) :]) for row in group]
        if [row.seq for row in kept] != list(range(last + 1, last + 1 + len(kept))):
            yield Kept("rows", (f"numbers after {last} are not those that follow",))
        last = kept[-1].seq
        content, by = rows_digest(batch_id, table, kept), f" {request_id} {recorded_us}"
        earlier = hashlib.sha256(b"".join(row.content.encode() + b"\n" for row in kept)).hexdigest()
        yield Kept("rows", (canonical(content).decode() + by, canonical(content | {"sha256": earlier}).decode() + by))


def _quarantine_kept(connection: Connection) -> Iterator[Kept]:
    """Rejected rows of one request, batch and table, which share an entry; earlier ones without a digest."""
    wanted = select(quarantine).order_by(*(quarantine.c[name] for name in _GROUP))
    for (request_id, batch_id, table, recorded_us), group in itertools.groupby(
        connection.execute(wanted).mappings(), lambda row: tuple(row[name] for name in _GROUP)
    ):
        content = quarantine_digest(table, list(group))
        by = f" {f'batch:{batch_id}' if batch_id else f'plant:{table}'} {request_id} {recorded_us}"
        earlier = {name: value for name, value in content.items() if name != "sha256"}
        yield Kept("quarantine", (canonical(content).decode() + by, canonical(earlier).decode() + by))


def _group(row: Row) -> tuple[str, str, str, int]:
    return row.request_id, row.batch_id, row.table_name, row.recorded_us


def event_problems(connection: Connection, recorded: Recorded) -> Iterator[str]:
    """Events and deliveries that are not as their entries say; events of versions that wrote none: as their scores say."""
    there, of_entries = set[str](), recorded.events
    for event in connection.execute(select(events_out)).mappings():
        event_id = event["event_id"]
        there.add(event_id)
        if event_id in of_entries:
            if canonical(event_digest(event)).decode() != of_entries[event_id]:
                yield f"event {event_id} was changed"
        elif not _is_of_its_score(connection, event, recorded):
            yield f"event {event_id} is not that of a score"
    yield from (f"event {event_id} is gone" for event_id in sorted(of_entries.keys() - there))
    yield from _delivery_problems(connection.execute(select(deliveries)).mappings(), there, recorded)


def _delivery_problems(found: Iterable[Mapping[str, Any]], events: set[str], recorded: Recorded) -> Iterator[str]:
    there = set()
    for delivery in found:
        key = (delivery["event_id"], delivery["webhook"])
        there.add(key)
        expected = recorded.deliveries.get(key)
        if expected is not None and {name: delivery[name] for name in _STATE} != expected:
            yield f"delivery of {key[0]} to {key[1]} was changed"
        if (expected is None and key[0] in recorded.events) or key[0] not in events:
            yield f"delivery of {key[0]} to {key[1]} was never made"
    yield from (
        f"delivery of {event} to {webhook} is gone" for event, webhook in sorted(recorded.deliveries.keys() - there)
    )


def _is_of_its_score(connection: Connection, event: Mapping[str, Any], recorded: Recorded) -> bool:
    payload = orjson.loads(event["payload"])
    score_id = payload["score"]["score_id"]
    row = connection.execute(select(scores).where(scores.c.score_id == score_id)).mappings().one_or_none()
    if row is None or recorded.scores.get(score_id, 0) > (recorded.first_event or 1 << 62):
        return False
    said = (payload["kind"], payload["score"]["site_id"], microseconds(payload["at"]))
    same = canonical(score_json(row)) == canonical(payload["score"])
    return same and said == (event["kind"], event["site_id"], event["made_us"])
