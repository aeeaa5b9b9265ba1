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
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.record import figure
from benchmarks.serving.http import Load, load, request
from benchmarks.serving.place import ASKED_H, FILLED_H, HOUR_US, Place, filled_engine
from benchmarks.serving.process import free_port
from benchmarks.serving.server import endpoint
from serving.ids import now_us

N, N_MANY, CLIENTS = 400, 1_600, 16
Figures = list[dict[str, object]]
BARE = "booster.predict(pred_contrib=True) of the same row, one thread, in this process, nothing kept"
NAMED, TENSOR = "a record with its columns' names", "a bare tensor"


@dataclass(frozen=True)
class Measured:
    """One client, and several at once."""

    one: Load
    many: Load

    def times(self) -> str:
        """The times of both."""
        many = f"{self.many.per_second:.0f}/s at {CLIENTS} clients, p99 {self.many.quantile(0.99):.1f} ms"
        return f"p50 {self.one.quantile(0.5):.2f} ms, p99 {self.one.quantile(0.99):.2f} ms, {many}"


def figures_of(place: Place, memory_disk: Path) -> Figures:
    """All figures of latency; everything in one run."""
    found, bare = {}, []
    others = {form: _mlflow(place, form) for form in (NAMED, TENSOR)}
    for where, folder in (("records on the disk", place.root), ("records in memory", memory_disk)):
        with endpoint(place, folder / "records.db") as own:
            own.fill(0, FILLED_H)
            bare.append(contributions(place))
            for reasons in (True, False):
                found[where, reasons] = Measured(
                    load(own.port, partial(own.score, reasons=reasons), N),
                    load(own.port, partial(own.score, reasons=reasons), N_MANY, clients=CLIENTS),
                )
    alone = without_http(place)
    times = np.concatenate([*bare, contributions(place)])
    kept = f"one turn of the disk {turn_of_the_disk(place.root):.2f} ms"
    busy = f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, the client's share included"
    figures = []
    for (where, reasons), own in found.items():
        if reasons:
            figures += against_bare(where, own.one, times, f"{kept}; {busy}")
        for form, other in others.items():
            figures += against_mlflow(where, own, other, form, reasons=reasons)
    return [*figures, *in_process(alone, times, others[NAMED])]


def against_bare(where: str, own: Load, bare: np.ndarray, more: str) -> Figures:
    """A score over HTTP, kept in the records, against the contributions alone in this process."""
    found = []
    for q, bound in ((0.5, 1.5), (0.99, 4.0)):
        ours, theirs = own.quantile(q), float(np.quantile(bare, q))
        found.append(
            figure(
                f"score with reasons over HTTP, {where}, p{q * 100:g}", round(ours / theirs, 2), "ratio", bound=bound,
                side="max", n=len(own.ms), against=BARE, note=f"{ours:.2f} ms against {theirs:.2f} ms; {more}",
            )
        )  # fmt: skip
    return found


def against_mlflow(where: str, own: Measured, other: Measured, form: str, *, reasons: bool) -> Figures:
    """The same booster served by MLflow gives no reasons and keeps nothing.

    A record with its columns' names is what an MES can send without knowing the order of the model's columns; a bare tensor is
    the least that MLflow can be asked for.
    """
    said = "with" if reasons else "without"
    against = f"mlflow models serve of the same booster, sent {form}: no reasons, nothing kept"
    note = f"{own.times()}; MLflow {other.times()}"
    ratio = own.one.quantile(0.5) / other.one.quantile(0.5)
    latency = figure(
        f"score {said} reasons, {where}, p50 against MLflow's, {form}", round(ratio, 3), "ratio",
        bound=1.0 if reasons else 0.1, side="max", n=N, against=against, note=note,
    )  # fmt: skip
    throughput = figure(
        f"scores {said} reasons a second at {CLIENTS} clients, {where}, against MLflow's, {form}",
        round(own.many.per_second / other.many.per_second, 2), "ratio",
        bound=1.3 if reasons else None, n=N_MANY, against=against, note=note,
    )  # fmt: skip
    return [latency, throughput]


def in_process(alone: dict[bool, np.ndarray], bare: np.ndarray, other: Measured) -> Figures:
    """What a score takes before HTTP and the records have their share; no bound, MLflow's time has HTTP in it."""
    with_reasons, without = (float(np.median(alone[reasons])) for reasons in (True, False))
    theirs, mlflow = float(np.median(bare)), other.one.quantile(0.5)
    return [
        figure("score with reasons from incremental state, no HTTP, nothing kept, p50", round(with_reasons / theirs, 2),
               "ratio", n=N, against=BARE, note=f"{with_reasons:.2f} ms against {theirs:.2f} ms"),
        figure("score without reasons from incremental state, no HTTP, nothing kept, p50 against MLflow's", round(without / mlflow, 3),
               "ratio", side="max", n=N, against=f"mlflow models serve of the same booster, sent {NAMED}, which goes over HTTP",
               note=f"{without:.2f} ms against {mlflow:.2f} ms"),
    ]  # fmt: skip


def without_http(place: Place) -> dict[bool, np.ndarray]:
    """Milliseconds of a score in this process, with reasons and without."""
    started_us = now_us() - 96 * HOUR_US
    engine = filled_engine(place, started_us)
    times: dict[bool, list[float]] = {True: [], False: []}
    for i in range(N):
        for reasons, taken in times.items():
            begin = time.perf_counter()
            engine.score("B1", started_us + ASKED_H * HOUR_US + i, reasons=reasons)
            taken.append(1e3 * (time.perf_counter() - begin))
    return {reasons: np.array(taken) for reasons, taken in times.items()}


def _mlflow(place: Place, form: str) -> Measured:
    with mlflow_serve(place, form) as (port, sent):
        measured = Measured(load(port, lambda _: sent, N), load(port, lambda _: sent, N_MANY, clients=CLIENTS))
    assert set(measured.one.statuses) == set(measured.many.statuses) == {200}
    return measured


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
    """Milliseconds of the bare contributions, after some that do not count."""
    times = []
    for _ in range(20 + N):
        begin = time.perf_counter()
        place.booster.predict(place.row, pred_contrib=True, num_threads=1)
        times.append(time.perf_counter() - begin)
    return 1e3 * np.array(times[20:])


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
def mlflow_serve(place: Place, form: str) -> Generator[tuple[int, bytes]]:
    """MLflow's own server of the booster, and a request for one row."""
    import mlflow.lightgbm

    path, port = place.root / f"mlflow_{form.replace(' ', '_')}", free_port()
    values = place.row[0].tolist()  # MLflow reads NaN as a number, and a null as an object that LightGBM refuses
    names = place.booster.feature_name()
    mlflow.lightgbm.save_model(place.booster, path, pip_requirements=["lightgbm"])
    content = {"dataframe_split": {"columns": names, "data": [values]}} if form == NAMED else {"inputs": [values]}
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(path), "-p", str(port), "-h", "127.0.0.1",
               "--env-manager", "local", "-w", "1"]  # fmt: skip
    beside = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # it starts programs of its own by name
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "PATH": beside}
    log = (path.with_suffix(".log")).open("ab")
    with log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=environment)
    try:
        _wait(port, process, path.with_suffix(".log"))
        yield port, request("POST", "/invocations", json.dumps(content).encode())
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
