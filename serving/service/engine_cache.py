"""The engine as a cache over the records: it holds the committed rows up to a number, or it is built anew.

Scores read the engine side by side; a change has it exclusively.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import Connection

from serving.interfaces import Engine, Row, StoredRow
from serving.live.batches import EvictionPolicy
from serving.records.rows import own_rows, rows_between
from serving.records.store import Head, Records
from serving.service.errors import RefusedError

EngineMaker: TypeAlias = Callable[[Mapping[str, object] | None], Engine]
"""Makes an empty engine over the model that a score names; None: over the newest release."""
EngineSource: TypeAlias = Callable[[], Engine]


class BusyError(Exception):
    """The operation would have to wait."""


@dataclass
class Staleness:
    """Whether a newer release exists that cannot be used.

    Attributes:
        since_us: Since when, microseconds UTC; None: the serving model is the newest release.
        because: The reason and the remedy; empty likewise.
    """

    since_us: int | None = None
    because: str = ""


def eviction(records: Records, after_days: float) -> EvictionPolicy:
    """Rows of batches without new rows for some days are evicted, and reloaded from the records when a score needs them."""

    def reload(batch_id: str, until: int) -> list[StoredRow]:
        with records.read() as connection:
            return own_rows(connection, batch_id, until)

    return EvictionPolicy(reload, round(after_days * 86_400e6))


class SharedLock:
    """Many readers or one writer; a waiting writer goes before new readers. Not reentrant."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._readers = 0
        self._writing = False
        self._waiting = 0

    @contextlib.contextmanager
    def shared(self, *, waits: bool = True) -> Generator[None]:
        """Hold the lock beside other readers.

        Raises:
            BusyError: `waits` is false, and a writer holds the lock or waits for it.
        """
        with self._free:
            if not waits and (self._writing or self._waiting):
                raise BusyError("the engine is being changed")
            self._free.wait_for(lambda: not self._writing and not self._waiting)
            self._readers += 1
        try:
            yield
        finally:
            with self._free:
                self._readers -= 1
                self._free.notify_all()

    @contextlib.contextmanager
    def exclusive(self) -> Generator[None]:
        """Hold the lock alone."""
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


class EngineCache:
    """One engine and the number of the newest row that it holds.

    Args:
        records: The source of the rows.
        make: Makes an empty engine.
        on_filled: Called when an engine that was built from all rows has taken its place.
    """

    def __init__(self, records: Records, make: EngineMaker, on_filled: Callable[[], None] = lambda: None) -> None:
        self._records, self._make, self._on_filled = records, make, on_filled
        self._engine: Engine | None = None
        self._held = 0
        self._filling = False
        self._lock = SharedLock()

    @property
    def held(self) -> int:
        """Number of the newest row that the engine holds."""
        return self._held

    @property
    def is_filling(self) -> bool:
        """Whether a thread loads a model or reads all rows: a request would wait for it."""
        return self._filling

    def validate_batch(self, row: Row) -> None:
        """Validate the row of a batch ahead of a transaction, without the lock; nothing where no engine is there."""
        engine = self._engine
        if engine is not None:
            engine.validate_batch(row)

    @contextlib.contextmanager
    def reading(self, newest: int | None = None, *, waits: bool = True) -> Generator[tuple[Engine, int]]:
        """The engine, and the number of the newest row that it holds.

        Args:
            newest: Number of the newest row that the engine has to hold; None: of all committed rows.
            waits: Whether to wait for a change, and to read missing rows.

        Raises:
            BusyError: `waits` is false, and the engine is being changed or lacks rows.
            RecordsUnavailableError: The rows cannot be read now.
            EngineError: There is no model to score with.
        """
        newest = self._records.head().rows_seq if newest is None else newest
        while True:
            with self._lock.shared(waits=waits):
                if self._engine is not None and self._held >= newest:
                    yield self._engine, self._held
                    return
            if not waits:
                raise BusyError("rows are being read")
            with self._lock.exclusive(), self._records.read() as connection:
                self._catch_up(connection, newest)

    @contextlib.contextmanager
    def transaction(self) -> Generator[tuple[Connection, Head, EngineSource]]:
        """A transaction with exclusive use of the engine, and a function that returns the engine with all committed rows.

        Rows that are added to this engine have to be stored in the transaction: if it fails, the engine is discarded. A
        `RefusedError` keeps the engine, which holds nothing of a batch that it rejects.

        Raises:
            RecordsUnavailableError: The transaction cannot begin or commit.
        """
        changed, committed = False, None
        with self._lock.exclusive():
            try:
                with self._records.write() as (connection, now):
                    held = now.rows_seq

                    def current() -> Engine:
                        nonlocal changed
                        engine, changed = self._catch_up(connection, held), True
                        return engine

                    yield connection, now, current
                committed = now.rows_seq
            except RefusedError:
                committed = held
                raise
            finally:
                if changed and committed is None:
                    self._engine, self._held = None, 0
                elif changed and committed is not None and self._engine is not None:
                    self._held = committed
                    self._engine.evict(committed)

    def replace(self, engine: Engine, on_replaced: Callable[[], None] = lambda: None) -> None:
        """Fill another engine beside the present one, then put it in its place.

        Args:
            engine: Empty.
            on_replaced: Called before the new engine takes its place; where it raises, the present engine stays.

        Raises:
            RecordsUnavailableError: The rows cannot be read now; the present engine stays.
        """
        held = self._records.head().rows_seq
        with self._records.read() as connection:
            engine.rebuild(rows_between(connection, 0, held))
        with self._lock.exclusive():
            on_replaced()
            self._engine, self._held = engine, held
            self._on_filled()

    def _catch_up(self, connection: Connection, until: int) -> Engine:
        if self._engine is None:
            return self._filled(connection, until)
        if until > self._held:
            engine, self._engine = self._engine, None  # an error leaves no engine with a part of the rows
            engine.rebuild(rows_between(connection, self._held, until))
            self._engine, self._held = engine, until
        return self._engine

    def _filled(self, connection: Connection, until: int) -> Engine:
        self._filling = True
        try:
            engine = self._make(None)
            engine.rebuild(rows_between(connection, 0, until))
            self._engine, self._held = engine, until
        finally:
            self._filling = False
        self._on_filled()
        return engine
