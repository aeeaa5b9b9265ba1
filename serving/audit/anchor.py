"""The anchor: a file that notes where the audit chain ended, best kept where the database's administrator cannot write.

A line is `SEQ HASH TIME DIGEST`: number and hash of an entry, and the SHA-256 over the digest of the line before and the rest
of this line. Versions up to 0.2.0 wrote no digest; those lines count as if they had one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from features.errors import StorageError
from serving.ids import iso
from serving.records.store import Head

_MAX_LINE = 256  # bytes, more than a line can have
_COMPARED = 200_000  # bytes
_MOST_SAID = 3  # problems of one kind
_LINE = re.compile(rb"(([0-9]{1,18}) ([0-9a-f]{64}) [0-9TZ:.-]{1,40})(?: ([0-9a-f]{64}))?")
_PARTIAL_LINE = re.compile(rb"[0-9]{1,18}( [0-9a-f]{0,64}( [0-9TZ:.-]{0,40}( [0-9a-f]{0,64})?)?)?")
_log = structlog.get_logger("batchguard.audit")


@dataclass(frozen=True)
class Line:
    """A line of the anchor; `digest` covers all lines up to it, `stated` says whether the line itself holds a digest."""

    seq: int
    hash: str
    digest: str
    stated: bool


@dataclass(frozen=True)
class AnchorContent:
    """Lines of an anchor in their order, and what is wrong with the file."""

    lines: list[Line] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Anchor:
    """Appends to an anchor, at most one line per interval; a line is never rewritten.

    Args:
        path: The file; several processes may share it.
        interval_s: Shortest time between two lines, and between two attempts if the file cannot be written.
        elapsed_s: A clock that never goes back.
    """

    def __init__(self, path: Path, interval_s: float = 1.0, elapsed_s: Callable[[], float] = time.monotonic) -> None:
        self.path, self._interval_s, self._elapsed_s = path, interval_s, elapsed_s
        self._seq, self._next_s = 0, -float("inf")
        self._lock = threading.Lock()

    def note(self, now: Head, at_us: int, *, at_once: bool = False) -> None:
        """Write the end of the chain down, unless that was done within the interval.

        The chain is committed already: if the anchor cannot be written, the log says so and a later call tries again.
        """
        with self._lock:
            if now.audit_seq <= self._seq or (self._elapsed_s() < self._next_s and not at_once):
                return
            self._next_s = self._elapsed_s() + self._interval_s
            try:
                _append_line(self.path, now, at_us)
            except OSError as error:
                _log.error("anchor not written", path=str(self.path), error=error.strerror)
                return
            self._seq = now.audit_seq


class AnchorTimer:
    """A thread that writes the anchor also when no request follows the last one.

    Args:
        anchor: Notes the end of the chain.
        head: Reads the head; its errors are logged, and the next turn tries again.
        clock: Microseconds UTC.
        every_s: Seconds between two turns; with the interval of the anchor the longest time that an entry is not noted.
    """

    def __init__(
        self, anchor: Anchor, head: Callable[[], Head], clock: Callable[[], int], every_s: float = 0.5
    ) -> None:
        self._anchor, self._head, self._clock, self._every_s = anchor, head, clock, every_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="anchor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def turn(self) -> None:
        """Note the head as it is now."""
        try:
            self._anchor.note(self._head(), self._clock(), at_once=True)
        except StorageError as error:
            _log.warning("anchor postponed", error=str(error))

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self.turn()


def read_anchor(path: Path) -> AnchorContent:
    """All lines of an anchor, and its problems: lines of another kind, numbers that fall or repeat, digests that differ.

    No content raises. A last line that is not complete does not count: a machine that crashes leaves one.
    """
    found, other = AnchorContent(), list[int]()
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        for number, raw in enumerate(_raw_lines(path), start=1):
            line = _parsed(raw.removesuffix(b"\n"), found.lines[-1].digest if found.lines else "")
            if line is not None and raw.endswith(b"\n"):
                found.problems.extend(f"{path}:{number}: {said}" for said in _faults(line, raw, found.lines))
                found.lines.append(line)
            elif raw.endswith(b"\n") or not _PARTIAL_LINE.fullmatch(raw):
                other.append(number)
    except OSError as error:
        found.problems.append(f"the anchor {path} cannot be read: {error.strerror}")
    found.problems.extend(f"{path}:{number}: no line of an anchor" for number in other[:_MOST_SAID])
    if len(other) > _MOST_SAID:
        found.problems.append(f"{path}: {len(other)} lines that are no lines of an anchor")
    return found


def last_line(path: Path) -> Line | None:
    """The last complete line; None: there is no anchor, or it is empty.

    Raises:
        OSError: The file cannot be read, or it does not end in a line of an anchor.
    """
    if not path.exists():
        return None
    with contextlib.closing(_Handle(os.open(path, os.O_RDONLY | os.O_NONBLOCK))) as handle:
        return _last(handle.number, _end_of_lines(handle.number), path)


def newest_lines(path: Path) -> dict[int, set[str]]:
    """Hashes by number in the last lines of an anchor, about a thousand: as many as a start has the time to compare.

    Raises:
        OSError: The file cannot be read.
    """
    found: dict[int, set[str]] = {}
    with path.open("rb") as file:
        begin = max(0, path.stat().st_size - _COMPARED)
        file.seek(begin)
        for raw in file.read(_COMPARED).split(b"\n")[bool(begin) : -1]:  # the first may be the rest of a line
            line = _parsed(raw, "")
            if line is not None:
                found.setdefault(line.seq, set()).add(line.hash)
    return found


@dataclass(frozen=True)
class _Handle:
    number: int

    def close(self) -> None:
        os.close(self.number)


def _raw_lines(path: Path) -> Iterator[bytes]:
    """Lines with their ends; a longer one comes in parts, none of which is a line of an anchor."""
    with path.open("rb") as file:
        while raw := file.readline(_MAX_LINE):
            yield raw


def _parsed(raw: bytes, before: str) -> Line | None:
    matched = _LINE.fullmatch(raw)
    if matched is None:
        return None
    content, seq, entry_hash, digest = matched.groups()
    stated = digest is not None
    return Line(int(seq), entry_hash.decode(), digest.decode() if stated else _digest(before, content), stated)


def _faults(line: Line, raw: bytes, before: list[Line]) -> Iterator[str]:
    last = before[-1] if before else Line(0, "", "", stated=False)
    if line.seq < last.seq:
        yield f"the numbers fall from {last.seq} to {line.seq}"
    if line.seq == last.seq and (
        line.stated or line.hash != last.hash
    ):  # up to 0.2.0 a restart noted the same end again
        yield f"number {line.seq} is there twice"
    if line.stated and line.digest != _digest(last.digest, raw.rpartition(b" ")[0]):
        yield "the line, or those before it, were changed"
    if last.stated and not line.stated:
        yield "the line has lost its digest"


def _digest(before: str, content: bytes) -> str:
    return hashlib.sha256(before.encode() + b" " + content).hexdigest()


def _append_line(path: Path, now: Head, at_us: int) -> None:
    """Append a complete line or nothing, behind complete lines; nothing if the anchor is as far already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(
        _Handle(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o640))
    ) as file:
        fcntl.flock(file.number, fcntl.LOCK_EX)
        end = _end_of_lines(file.number)
        last = _last(file.number, end, path)
        if last is not None and last.seq >= now.audit_seq:
            return
        if end < os.fstat(file.number).st_size:
            os.ftruncate(file.number, end)
        content = f"{now.audit_seq} {now.audit_hash} {iso(at_us)}".encode()
        line = content + f" {_digest(last.digest if last else '', content)}\n".encode()
        if os.write(file.number, line) < len(line):  # a full disk takes a part of the line
            os.ftruncate(file.number, end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file.number)


def _end_of_lines(handle: int) -> int:
    """Length of the file without a partial last line, which a machine leaves that crashed."""
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    length = os.fstat(handle).st_size
    tail = os.pread(handle, _MAX_LINE, max(0, length - _MAX_LINE))
    partial = tail[tail.rfind(b"\n") + 1 :]
    if partial and not _PARTIAL_LINE.fullmatch(partial):
        raise OSError(errno.EINVAL, "the file ends in no line of an anchor")
    return length - len(partial)


def _last(handle: int, end: int, path: Path) -> Line | None:
    """The line that ends there; one without a digest needs all lines before it."""
    tail = os.pread(handle, min(_MAX_LINE, end), max(0, end - _MAX_LINE)).removesuffix(b"\n")
    if not tail:
        return None
    line = _parsed(tail.rpartition(b"\n")[2], "")
    if line is None:
        raise OSError(errno.EINVAL, "the file ends in no line of an anchor")
    return line if line.stated else read_anchor(path).lines[-1]
