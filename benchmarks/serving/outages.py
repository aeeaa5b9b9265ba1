"""What breaks, many times over: the process, the database, the disk, the model's folder. Wrong, lost and doubled are counted."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import sqlite3
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import func, select

from benchmarks.record import figure
from benchmarks.serving.http import ask
from benchmarks.serving.place import Place
from benchmarks.serving.server import Endpoint, endpoint
from serving import audit
from serving.ids import iso
from serving.records.store import Records
from serving.records.tables import rows, scores

Figures = list[dict[str, object]]
_FIRST = itertools.count(0, 10_000)  # each client has readings of its own


@dataclass
class Client:
    """An MES that repeats each request under its key until it is answered, and remembers what it was told."""

    endpoint: Endpoint
    first: int
    scores: list[str] = field(default_factory=list)
    n_rows: int = 0
    statuses: Counter = field(default_factory=Counter)

    def work(self, stop: threading.Event) -> None:
        """A reading and a score, again and again."""
        i = self.first
        while not stop.is_set():
            at = iso(self.endpoint.started_us + i * 1_000_000)
            reading = {"parameter": "sensor_00", "observed_at": at, "value": 37.0, "unit": "1"}
            taken = self._told("/v1/batches/B1/observations", {"observations": [reading]})
            if taken is None:
                return
            self.n_rows += int(taken["accepted"])
            told = self._told("/v1/batches/B1/scores", {"as_of": iso(self.endpoint.started_us + 3_600_000_000)})
            if told is None:
                return
            self.scores.append(str(told["score_id"]))
            i += 1

    def _told(self, path: str, content: object) -> dict | None:
        """The answer, after as many attempts as it takes; None after a minute of none."""
        sent = self.endpoint.send("POST", path, content, **{"idempotency-key": str(uuid.uuid4())})
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, EOFError, json.JSONDecodeError):
                status, told = ask(self.endpoint.port, sent)
                self.statuses[status] += 1
                if status == 200:
                    return told
            time.sleep(0.05)
        return None


def under(
    found: Endpoint, breaks: Callable[[], None], times: int, records: Path, name: str, pause_s: float = 0.3
) -> dict[str, object]:
    """Two clients work while something breaks so many times; then what they were told is held against the records."""
    stop, clients = threading.Event(), [Client(found, next(_FIRST)) for _ in range(2)]
    threads = [threading.Thread(target=client.work, args=(stop,)) for client in clients]
    before = _kept(records)
    for thread in threads:
        thread.start()
    for _ in range(times):
        time.sleep(pause_s)
        breaks()
    time.sleep(0.5)
    stop.set()
    for thread in threads:
        thread.join()
    return _judged(name, times, clients, before, _kept(records), records)


def _kept(records: Path) -> tuple[set[str], int]:
    store = Records(f"sqlite:///{records}")
    with store.read() as connection:
        found = set(connection.execute(select(scores.c.score_id)).scalars())
        n_rows = connection.execute(select(func.count()).where(rows.c.table_name == "observations")).scalar_one()
    store.close()
    return found, n_rows


def _judged(name: str, times: int, clients: list[Client], before: tuple[set[str], int], after: tuple[set[str], int],
            records: Path) -> dict[str, object]:  # fmt: skip
    told = [score_id for client in clients for score_id in client.scores]
    kept, n_rows = after[0] - before[0], after[1] - before[1]
    lost, doubled = len(set(told) - kept), len(kept - set(told))
    rows_wrong = abs(n_rows - sum(client.n_rows for client in clients))
    store = Records(f"sqlite:///{records}")
    problems = len(audit.verify(store, None).problems)
    store.close()
    statuses = sum((client.statuses for client in clients), Counter())
    note = (f"{times} times; {len(told)} scores answered; lost {lost}, doubled {doubled}, rows lost or doubled {rows_wrong}, "
            f"problems of the audit trail {problems}; answers by status {dict(sorted(statuses.items()))}")  # fmt: skip
    return figure(name, lost + doubled + rows_wrong + problems, "records", bound=0, side="max", n=len(told), note=note)


def figures_of(place: Place) -> Figures:
    """All outages."""
    found = []
    records = place.root / "outages.db"
    with endpoint(place, records) as running:
        lock = sqlite3.connect(records, isolation_level=None, check_same_thread=False, timeout=10)
        found.append(under(running, lambda: _lock(lock, 0.5), 20, records, "records locked for half a second"))
        found.append(under(running, lambda: _lock(lock, 3.0), 5, records, "records locked for three seconds"))
        lock.close()
        found.append(
            under(running, lambda: _killed(running), 10, records, "process killed between and during commits", 1.5)
        )
        found += _models(place, running, records)
    return found


def _lock(lock: sqlite3.Connection, seconds: float) -> None:
    lock.execute("BEGIN IMMEDIATE")
    time.sleep(seconds)
    lock.execute("ROLLBACK")


def _killed(running: Endpoint) -> None:
    running.served.stop(signal.SIGKILL)
    running.served.start()


def _models(place: Place, running: Endpoint, records: Path) -> Figures:
    """The folder of the model that speaks, damaged in every way; scores go on by the last known good one."""
    [folder] = list(place.bundles.glob("?" * 64))
    model, pointer = next(folder.rglob("model*.txt")), place.bundles / "current"
    content, named = model.read_bytes(), pointer.read_bytes()

    def damaged(write: Callable[[], None]) -> Callable[[], None]:
        def once() -> None:
            write()
            time.sleep(0.2)
            model.unlink(missing_ok=True)
            model.write_bytes(content)
            pointer.unlink(missing_ok=True)
            pointer.write_bytes(named)

        return once

    def linked() -> None:
        model.unlink()
        model.symlink_to("/etc/hostname")

    ways: dict[str, Callable[[], None]] = {
        "corrupted": lambda: _write(model, content.replace(b"leaf_value=", b"leaf_value=9", 1)),
        "truncated": lambda: _write(model, content[: len(content) // 2]),
        "a symbolic link": linked,
        "named by nothing": lambda: _write(pointer, b"nonsense"),
    }
    return [under(running, damaged(write), 10, records, f"model folder {name}") for name, write in ways.items()]


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.next")
    beside.write_bytes(content)
    beside.replace(path)
