"""How long a score takes, kept and answered, beside the bare model, and beside `mlflow models serve` of the same booster."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.record import figure
from benchmarks.serving.http import Load, load, request
from benchmarks.serving.place import Place
from benchmarks.serving.process import free_port
from benchmarks.serving.server import endpoint

N, N_MANY, CLIENTS = 300, 640, 16
Figures = list[dict[str, object]]


def figures_of(place: Place, memory_disk: Path) -> Figures:
    """All figures of latency; everything in one run."""
    with endpoint(place, place.root / "records.db") as found:
        found.fill(0, 48)
        bare = contributions(place)
        one, many = load(found.port, found.score, N), load(found.port, found.score, N_MANY, clients=CLIENTS)
        again = contributions(place)
    with mlflow_serve(place) as (port, sent):
        other, others = load(port, lambda _: sent, N), load(port, lambda _: sent, N_MANY, clients=CLIENTS)
    with endpoint(place, memory_disk / "records.db") as found:
        found.fill(0, 48)
        no_disk, no_disks = load(found.port, found.score, N), load(found.port, found.score, N_MANY, clients=CLIENTS)
    bare = np.concatenate([bare, again])
    sync = turn_of_the_disk(place.root)
    busy = f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, the client's share included"
    assert set(one.statuses) == set(many.statuses) == set(other.statuses) == set(others.statuses) == {200}
    return [
        *against_bare("records on the disk", one, bare, f"one turn of the disk {sync:.2f} ms; {busy}"),
        *against_bare("records in memory", no_disk, bare, busy),
        *against_mlflow("records on the disk", one, many, other, others),
        *against_mlflow("records in memory", no_disk, no_disks, other, others),
    ]


def against_bare(where: str, own: Load, bare: np.ndarray, more: str) -> Figures:
    """A score over HTTP, kept in the records, against the contributions alone in this process."""
    found = []
    for q, bound in ((0.5, 1.5), (0.99, 4.0)):
        ours, theirs = own.quantile(q), float(np.quantile(bare, q))
        note = f"{ours:.2f} ms against {theirs:.2f} ms; the rest is HTTP and keeping the record; {more}"
        found.append(
            figure(
                f"score with reasons over HTTP, {where}, p{q * 100:g}", round(ours / theirs, 2), "ratio", bound=bound,
                side="max", n=len(own.ms), against="booster.predict(pred_contrib=True), one thread, no HTTP, nothing kept",
                note=note,
            )
        )  # fmt: skip
    return found


def against_mlflow(where: str, one: Load, many: Load, other: Load, others: Load) -> Figures:
    """The same booster served by MLflow gives no reasons and keeps nothing."""
    against = "mlflow models serve of the same booster: no reasons, nothing kept"
    return [
        figure(
            f"score with reasons, {where}, p50 against MLflow's", round(one.quantile(0.5) / other.quantile(0.5), 2),
            "ratio", bound=1.0, side="max", n=len(one.ms), against=against,
            note=f"{one.quantile(0.5):.2f} ms against {other.quantile(0.5):.2f} ms; the contributions alone take longer than its answer",
        ),
        figure(
            f"scores a second at {CLIENTS} clients, {where}, against MLflow's",
            round(many.per_second / others.per_second, 2), "ratio", bound=1.3, n=len(many.ms), against=against,
            note=f"{many.per_second:.0f}/s against {others.per_second:.0f}/s; p99 {many.quantile(0.99):.1f} ms; each of ours works out contributions",
        ),
    ]  # fmt: skip


def growth(place: Place) -> Figures:
    """Ingest over HTTP, and the score's latency by the number of readings held of its batch."""
    medians, rows, seconds = {}, 0, 0.0
    with endpoint(place, place.root / "growth.db") as found:
        for first_h, n_hours in ((0, 1), (1, 12), (13, 51), (64, 32)):
            begin = time.perf_counter()
            rows += found.fill(first_h, n_hours)
            seconds += time.perf_counter() - begin
            medians[rows] = load(found.port, found.score, 100).quantile(0.5)
    low, high = min(medians), max(medians)
    note = "; ".join(f"{n:,} rows {ms:.2f} ms" for n, ms in medians.items())
    return [
        figure("observations taken in, checked and kept, over HTTP in calls of 780", round(rows / seconds), "rows/s", n=rows),
        figure(f"score latency with {high:,} readings held against {low:,}, p50", round(medians[high] / medians[low], 2),
               "ratio", bound=1.2, side="max", n=400, note=note),
    ]  # fmt: skip


def contributions(place: Place) -> np.ndarray:
    """Milliseconds of the bare contributions."""
    times = []
    for _ in range(N):
        begin = time.perf_counter()
        place.booster.predict(place.row, pred_contrib=True, num_threads=1)
        times.append(time.perf_counter() - begin)
    return 1e3 * np.array(times)


def turn_of_the_disk(folder: Path) -> float:
    """Median milliseconds of writing 4 kB to the disk for good."""
    times = []
    handle = os.open(folder / "sync", os.O_CREAT | os.O_WRONLY)
    for _ in range(100):
        begin = time.perf_counter()
        os.write(handle, b"x" * 4096)
        os.fsync(handle)
        times.append(time.perf_counter() - begin)
    os.close(handle)
    return 1e3 * float(np.median(times))


@contextlib.contextmanager
def mlflow_serve(place: Place) -> Iterator[tuple[int, bytes]]:
    """MLflow's own server of the booster, and a request for one row."""
    import mlflow.lightgbm

    path, port = place.root / "mlflow_model", free_port()
    mlflow.lightgbm.save_model(place.booster, path, pip_requirements=["lightgbm"])
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(path), "-p", str(port), "-h", "127.0.0.1",
               "--env-manager", "local", "-w", "1"]  # fmt: skip
    beside = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # it starts programs of its own by name
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "PATH": beside}
    log = (place.root / "mlflow.log").open("ab")
    with log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=environment)
    try:
        _wait(port, process, place.root / "mlflow.log")
        values = [None if np.isnan(v) else float(v) for v in place.row[0]]
        body = json.dumps({"inputs": [values]}).encode()
        yield port, request("POST", "/invocations", body)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)


def _wait(port: int, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=1):
            return
        time.sleep(0.2)
    raise RuntimeError(log.read_text()[-2000:])
