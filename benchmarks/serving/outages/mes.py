"""An MES under outages: it repeats each request under its key until it is answered; what it was told is held against the records."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from benchmarks.serving.place import HOUR_US, NAMES
from benchmarks.serving.server import Endpoint
from serving.ids import iso

PATIENCE_S = 60.0
_NUMBERS = itertools.count()  # each client has readings of its own
_PER_PARAMETER = 15_000


@dataclass
class Client:
    """One connection's worth of an MES, and everything that it was told.

    Attributes:
        pace_s: Seconds between a score and the next reading.
        scores: Answered scores by id.
        readings: Readings that were accepted: parameter, time, value.
        statuses: Answers by status.
        answered_s: When each request was answered with 200, monotonic.
        cut: Keys of requests that were sent and whose connection broke before the answer.
        hurried: Answers 503 without `retry-after`.
        gave_up: Requests without an answer for a minute.
    """

    endpoint: Endpoint
    pace_s: float = 0.0
    number: int = field(default_factory=lambda: next(_NUMBERS))
    scores: dict[str, dict] = field(default_factory=dict)
    readings: list[tuple[str, str, float]] = field(default_factory=list)
    statuses: Counter = field(default_factory=Counter)
    answered_s: list[float] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    hurried: int = 0
    gave_up: int = 0

    def work(self, stop: threading.Event) -> None:
        """A reading and a score, again and again."""
        parameter, first = NAMES[self.number % len(NAMES)], self.number // len(NAMES) * _PER_PARAMETER
        as_of = iso(self.endpoint.started_us + 95 * HOUR_US)
        for i in itertools.count():
            if stop.is_set():
                return
            at, value = iso(self.endpoint.started_us + (first + i) * 1_000_000), round(36.5 + i % 997 / 1000, 3)
            reading = {"parameter": parameter, "observed_at": at, "value": value, "unit": "1"}
            taken = self._told("/v1/batches/B1/observations", {"observations": [reading]})
            if taken is not None and taken["accepted"]:
                self.readings.append((parameter, at, value))
            told = self._told("/v1/batches/B1/scores", {"as_of": as_of})
            if told is not None:
                self.scores[told["score_id"]] = told
            time.sleep(self.pace_s)

    def _told(self, path: str, content: object) -> dict | None:
        """The answer, after as many attempts as it takes; None after a minute of none."""
        key, deadline = str(uuid.uuid4()), time.monotonic() + PATIENCE_S
        headers = {"authorization": f"Bearer {self.endpoint.served.key}", "idempotency-key": key,
                   "content-type": "application/json"}  # fmt: skip
        while time.monotonic() < deadline:
            status, told, wait = self._attempt(path, json.dumps(content).encode(), headers)
            if status == 200:
                self.answered_s.append(time.monotonic())
                return told
            time.sleep(min(wait, 0.1))  # less than it was asked to: an impatient client
        self.gave_up += 1
        return None

    def _attempt(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict | None, float]:
        connection, sent = http.client.HTTPConnection("127.0.0.1", self.endpoint.port, timeout=15), False
        try:
            connection.request("POST", path, body, headers)
            sent = True
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            if sent:
                self.cut.append(headers["idempotency-key"])
            return 0, None, 0.05
        finally:
            connection.close()
        self.statuses[answer.status] += 1
        self.hurried += answer.status == 503 and answer.getheader("retry-after") is None
        return answer.status, json.loads(content), float(answer.getheader("retry-after") or 0.05)


@dataclass(frozen=True)
class Told:
    """What all clients of one outage were told.

    Attributes:
        recovery_s: Time from the end of each outage to the next answer.
    """

    clients: list[Client]
    recovery_s: list[float]

    @property
    def scores(self) -> dict[str, dict]:
        """Scores by id."""
        return {score_id: told for client in self.clients for score_id, told in client.scores.items()}

    @property
    def readings(self) -> list[tuple[str, str, float]]:
        """Accepted readings."""
        return [reading for client in self.clients for reading in client.readings]

    @property
    def statuses(self) -> dict[int, int]:
        """Answers by status."""
        return dict(sorted(sum((client.statuses for client in self.clients), Counter()).items()))

    def count(self, name: str) -> int:
        """Sum of a number of all clients."""
        return sum(getattr(client, name) for client in self.clients)


def under(
    found: Endpoint,
    breaks: Callable[[list[Client]], None],
    times: int,
    *,
    pause_s: float = 0.3,
    n_clients: int = 2,
    pace_s: float = 0.0,
) -> Told:
    """Clients work while something breaks and is mended so many times.

    Args:
        found: A running endpoint.
        breaks: Breaks and mends; it sees the clients.
        times: How often.
        pause_s: Seconds of work before each time.
        n_clients: How many work at once.
        pace_s: Seconds between a score of a client and its next reading.
    """
    recovery = []
    with _at_work([Client(found, pace_s) for _ in range(n_clients)]) as clients:
        for _ in range(times):
            time.sleep(pause_s)
            breaks(clients)
            recovery.append(_until_answered(clients))
        time.sleep(0.3)
    return Told(clients, recovery)


@contextlib.contextmanager
def _at_work(clients: list[Client]) -> Generator[list[Client]]:
    stop = threading.Event()
    threads = [threading.Thread(target=client.work, args=(stop,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield clients
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _until_answered(clients: list[Client]) -> float:
    """Seconds until each client has an answer again; at most a minute."""
    begin = time.monotonic()
    while time.monotonic() - begin < PATIENCE_S:
        if all(client.answered_s and client.answered_s[-1] > begin for client in clients):
            return max(next(at for at in client.answered_s if at > begin) for client in clients) - begin
        time.sleep(0.01)
    return PATIENCE_S
