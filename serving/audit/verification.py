"""Verifies the audit trail: the chain against its hashes and its anchor, the records against the chain."""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
from sqlalchemy import Connection, Row, func, select

from features.canonical import canonical
from serving.audit.chain import Entry, anchored_in, entries, entry_hash, review_digest, rows_digest, score_digest
from serving.records.migrate import guards_missing
from serving.records.rows import KeptRow
from serving.records.store import Records, head_of
from serving.records.tables import GENESIS, api_keys, inline_histories, reviews, rows, scores

_GROUP = ("request_id", "batch_id", "table_name")


@dataclass(frozen=True)
class Verification:
    """The result of a verification.

    Attributes:
        n_entries: Entries read.
        n_records: Records compared with their entries.
        problems: One line each; empty if everything is as it was written.
    """

    n_entries: int
    n_records: int
    problems: tuple[str, ...]


@dataclass(frozen=True)
class _Kept:
    """A record: its kind, and the content that its entry should have, newest spelling first."""

    kind: str
    spellings: tuple[str, ...]


def verify(records: Records, anchor: Path | None) -> Verification:
    """Recompute the chain, and compare it with the anchor and with the records.

    Raises:
        RecordsUnavailableError: The records cannot be read.
        StorageError: The anchor cannot be read.
    """
    anchored, problems, n_entries = anchored_in(anchor), list[str](), 0
    recorded: dict[str, set[str]] = defaultdict(set)
    keys: dict[str, dict[str, object]] = {}
    with records.read() as connection:
        for found in _checked(entries(connection), anchored, recorded, keys):
            n_entries += 1
            problems += found
        problems += [f"entry {seq} of the anchor is gone: the chain was cut" for seq in sorted(anchored)]
        kept = list(_kept(connection))
        problems += _unsound(connection)
    recorded["key"] = {canonical(key).decode() for key in keys.values()}
    problems += _differences(recorded, kept)
    return Verification(n_entries, len(kept), tuple(problems))


def _checked(
    found: Iterable[Entry], anchored: dict[int, str], recorded: dict[str, set[str]], keys: dict[str, dict[str, object]]
) -> Iterator[list[str]]:
    """Problems of each entry; takes its line from the anchor and adds its content to what is recorded."""
    expected, previous = 1, GENESIS
    for entry in found:
        problems = list(_faults(entry, expected, previous))
        if anchored.pop(entry.seq, entry.hash) != entry.hash:
            problems.append(f"entry {entry.seq} is not the one of the anchor: the chain was written anew")
        if entry.action in ("key_added", "key_revoked") and entry.new:
            keys.setdefault(entry.object, {}).update(orjson.loads(entry.new))
        elif entry.action == "rows" and entry.new:
            recorded["rows"].add(entry.new)
        elif entry.action in ("score", "review") and entry.new:
            recorded[entry.action].add(f"{entry.new} {entry.who} {entry.request_id}")
        yield problems
        expected, previous = entry.seq + 1, entry.hash


def _faults(entry: Entry, expected: int, previous: str) -> Iterator[str]:
    if entry.seq != expected:
        yield f"entry {expected} is missing"
    elif entry.previous != previous:
        yield f"entry {entry.seq} does not follow the one before it"
    if entry_hash(entry) != entry.hash:
        yield f"entry {entry.seq} was changed"


def _kept(connection: Connection) -> Iterator[_Kept]:
    """All records; one whose own digest is wrong counts as a record without an entry."""
    for score in connection.execute(select(scores)).mappings():
        body = hashlib.sha256(score["body"].encode()).hexdigest()
        content, by = score_digest({**score, "body_sha256": body}), f" {score['principal']} {score['request_id']}"
        earlier = {name: value for name, value in content.items() if name != "site_id"}
        yield _Kept("score", (canonical(content).decode() + by, canonical(earlier).decode() + by))
        if body != score["body_sha256"]:
            yield _Kept("digest of a score", (score["score_id"],))
    for review in connection.execute(select(reviews)).mappings():
        text = canonical(review_digest({**review})).decode()
        yield _Kept("review", (f"{text} {review['reviewer']} {review['request_id']}",))
    for key in connection.execute(select(api_keys)).mappings():
        public = {str(name): key[name] for name in key if name != "secret_hash"}
        yield _Kept("key", (canonical(public).decode(),))
    for history in connection.execute(select(inline_histories)):
        if hashlib.sha256(history.content.encode()).hexdigest() != history.sha256:
            yield _Kept("inline history", (history.sha256,))
    yield from _rows_kept(connection)


def _rows_kept(connection: Connection) -> Iterator[_Kept]:
    """Rows of one request, batch and table, which share an entry."""
    wanted = select(*(rows.c[name] for name in (*_GROUP, *KeptRow._fields))).order_by(rows.c.seq)
    for (_, batch_id, table), group in itertools.groupby(connection.execute(wanted), _group):
        kept = [KeptRow._make(row[len(_GROUP) :]) for row in group]
        content = rows_digest(batch_id, table, kept)
        earlier = hashlib.sha256(b"".join(row.content.encode() + b"\n" for row in kept)).hexdigest()
        yield _Kept("rows", (canonical(content).decode(), canonical(content | {"sha256": earlier}).decode()))


def _group(row: Row) -> tuple[str, str, str]:
    return row.request_id, row.batch_id, row.table_name


def _unsound(connection: Connection) -> Iterator[str]:
    """Faults that no entry shows: missing triggers, a head behind its rows, histories of scores that are gone."""
    gone = guards_missing(connection)
    if gone:
        yield f"the guard against change is gone from {', '.join(gone)}"
    newest = connection.execute(select(func.max(rows.c.seq))).scalar_one() or 0
    in_head = head_of(connection).rows_seq
    if in_head != newest:
        yield f"the head says {in_head} rows, the newest is {newest}"
    there = select(inline_histories.c.sha256)
    alone = scores.c.inline_sha256.is_not(None) & scores.c.inline_sha256.not_in(there)
    for score_id in connection.execute(select(scores.c.score_id).where(alone)).scalars():
        yield f"the history that score {score_id} was made from is gone"


def _differences(recorded: dict[str, set[str]], kept: Iterable[_Kept]) -> Iterator[str]:
    """Records without an entry, and entries without a record."""
    for kind in ("score", "digest of a score", "review", "rows", "key", "inline history"):
        in_trail = recorded[kind]
        found = [record.spellings for record in kept if record.kind == kind]
        there = {next((text for text in texts if text in in_trail), texts[0]) for texts in found}
        yield from (
            f"{kind} without its entry in the trail, or changed since: {text[:120]}" for text in there - in_trail
        )
        yield from (f"{kind} of an entry of the trail is gone or changed: {text[:120]}" for text in in_trail - there)
