"""The process is killed while it writes: at any moment of a request, and just when the database's log is being written."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import select

from benchmarks.serving.outages.consistency import Judge
from benchmarks.serving.outages.mes import Client, under
from benchmarks.serving.place import Place
from benchmarks.serving.postgresql import start_postgresql
from benchmarks.serving.released import models_of
from benchmarks.serving.server import Endpoint, endpoint
from serving.records.store import Records
from serving.records.tables import answers

LONGEST_S, DURING_COMMIT_S = 0.030, 0.0008  # of a request of this load, of its commit
CLIENTS = 4  # so many requests are cut off by one kill
Log = Callable[[], int]


def figures_of(place: Place) -> Iterator[dict[str, Any]]:
    """Over SQLite, then over PostgreSQL."""
    path = place.root / "killed.db"
    yield from _killed(place, f"sqlite:///{path}", lambda: _mtime(Path(f"{path}-wal")), "SQLite", 12)
    server = start_postgresql(place.root / "postgresql_killed")
    try:
        yield from _killed(place, server.text, lambda: _newest(server.server.pgdata / "pg_wal"), "PostgreSQL", 6)
    finally:
        server.close()


def _killed(place: Place, url: str, log: Log, name: str, times: int) -> Iterator[dict[str, Any]]:
    chance = random.Random(5)  # noqa: S311 - moments, no secrets
    judge = Judge(url, None, models_of(place.bundles, place.data_dir, url))
    with endpoint(place, url) as found:
        for where, aim in (
            ("at any moment of a request", lambda: time.sleep(chance.uniform(0, LONGEST_S))),
            ("while it writes a commit", lambda: _until_written(log, chance.uniform(0, DURING_COMMIT_S))),
        ):
            landed: list[tuple[int, int]] = []
            before = judge.before()
            told = under(found, lambda clients, aim=aim, landed=landed: landed.append(_kill(found, url, clients, aim)),
                         times // 2, n_clients=CLIENTS)  # fmt: skip
            kept, cut = sum(k for k, _ in landed), sum(c for _, c in landed)
            more = (f"{cut} requests were cut off between their sending and their answer, {kept} of them committed and "
                    f"not yet answered, {cut - kept} not committed")  # fmt: skip
            yield judge.figure(f"process killed {where}, {name}", times // 2, told, before, more)


def _kill(found: Endpoint, url: str, clients: list[Client], aim: Callable[[], None]) -> tuple[int, int]:
    """Kill and start again; how many requests were cut off, and how many of those had been committed."""
    known = {key for client in clients for key in client.cut}
    aim()
    found.served.stop(signal.SIGKILL)
    time.sleep(0.05)  # until the clients have noticed
    cut = {key for client in clients for key in client.cut} - known
    kept = cut & _answered(url)
    found.served.start()
    return len(kept), len(cut)


def _answered(url: str) -> set[str]:
    records = Records(url)
    with records.read() as connection:
        found = set(connection.execute(select(answers.c.key)).scalars())
    records.close()
    return found


def _until_written(log: Log, more_s: float) -> None:
    """Wait for the next write to the database's log, and a moment more, without sleeping: that would be too late."""
    seen, deadline = log(), time.perf_counter() + 2.0
    while log() == seen and time.perf_counter() < deadline:
        pass
    end = time.perf_counter() + more_s
    while time.perf_counter() < end:
        pass


def _mtime(path: Path) -> int:
    return path.stat().st_mtime_ns


def _newest(folder: Path) -> int:
    return max(_mtime(path) for path in folder.iterdir() if len(path.name) == 24)
