"""Trail and anchor when an endpoint starts: compared, tied to each other, and begun anew where a person says why.

An endpoint refuses to start where the two contradict each other: an older copy of the records was restored, or the trail was
cut. An anchor that is missing, shorter than it was or not readable is an error in the log, since the records may be whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import Connection, func, select, update

from features.errors import StorageError
from serving.audit import chain
from serving.audit.anchor import Anchor, Line, last_line, newest_lines
from serving.audit.chain import Actor
from serving.ids import iso
from serving.records.store import Head, Records
from serving.records.tables import GENESIS, audit, head, rows

TIED, REPLACED = "anchor", "anchor_replaced"  # actions of entries
REMEDY = "Restore what is missing, or accept the records as they are: batchguard audit accept --why TEXT."
_MAX_OBJECT = 300
_log = structlog.get_logger("batchguard.audit")


class TrailContradictedError(StorageError):
    """The records are not those that the anchor vouches for, or their head is not the end of their trail."""


@dataclass(frozen=True)
class TrailEnd:
    """Number and hash of the last entry; 0 and zeros without any."""

    seq: int
    hash: str


def trail_end(connection: Connection) -> TrailEnd:
    """The last entry of the trail, whatever the head says."""
    newest = select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)
    found = connection.execute(newest).one_or_none()
    return TrailEnd(0, GENESIS) if found is None else TrailEnd(*found)


def target_of(path: Path) -> str:
    """The record of an anchor in the trail."""
    return f"anchor:{str(path.absolute())[-(_MAX_OBJECT - 7) :]}"


def heads_wrong(connection: Connection) -> str | None:
    """What is wrong with the head: not one row, or not the ends of trail and rows; None if it is right."""
    found = connection.execute(select(head)).all()
    if [row.id for row in found] != [1]:
        return f"the head has {len(found)} rows; expected: one, with id 1"
    end, newest = trail_end(connection), connection.execute(select(func.max(rows.c.seq))).scalar_one() or 0
    [now] = found
    if (now.audit_seq, now.audit_hash) != (end.seq, end.hash):
        return f"the head says that the trail ends at entry {now.audit_seq}; it ends at {end.seq}, or with another hash"
    return None if now.rows_seq == newest else f"the head says {now.rows_seq} rows, the newest is {newest}"


def check(records: Records, path: Path) -> None:
    """Compare the anchor with the trail, and the trail with its head.

    Raises:
        TrailContradictedError: They contradict each other.
        RecordsUnavailableError: The records cannot be read.
    """
    last, _ = _last(path)
    noted = {} if last is None else newest_lines(path)
    with records.read() as connection:
        said, end = heads_wrong(connection), trail_end(connection)
        there = _hashes(connection, noted)
    if said is not None:
        raise TrailContradictedError(said, remedy=REMEDY)
    other = [seq for seq, hashes in sorted(noted.items()) if hashes != {there.get(seq)}]
    if other and other[-1] > end.seq:
        raise TrailContradictedError(
            f"the anchor {path} knows entry {other[-1]}, the trail ends at {end.seq}: an older copy of the records was "
            "restored, or the trail was cut",
            remedy=REMEDY,
        )
    if other:
        raise TrailContradictedError(
            f"entry {other[-1]} is not the one that the anchor {path} knows: an older copy of the records was restored "
            "and written on, or the trail was written anew",
            remedy=REMEDY,
        )


def begin(records: Records, anchor: Anchor, actor: Actor, at_us: int) -> None:
    """Check, add an entry that states how far the anchor goes, and note it: later, a shorter anchor shows.

    Raises:
        TrailContradictedError: As `check`.
        RecordsUnavailableError: The records cannot be used.
    """
    check(records, anchor.path)
    last, unread = _last(anchor.path)
    if unread is not None or (last is None and records.head().audit_seq):
        _log.error("anchor does not vouch for the trail", path=str(anchor.path), error=unread or "missing or empty",
                   remedy="Run batchguard audit verify.")  # fmt: skip
    if unread is None:
        stated = {"seq": last.seq if last else 0, "digest": last.digest if last else ""}
        with records.write() as (connection, now):
            chain.append(connection, now, actor, TIED, target_of(anchor.path), at_us=at_us, new=stated)
    anchor.note(records.head(), at_us, at_once=True)


def accept(records: Records, path: Path, actor: Actor, why: str, at_us: int) -> str:
    """Begin the anchor anew: the former file is kept under another name, and an entry says who did it and why.

    A head that is not the end of the trail is put there. Returns a line that says what was done.

    Raises:
        StorageError: There is no reason, or the former anchor cannot be moved.
        RecordsUnavailableError: The records cannot be used.
    """
    if not why.strip():
        raise StorageError("an anchor is begun anew for a reason", expected="--why with some words")
    last, _ = _last(path)
    kept = _free_name(path) if path.exists() else None
    was = {"kept_as": kept and kept.name, "sha256": _sha256(path), "seq": last.seq if last else 0}
    with records.repair() as connection:
        wrong = heads_wrong(connection)
        newest = connection.execute(select(func.max(rows.c.seq))).scalar_one() or 0
        end = trail_end(connection)
        now = Head(end.seq, end.hash, newest)
        chain.append(connection, now, actor, REPLACED, target_of(path), at_us=at_us, new=was | {"head": wrong}, why=why)
        connection.execute(head.delete().where(head.c.id != 1))
        if not connection.execute(update(head).where(head.c.id == 1).values(**vars(now))).rowcount:
            connection.execute(head.insert().values(id=1, **vars(now)))
        if kept is not None:
            _move(path, kept)
    Anchor(path).note(now, at_us, at_once=True)
    return f"the anchor begins anew at entry {now.audit_seq}, {iso(at_us)}; the former one: {kept or 'none'}"


def _last(path: Path) -> tuple[Line | None, str | None]:
    """The last line of an anchor, or why it cannot be read."""
    try:
        return last_line(path), None
    except OSError as error:
        return None, error.strerror


def _hashes(connection: Connection, seqs: Collection[int]) -> dict[int, str]:
    found = connection.execute(select(audit.c.seq, audit.c.hash).where(audit.c.seq.in_(list(seqs))))
    return {row.seq: row.hash for row in found}


def _free_name(path: Path) -> Path:
    number = next(n for n in range(1, 1_000_000) if not path.with_name(f"{path.name}.{n}").exists())
    return path.with_name(f"{path.name}.{number}")


def _move(path: Path, kept: Path) -> None:
    try:
        path.rename(kept)
    except OSError as error:
        raise StorageError(f"the anchor {path} cannot be moved to {kept.name}: {error.strerror}") from None


def _sha256(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
