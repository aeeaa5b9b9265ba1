"""A file beside the audit chain that says where its end was: whoever rewrites or cuts the chain has to change it, too."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import threading
from pathlib import Path

import structlog

from features.errors import StorageError
from serving.ids import iso
from serving.records.store import Head

_LONGEST = 200  # bytes of a line, and more
_BEGUN = re.compile(rb"[0-9]+( [0-9a-f]{0,64}( [0-9TZ:.-]*)?)?")  # a line that was not written to its end
_log = structlog.get_logger("batchguard.audit")


class Anchor:
    """Lines `seq hash time`, at most one an interval, never rewritten.

    Args:
        path: The file; several processes may share it.
        interval_us: Between two lines, and between two attempts where it cannot be written.
    """

    def __init__(self, path: Path, interval_us: int = 1_000_000) -> None:
        self.path, self._interval_us = path, interval_us
        self._seq, self._tried_us = 0, -interval_us
        self._lock = threading.Lock()

    def note(self, now: Head, at_us: int, *, at_once: bool = False) -> None:
        """Write down the end of the chain, unless that was done just now.

        What the chain tells of is committed already: an anchor that cannot be written is told in the log, and later.
        """
        with self._lock:
            if now.audit_seq <= self._seq or (at_us - self._tried_us < self._interval_us and not at_once):
                return
            self._tried_us = at_us
            try:
                _append_line(self.path, f"{now.audit_seq} {now.audit_hash} {iso(at_us)}\n".encode())
            except OSError as error:
                _log.error("anchor not written", path=str(self.path), error=error.strerror)
                return
            self._seq = now.audit_seq


def anchored_in(path: Path | None) -> dict[int, str]:
    """Hash of the chain's end by its number; empty where there is no anchor. A last line without its end does not count.

    Raises:
        StorageError: The file holds something else.
    """
    if path is None or not path.exists():
        return {}
    found = {}
    whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    for number, line in enumerate(whole.splitlines(), start=1):
        parts = line.split(" ")
        if len(parts) != 3 or not parts[0].isdigit() or len(parts[1]) != 64:
            raise StorageError(f"{path}:{number}: no line of an anchor", remedy="Restore the file from its backup.")
        found[int(parts[0])] = parts[1]
    return found


def _append_line(path: Path, line: bytes) -> None:
    """Append a whole line or nothing, behind whole lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o640)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        end = _end_of_lines(handle)
        if os.write(handle, line) < len(line):  # a disk that is full takes a part of it
            os.ftruncate(handle, end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(handle)
    finally:
        os.close(handle)


def _end_of_lines(handle: int) -> int:
    """Length of the file; a line that was begun, left by a machine that went down, is cut off."""
    length = os.fstat(handle).st_size
    tail = os.pread(handle, _LONGEST, max(0, length - _LONGEST))
    begun = tail[tail.rfind(b"\n") + 1 :]
    if begun and not _BEGUN.fullmatch(begun):
        raise OSError(errno.EINVAL, "the file ends in no line of an anchor")
    if begun:
        os.ftruncate(handle, length - len(begun))
    return length - len(begun)
