"""The endpoint of a place, in a process of its own, filled with one batch."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.serving.http import ask, request
from benchmarks.serving.place import ASKED_H, HOUR_US, Folders, batch, observations
from benchmarks.serving.process import Served, free_port
from serving.access.keys import add_key
from serving.audit.chain import Actor
from serving.commands import RecordsAdmin
from serving.ids import iso, now_us


@dataclass(frozen=True)
class Endpoint:
    """A running endpoint and a batch `B1` in it that started four days ago."""

    served: Served
    started_us: int

    @property
    def port(self) -> int:
        return self.served.port

    def send(self, method: str, path: str, content: object = None, **headers: str) -> bytes:
        """A request by the MES."""
        body = b"" if content is None else json.dumps(content).encode()
        return request(method, path, body, {"authorization": f"Bearer {self.served.key}"} | headers)

    def score(self, i: int = 0, *, reasons: bool = True) -> bytes:
        """A request for the score at a moment of its own."""
        wanted = {"as_of": iso(self.started_us + ASKED_H * HOUR_US + i), "reasons": reasons}
        return self.send("POST", "/v1/batches/B1/scores", wanted)

    def fill(self, first_h: int, n_hours: int) -> int:
        """Send readings of all parameters, an hour a call; how many rows."""
        rows = 0
        for hour in range(first_h, first_h + n_hours):
            sent = observations(self.started_us, hour * 60, 60, np.random.default_rng(hour))
            status, told = ask(self.port, self.send("POST", "/v1/batches/B1/observations", {"observations": sent}))
            assert (status, told["accepted"]) == (200, len(sent)), told
            rows += len(sent)
        return rows


@contextlib.contextmanager
def endpoint(
    place: Folders,
    records: Path | str,
    config: str = "",
    *,
    models: Path | None = None,
    prelude: str = "",
    process_id: str = "bench",
    **environment: str,
) -> Generator[Endpoint]:
    """Start one over a fresh database.

    Args:
        place: Its bundles and its data directory.
        records: File of SQLite, or URL.
        config: More settings.
        models: Other bundles than the place's, released already.
        prelude: Python that its process runs first.
        process_id: The process that it serves.
        environment: More variables of its process.
    """
    url = records if isinstance(records, str) else f"sqlite:///{records}"
    (place.data_dir / "endpoint.toml").write_text(f'records_url = "{url}"\n' + config)
    with RecordsAdmin(place.data_dir) as admin:
        _, key = add_key(admin.records, name="MES", kind="service", role="mes", sites=["*"], expires_us=None,
                         actor=Actor("bench", "operator", "bench"))  # fmt: skip
        if models is None:
            place.release_first(admin.records)
    served = Served(
        place.data_dir, models or place.bundles, free_port(), key, environment, prelude=prelude, process_id=process_id
    )
    served.start()
    found = Endpoint(served, now_us() - 96 * HOUR_US)
    try:
        status, _ = ask(found.port, found.send("PUT", "/v1/batches/B1", batch(found.started_us)))
        assert status == 201
        yield found
    finally:
        served.stop()
