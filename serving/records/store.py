"""The database behind the endpoint: SQLite in a file, or PostgreSQL. Either a transaction is on disk, or it never was."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from select import POLLIN, poll
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    NoSuchModuleError,
    SQLAlchemyError,
)

from features.errors import StorageError
from serving.records.migrate import migrate
from serving.records.tables import head

WAIT_S = 2.0  # for a lock or a connection: an MES gives up after 5 s
_WRITES = {"batchguard_writes": True}
_MOST_TOGETHER = 64
_T = TypeVar("_T")


class RecordsUnavailableError(StorageError):
    """The records cannot be read or written now; nothing was kept, and the same request may be sent again."""


@dataclass
class Head:
    """Ends of the audit chain and of the rows, while a writer holds them."""

    audit_seq: int
    audit_hash: str
    rows_seq: int


@dataclass(frozen=True, eq=False)
class _Waiting(Generic[_T]):
    """A piece of work that waits for a commit, and who waits for it."""

    work: Callable[[Connection, Head], _T]
    then: Callable[[Head], None]
    done: Future[_T] = field(default_factory=Future)


class Records:
    """Transactions on the records.

    Args:
        url: `sqlite:///path` or `postgresql+psycopg://...`; `postgresql://` is read as the latter.
    """

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self._queue: list[_Waiting[Any]] = []
        self._queue_lock = threading.Lock()
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="commits")

    def prepare(self) -> None:
        """Bring the database to the newest shape.

        Raises:
            StorageError: It cannot be reached, or is of a newer shape.
        """
        with _told_as_unavailable(), self._begin(_WRITES) as connection:
            migrate(connection)

    @contextlib.contextmanager
    def read(self) -> Generator[Connection]:
        """A connection that sees one state of the records.

        Raises:
            RecordsUnavailableError: They cannot be read now.
        """
        with _told_as_unavailable(), self._begin({}) as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> Generator[tuple[Connection, Head]]:
        """A transaction that has the head for itself: writers come one after the other, so numbers follow commits.

        What the caller changes in the head is stored at the end; an exception leaves no trace of the transaction.

        Raises:
            RecordsUnavailableError: It cannot begin or commit.
        """
        with _told_as_unavailable(), self._begin(_WRITES) as connection:
            found = connection.execute(_HELD_HEAD).one()
            now = Head(found.audit_seq, found.audit_hash, found.rows_seq)
            yield connection, now
            connection.execute(_MOVE_HEAD, vars(now))

    def soon(self, work: Callable[[Connection, Head], _T], then: Callable[[Head], None] = lambda _: None) -> Future[_T]:
        """`write` for many small transactions at once: those that wait while one is being committed share the next commit.

        A commit costs a turn of the disk, whoever shares it. One that fails takes nothing of the others along: these are
        done again without it. Whoever goes away meanwhile changes nothing for the others.

        Args:
            work: Done in the records' own thread, perhaps more than once: only the last time is committed.
            then: Told the ends of the chain and the rows that are committed, before the result is; an error of its own takes
                the place of the result, though the work is committed.

        Returns:
            What the work gave, once it is committed; `RecordsUnavailableError` where that cannot be; what the work raised.
        """
        mine = _Waiting(work, then)
        mine.done.set_running_or_notify_cancel()  # from here on nobody can take it back
        with self._queue_lock:
            self._queue.append(mine)
        self._committer.submit(self._commit_waiting)
        return mine.done

    def _commit_waiting(self) -> None:
        with self._queue_lock:
            group, self._queue = self._queue[:_MOST_TOGETHER], self._queue[_MOST_TOGETHER:]
        while group:
            group = self._commit(group)

    def _commit(self, group: list[_Waiting[Any]]) -> list[_Waiting[Any]]:
        """Commit a group's work; those that are to be tried again without one that failed."""
        results, at = [], None
        try:
            with self.write() as (connection, now):
                for at in group:
                    results.append(at.work(connection, now))
                at = None  # what fails from here on fails for all
        except Exception as error:
            if at is None or (isinstance(error, RecordsUnavailableError) and not _is_of_one(error)):
                for one in group:
                    one.done.set_exception(error)
                return []
            at.done.set_exception(error)
            return [one for one in group if one is not at]
        for one, result in zip(group, results, strict=True):
            _tell(one, now, result)
        return []

    def head(self) -> Head:
        """The head as it is, without holding it.

        Raises:
            RecordsUnavailableError: It cannot be read now.
        """
        with self.read() as connection:
            return head_of(connection)

    def close(self) -> None:
        """Let go of all connections, once what waits is committed."""
        self._committer.shutdown()
        self.engine.dispose()

    @contextlib.contextmanager
    def _begin(self, options: dict[str, Any]) -> Generator[Connection]:
        with self.engine.connect() as connection, connection.execution_options(**options).begin():
            yield connection


def _tell(one: _Waiting[_T], now: Head, result: _T) -> None:
    """Tell one who waited that it is committed; what goes wrong in that is theirs, not of those who come after."""
    try:
        one.then(now)
    except Exception as error:
        one.done.set_exception(error)
    else:
        one.done.set_result(result)


_HEAD = select(head.c.audit_seq, head.c.audit_hash, head.c.rows_seq)
_HELD_HEAD = _HEAD.with_for_update()
_MOVE_HEAD = update(head).where(head.c.id == 1)


def head_of(connection: Connection) -> Head:
    """The head as a connection sees it."""
    found = connection.execute(_HEAD).one()
    return Head(found.audit_seq, found.audit_hash, found.rows_seq)


def default_url(data_dir: Path) -> str:
    """The embedded database of a data directory."""
    return f"sqlite:///{(data_dir / 'records.db').absolute()}"


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() == "sqlite":
            return _sqlite(parsed)
        if parsed.get_backend_name() == "postgresql":
            return _postgresql(parsed)
    except (ArgumentError, NoSuchModuleError):
        pass
    except ImportError as error:  # the driver is LGPL, so it is an extra
        raise StorageError(
            f"records in PostgreSQL need a driver that is not installed ({error})",
            remedy="Run pip install 'batchguard[postgresql]'.",
        ) from None
    raise StorageError(
        "BATCHGUARD_RECORDS_URL cannot be used", expected="sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE"
    )


def _sqlite(url: Any) -> Engine:
    if url.database in (None, "", ":memory:"):
        raise StorageError("records in memory are no records", expected="sqlite:///PATH")
    Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, pool_size=10, max_overflow=40, pool_timeout=WAIT_S, connect_args={"timeout": WAIT_S})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours: Python's own would take the lock too late
        for line in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF"):
            connection.execute(f"PRAGMA {line}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("batchguard_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(url: Any) -> Engine:
    limit = int(WAIT_S * 1000)
    arguments = {
        "connect_timeout": 2,
        "options": f"-c lock_timeout={limit} -c statement_timeout={2 * limit} -c idle_in_transaction_session_timeout=30000",
        "tcp_user_timeout": 2 * limit,  # a host that vanished answers nothing, not even that it is gone
        "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 2,
    }  # fmt: skip
    engine = create_engine(url, pool_size=10, max_overflow=40, pool_timeout=WAIT_S, connect_args=arguments)

    @event.listens_for(engine, "checkout")
    def _is_alive(connection: Any, *_: Any) -> None:
        """A server that went away has said so on its idle connections: to look costs microseconds, to ask a turn."""
        asked = poll()
        if not connection.closed:
            asked.register(connection.fileno(), POLLIN)
        if connection.closed or asked.poll(0):
            raise DisconnectionError("the server has closed this connection")

    return engine


def _is_of_one(error: RecordsUnavailableError) -> bool:
    """Whether a row was refused, and not the database gone."""
    return isinstance(error.__cause__, IntegrityError)


@contextlib.contextmanager
def _told_as_unavailable() -> Generator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise RecordsUnavailableError(
            f"the records cannot be used now ({type(cause).__name__})", remedy="Send the same request again."
        ) from error
