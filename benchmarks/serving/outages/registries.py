"""The registry is refused, hangs, errs or is slow, in the environment and in the data directory: the endpoint asks none.

A version is submitted beside it all the while: `batchguard release submit` ends with one line within a bounded time.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.serving.outages.consistency import Judge
from benchmarks.serving.outages.mes import Client, under
from benchmarks.serving.place import NAMES, PROCESS, Place, made_up
from benchmarks.serving.process import ROOT
from benchmarks.serving.released import models_of
from benchmarks.serving.server import Endpoint, endpoint

TIMES, BOUND_S = 2, 30.0
_DOCUMENTS = {"intended_use": 'question = "made up"\n', "acceptance": "criterion = []\n"}
PACE_S = 0.1  # the command beside them needs the machine, too
Harm = Callable[[Path], contextlib.AbstractContextManager[None]]


@dataclass
class BadServer:
    """Stands where a registry is expected, and counts who comes.

    Attributes:
        behaves: refused (closed once it is accepted: one that is not accepted could not be counted), hanging, erring or slow.
        accepted: Connections so far.
    """

    behaves: str = "refused"
    accepted: int = 0
    _socket: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    _held: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> BadServer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        for connection in self._held:
            connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.accepted += 1
                self._held.append(connection)
                if self.behaves == "refused":
                    connection.close()
                else:
                    threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        body = b'{"error_code": "INTERNAL_ERROR"}'
        answer = b"HTTP/1.1 500 No\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        with contextlib.suppress(OSError):
            connection.recv(65536)
            while self.behaves == "erring":
                connection.sendall(answer)
                connection.recv(65536)
            for byte in answer if self.behaves == "slow" else b"":
                connection.sendall(bytes([byte]))
                time.sleep(1.0)


def figures_of(place: Place) -> Iterator[dict[str, Any]]:
    """Each behaviour, over an endpoint that serves a plant with a registry of its own."""
    plant = _plant(place)
    models = plant.data_dir / "bundles" / PROCESS.process.id
    url = _url(plant)
    judge = Judge(url, None, models_of(models, plant.data_dir, url))
    with BadServer() as server:
        asked = {"MLFLOW_TRACKING_URI": server.url, "MLFLOW_REGISTRY_URI": server.url}
        with endpoint(plant, url, "look_every_s = 0.1\n", models=models, **asked) as found:
            for server.behaves, harm in _HARMS.items():
                yield _measured(plant, judge, found, server, harm, asked)


def _measured(
    plant: Place, judge: Judge, found: Endpoint, server: BadServer, harm: Harm, asked: dict[str, str]
) -> dict[str, Any]:
    ended: list[tuple[int, float, int]] = []
    came = server.accepted

    def broken(_: list[Client]) -> None:
        with harm(plant.data_dir / "mlflow.db"):
            begin = time.monotonic()
            code, lines = _submit(plant, **asked)
            ended.append((code, time.monotonic() - begin, lines))

    before = judge.before()
    told = under(found, broken, TIMES, pause_s=0.5, pace_s=PACE_S)
    connections = server.accepted - came
    longest, codes = max(s for _, s, _ in ended), [code for code, _, _ in ended]
    more = (f"connections to it {connections}; 'batchguard release submit' beside it ended {len(ended)} times with exit codes {codes}, one line each, "
            f"after at most {longest:.1f} s")  # fmt: skip
    faults = connections + sum(seconds > BOUND_S or lines != 1 for _, seconds, lines in ended)
    return judge.figure(f"registry {server.behaves}", TIMES, told, before, more, faults)


@contextlib.contextmanager
def _gone(database: Path) -> Generator[None]:
    aside = database.rename(database.with_suffix(".aside"))
    yield
    aside.rename(database)


@contextlib.contextmanager
def _held(database: Path) -> Generator[None]:
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        yield
        lock.execute("ROLLBACK")


@contextlib.contextmanager
def _damaged(database: Path) -> Generator[None]:
    content = database.read_bytes()
    database.write_bytes(content[: len(content) // 3])
    yield
    database.write_bytes(content)


@contextlib.contextmanager
def _busy(database: Path) -> Generator[None]:
    """Somebody else holds it four fifths of the time."""
    stop = threading.Event()

    def hold() -> None:
        with contextlib.closing(sqlite3.connect(database, isolation_level=None, timeout=10)) as lock:
            while not stop.is_set():
                lock.execute("BEGIN EXCLUSIVE")
                time.sleep(0.4)
                lock.execute("ROLLBACK")
                time.sleep(0.1)

    thread = threading.Thread(target=hold)
    thread.start()
    yield
    stop.set()
    thread.join()


_HARMS: dict[str, Harm] = {"refused": _gone, "hanging": _held, "erring": _damaged, "slow": _busy}


def _url(plant: Place) -> str:
    return f"sqlite:///{plant.root / 'records.db'}"


def _submit(plant: Place, **environment: str) -> tuple[int, int]:
    """Exit code and number of lines of `batchguard release submit` by somebody whose secret is wrong."""
    command = [sys.executable, "-m", "pipelines.cli", "release", "submit", "1", "--process", str(plant.root / "bench.toml"),
               "--data-dir", str(plant.data_dir), "--signer", "nobody", "--reason", "none"]  # fmt: skip
    more = {"BATCHGUARD_SIGNING_SECRET": "wrong", "BATCHGUARD_RECORDS_URL": _url(plant)} | environment
    ran = subprocess.run(command, cwd=ROOT, env=os.environ | more, capture_output=True, text=True, check=False)
    return ran.returncode, len((ran.stdout + ran.stderr).strip().splitlines())


def _plant(place: Place) -> Place:
    """The place's made-up batches as a plant with a registry: ingested, trained, registered.

    Raises:
        RuntimeError: The run failed, with what it said.
    """
    root = place.root / "plant"
    (root / "history").mkdir(parents=True)
    history, readings = made_up(np.random.default_rng(11))
    every_third_hour = readings.take(np.arange(0, len(readings), 12))
    tables = {name: pa.Table.from_pandas(history[name]) for name in ("batches", "dispositions")}
    for name, table in {**tables, "observations": every_third_hour}.items():
        pq.write_table(table, root / "history" / f"{name}.parquet")
    (root / "bench.toml").write_text(_toml())
    for kind, text in _DOCUMENTS.items():
        (root / f"bench.{kind}.toml").write_text(text)
    command = [sys.executable, "-m", "pipelines.cli", "run", "--process", str(root / "bench.toml"), "--history",
               str(root / "history"), "--data-dir", str(root / "data"), "--as-of", "history", "--release-as-demo"]  # fmt: skip
    plant = replace(place, root=root)
    environment = os.environ | {"BATCHGUARD_RECORDS_URL": _url(plant)}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(ran.stderr[-2000:])
    return plant


def _toml() -> str:
    """The process definition as a file."""
    head = PROCESS.process
    lines = ["[process]", f'id = "{head.id}"', f'name = "{head.name}"', f'version = "{head.version}"',
             f"planned_duration_h = {head.planned_duration_h:g}", f"every_h = {head.every_h:g}",
             f"windows_h = {list(head.windows_h)}"]  # fmt: skip
    for name in NAMES:
        lines += ["", "[[parameter]]", f'name = "{name}"', f'label = "{name}"', 'unit = "1"', 'kind = "sensor"',
                  "normal = [36, 38]"]  # fmt: skip
    return "\n".join(lines) + "\n"
