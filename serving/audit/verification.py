"""Verifies the audit trail: the chain against its hashes and its anchor, the records against the chain."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from sqlalchemy import Connection, select

from serving.audit.anchor import AnchorContent, read_anchor
from serving.audit.chain import Entry, entries, entry_hash
from serving.audit.kept import Kept, Recorded, event_problems, kept_records
from serving.audit.start import REPLACED, TIED, heads_wrong, target_of
from serving.records.guards import guard_faults
from serving.records.store import Records
from serving.records.tables import GENESIS, inline_histories, scores

_KINDS = ("score", "digest of a score", "review", "rows", "quarantine", "key", "inline history", "release", "document")
_MOST_SAID = 3  # lines about entries of the anchor that are gone
_REMEDY = "start the endpoint, or run batchguard audit accept --why TEXT"


@dataclass(frozen=True)
class Verification:
    """The result of a verification.

    Attributes:
        n_entries: Entries read.
        n_records: Records compared with their entries.
        problems: One line each; empty if everything is as it was written.
        notes: One line for each time that a person began the anchor anew.
    """

    n_entries: int
    n_records: int
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass
class _Trail:
    """What is read of the trail: problems, records, entries about anchors, its end, and hashes that the anchor misses."""

    missing: dict[int, set[str]]
    n_entries: int = 0
    problems: list[str] = field(default_factory=list)
    recorded: Recorded = field(default_factory=Recorded)
    anchors: list[Entry] = field(default_factory=list)
    end: int = 0
    hashes: dict[int, str] = field(default_factory=dict)  # of entries later than the anchor's end


def verify(records: Records, anchor: Path | None, *, patience_s: float = 0.0) -> Verification:
    """Recompute the chain, and compare it with the anchor and with the records.

    Args:
        records: Prepared, or opened to be read.
        anchor: The file; None: it is not looked at.
        patience_s: How long an anchor that is behind may take to follow, as that of a running endpoint does in a second.

    Raises:
        RecordsUnavailableError: The records cannot be read.
    """
    content = AnchorContent() if anchor is None else read_anchor(anchor)
    trail, kept = _Trail(_by_seq(content)), list[Kept]()
    with records.read() as connection:
        for part in (_chain_problems(connection, trail), _record_problems(connection, trail.recorded, kept)):
            trail.problems += _read_as_written(part)
    if anchor is not None:
        trail.problems += _read_as_written(_anchor_problems(anchor, content, trail, patience_s))
    return Verification(trail.n_entries, len(kept), tuple(trail.problems), tuple(_notes(trail.anchors)))


def _read_as_written(problems: Iterable[str]) -> Iterator[str]:
    """The problems, up to a value that no version of this software wrote, which is one as well."""
    try:
        yield from problems
    except (TypeError, ValueError, AttributeError, OverflowError, LookupError) as error:
        yield f"the records hold a value that this software never wrote ({type(error).__name__}: {error})"[:200]


def _record_problems(connection: Connection, recorded: Recorded, kept: list[Kept]) -> Iterator[str]:
    yield from _unsound(connection)
    yield from event_problems(connection, recorded)
    kept += kept_records(connection)
    yield from _differences(recorded.texts(), kept)


def _by_seq(content: AnchorContent) -> dict[int, set[str]]:
    """Hashes that an anchor holds of each number."""
    found: dict[int, set[str]] = {}
    for line in content.lines:
        found.setdefault(line.seq, set()).add(line.hash)
    return found


def _chain_problems(connection: Connection, trail: _Trail) -> Iterator[str]:
    """Problems of each entry, and entries of the anchor that are gone; takes the trail in."""
    expected, previous, anchored = 1, GENESIS, max(trail.missing, default=0)
    for entry in entries(connection):
        trail.n_entries, trail.end = trail.n_entries + 1, entry.seq
        yield from _faults(entry, expected, previous)
        if trail.missing.pop(entry.seq, {entry.hash}) != {entry.hash}:
            yield f"entry {entry.seq} is not the one of the anchor: the chain was written anew"
        if entry.action in (TIED, REPLACED):
            trail.anchors.append(entry)
        if entry.seq > anchored:
            trail.hashes[entry.seq] = entry.hash
        trail.recorded.add(entry)
        expected, previous = entry.seq + 1, entry.hash
    yield from _gone(trail.missing)


def _faults(entry: Entry, expected: int, previous: str) -> Iterator[str]:
    if entry.seq != expected:
        yield f"entry {expected} is missing"
    elif entry.previous != previous:
        yield f"entry {entry.seq} does not follow the one before it"
    if entry_hash(entry) != entry.hash:
        yield f"entry {entry.seq} was changed"


def _gone(missing: dict[int, set[str]]) -> Iterator[str]:
    seqs = sorted(missing)
    yield from (f"entry {seq} of the anchor is gone: the chain was cut" for seq in seqs[:_MOST_SAID])
    if len(seqs) > _MOST_SAID:
        yield f"{len(seqs)} entries of the anchor are gone, up to {seqs[-1]}"


def _anchor_problems(path: Path, content: AnchorContent, trail: _Trail, patience_s: float) -> Iterator[str]:
    """Faults of the file, what the trail says it held, and entries at the end that it does not vouch for."""
    yield from content.problems
    if not path.exists():
        if trail.end:
            yield f"there is no anchor {path}: nothing outside the records vouches for {trail.end} entries; {_REMEDY}"
        return
    if not content.lines and not content.problems and trail.end:
        yield f"the anchor {path} is empty: nothing outside the records vouches for {trail.end} entries; {_REMEDY}"
    yield from _untied(path, content, trail.anchors)
    last = max((line.seq for line in content.lines), default=0)
    if content.lines and last < trail.end:
        followed = _followed(path, trail.end, patience_s) if patience_s else content
        last = max((line.seq for line in followed.lines), default=0)
        for line in followed.lines[len(content.lines) :]:
            if trail.hashes.get(line.seq, line.hash) != line.hash:
                yield f"entry {line.seq} is not the one of the anchor: the chain was written anew"
        if last < trail.end:
            yield f"the anchor ends at entry {last}, the trail at {trail.end}: it was shortened, or not written since; {_REMEDY}"


def _followed(path: Path, seq: int, patience_s: float) -> AnchorContent:
    """The anchor once it is as far as an entry, or as it is when the time is over."""
    until = time.monotonic() + patience_s
    while True:
        content = read_anchor(path)
        if any(line.seq >= seq for line in content.lines[-1:]) or time.monotonic() >= until:
            return content
        time.sleep(0.1)


def _untied(path: Path, content: AnchorContent, of_anchors: list[Entry]) -> Iterator[str]:
    """Starts of the endpoint whose anchor is not the beginning of this one."""
    own = [entry for entry in of_anchors if entry.object == target_of(path)] or of_anchors
    since = max((i for i, entry in enumerate(own, start=1) if entry.action == REPLACED), default=0)
    there = {(line.seq, line.digest) for line in content.lines} | {(0, "")}
    stated = [(entry, orjson.loads(entry.new or "{}")) for entry in own[since:]]
    gone = [entry.seq for entry, held in stated if (held.get("seq"), held.get("digest")) not in there]
    if gone:
        yield f"the anchor {path} is not the one of entry {gone[0]}: lines that it held then were cut, changed or replaced"
    elif stated and any(not line.stated and line.seq >= stated[0][0].seq for line in content.lines):
        yield f"the anchor {path} has lost the digests of lines"


def _notes(of_anchors: list[Entry]) -> Iterator[str]:
    for entry in of_anchors:
        if entry.action == REPLACED:
            yield f"entry {entry.seq}: {entry.who} began the anchor anew: {entry.why}"


def _unsound(connection: Connection) -> Iterator[str]:
    """Faults that no entry shows: triggers, the head, histories without their score and scores without their history."""
    yield from guard_faults(connection)
    head_fault = heads_wrong(connection)
    if head_fault is not None:
        yield head_fault
    there, needed = select(inline_histories.c.sha256), select(scores.c.inline_sha256)
    alone = scores.c.inline_sha256.is_not(None) & scores.c.inline_sha256.not_in(there)
    for score_id in connection.execute(select(scores.c.score_id).where(alone)).scalars():
        yield f"the history that score {score_id} was made from is gone"
    of_none = inline_histories.c.sha256.not_in(needed.where(scores.c.inline_sha256.is_not(None)))
    for sha256 in connection.execute(there.where(of_none)).scalars():
        yield f"history {sha256} is of no score"


def _differences(recorded: dict[str, set[str]], kept: Iterable[Kept]) -> Iterator[str]:
    """Records without an entry, and entries without a record."""
    by_kind: dict[str, list[tuple[str, ...]]] = {kind: [] for kind in _KINDS}
    for record in kept:
        by_kind[record.kind].append(record.spellings)
    for kind, found in by_kind.items():
        in_trail = recorded.get(kind, set())
        there = {next((text for text in texts if text in in_trail), texts[0]) for texts in found}
        yield from (
            f"{kind} without its entry in the trail, or changed since: {text[:120]}" for text in there - in_trail
        )
        yield from (f"{kind} of an entry of the trail is gone or changed: {text[:120]}" for text in in_trail - there)
