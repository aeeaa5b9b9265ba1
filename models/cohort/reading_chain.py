"""The chain of the ledger of test readings: each of its lines holds the digest of the line before it.

A line that was changed, removed or put in between breaks the chain. Lines cut off the end show where something outside
names the last one: the run of each registered version does, and the seal of each release names its own.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

GENESIS = "0" * 64  # what the first line follows
_FIELDS = ("at", "reader", "purpose", "test_sha256")


def append(ledger: Path, line: Mapping[str, str]) -> str:
    """Add a line at the end and wait until the disk has it; writers take turns.

    Args:
        ledger: The file; made with its first line.
        line: Who read which test when, and what for.

    Returns:
        Digest of the line, which the next one holds.
    """
    with ledger.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        before = file.read()
        previous = _digest(before.splitlines()[-1]) if before else GENESIS
        text = json.dumps({**line, "previous": previous}).encode()
        file.write((b"" if before.endswith(b"\n") or not before else b"\n") + text + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return _digest(text)


def digests_of(ledger: Path) -> list[str]:
    """Digest of each line, in order."""
    return [_digest(line) for line in _lines(ledger)]


def faults_of(ledger: Path) -> Iterator[str]:
    """One line for each line that is no reading, or does not follow the one before it; those of 0.2.0 hold no digest."""
    previous, chained = GENESIS, False
    for number, text in enumerate(_lines(ledger), start=1):
        line = _parsed(text)
        if line is None:
            yield f"{ledger}: line {number} is no reading of a test"
        elif "previous" in line:
            if line["previous"] != previous:
                yield f"{ledger}: line {number} does not follow the one before it: one of them was changed, or lines are gone"
        elif chained:
            yield f"{ledger}: line {number} has lost the digest of the one before it"
        chained, previous = chained or (line is not None and "previous" in line), _digest(text)


def _lines(ledger: Path) -> list[bytes]:
    return ledger.read_bytes().splitlines() if ledger.exists() else []


def _parsed(text: bytes) -> dict[str, str] | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and all(isinstance(line.get(name), str) for name in _FIELDS) else None


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
