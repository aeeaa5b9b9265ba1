"""Whether records can be written now: a readiness that only reads says yes on a full disk."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from serving.ids import steady_us
from serving.records.store import Records, RecordsUnavailableError

LEAST_FREE_BYTES = 16 << 20  # a few thousand scores
_FRESH_US = 1_000_000


class WritableCheck:
    """Writes the head of the records as it is, at most once a second: anybody may ask for readiness.

    Args:
        records: The records.
        folders: Folders that need some free space.
        steady: Microseconds since an arbitrary moment.
    """

    def __init__(self, records: Records, folders: Sequence[Path] = (), steady: Callable[[], int] = steady_us) -> None:
        self._records, self._folders, self._steady = records, folders, steady
        self._checked_us: int | None = None
        self._because = ""
        self._lock = threading.Lock()

    def check(self) -> None:
        """Check, or repeat what was found within a second.

        Raises:
            RecordsUnavailableError: Nothing can be written, or hardly anything.
        """
        with self._lock:
            now = self._steady()
            if self._checked_us is None or now - self._checked_us >= _FRESH_US:
                self._because, self._checked_us = self._found(), now
            if self._because:
                raise RecordsUnavailableError(self._because, remedy="Make room on the disk.")

    def _found(self) -> str:
        try:
            with self._records.write():
                pass  # the head is written as it is
        except RecordsUnavailableError as error:
            return error.what
        for folder in self._folders:
            try:
                free = shutil.disk_usage(folder).free
            except OSError as error:
                return f"{folder}: {error.strerror}"
            if free < LEAST_FREE_BYTES:
                return f"{folder}: {free >> 20} MB are free"
        return ""
