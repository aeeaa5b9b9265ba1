"""The audit trail: a chain of entries, and the anchor, a file that notes where the chain ended.

Each entry says who did what to which record, what it was and is, when and why, and holds the hash of the entry before. An
entry is written in the transaction of the change that it describes. Whoever rewrites or cuts the chain in the database
has to change the anchor as well, which should lie where the database's administrator cannot write.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import Connection, insert, select

from features.canonical import canonical
from features.errors import StorageError
from serving.ids import iso
from serving.records.rows import KeptRow
from serving.records.store import Head
from serving.records.tables import audit

_CHUNK = 5_000
_INSERT = insert(audit)
_MAX_LINE = 200  # bytes, at least the length of a line of the anchor
_PARTIAL_LINE = re.compile(rb"[0-9]+( [0-9a-f]{0,64}( [0-9TZ:.-]*)?)?")
_log = structlog.get_logger("batchguard.audit")


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
        return {**vars(self), "at": self.at}


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


class Anchor:
    """Lines `seq hash time`, at most one per interval, never rewritten.

    Args:
        path: The file; several processes may share it.
        interval_us: Shortest time between two lines, and between two attempts if the file cannot be written.
    """

    def __init__(self, path: Path, interval_us: int = 1_000_000) -> None:
        self.path, self._interval_us = path, interval_us
        self._seq, self._tried_us = 0, -interval_us
        self._lock = threading.Lock()

    def note(self, now: Head, at_us: int, *, at_once: bool = False) -> None:
        """Write the end of the chain down, unless that was done within the interval.

        The chain is committed already: if the anchor cannot be written, the log says so and a later call tries again.
        """
        with self._lock:
            if now.audit_seq <= self._seq or (0 <= at_us - self._tried_us < self._interval_us and not at_once):
                return
            self._tried_us = at_us
            try:
                _append_line(self.path, f"{now.audit_seq} {now.audit_hash} {iso(at_us)}\n".encode())
            except OSError as error:
                _log.error("anchor not written", path=str(self.path), error=error.strerror)
                return
            self._seq = now.audit_seq


def anchored_in(path: Path | None) -> dict[int, str]:
    """Hash of the chain's end by its number; empty without an anchor. A last line that is not complete does not count.

    Raises:
        StorageError: The file holds something else.
    """
    if path is None or not path.exists():
        return {}
    found = {}
    complete, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    for number, line in enumerate(complete.splitlines(), start=1):
        parts = line.split(" ")
        if len(parts) != 3 or not parts[0].isdigit() or len(parts[1]) != 64:
            raise StorageError(f"{path}:{number}: no line of an anchor", remedy="Restore the file from its backup.")
        found[int(parts[0])] = parts[1]
    return found


def _append_line(path: Path, line: bytes) -> None:
    """Append a complete line or nothing, behind complete lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o640)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        end = _end_of_lines(handle)
        if os.write(handle, line) < len(line):  # a full disk takes a part of the line
            os.ftruncate(handle, end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(handle)
    finally:
        os.close(handle)


def _end_of_lines(handle: int) -> int:
    """Length of the file; a partial last line, left by a machine that crashed, is cut off."""
    length = os.fstat(handle).st_size
    tail = os.pread(handle, _MAX_LINE, max(0, length - _MAX_LINE))
    partial = tail[tail.rfind(b"\n") + 1 :]
    if partial and not _PARTIAL_LINE.fullmatch(partial):
        raise OSError(errno.EINVAL, "the file ends in no line of an anchor")
    if partial:
        os.ftruncate(handle, length - len(partial))
    return length - len(partial)
