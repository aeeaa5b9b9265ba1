"""The audit trail: a chain of entries.

Each entry says who did what to which record, what it was and is, when and why, and holds the hash of the entry before. An
entry is written in the transaction of the change that it describes. Whoever rewrites or cuts the chain in the database
has to change the anchor as well (`serving.audit.anchor`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from features.canonical import canonical
from serving.ids import iso
from serving.records.rows import KeptRow
from serving.records.store import Head
from serving.records.tables import audit

_CHUNK = 5_000
_INSERT = insert(audit)
_QUARANTINED = ("id", "batch_id", "table_name", "code", "reason", "content", "recorded_us", "request_id")


@dataclass(frozen=True)
class Actor:
    """The principal of a change, its role, and the id of its request."""

    who: str
    role: str
    request_id: str


@dataclass(frozen=True)
class Entry:
    """One entry as the table `audit` holds it.

    Attributes:
        seq: Number of the entry, from 1.
        at_us: Time of the change, microseconds UTC.
        who: Principal.
        role: Its role.
        action: Kind of the change.
        object: The record, `KIND:ID`.
        old: Former content as JSON text; None where there is none.
        new: New content as JSON text; None where there is none.
        why: Reason; may be empty.
        request_id: Request that made the change.
        previous: Hash of the entry before.
        hash: SHA-256 over all fields above.
    """

    seq: int
    at_us: int
    who: str
    role: str
    action: str
    object: str
    old: str | None
    new: str | None
    why: str
    request_id: str
    previous: str
    hash: str

    @property
    def at(self) -> str:
        """Time of the change in ISO 8601."""
        return iso(self.at_us)

    def to_json(self) -> dict[str, str | int | None]:
        """The entry for people and other systems: as stored, with the time in ISO 8601."""
        try:
            return {**vars(self), "at": self.at}
        except OverflowError:  # the entry was changed
            return {**vars(self), "at": str(self.at_us)}


def append(
    connection: Connection, now: Head, actor: Actor, action: str, target: str, *, at_us: int,
    old: object = None, new: object = None, why: str = "",
) -> None:  # fmt: skip
    """Add an entry at the end of the chain, in a transaction that holds the head."""
    hashed = (now.audit_seq + 1, at_us, actor.who, actor.role, action, target, _json(old), _json(new), why,
              actor.request_id, now.audit_hash)  # fmt: skip
    entry = Entry(*hashed, hash=_digest(hashed))
    connection.execute(_INSERT, vars(entry))
    now.audit_seq, now.audit_hash = entry.seq, entry.hash


def entry_hash(entry: Entry) -> str:
    """SHA-256 over all fields of an entry but the hash itself."""
    return _digest([value for name, value in vars(entry).items() if name != "hash"])


def _digest(hashed: Sequence[str | int | None]) -> str:
    return hashlib.sha256(canonical(hashed)).hexdigest()


def _json(content: object) -> str | None:
    return None if content is None else canonical(content).decode()


def entries(connection: Connection, after: int = 0) -> Iterator[Entry]:
    """All entries with a number above `after`, in order."""
    while True:
        found = connection.execute(select(audit).where(audit.c.seq > after).order_by(audit.c.seq).limit(_CHUNK)).all()
        if not found:
            return
        yield from (Entry(*row) for row in found)
        after = found[-1].seq


def history(connection: Connection, target: str) -> list[Entry]:
    """Entries of one record, in order."""
    found = connection.execute(select(audit).where(audit.c.object == target).order_by(audit.c.seq))
    return [Entry(*row) for row in found]


def score_digest(row: Mapping[str, object]) -> dict[str, object]:
    """The part of a score's record that its entry holds; its digest covers the body, so every change shows."""
    names = ("score_id", "batch_id", "site_id", "as_of_us", "scored_us", "rows_seq", "inline_sha256", "model_sha256", "model_stale_us", "body_sha256",
             "supersedes")  # fmt: skip
    return {name: row[name] for name in names} | _present(row, "code_sha256")


def review_digest(row: Mapping[str, object]) -> dict[str, object]:
    """The part of a review's record that its entry holds: all of it but the request."""
    later = ("signer_name", "meaning", "signed_with")
    return {str(name): row[name] for name in row if name not in (*later, "request_id")} | _present(row, *later)


def _present(row: Mapping[str, object], *names: str) -> dict[str, object]:
    """Columns that were added later: earlier records and their entries do not have them."""
    return {name: row[name] for name in names if row.get(name) is not None}


def rows_digest(batch_id: str, table: str, kept: Sequence[KeptRow]) -> dict[str, str | int]:
    """The content of the entry on rows that one request added: how many, from which number on, and their digest."""
    digest = hashlib.sha256()
    for row in kept:
        digest.update(canonical([row.site_id, row.key]) + row.content.encode() + b"\n")
    first = kept[0].seq if kept else 0
    return {"batch_id": batch_id, "table": table, "first": first, "n": len(kept), "sha256": digest.hexdigest()}


def quarantine_digest(table: str, kept: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """The content of the entry on rows that one request had rejected: how many, why, and the digest of the records."""
    lines = sorted(canonical({name: row[name] for name in _QUARANTINED}) for row in kept)
    codes = sorted({str(row["code"]) for row in kept})
    return {"table": table, "n": len(kept), "codes": codes, "sha256": hashlib.sha256(b"\n".join(lines)).hexdigest()}


def event_digest(event: Mapping[str, object]) -> dict[str, object]:
    """The part of an event's record that its entry holds; its digest covers the payload."""
    payload = hashlib.sha256(str(event["payload"]).encode()).hexdigest()
    return {name: event[name] for name in ("event_id", "kind", "site_id", "made_us")} | {"payload_sha256": payload}


def key_digest(key: Mapping[str, object]) -> dict[str, object]:
    """The part of a key's record that its entry holds, and the digest of what is stored of its secret."""
    public = {str(name): key[name] for name in key if name not in ("secret_hash", "subject")}
    return public | _present(key, "subject") | secret_digest(key)


def release_digest(row: Mapping[str, object]) -> dict[str, object]:
    """The part of a release's action that its entry holds; a digest covers the envelope."""
    return _signed_digest(row, "envelope")


def document_digest(row: Mapping[str, object]) -> dict[str, object]:
    """The part of a signed document that its entry holds; a digest covers the content."""
    return _signed_digest(row, "content")


def _signed_digest(row: Mapping[str, object], text: str) -> dict[str, object]:
    entry = {str(name): row[name] for name in row if name not in (text, "request_id")}
    digest = None if row[text] is None else hashlib.sha256(str(row[text]).encode()).hexdigest()
    return entry | {f"{text}_sha256": digest}


def secret_digest(key: Mapping[str, object]) -> dict[str, str]:
    """What the entry on a key holds of its secret: the digest of the argon2id hash, which lets nobody try secrets."""
    return {"secret_hash_sha256": hashlib.sha256(str(key["secret_hash"]).encode()).hexdigest()}
