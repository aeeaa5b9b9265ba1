"""Locks of the endpoint's memory: many may read beside each other, a change has it for itself."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator


class BusyError(Exception):
    """One would have to wait."""


class SharedLock:
    """Readers together, writers alone; a waiting writer goes before new readers. Not reentrant."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._readers = 0
        self._writing = False
        self._waiting = 0

    @contextlib.contextmanager
    def shared(self, *, waits: bool = True) -> Generator[None]:
        """Nothing changes meanwhile.

        Raises:
            BusyError: It would have to wait, and does not.
        """
        with self._free:
            if not waits and (self._writing or self._waiting):
                raise BusyError("a change goes on")
            self._free.wait_for(lambda: not self._writing and not self._waiting)
            self._readers += 1
        try:
            yield
        finally:
            with self._free:
                self._readers -= 1
                self._free.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Generator[None]:
        """Nobody reads or changes meanwhile."""
        with self._free:
            self._waiting += 1
            try:
                self._free.wait_for(lambda: not self._writing and not self._readers)
            finally:
                self._waiting -= 1
            self._writing = True
        try:
            yield
        finally:
            with self._free:
                self._writing = False
                self._free.notify_all()
