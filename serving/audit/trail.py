"""The audit trail: who did what to which record, what it was and is, when and why. Each entry holds the hash of the one before.

An entry is written in the transaction of what it tells of. Whoever rewrites or cuts the chain in the database has to
do the same to the anchor, a file that should lie where the database's administrator cannot write.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, func, insert, select

from features.canonical import canonical
from serving.audit.anchor import anchored_in
from serving.ids import iso
from serving.records.migrate import guards_missing
from serving.records.rows import KeptRow
from serving.records.store import Head, Records, head_of
from serving.records.tables import GENESIS, api_keys, audit, inline_histories, reviews, rows, scores

_HASHED = ("seq", "at_us", "who", "role", "action", "object", "old", "new", "why", "request_id", "previous")
_AT_ONCE = 5_000
_INSERT = insert(audit)


@dataclass(frozen=True)
class Actor:
    """Who acts, in which role, by which request."""

    who: str
    role: str
    request_id: str


def append(
    connection: Connection,
    now: Head,
    actor: Actor,
    action: str,
    target: str,
    *,
    at_us: int,
    old: object = None,
    new: object = None,
    why: str = "",
) -> None:
    """Add an entry at the end of the chain, in a transaction that holds the head."""
    entry: dict[str, Any] = {
        "seq": now.audit_seq + 1,
        "at_us": at_us,
        "who": actor.who,
        "role": actor.role,
        "action": action,
        "object": target,
        "old": None if old is None else canonical(old).decode(),
        "new": None if new is None else canonical(new).decode(),
        "why": why,
        "request_id": actor.request_id,
        "previous": now.audit_hash,
    }
    entry["hash"] = entry_hash(entry)
    connection.execute(_INSERT, entry)
    now.audit_seq, now.audit_hash = entry["seq"], entry["hash"]


def entry_hash(entry: Mapping[str, Any]) -> str:
    """SHA-256 over all of an entry but the hash itself."""
    return hashlib.sha256(canonical([entry[name] for name in _HASHED])).hexdigest()


def entries(connection: Connection, after: int = 0) -> Iterator[dict[str, Any]]:
    """All entries in order, from the one behind `after` on."""
    while True:
        found = connection.execute(select(audit).where(audit.c.seq > after).order_by(audit.c.seq).limit(_AT_ONCE)).all()
        if not found:
            return
        yield from ({str(name): value for name, value in row._mapping.items()} for row in found)
        after = found[-1].seq


def export(connection: Connection) -> Iterator[dict[str, Any]]:
    """Entries for people and other systems: as stored, with the time spelled out."""
    for entry in entries(connection):
        yield {**entry, "at": iso(entry["at_us"])}


def history(connection: Connection, target: str) -> list[dict[str, Any]]:
    """Entries that tell of one record, in order."""
    found = connection.execute(select(audit).where(audit.c.object == target).order_by(audit.c.seq)).mappings()
    return [{**{str(name): value for name, value in row.items()}, "at": iso(row["at_us"])} for row in found]


@dataclass(frozen=True)
class Verified:
    """What a check of the trail found.

    Attributes:
        n_entries: Entries read.
        n_records: Records compared with what the trail says of them.
        problems: One line each; empty where all is as it was written.
    """

    n_entries: int
    n_records: int
    problems: tuple[str, ...]


def verify(records: Records, anchor: Path | None) -> Verified:
    """Recompute the chain, hold it against the anchor, and hold scores, reviews and rows against the chain.

    Raises:
        RecordsUnavailableError: The records cannot be read.
        StorageError: The anchor cannot be read.
    """
    problems: list[str] = []
    said: dict[str, list[str | None]] = {"score": [], "review": [], "rows": []}
    keys: dict[str, dict[str, Any]] = {}
    anchored = anchored_in(anchor)
    with records.read() as connection:
        expected, previous, n = 1, GENESIS, 0
        for entry in entries(connection):
            n += 1
            problems += _faults(entry, expected, previous)
            if anchored.pop(entry["seq"], entry["hash"]) != entry["hash"]:
                problems.append(f"entry {entry['seq']} is not the one of the anchor: the chain was written anew")
            if entry["action"] in said:
                said[entry["action"]].append(entry["new"] and _with_actor(entry["action"], entry))
            elif entry["action"] in ("key_added", "key_revoked"):
                keys.setdefault(entry["object"], {}).update(orjson.loads(entry["new"]))
            expected, previous = entry["seq"] + 1, entry["hash"]
        problems += [f"entry {seq} of the anchor is gone: the chain was cut" for seq in sorted(anchored)]
        kept = list(_kept(connection))
        problems += _unsound(connection)
    problems += _differences({**said, "key": [canonical(key).decode() for key in keys.values()]}, kept)
    return Verified(n, len(kept), tuple(problems))


def _faults(entry: Mapping[str, Any], expected: int, previous: str) -> list[str]:
    found = []
    if entry["seq"] != expected:
        found.append(f"entry {expected} is missing")
    elif entry["previous"] != previous:
        found.append(f"entry {entry['seq']} does not follow the one before it")
    if entry_hash(entry) != entry["hash"]:
        found.append(f"entry {entry['seq']} was changed")
    return found


def _with_actor(kind: str, entry: Mapping[str, Any]) -> str:
    """What an entry says of a record; of a score or a review also who made it, and by which request."""
    return entry["new"] if kind == "rows" else f"{entry['new']} {entry['who']} {entry['request_id']}"


def score_digest(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the trail says of a score: enough to notice any change of its record."""
    names = ("score_id", "batch_id", "site_id", "as_of_us", "scored_us", "rows_seq", "inline_sha256", "model_sha256", "model_stale_us", "body_sha256",
             "supersedes")  # fmt: skip
    return {name: row[name] for name in names} | _kept_since(row, "code_sha256")


def review_digest(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the trail says of a review: all of it but the request."""
    since = ("signer_name", "meaning", "signed_with")
    said = {str(name): row[name] for name in row if name not in (*since, "request_id")}
    return said | _kept_since(row, *since)


def _kept_since(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Columns that earlier records do not have; the trail says nothing of them there."""
    return {name: row[name] for name in names if row.get(name) is not None}


def rows_digest(batch_id: str, table: str, kept: Sequence[KeptRow]) -> dict[str, Any]:
    """What the trail says of rows taken in by one request: how many, from which number on, and their digest."""
    digest = hashlib.sha256()
    for row in kept:
        digest.update(canonical([row.site_id, row.key]) + row.content.encode() + b"\n")
    first = kept[0].seq if kept else 0
    return {"batch_id": batch_id, "table": table, "first": first, "n": len(kept), "sha256": digest.hexdigest()}


def _kept(connection: Connection) -> Iterator[tuple[str, ...]]:
    """(kind, what the trail should say, what earlier versions said) of every record.

    A record whose own digest is wrong says something else.
    """
    for found in connection.execute(select(scores)).mappings():
        body = hashlib.sha256(found["body"].encode()).hexdigest()
        said, by = score_digest({**found, "body_sha256": body}), f" {found['principal']} {found['request_id']}"
        earlier = {name: value for name, value in said.items() if name != "site_id"}
        yield "score", canonical(said).decode() + by, canonical(earlier).decode() + by
        if body != found["body_sha256"]:
            yield "digest of a score", found["score_id"]
    for found in connection.execute(select(reviews)).mappings():
        yield "review", f"{canonical(review_digest(found)).decode()} {found['reviewer']} {found['request_id']}"
    for found in connection.execute(select(api_keys)).mappings():
        yield "key", canonical({str(name): found[name] for name in found if name != "secret_hash"}).decode()
    for found in connection.execute(select(inline_histories)).mappings():
        if hashlib.sha256(found["content"].encode()).hexdigest() != found["sha256"]:
            yield "inline history", found["sha256"]
    wanted: list[Any] = [
        rows.c.request_id,
        rows.c.batch_id,
        rows.c.table_name,
        *(rows.c[name] for name in KeptRow._fields),
    ]
    group: list[Any] = []
    for found in connection.execute(select(*wanted).order_by(rows.c.seq)):
        if group and (found.request_id, found.batch_id, found.table_name) != tuple(group[0][:3]):
            yield "rows", *_rows_kept(group)
            group = []
        group.append(found)
    if group:
        yield "rows", *_rows_kept(group)


def _rows_kept(group: list[Any]) -> tuple[str, str]:
    _, batch_id, table, *_ = group[0]
    kept = [KeptRow(*found[3:]) for found in group]
    said = rows_digest(batch_id, table, kept)
    earlier = hashlib.sha256(b"".join(row.content.encode() + b"\n" for row in kept)).hexdigest()
    return canonical(said).decode(), canonical(said | {"sha256": earlier}).decode()


def _unsound(connection: Connection) -> Iterator[str]:
    """What no entry tells of: guards that are gone, a head behind its rows, histories that scores rest on and are not there."""
    gone = guards_missing(connection)
    if gone:
        yield f"the guard against change is gone from {', '.join(gone)}"
    newest = connection.execute(select(func.max(rows.c.seq))).scalar_one() or 0
    said = head_of(connection).rows_seq
    if said != newest:
        yield f"the head says {said} rows, the newest is {newest}"
    there = select(inline_histories.c.sha256)
    alone = scores.c.inline_sha256.is_not(None) & scores.c.inline_sha256.not_in(there)
    for score_id in connection.execute(select(scores.c.score_id).where(alone)).scalars():
        yield f"the history that score {score_id} was made from is gone"


def _differences(said: Mapping[str, list[str | None]], kept: list[tuple[str, ...]]) -> list[str]:
    found = []
    for kind in ("score", "digest of a score", "review", "rows", "key", "inline history"):
        told = {text for text in said.get(kind, []) if text is not None}
        spelled = [texts for name, *texts in kept if name == kind]
        there = {next((text for text in texts if text in told), texts[0]) for texts in spelled}
        found += [f"{kind} without its entry in the trail, or changed since: {text[:120]}" for text in there - told]
        found += [f"{kind} that the trail tells of is gone or changed: {text[:120]}" for text in told - there]
    return found
