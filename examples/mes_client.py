"""A client as an MES would have it: standard library only, every request repeated safely, no score never shown as low risk.

    BATCHGUARD_KEY=bg_... python examples/mes_client.py http://127.0.0.1:8080 B-1 north glucose_mm 21.5 mmol/L

`batchguard keys add "MES north" --role mes --site north` makes the key. The client announces the batch if the endpoint does
not know it yet, sends one reading and asks for a score. Exit code 0: a score was shown; 2: none, and that was said.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

TIMEOUT_S = 5.0
WAITS_S = (0.5, 1.0, 2.0, 4.0)
AGAIN = frozenset({408, 409, 429, 502, 503, 504})  # 409 only where Retry-After says so


class NoAnswerError(Exception):
    """The endpoint could not be reached, or had no answer after all attempts."""


class RefusedError(Exception):
    """The endpoint refused; repeating the request would not help.

    Args:
        status: HTTP status.
        answer: Body of the refusal.
    """

    def __init__(self, status: int, answer: str) -> None:
        super().__init__(f"{status} {answer}")
        self.status = status


@dataclass(frozen=True)
class Client:
    """Speaks to one endpoint.

    Attributes:
        url: For example `http://127.0.0.1:8080`.
        key: API key or identity token.
    """

    url: str
    key: str

    def knows(self, batch_id: str) -> bool:
        """Whether the endpoint has the batch, at a site that the key may see."""
        try:
            self._send("GET", f"/v1/batches/{_quoted(batch_id)}/scores?limit=1")
        except RefusedError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return False
            raise
        return True

    def put_batch(self, batch_id: str, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Announce a batch, or correct what was announced."""
        return self._send("PUT", f"/v1/batches/{_quoted(batch_id)}", batch)

    def add(self, batch_id: str, **tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Send rows: `observations`, `events`, `materials`, `dispositions`."""
        return self._send("POST", f"/v1/batches/{_quoted(batch_id)}/observations", tables)

    def add_lot_results(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Send results of material lots: certificates, retests."""
        return self._send("POST", "/v1/lot-results", {"lot_results": rows})

    def add_environment(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Send samples of rooms."""
        return self._send("POST", "/v1/environment", {"environment": rows})

    def score(self, batch_id: str, as_of: str | None = None) -> dict[str, Any]:
        """Ask for a score."""
        return self._send("POST", f"/v1/batches/{_quoted(batch_id)}/scores", {"as_of": as_of} if as_of else {})

    def changes(self, score_id: str) -> dict[str, Any]:
        """What changed since the score before."""
        return self._send("GET", f"/v1/scores/{score_id}/changes")

    def what_if(self, score_id: str) -> dict[str, Any]:
        """What could still be done."""
        return self._send("GET", f"/v1/scores/{score_id}/what-if")

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One request under one idempotency key, however often it takes: it has its effect once.

        Raises:
            RefusedError: It is wrong.
            NoAnswerError: Nobody answered.
        """
        request = urllib.request.Request(  # noqa: S310 - the caller's own endpoint
            self.url + path,
            None if body is None else json.dumps(body).encode(),
            {"authorization": f"Bearer {self.key}", "content-type": "application/json",
             "idempotency-key": str(uuid.uuid4())},
            method=method,
        )  # fmt: skip
        said = "nothing"
        for wait_s in (*WAITS_S, 0.0):
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - as above
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                answered = error.read(4096).decode(errors="replace")
                if error.code not in AGAIN or (error.code == 409 and not error.headers.get("retry-after")):
                    raise RefusedError(error.code, answered) from None
                said = f"{error.code} {answered}"
            except OSError as error:
                said = str(error)
            time.sleep(wait_s)
        raise NoAnswerError(said)


def shown(score: Mapping[str, Any]) -> list[str]:
    """Lines about a score: call, risk and its interval, support, reasons. No call yet is not low: its cause is named."""
    low, high = score["interval"]
    risk = f"risk {score['failure_probability']:.1%} (90 % interval {low:.1%} to {high:.1%})"
    called = "NO CALL YET" if score["call"] == "none yet" else score["call"].upper()
    causes = f": {'; '.join(score['support_causes'])}" if score["support_causes"] else ""
    lines = [f"{score['batch_id']}: {called}, {risk}, support {score['support']}{causes}"]
    lines += [f"  no call yet because: {score['call_cause']}"] if score["call_cause"] else []
    return lines + [f"  {reason['sentence']}" for reason in score["reasons"] or ()]


def main(url: str, batch_id: str, site_id: str, parameter: str, value: str, unit: str) -> int:
    """Announce, send, ask; print what came of it."""
    client, now = Client(url, os.environ["BATCHGUARD_KEY"]), datetime.now(UTC).isoformat()
    try:
        if not client.knows(batch_id):  # a batch starts once: a later call must not move its start
            client.put_batch(batch_id, {"site_id": site_id, "started_at": now, "origin": "simulated"})
        told = client.add(
            batch_id,
            observations=[{"parameter": parameter, "observed_at": now, "value": float(value), "unit": unit}],
        )
        lines = shown(client.score(batch_id))
    except (RefusedError, NoAnswerError) as error:
        print(f"NO SCORE for {batch_id}: {error}")  # noqa: T201 - never shown as low risk
        return 2
    print("\n".join([f"{told['accepted']} row accepted", *lines]))  # noqa: T201
    return 0


def _quoted(batch_id: str) -> str:
    return urllib.parse.quote(batch_id, safe="")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:7]))
