"""Connections that present wrong secrets for known keys, and what readings with a good key feel of them."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections import Counter
from collections.abc import Generator

import numpy as np

from benchmarks.record import figure
from benchmarks.serving.http import ask, request
from benchmarks.serving.place import Place
from benchmarks.serving.server import Endpoint, endpoint
from serving.access.keys import list_keys
from serving.commands import RecordsAdmin

_READINGS, _MOST_TIMES_QUIET = 400, 3.0


def figures_of(place: Place) -> list[dict[str, object]]:
    """The time of a good key's requests, quiet and beside 64 and 256 connections with wrong secrets, in turns."""
    (place.data_dir / "audit.anchor").unlink(missing_ok=True)
    found: list[dict[str, object]] = []
    with endpoint(place, place.root / "wrong_keys.db") as server, RecordsAdmin(place.data_dir) as admin:
        old = list_keys(admin.records)[0].key_id  # as a key of 0.2.0 would be presented: by its id
        for n in (64, 256):
            quiet = _p99(server)
            with _attack(server, old, n) as statuses:
                beside, ready_s = _p99(server), _ready_s(server)
            note = f"quiet {quiet:.1f} ms, beside {beside:.1f} ms; ready answered in {ready_s * 1e3:.0f} ms; attackers: {dict(statuses)}"
            found.append(
                figure(f"p99 of a good key beside {n} connections with wrong secrets", round(beside / quiet, 2), "x quiet",
                       bound=_MOST_TIMES_QUIET, side="max", n=_READINGS, against="the quiet endpoint, same run", note=note)
            )  # fmt: skip
            accepted = sum(k for status, k in statuses.items() if status < 400)
            found.append(figure(f"wrong secrets accepted, {n} connections", accepted, "requests", bound=0, side="max",
                                n=sum(statuses.values())))  # fmt: skip
    return found


def _p99(server: Endpoint) -> float:
    """99 % quantile of requests over one connection, one after the other, in milliseconds."""
    times = []
    for _ in range(_READINGS):
        begin = time.perf_counter()
        status, _ = ask(server.port, server.send("GET", "/v1/batches"))
        assert status == 200
        times.append(1e3 * (time.perf_counter() - begin))
    return float(np.quantile(times, 0.99))


def _ready_s(server: Endpoint) -> float:
    begin = time.perf_counter()
    assert ask(server.port, request("GET", "/health/ready"))[0] == 200
    return time.perf_counter() - begin


@contextlib.contextmanager
def _attack(server: Endpoint, key_id: str, connections: int) -> Generator[Counter[int]]:
    """Connections that go on presenting wrong secrets, half for the key in use and half for its id; statuses by number."""
    statuses: Counter[int] = Counter()
    ended, counting = threading.Event(), threading.Lock()
    lookups = (server.served.key[3:15], key_id)

    def present(number: int) -> None:
        connection, i = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60), 0
        while not ended.is_set():
            i += 1
            key = f"bg_{lookups[number % 2]}_{number:06d}{i:037d}"
            try:
                connection.request("GET", "/v1/batches", headers={"authorization": f"Bearer {key}"})
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                continue
            with counting:
                statuses[answer.status] += 1
            time.sleep(0.05)  # a connection of an attacker from another machine waits for the network, too

    threads = [threading.Thread(target=present, args=(number,), daemon=True) for number in range(connections)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    try:
        yield statuses
    finally:
        ended.set()
        for thread in threads:
            thread.join(60)
