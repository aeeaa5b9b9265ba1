"""The simulated plant as an MES: what became known goes to a scoring endpoint, and a score is asked for each batch in progress.

Everything goes over the endpoint's own API, each request under an idempotency key. Readings are sent of the batches in progress
only; of the others what a batch's context is made of: their row, events, materials and dispositions.
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
from typing import Any

import pyarrow.parquet as pq

from features.errors import BatchguardError

Send = Callable[[str, str, Mapping[str, Any]], dict[str, Any]]
TABLES = ("materials", "events", "dispositions", "observations")
AT_ONCE = 5_000
_TIMEOUT_S = 30.0


class EndpointError(BatchguardError):
    """The endpoint could not be reached, or refused."""


@dataclass
class Feed:
    """What of a history folder an endpoint was told.

    Attributes:
        history: Folder of the tables.
        send: Method, path and body to the answer.
    """

    history: Path
    send: Send
    _told: dict[str, set[tuple]] = field(default_factory=dict)

    def advance(self, now_h: float) -> Iterator[dict[str, Any]]:
        """Tell what is new, then ask for the scores of the batches in progress, one after the other.

        Args:
            now_h: Time of the plant, hours since 1970.

        Raises:
            EndpointError: It could not be reached, or refused.
        """
        tables = {name: self._rows(name) for name in ("batches", *TABLES)}
        decided = {row["batch_id"] for row in tables["dispositions"]}
        running = [row["batch_id"] for row in tables["batches"] if row["batch_id"] not in decided]
        for row in self._new("batches", tables["batches"]):
            self.send("PUT", f"/v1/batches/{row['batch_id']}", _batch(row))
        for name in TABLES:
            rows = (
                tables[name] if name != "observations" else [r for r in tables[name] if r["batch_id"] in set(running)]
            )
            self._tell(name, self._new(name, rows))
        as_of = datetime.fromtimestamp(now_h * 3600.0, UTC).isoformat()
        for batch_id in running:
            yield self.send("POST", f"/v1/batches/{batch_id}/scores", {"as_of": as_of})

    def _rows(self, name: str) -> list[dict[str, Any]]:
        rows = pq.read_table(self.history / f"{name}.parquet").to_pylist()
        return [{k: _plain(v) for k, v in row.items() if v is not None and v != "" and v == v} for row in rows]

    def _new(self, name: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        told = self._told.setdefault(name, set())
        fresh = {tuple(row.items()): row for row in rows if tuple(row.items()) not in told}
        told.update(fresh)
        return list(fresh.values())

    def _tell(self, name: str, rows: list[dict[str, Any]]) -> None:
        by_batch: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            by_batch.setdefault(row["batch_id"], []).append({k: v for k, v in row.items() if k != "batch_id"})
        for batch_id, own in by_batch.items():
            for first in range(0, len(own), AT_ONCE):
                self.send("POST", f"/v1/batches/{batch_id}/observations", {name: own[first : first + AT_ONCE]})


_BATCH = frozenset({"product_id", "site_id", "process_version", "scale_l", "equipment_id", "subject_key", "started_at",
                    "planned_end_at", "origin"})  # fmt: skip


def _batch(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `batches` as the API takes it: what the contract does not name is an attribute."""
    more = {name: value for name, value in row.items() if name not in _BATCH and name != "batch_id"}
    return {name: value for name, value in row.items() if name in _BATCH} | {"attributes": more}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def sender(url: str, key: str) -> Send:
    """Sends to an endpoint with a key.

    Raises:
        EndpointError: By what it returns: no answer, or a refusal.
    """

    def send(method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        headers = {
            "authorization": f"Bearer {key}",
            "content-type": "application/json",
            "idempotency-key": str(uuid.uuid4()),
        }
        request = urllib.request.Request(url + path, json.dumps(body).encode(), headers, method=method)  # noqa: S310 - the caller's own
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - as above
                return json.load(answer)
        except urllib.error.HTTPError as error:
            said = error.read(2000).decode(errors="replace")
            if (
                error.code == 422 and '"rejections"' in said
            ):  # rows of a plant whose sensors fail: told, kept, not counted
                return json.loads(said) if said.endswith("}") else {}
            raise EndpointError(f"{method} {path}: {error.code} {said[:300]}") from None
        except OSError as error:
            raise EndpointError(
                f"{url} cannot be reached ({error})", remedy="Start it with 'batchguard serve'."
            ) from None

    return send
