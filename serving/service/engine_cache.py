"""The engine as a cache over the records: it holds what is committed up to a number, or it is built anew."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeAlias

from sqlalchemy import Connection

from serving.interfaces import Engine, StoredRow
from serving.live.batches import EvictionPolicy
from serving.records.rows import own_rows, rows_between
from serving.records.store import Records
from serving.service.locks import BusyError, SharedLock

EngineMaker: TypeAlias = Callable[[Mapping[str, Any] | None], Engine]
"""Makes an empty engine over the model that a score names; None: over the newest release."""


def eviction(records: Records, after_days: float) -> EvictionPolicy:
    """Batches that were silent for some days give up their rows, and get them from the records when they are asked."""

    def recall(batch_id: str, until: int) -> list[StoredRow]:
        with records.read() as connection:
            return own_rows(connection, batch_id, until)

    return EvictionPolicy(recall, round(after_days * 86_400e6))


class Change:
    """A change of the engine that becomes true once its rows are committed."""

    def __init__(self, catch_up: Callable[[Connection, int], Engine]) -> None:
        self._catch_up = catch_up
        self.changed = False
        self.settled: int | None = None

    def engine(self, connection: Connection, rows_seq: int) -> Engine:
        """The engine with all rows up to `rows_seq`, for a writer that holds the head of the records."""
        found = self._catch_up(connection, rows_seq)
        self.changed = True
        return found

    def settle(self, rows_seq: int) -> None:
        """The rows up to a number are committed, and held."""
        self.settled = rows_seq


class EngineCache:
    """One engine and the number of the newest row that it holds.

    Args:
        records: The truth.
        make: Makes an empty engine.
        filled: Called when an engine was built from all rows and has taken its place.
    """

    def __init__(self, records: Records, make: EngineMaker, filled: Callable[[], None] = lambda: None) -> None:
        self._records, self._make, self._filled = records, make, filled
        self._engine: Engine | None = None
        self._held = 0
        self._lock = SharedLock()

    @property
    def held(self) -> int:
        """Number of the newest row that is held."""
        return self._held

    @contextlib.contextmanager
    def reading(self, newest: int | None = None, *, waits: bool = True) -> Generator[tuple[Engine, int]]:
        """An engine that holds all that was committed, and the number it holds up to.

        Args:
            newest: Number of the newest row that it has to hold; None: of all that is committed now.
            waits: Whether to wait for a change that goes on, and to read what is not held.

        Raises:
            BusyError: It would have to wait.
            RecordsUnavailableError: What was committed cannot be read now.
            EngineError: No model can speak.
        """
        newest = self._records.head().rows_seq if newest is None else newest
        while True:
            with self._lock.shared(waits=waits):
                if self._engine is not None and self._held >= newest:
                    yield self._engine, self._held
                    return
            if not waits:
                raise BusyError("rows are being read")
            with self._lock.alone(), self._records.read() as connection:
                self._catch_up(connection, newest)

    @contextlib.contextmanager
    def alone(self) -> Generator[Change]:
        """Nobody scores meanwhile. An engine that was changed and not settled is thrown away at the end."""
        with self._lock.alone():
            change = Change(self._catch_up)
            try:
                yield change
            finally:
                if change.settled is not None:
                    self._held = change.settled
                    if self._engine is not None:
                        self._engine.evict(self._held)
                elif change.changed:
                    self._engine, self._held = None, 0

    def renew(self, engine: Engine, then: Callable[[], None] = lambda: None) -> None:
        """Let another engine speak: filled beside the one that still does, and put in its place at once.

        Args:
            engine: Empty.
            then: Called when it speaks, before anyone scores with it.

        Raises:
            RecordsUnavailableError: The rows cannot be read now; the old engine goes on.
        """
        held = self._records.head().rows_seq
        with self._records.read() as connection:
            engine.rebuild(rows_between(connection, 0, held))
        with self._lock.alone():
            self._engine, self._held = engine, held
            then()
            self._filled()

    def _catch_up(self, connection: Connection, until: int) -> Engine:
        is_new = self._engine is None
        if self._engine is None:
            self._engine, self._held = self._make(None), 0
        if until > self._held:
            engine, self._engine = self._engine, None  # half of the rows are no state
            engine.rebuild(rows_between(connection, self._held, until))
            self._engine, self._held = engine, until
        if is_new:
            self._filled()
        return self._engine
