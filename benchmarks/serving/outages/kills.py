"""The server or its worker alone is killed under load: what was answered is there once, and nobody lives on."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from typing import Any

import psutil

from benchmarks.record import figure
from benchmarks.serving.outages.consistency import Judge
from benchmarks.serving.outages.mes import Client, under
from benchmarks.serving.place import Place
from benchmarks.serving.released import models_of
from benchmarks.serving.server import Endpoint, endpoint

_GONE_S = 5.0  # a killed process and what it took with it


def figures_of(place: Place, times: int = 200) -> Iterator[dict[str, Any]]:
    """Kills in turns: a worker, whose server goes on, then the server, whose worker has to end with it."""
    url, orphans, respawned = f"sqlite:///{place.root / 'kills.db'}", [], []
    judge = Judge(url, place.data_dir / "audit.anchor", models_of(place.bundles, place.data_dir, url))
    (place.data_dir / "audit.anchor").unlink(missing_ok=True)  # of other records
    with endpoint(place, url) as found:
        turns = iter(range(times))

        def kill(_: list[Client]) -> None:
            if next(turns) % 2:
                orphans.append(_kill_server(found))
            else:
                respawned.append(_kill_worker(found))

        before = judge.before()
        told = under(found, kill, times, pause_s=0.2)
        more = f"{len(respawned)} kills of the worker, {len(orphans)} of the server; orphans {sum(orphans)}"
        yield judge.figure("server or worker killed under load", times, told, before, more)
    yield figure("orphans after kills of the server", sum(orphans), "processes", bound=0, side="max", n=len(orphans))


def _kill_worker(found: Endpoint) -> int:
    """Kill the worker; the server starts another one, or is started again where it gave up. How many were killed."""
    workers = _workers(found)
    for worker in workers:
        worker.kill()
    psutil.wait_procs(workers, timeout=_GONE_S)
    deadline = time.monotonic() + 30
    while not _workers(found) and time.monotonic() < deadline:
        assert found.served.process is not None
        if found.served.process.poll() is not None:  # two deaths within seconds: it gives up, for a supervisor to see
            found.served.start()
        time.sleep(0.05)
    return len(workers)


def _kill_server(found: Endpoint) -> int:
    """Kill the server alone and start it again; how many of its workers lived on."""
    workers = _workers(found)
    assert found.served.process is not None
    found.served.process.send_signal(signal.SIGKILL)
    found.served.process.wait()
    _, alive = psutil.wait_procs(workers, timeout=_GONE_S)
    for worker in alive:
        worker.kill()
    found.served.start()
    return len(alive)


def _workers(found: Endpoint) -> list[psutil.Process]:
    assert found.served.process is not None
    try:
        return psutil.Process(found.served.process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
