import contextlib
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Never

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from features.errors import StorageError
from serving.records.store import Records, RecordsUnavailableError
from serving.records.tables import metadata
from serving.records.writable import LEAST_FREE_BYTES, WritableCheck


def test_the_migrations_make_what_the_tables_say(records) -> None:
    with records.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_preparing_again_changes_nothing(records) -> None:
    records.prepare()
    assert records.head().rows_seq == 0


def test_records_of_a_newer_version_are_refused(records) -> None:
    with records.engine.connect() as connection, connection.begin():
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StorageError, match="newer shape"):
        records.prepare()


def modes(folder: Path) -> dict[str, str]:
    return {path.name: oct(path.stat().st_mode & 0o777) for path in folder.iterdir()}


@pytest.fixture
def shared_umask() -> Iterator[None]:
    before = os.umask(0o000)
    yield
    os.umask(before)


@pytest.mark.usefixtures("shared_umask")
@pytest.mark.parametrize("of_an_earlier_version", [False, True])
def test_only_the_owner_reads_the_records_and_what_sqlite_writes_beside_them(tmp_path, of_an_earlier_version) -> None:
    names = ["records.db", "records.db-shm", "records.db-wal"]
    if of_an_earlier_version:
        for name in names:
            (tmp_path / name).touch(0o644)
    records = Records(f"sqlite:///{tmp_path / 'records.db'}")
    records.prepare()
    assert modes(tmp_path) == dict.fromkeys(names, "0o600")
    records.close()


def test_nothing_can_be_stored_where_hardly_any_space_is_left(records, tmp_path, monkeypatch) -> None:
    free = [LEAST_FREE_BYTES - 1, LEAST_FREE_BYTES]
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free.pop(0)))
    for passes in (False, True):
        check = WritableCheck(records, [tmp_path])
        with contextlib.nullcontext() if passes else pytest.raises(RecordsUnavailableError, match="15 MB are free"):
            check.check()
    with pytest.raises(RecordsUnavailableError, match="No such file"):
        monkeypatch.undo()
        WritableCheck(records, [tmp_path / "gone"]).check()


def test_a_failed_transaction_leaves_no_trace(records) -> None:
    with pytest.raises(RuntimeError), records.write() as (_, now):
        now.rows_seq = 7
        raise RuntimeError
    assert records.head().rows_seq == 0


def test_writers_come_one_after_the_other(records) -> None:
    """Forty threads count up without losing one."""

    def count() -> None:
        for _ in range(5):
            with records.write() as (_, now):
                now.rows_seq += 1

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert records.head().rows_seq == 40


def test_without_its_driver_postgresql_names_the_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)  # as if it were not installed
    with pytest.raises(StorageError, match=r"pip install 'batchguard\[postgresql\]'") as error:
        Records("postgresql://nobody@127.0.0.1:9/none")
    assert len(str(error.value).splitlines()) == 1


def test_a_locked_database_is_told_within_seconds(sqlite_shape, tmp_path) -> None:
    (tmp_path / "r.db").write_bytes(sqlite_shape.read_bytes())
    records, other = Records(f"sqlite:///{tmp_path / 'r.db'}"), sqlite3.connect(tmp_path / "r.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(RecordsUnavailableError), records.write():
        pass
    assert records.head().rows_seq == 0  # reading goes on
    other.execute("ROLLBACK")
    with records.write() as (_, now):
        now.rows_seq = 1
    assert records.head().rows_seq == 1
    other.close()
    records.close()


def test_a_database_that_is_no_more_is_told() -> None:
    records = Records("postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(RecordsUnavailableError):
        records.head()


@pytest.mark.parametrize("records_url", ["postgresql"], indirect=True)
def test_connections_that_the_server_closed_are_replaced_unnoticed(records) -> None:
    """As after a restart of the server between two requests; three connections wait in the pool."""
    with records.read(), records.read(), records.read():
        pass
    other = Records(str(records.engine.url.render_as_string(hide_password=False)))
    with other.read() as connection:
        ended = connection.execute(
            text("SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE datname = current_database()"
                 " AND pid <> pg_backend_pid()")
        ).all()  # fmt: skip
    other.close()
    assert ended == [(True,)] * 3
    with records.write() as (_, now):
        now.rows_seq = 1
    assert records.head().rows_seq == 1


@pytest.mark.parametrize("url", ["mysql://x/y", "nonsense", "sqlite://", "sqlite:///:memory:"])
def test_other_urls_are_refused_without_repeating_them(url) -> None:
    with pytest.raises(StorageError) as error:
        Records(url)
    assert "mysql" not in str(error.value)


def test_what_was_committed_is_on_the_disk(records) -> None:
    if records.engine.dialect.name == "sqlite":
        with records.read() as connection:
            assert connection.execute(text("PRAGMA synchronous")).scalar_one() == 2
            assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
    else:
        with records.read() as connection:
            assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == "on"


def wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.001)


def test_what_waits_for_one_commit_shares_the_next_and_a_failure_takes_nobody_along(records) -> None:
    """The first holds the commit back until nine others wait: one of them fails, and the eight are committed without it."""
    waiting, commits, begin = threading.Event(), [], records._begin
    results: dict[int, int | ValueError] = {}

    @contextlib.contextmanager
    def counted(options) -> Generator[Connection]:
        commits.append(options)
        with begin(options) as connection:
            yield connection

    def work(i) -> None:
        def count(_, now) -> int:
            if i == 0:
                waiting.wait(5)
            now.rows_seq += 1
            if i == 5:
                raise ValueError(i)
            return now.rows_seq

        try:
            results[i] = records.submit(count).result()
        except ValueError as error:
            results[i] = error

    records._begin = counted
    threads = [threading.Thread(target=work, args=(i,)) for i in range(10)]
    threads[0].start()
    wait_for(lambda: bool(commits))
    for thread in threads[1:]:
        thread.start()
    wait_for(lambda: len(records._queue) == 9)
    waiting.set()
    for thread in threads:
        thread.join()
    assert len(commits) == 3  # the first; nine, of which one fails; eight
    assert isinstance(results.pop(5), ValueError)
    assert set(results.values()) == set(range(1, 10))
    assert records.head().rows_seq == 9


def test_who_gives_up_or_fails_after_the_commit_keeps_no_answer_from_the_others(records) -> None:
    waiting = threading.Event()

    def broken(_) -> Never:
        raise ValueError

    def count(_, now) -> int:
        now.rows_seq += 1
        return now.rows_seq

    first = records.submit(lambda *_: waiting.wait(5))
    gives_up, fails, last = records.submit(count), records.submit(count, broken), records.submit(count)
    assert not gives_up.cancel()  # what the event loop does with the future of a call that was cancelled
    waiting.set()
    assert first.result(5)
    assert last.result(5) == 3
    with pytest.raises(ValueError):
        fails.result(5)
    assert records.head().rows_seq == 3


def test_work_whose_commit_fails_was_not_done(records, monkeypatch) -> None:
    def broken(_) -> Never:
        raise OperationalError("BEGIN", {}, Exception())

    monkeypatch.setattr(records, "_begin", broken)
    with pytest.raises(RecordsUnavailableError):
        records.submit(lambda *_: "done").result()
