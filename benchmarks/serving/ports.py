"""Second servers: started on a port, a data directory or records that another endpoint has, and two at once on a free port."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.record import figure
from benchmarks.serving.http import ask
from benchmarks.serving.place import Place
from benchmarks.serving.process import ROOT, Served, free_port
from benchmarks.serving.server import Endpoint, endpoint

AT_ONCE = 3  # second servers that are started side by side
_END_S = 60.0


def figures_of(place: Place, times: int = 100) -> list[dict[str, object]]:
    """How many of the second servers were ready, and what they said.

    Args:
        place: Model and keys.
        times: Starts; four fifths on a taken port, a tenth on a taken data directory, a tenth in pairs on a free port.
    """
    in_pairs, on_data = max(1, times // 20), max(1, times // 10)
    on_port = times - on_data - 2 * in_pairs
    with endpoint(place, place.root / "ports.db") as found, ThreadPoolExecutor(AT_ONCE) as pool:
        folders = [place.root / f"second-{i}" for i in range(on_port)]
        commands = [found.served.command(data_dir=_data_dir(place, folder)) for folder in folders]
        commands += [found.served.command(port=free_port()) for _ in range(on_data)]
        ends = Counter(pool.map(_end_of, commands))
        answered = _answered(found)
    pairs = [_ready_of_two(place, i) for i in range(in_pairs)]
    both = ends["ready"] + sum(n > 1 for n in pairs)
    note = (f"{on_port} on a taken port, {on_data} on a taken data directory: {dict(ends)}; {in_pairs} pairs at once on a free port: "
            f"ready {pairs}; the first one answered {answered} of 100 requests afterwards")  # fmt: skip
    return [
        figure("starts on a taken port: both ready", both, "starts", bound=0, side="max", n=times, note=note),
        figure("pairs of servers started at once on a free port: none ready", sum(n == 0 for n in pairs), "pairs", bound=0,
               side="max", n=in_pairs, note="one of each pair has to serve"),
        figure("starts on a taken port that did not end with one line", times - 2 * in_pairs - ends["one line"], "starts",
               bound=0, side="max", n=times - 2 * in_pairs),
    ]  # fmt: skip


def _data_dir(place: Place, folder: Path) -> Path:
    shutil.copytree(place.data_dir / "keys", folder / "keys")
    return folder


def _end_of(command: list[str]) -> str:
    """How a second server ended: `one line`, `more lines`, or `ready` if it runs on."""
    try:
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=_END_S)
    except subprocess.TimeoutExpired:
        return "ready"
    lines = (ran.stdout + ran.stderr).strip().splitlines()
    return "one line" if ran.returncode == 1 and len(lines) == 1 else "more lines"


def _answered(found: Endpoint) -> int:
    return sum(ask(found.port, found.send("GET", "/health/live"))[0] == 200 for _ in range(100))


def _ready_of_two(place: Place, number: int) -> int:
    """How many of two servers with data directories of their own, started at once, serve a free port."""
    port, started = free_port(), []
    for name in ("a", "b"):
        data_dir = _data_dir(place, place.root / f"pair-{number}-{name}")
        command = Served(data_dir, place.bundles, port, "").command()
        started.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    deadline = time.monotonic() + _END_S
    while time.monotonic() < deadline and not _is_live(port):
        time.sleep(0.1)
    time.sleep(1.0)  # the other one has had its time
    running = sum(process.poll() is None for process in started)
    is_live = _is_live(port)
    for process in started:
        process.terminate()
    for process in started:
        process.wait(30)
    return running if is_live else 0


def _is_live(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
