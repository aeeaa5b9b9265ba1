"""Locks between processes; the operating system releases them when a process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_PREFIX = ".writer-"


class Session:
    """A writer that is alive: files named after it are in use."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.name, self._path, self._file = _open_locked(root)

    def close(self) -> None:
        """End the session: files named after it are leftovers from now on."""
        self._path.unlink(missing_ok=True)
        self._file.close()


def _open_locked(root: Path) -> tuple[str, Path, IO[str]]:
    """A new lock file that is held; again when a cleaner took it for a stale one before it was locked."""
    while True:
        name = uuid.uuid4().hex
        path = root / f"{_PREFIX}{name}"
        file = path.open("w")
        fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
            return name, path, file
        file.close()


def is_alive(root: Path, name: str) -> bool:
    """Whether the writer of this name still runs."""
    try:
        with (root / f"{_PREFIX}{name}").open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def clean_sessions(root: Path) -> None:
    """Remove the lock files of writers that are gone."""
    for path in root.glob(f"{_PREFIX}*"):
        if not is_alive(root, path.name.removeprefix(_PREFIX)):
            path.unlink(missing_ok=True)


@contextmanager
def table_lock(folder: Path) -> Generator[None]:
    """One process at a time changes which files make up a table."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
