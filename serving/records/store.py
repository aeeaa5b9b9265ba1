"""The database behind the endpoint: SQLite in a file, or PostgreSQL. Either a transaction is on disk, or it never was."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from features.errors import StorageError
from serving.records.migrate import migrate
from serving.records.tables import head

WAIT_S = 2.0  # for a lock or a connection: an MES gives up after 5 s
_WRITES = {"batchguard_writes": True}


class RecordsUnavailableError(StorageError):
    """The records cannot be read or written now; nothing was kept, and the same request may be sent again."""


@dataclass
class Head:
    """Ends of the audit chain and of the rows, while a writer holds them."""

    audit_seq: int
    audit_hash: str
    rows_seq: int


class Records:
    """Transactions on the records.

    Args:
        url: `sqlite:///path` or `postgresql+psycopg://...`; `postgresql://` is read as the latter.
    """

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)

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
            found = connection.execute(_HEAD.with_for_update()).one()
            now = Head(found.audit_seq, found.audit_hash, found.rows_seq)
            yield connection, now
            connection.execute(
                update(head).values(audit_seq=now.audit_seq, audit_hash=now.audit_hash, rows_seq=now.rows_seq)
            )

    def head(self) -> Head:
        """The head as it is, without holding it.

        Raises:
            RecordsUnavailableError: It cannot be read now.
        """
        with self.read() as connection:
            found = connection.execute(_HEAD).one()
            return Head(found.audit_seq, found.audit_hash, found.rows_seq)

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()

    @contextlib.contextmanager
    def _begin(self, options: dict[str, Any]) -> Generator[Connection]:
        with self.engine.connect() as connection, connection.execution_options(**options).begin():
            yield connection


_HEAD = select(head.c.audit_seq, head.c.audit_hash, head.c.rows_seq)


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
    }
    return create_engine(url, pool_size=10, max_overflow=40, pool_timeout=WAIT_S, connect_args=arguments)


@contextlib.contextmanager
def _told_as_unavailable() -> Generator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise RecordsUnavailableError(
            f"the records cannot be used now ({type(cause).__name__})", remedy="Send the same request again."
        ) from error
