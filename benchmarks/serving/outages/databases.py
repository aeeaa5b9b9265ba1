"""The records are away: SQLite locked, PostgreSQL stopped, crashed, frozen and locked, and back."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import create_engine, text

from benchmarks.serving.outages.consistency import Judge
from benchmarks.serving.outages.mes import Client, under
from benchmarks.serving.place import Place
from benchmarks.serving.postgresql import PostgreSQL, start_postgresql
from benchmarks.serving.released import models_of
from benchmarks.serving.server import Endpoint, endpoint

AWAY_S = 1.0
Break = Callable[[list[Client]], None]


def figures_of(place: Place) -> Iterator[dict[str, Any]]:
    """SQLite, then PostgreSQL."""
    yield from _sqlite(place)
    server = start_postgresql(place.root / "postgresql")
    try:
        yield from _postgresql(place, server)
    finally:
        server.close()


def _sqlite(place: Place) -> Iterator[dict[str, Any]]:
    records = place.root / "outages.db"
    with endpoint(place, records) as found:
        lock = sqlite3.connect(records, isolation_level=None, check_same_thread=False, timeout=10)

        def held(seconds: float) -> Break:
            def once(_: list[Client]) -> None:
                lock.execute("BEGIN IMMEDIATE")
                time.sleep(seconds)
                lock.execute("ROLLBACK")

            return once

        ways = {"half a second": (held(0.5), 15), "three seconds": (held(3.0), 5)}
        for name, (breaks, times) in ways.items():
            yield _measured(place, found, f"sqlite:///{records}", f"SQLite locked for {name}", breaks, times)
        lock.close()


def _postgresql(place: Place, server: PostgreSQL) -> Iterator[dict[str, Any]]:
    def stopped(mode: str) -> Break:
        def once(_: list[Client]) -> None:
            server.stop(mode)
            time.sleep(AWAY_S)
            server.start()

        return once

    def frozen(_: list[Client]) -> None:
        server.freeze()
        time.sleep(3.0)
        server.thaw()

    def locked(_: list[Client]) -> None:
        engine = create_engine(server.url)
        with engine.connect() as connection:
            connection.execute(text("SELECT * FROM head FOR UPDATE"))
            time.sleep(3.0)
        engine.dispose()

    ways: dict[str, tuple[Break, int]] = {
        "PostgreSQL crashed (stopped at once), started again": (stopped("immediate"), 6),
        "PostgreSQL stopped in order, started again": (stopped("fast"), 6),
        "PostgreSQL frozen for three seconds": (frozen, 2),
        "PostgreSQL locked for three seconds": (locked, 3),
    }
    with endpoint(place, server.text) as found:
        for name, (breaks, times) in ways.items():
            yield _measured(place, found, server.text, name, breaks, times)


def _measured(place: Place, found: Endpoint, url: str, name: str, breaks: Break, times: int) -> dict[str, Any]:
    judge = Judge(url, None, models_of(place.bundles, place.data_dir, url))
    before = judge.before()
    return judge.figure(name, times, under(found, breaks, times), before)
