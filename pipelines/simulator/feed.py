"""The simulated plant as an MES: sends what became known to a scoring endpoint and scores each batch in progress.

Everything goes over the endpoint's own API, each request under an idempotency key. Readings are sent for the batches in
progress only; of the other batches their row, events, materials and dispositions, which are context of the former.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
from pydantic import BaseModel, JsonValue

from features.contracts import BATCHES
from features.errors import BatchguardError

Row = dict[str, JsonValue]
Send = Callable[[str, str, Mapping[str, JsonValue]], JsonValue]  # method, path and body to the response
TABLES = ("materials", "events", "dispositions", "observations")
ROWS_PER_REQUEST = 5_000
_TIMEOUT_S = 30.0


class EndpointError(BatchguardError):
    """The endpoint could not be reached, or refused a request."""


class Reason(BaseModel):
    """A reason of a score."""

    sentence: str


class LiveScore(BaseModel):
    """The part of a score that `--live` prints."""

    batch_id: str
    failure_probability: float
    reasons: list[Reason]


@dataclass
class Feed:
    """Sends the rows of a history folder to an endpoint, each once.

    Attributes:
        history: Folder of the tables.
        send: Sends one request.
    """

    history: Path
    send: Send
    _sent: dict[str, set[tuple]] = field(default_factory=dict)

    def advance(self, now_h: float) -> Iterator[LiveScore]:
        """Send what is new, then request the scores of the batches in progress, one after the other.

        Args:
            now_h: Time of the plant, hours since 1970.

        Raises:
            EndpointError: The endpoint could not be reached, or refused a request.
        """
        tables = {name: self._rows(name) for name in ("batches", *TABLES)}
        decided = {row["batch_id"] for row in tables["dispositions"]}
        running = [row["batch_id"] for row in tables["batches"] if row["batch_id"] not in decided]
        tables["observations"] = [row for row in tables["observations"] if row["batch_id"] in set(running)]
        for row in self._new("batches", tables["batches"]):
            self.send("PUT", f"/v1/batches/{row['batch_id']}", _batch(row))
        for name in TABLES:
            self._send_rows(name, self._new(name, tables[name]))
        as_of = datetime.fromtimestamp(now_h * 3600.0, UTC).isoformat()
        for batch_id in running:
            yield LiveScore.model_validate(self.send("POST", f"/v1/batches/{batch_id}/scores", {"as_of": as_of}))

    def _rows(self, name: str) -> list[Row]:
        rows = pq.read_table(self.history / f"{name}.parquet").to_pylist()
        return [
            {
                k: v.isoformat() if isinstance(v, datetime) else v
                for k, v in row.items()
                if v not in (None, "") and v == v
            }
            for row in rows
        ]

    def _new(self, name: str, rows: list[Row]) -> list[Row]:
        sent = self._sent.setdefault(name, set())
        fresh = {tuple(row.items()): row for row in rows if tuple(row.items()) not in sent}
        sent.update(fresh)
        return list(fresh.values())

    def _send_rows(self, name: str, rows: list[Row]) -> None:
        by_batch: dict[JsonValue, list[JsonValue]] = {}
        for row in rows:
            by_batch.setdefault(row["batch_id"], []).append({k: v for k, v in row.items() if k != "batch_id"})
        for batch_id, own in by_batch.items():
            for first in range(0, len(own), ROWS_PER_REQUEST):
                path = f"/v1/batches/{batch_id}/observations"
                self.send("POST", path, {name: own[first : first + ROWS_PER_REQUEST]})


def _batch(row: Row) -> Row:
    """A row of `batches` as the API takes it: columns that the contract does not name are attributes."""
    known = {name: value for name, value in row.items() if name in BATCHES.names and name != "batch_id"}
    return known | {"attributes": {name: value for name, value in row.items() if name not in BATCHES.names}}


def sender(url: str, key: str) -> Send:
    """A function that sends one request to an endpoint, authorised by an API key.

    It raises `EndpointError` where the endpoint cannot be reached or refuses. Rejected rows are no error: sensors of a
    plant fail, and the endpoint keeps such rows apart.
    """

    def send(method: str, path: str, body: Mapping[str, JsonValue]) -> JsonValue:
        headers = {
            "authorization": f"Bearer {key}",
            "content-type": "application/json",
            "idempotency-key": str(uuid.uuid4()),
        }
        request = urllib.request.Request(url + path, json.dumps(body).encode(), headers, method=method)  # noqa: S310 - the caller's own
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310 - as above
                return json.load(response)
        except urllib.error.HTTPError as error:
            text = error.read(2000).decode(errors="replace")
            if error.code == 422 and '"rejections"' in text:
                return None
            raise EndpointError(f"{method} {path}: {error.code} {text[:300]}") from None
        except OSError as error:
            raise EndpointError(
                f"{url} cannot be reached ({error})", remedy="Start it with 'batchguard serve'."
            ) from None

    return send
