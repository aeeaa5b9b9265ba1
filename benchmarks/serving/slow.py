"""Clients that do not hurry: idle connections, slow headers, bodies that trickle in. Others keep their latency."""

from __future__ import annotations

import socket
import threading
import time

from benchmarks.record import figure
from benchmarks.serving.http import load
from benchmarks.serving.place import Place
from benchmarks.serving.server import Endpoint, endpoint

IDLE, SLOW, TRICKLING = 500, 50, 50
WITHIN_S = 10.0


def figures_of(place: Place) -> list[dict[str, object]]:
    """How long they are borne, and what others notice."""
    with endpoint(place, place.root / "slow.db") as found:
        found.fill(0, 4)
        before = load(found.port, found.score, 300)
        connections = _open(found)
        opened = time.monotonic()
        closed: list[float] = []
        watch = threading.Thread(target=_until_closed, args=(connections, opened, closed))
        watch.start()
        during = load(found.port, found.score, 300, warm_up=0)
        watch.join()
    n, note = len(connections), f"{IDLE} idle, {SLOW} with slow headers, {TRICKLING} whose bodies trickle in"
    return [
        figure("slow connections still open after 10 s", sum(s > WITHIN_S for s in closed), "connections", bound=0, side="max",
               n=n, note=f"{note}; the last was closed after {max(closed):.1f} s"),
        figure("score latency beside them, p50", round(during.quantile(0.5) / before.quantile(0.5), 2), "ratio", n=300,
               bound=1.5, side="max", note=f"{during.quantile(0.5):.2f} ms against {before.quantile(0.5):.2f} ms before"),
    ]  # fmt: skip


def _open(found: Endpoint) -> list[socket.socket]:
    head = found.send("POST", "/v1/batches/B1/scores", {"as_of": "2026"}).split(b"\r\n\r\n")[0]
    starts = [b""] * IDLE + [b"GET /health/live HTTP/1.1\r\nx-slow: "] * SLOW + [head + b"\r\n\r\n{"] * TRICKLING
    connections = []
    for start in starts:
        connection = socket.create_connection(("127.0.0.1", found.port), timeout=5)
        connection.sendall(start)
        connection.setblocking(False)
        connections.append(connection)
    return connections


def _until_closed(connections: list[socket.socket], opened: float, closed: list[float]) -> None:
    """Trickle on, and note when each is closed by the other side; 30 s where it is not."""
    waiting = dict(enumerate(connections))
    while waiting and time.monotonic() - opened < 30:
        for i, connection in list(waiting.items()):
            if _is_closed(connection, i >= IDLE):
                closed.append(time.monotonic() - opened)
                connection.close()
                del waiting[i]
        time.sleep(0.25)
    closed += [30.0] * len(waiting)
    for connection in waiting.values():
        connection.close()


def _is_closed(connection: socket.socket, trickles: bool) -> bool:
    try:
        if trickles:
            connection.send(b" ")
        while True:
            if not connection.recv(4096):
                return True
    except BlockingIOError:
        return False
    except OSError:
        return True
