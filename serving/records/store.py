"""The database of the endpoint: SQLite in a file, or PostgreSQL. A transaction is on disk as a whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from select import POLLIN, poll
from typing import Protocol, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, select, update
from sqlalchemy.engine import make_url

from features.errors import StorageError
from serving.private_files import keep_private
from serving.records.migrate import check_shape, migrate
from serving.records.tables import head

WAIT_S = 2.0  # for a lock or a connection: an MES gives up after 5 s
_WRITES = {"batchguard_writes": True}
_MAX_GROUP = 64
_T = TypeVar("_T")


class RecordsUnavailableError(StorageError):
    """The records cannot be read or written now; nothing was stored, and the same request may be sent again."""


@dataclass
class Head:
    """Ends of the audit chain and of the rows; a writer changes them under its lock."""

    audit_seq: int
    audit_hash: str
    rows_seq: int


_HEAD = select(head.c.audit_seq, head.c.audit_hash, head.c.rows_seq)
_LOCKED_HEAD = _HEAD.with_for_update()
_MOVE_HEAD = update(head).where(head.c.id == 1)


def head_of(connection: Connection) -> Head:
    """The head as a connection sees it."""
    return Head(*connection.execute(_HEAD).one())


@dataclass(frozen=True, eq=False)
class _Submission:
    """Work for a transaction; `run` returns the function that resolves its future after the commit."""

    run: Callable[[Connection, Head], Callable[[Head], None]]
    fail: Callable[[BaseException], None]


class Records:
    """Transactions on the records.

    Args:
        url: `sqlite:///path` or `postgresql+psycopg://...`; `postgresql://` is read as the latter.
    """

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        self._queue: list[_Submission] = []
        self._queue_lock = threading.Lock()
        self._committer = ThreadPoolExecutor(1, thread_name_prefix="commits")

    def prepare(self) -> None:
        """Migrate the database to the newest schema.

        Raises:
            StorageError: The database cannot be reached, or its schema is newer than this software.
        """
        with _as_unavailable(), self._begin(_WRITES) as connection:
            migrate(connection)

    def check_shape(self) -> None:
        """Check that records which are only read have the newest schema.

        Raises:
            StorageError: They were made by another version of the software, or cannot be read.
        """
        with self.read() as connection:
            check_shape(connection)

    @contextlib.contextmanager
    def read(self) -> Generator[Connection]:
        """A connection that sees one state of the records.

        Raises:
            RecordsUnavailableError: The records cannot be read now.
        """
        with _as_unavailable(), self._begin({}) as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> Generator[tuple[Connection, Head]]:
        """A transaction that holds the head: writers take turns, so numbers follow the order of commits.

        Changes of the head are stored at the end; an exception leaves no trace of the transaction.

        Raises:
            RecordsUnavailableError: The transaction cannot begin or commit.
        """
        with _as_unavailable(), self._begin(_WRITES) as connection:
            now = Head(*connection.execute(_LOCKED_HEAD).one())
            yield connection, now
            connection.execute(_MOVE_HEAD, vars(now))

    @contextlib.contextmanager
    def repair(self) -> Generator[Connection]:
        """A transaction of the only writer that relies on no head: for its repair.

        Raises:
            RecordsUnavailableError: The transaction cannot begin or commit.
        """
        with _as_unavailable(), self._begin(_WRITES) as connection:
            connection.execute(select(head.c.id).with_for_update()).all()
            yield connection

    def submit(
        self, work: Callable[[Connection, Head], _T], on_commit: Callable[[Head], None] = lambda _: None
    ) -> Future[_T]:
        """`write` for many small transactions: those that wait during a commit share the next one.

        Each commit costs a turn of the disk. If work fails, the others of its group run again without it. A future that
        nobody awaits any more changes nothing for the others.

        Args:
            work: Runs in the thread of the records, perhaps more than once; only the last run is committed.
            on_commit: Gets the committed head before the future is resolved; its error becomes the future's, although the
                work is committed.

        Returns:
            Resolved with the result of the work once it is committed, with the error of the work, or with
            `RecordsUnavailableError`.
        """
        done: Future[_T] = Future()
        done.set_running_or_notify_cancel()  # it cannot be cancelled from here on

        def run(connection: Connection, now: Head) -> Callable[[Head], None]:
            result = work(connection, now)

            def resolve(committed: Head) -> None:
                try:
                    on_commit(committed)
                except Exception as error:  # noqa: BLE001 - the caller gets it from the future
                    done.set_exception(error)
                else:
                    done.set_result(result)

            return resolve

        with self._queue_lock:
            self._queue.append(_Submission(run, done.set_exception))
        self._committer.submit(self._commit_queue)
        return done

    def _commit_queue(self) -> None:
        with self._queue_lock:
            group, self._queue = self._queue[:_MAX_GROUP], self._queue[_MAX_GROUP:]
        while group:
            group = self._commit(group)

    def _commit(self, group: list[_Submission]) -> list[_Submission]:
        """Commit a group; returns those to try again without the one that failed."""
        resolvers, current = [], None
        try:
            with self.write() as (connection, now):
                for current in group:
                    resolvers.append(current.run(connection, now))
                current = None  # an error from here on is one of all
        except Exception as error:  # noqa: BLE001 - each submission gets it from its future
            if current is None or (isinstance(error, RecordsUnavailableError) and not _is_of_one(error)):
                for submission in group:
                    submission.fail(error)
                return []
            current.fail(error)
            return [submission for submission in group if submission is not current]
        for resolve in resolvers:
            resolve(now)
        return []

    def head(self) -> Head:
        """The head, without its lock.

        Raises:
            RecordsUnavailableError: The head cannot be read now.
        """
        with self.read() as connection:
            return head_of(connection)

    def close(self) -> None:
        """Commit what is submitted, then close all connections."""
        self._committer.shutdown()
        self.engine.dispose()

    @contextlib.contextmanager
    def _begin(self, options: Mapping[str, bool]) -> Generator[Connection]:
        with self.engine.connect() as connection, connection.execution_options(**options).begin():
            yield connection


def default_url(data_dir: Path) -> str:
    """The embedded database of a data directory."""
    return f"sqlite:///{(data_dir / 'records.db').absolute()}"


def read_only_url(url: str) -> str:
    """URL that opens SQLite records without any write, if their file or folder is write-protected; any other URL as it is.

    Raises:
        StorageError: A part of such records is in a log beside them, which cannot be read without a write.
    """
    with contextlib.suppress(exc.ArgumentError, exc.NoSuchModuleError):
        parsed = make_url(url)
        path = Path(parsed.database or "")
        if parsed.get_backend_name() != "sqlite" or not path.is_file() or _is_writable(path):
            return url
        log = path.with_name(f"{path.name}-wal")
        if log.exists() and log.stat().st_size:
            raise StorageError(
                f"the records {path} are write-protected, and the newest of them are in {log.name}",
                remedy="Copy both files to a folder that can be written, and name it.",
            )
        return f"sqlite:///file:{quote(str(path.absolute()))}?mode=ro&immutable=1&uri=true"
    return url


def _is_writable(path: Path) -> bool:
    return all(os.access(there, os.W_OK) and there.stat().st_mode & 0o222 for there in (path, path.parent))


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite database, without links in its path; None: another kind of database, or no URL of one."""
    with contextlib.suppress(exc.ArgumentError, exc.NoSuchModuleError):
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            return Path(parsed.database.removeprefix("file:").partition("?")[0]).resolve()
    return None


def _engine(url: str) -> Engine:
    with contextlib.suppress(exc.ArgumentError, exc.NoSuchModuleError):
        parsed = make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() == "sqlite":
            return _sqlite(parsed)
        if parsed.get_backend_name() == "postgresql":
            try:
                return _postgresql(parsed)
            except ImportError as error:  # the driver is LGPL, so it is an extra
                raise StorageError(
                    f"records in PostgreSQL need a driver that is not installed ({error})",
                    remedy="Run pip install 'batchguard[postgresql]'.",
                ) from None
    raise StorageError(
        "BATCHGUARD_RECORDS_URL cannot be used", expected="sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE"
    )


def _sqlite(url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise StorageError("records cannot be kept in memory", expected="sqlite:///PATH")
    only_reads = "immutable" in url.query
    if not only_reads:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        _keep_private(Path(url.database.removeprefix("file:").partition("?")[0]))
    engine = create_engine(url, pool_size=10, max_overflow=40, pool_timeout=WAIT_S, connect_args={"timeout": WAIT_S})

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # no implicit BEGIN of Python, which would take the lock too late
        kept = ("query_only=ON",) if only_reads else ("journal_mode=WAL", "synchronous=FULL")
        for line in (*kept, "foreign_keys=ON", "trusted_schema=OFF"):
            connection.execute(f"PRAGMA {line}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("batchguard_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _keep_private(database: Path) -> None:
    """Let only the owner read the records; SQLite gives its log and its index the permissions of the database."""
    with contextlib.suppress(OSError):  # not ours to change, or a folder that cannot be written: opening it says so
        os.close(os.open(database, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600))
    keep_private([database, *(database.with_name(f"{database.name}-{end}") for end in ("wal", "shm", "journal"))])


class _PgConnection(Protocol):
    """What is used of a connection of psycopg, which is an extra."""

    closed: bool

    def fileno(self) -> int: ...


def _postgresql(url: URL) -> Engine:
    limit = int(WAIT_S * 1000)
    arguments = {
        "connect_timeout": 2,
        "options": f"-c lock_timeout={limit} -c statement_timeout={2 * limit} -c idle_in_transaction_session_timeout=30000",
        "tcp_user_timeout": 2 * limit,  # a host that vanished does not even refuse
        "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 2,
    }  # fmt: skip
    engine = create_engine(url, pool_size=10, max_overflow=40, pool_timeout=WAIT_S, connect_args=arguments)

    @event.listens_for(engine, "checkout")
    def _check_alive(connection: _PgConnection, *_: object) -> None:
        """A server that stopped has closed its idle connections: polling costs microseconds, a query a round trip."""
        poller = poll()
        if not connection.closed:
            poller.register(connection.fileno(), POLLIN)
        if connection.closed or poller.poll(0):
            raise exc.DisconnectionError("the server has closed this connection")

    return engine


def _is_of_one(error: RecordsUnavailableError) -> bool:
    """Whether the database refused a row, and works otherwise."""
    return isinstance(error.__cause__, exc.IntegrityError)


@contextlib.contextmanager
def _as_unavailable() -> Generator[None]:
    try:
        yield
    except exc.SQLAlchemyError as error:
        cause = error.orig if isinstance(error, exc.DBAPIError) else error
        raise RecordsUnavailableError(
            f"the records cannot be used now ({type(cause).__name__})", remedy="Send the same request again."
        ) from error
