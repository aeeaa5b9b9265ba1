"""Delivers events to webhooks at least once, signed as in the Standard Webhooks specification.

The headers are `webhook-id`, `webhook-timestamp` and `webhook-signature: v1,base64(HMAC-SHA-256(secret,
id.timestamp.body))`. A receiver drops an id that it has seen.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias
from urllib.parse import urlsplit

import orjson
import structlog
from sqlalchemy import ColumnElement, select, update

from features.errors import BatchguardError
from serving.audit import chain
from serving.audit.chain import Actor
from serving.events.b2mml import work_alert
from serving.ids import now_us
from serving.records.store import Records
from serving.records.tables import deliveries, events_out
from serving.settings import Webhook

Sender: TypeAlias = Callable[[str, bytes, Mapping[str, str]], int]
"""Posts a body with headers to a URL and returns the status of the answer; raises OSError if there is none."""

TIMEOUT_S = 5.0
MAX_ATTEMPTS = 20  # with the waits below: about three days
_FIRST_WAIT_S, _LONGEST_WAIT_S = 2.0, 6 * 3600.0
_CHUNK = 20
_OUTBOX = Actor("system:outbox", "service", "")
_log = structlog.get_logger("batchguard.outbox")


def wait_s(attempts: int) -> float:
    """Seconds until the next attempt: doubled after each, at most six hours."""
    return min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** (attempts - 1))


def _is_due(now_us: int) -> ColumnElement[bool]:
    """A first attempt, or one whose time has come; no attempt lies further ahead unless the clock was set back."""
    longest = now_us + round(1e6 * _LONGEST_WAIT_S)
    first = (deliveries.c.attempts == 0) & deliveries.c.next_us.is_not(None)
    return first | (deliveries.c.next_us <= now_us) | (deliveries.c.next_us > longest)


def signature(secret: bytes, event_id: str, timestamp_s: int, body: bytes) -> str:
    """Header `webhook-signature` of a delivery."""
    signed = b".".join([event_id.encode(), str(timestamp_s).encode(), body])
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


class WebhookDispatcher:
    """Delivers stored events. Several dispatchers may run side by side: an event is then delivered twice at worst.

    Args:
        records: Hold the events.
        receivers: Webhooks, each with the secret that signs its deliveries.
        send: Posts a body.
        clock: Microseconds UTC.
    """

    def __init__(
        self,
        records: Records,
        receivers: Sequence[tuple[Webhook, bytes]],
        send: Sender,
        clock: Callable[[], int] = now_us,
    ) -> None:
        self._records, self._send, self._clock = records, send, clock
        self._receivers = {hook.name: (hook, secret) for hook, secret in receivers}
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, idle_s: float = 5.0) -> None:
        """Deliver in a thread of its own until `stop`."""
        if self._receivers and self._thread is None:
            self._thread = threading.Thread(target=self._run, args=(idle_s,), name="outbox", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Deliver now: new events were committed."""
        self._wake.set()

    def stop(self) -> None:
        """End the thread; remaining events are delivered after the next start."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def deliver_due(self) -> int:
        """Try every delivery that is due, once.

        Returns:
            How many were tried.

        Raises:
            RecordsUnavailableError: The records cannot be used now.
        """
        now = self._clock()
        columns = select(deliveries.c.event_id, deliveries.c.webhook, deliveries.c.attempts, events_out.c.payload)
        due = (
            columns.join(events_out, events_out.c.event_id == deliveries.c.event_id)
            .where(_is_due(now), deliveries.c.webhook.in_(list(self._receivers)))
            .order_by(deliveries.c.event_id)  # which rise, whatever the clock does
            .limit(_CHUNK)
        )
        with self._records.read() as connection:
            found = connection.execute(due).all()
        for row in found:
            if self._stop.is_set():
                break
            error = self._try(*self._receivers[row.webhook], row.event_id, row.payload)
            self._record(row.event_id, row.webhook, row.attempts + 1, error)
        return len(found)

    def _try(self, hook: Webhook, secret: bytes, event_id: str, payload: str) -> str:
        """The error, empty if delivered; it repeats nothing of the body or the answer."""
        timestamp = self._clock() // 1_000_000
        body = work_alert(event_id, orjson.loads(payload)) if hook.format == "b2mml" else payload.encode()
        headers = {
            "content-type": "application/xml" if hook.format == "b2mml" else "application/json",
            "webhook-id": event_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(secret, event_id, timestamp, body),
        }
        try:
            status = self._send(hook.url, body, headers)
        except OSError as error:
            return type(error).__name__
        return "" if 200 <= status <= 299 else f"status {status}"

    def _record(self, event_id: str, webhook: str, attempts: int, error: str) -> None:
        now = self._clock()
        given_up = bool(error) and attempts >= MAX_ATTEMPTS
        values: dict[str, int | str | None] = {
            "attempts": attempts,
            "error": error,
            "delivered_us": None if error else now,
            "next_us": None if not error or given_up else now + round(1e6 * wait_s(attempts)),
        }
        where = (deliveries.c.event_id == event_id) & (deliveries.c.webhook == webhook)
        with self._records.write() as (connection, head):
            connection.execute(update(deliveries).where(where).values(**values))
            chain.append(connection, head, _OUTBOX, "delivery", f"event:{event_id}", at_us=now,
                         new={"event_id": event_id, "webhook": webhook} | values)  # fmt: skip
        if error:
            _log.warning(
                "not delivered", webhook=webhook, event_id=event_id, attempts=attempts, error=error, given_up=given_up
            )

    def _run(self, idle_s: float) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                tried = self.deliver_due()
            except BatchguardError as error:
                _log.warning("delivery postponed", error=str(error))
                tried = 0
            if not tried:
                self._wake.wait(idle_s)


def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """Send a body and return the status of the answer: bounded in time, no redirect, no proxy.

    Raises:
        OSError: No connection, no certificate that can be trusted, no answer in time, or no HTTP.
    """
    parts = urlsplit(url)
    target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_S)
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(parts.netloc, timeout=TIMEOUT_S, context=context)
    try:
        connection.request("POST", target, body, dict(headers))
        return connection.getresponse().status
    except http.client.HTTPException as error:
        raise OSError(type(error).__name__) from error
    finally:
        connection.close()
