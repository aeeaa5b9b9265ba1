"""Events out: written in the transaction of the score they tell of, delivered at least once afterwards.

Deliveries are signed as in the Standard Webhooks specification: headers `webhook-id`, `webhook-timestamp` and
`webhook-signature: v1,base64(HMAC-SHA-256(secret, id.timestamp.body))`. A receiver drops an id it has seen.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
import structlog
from sqlalchemy import Connection, insert, select, update

from features.canonical import canonical
from features.errors import BatchguardError
from serving.access.principals import ALL_SITES
from serving.events.b2mml import work_alert
from serving.ids import iso, new_id, now_us
from serving.records.store import Records
from serving.records.tables import deliveries, events_out
from serving.settings import Webhook

MAX_ATTEMPTS = 20  # with the waits below: about three days
_FIRST_WAIT_S, _LONGEST_WAIT_S = 2.0, 6 * 3600.0
_AT_ONCE = 20
_log = structlog.get_logger("batchguard.outbox")


def emit(
    connection: Connection,
    hooks: Sequence[Webhook],
    kind: str,
    *,
    site_id: str,
    score: Mapping[str, Any],
    at_us: int,
    before: str | None = None,
) -> None:
    """Put an event where the delivery finds it, in the transaction of the score; nothing where nobody listens."""
    wanted = [h.name for h in hooks if kind in h.events and (ALL_SITES in h.sites or site_id in h.sites)]
    if not wanted:
        return
    event_id = new_id(at_us)
    payload = {"version": 1, "kind": kind, "at": iso(at_us), "score": score}
    if kind == "decision.changed":
        payload["decision_before"] = before
    event = {
        "event_id": event_id,
        "kind": kind,
        "site_id": site_id,
        "payload": canonical(payload).decode(),
        "made_us": at_us,
    }
    connection.execute(insert(events_out), event)
    connection.execute(
        insert(deliveries),
        [{"event_id": event_id, "webhook": name, "attempts": 0, "next_us": at_us, "delivered_us": None, "error": ""}
         for name in wanted],
    )  # fmt: skip


def wait_s(attempts: int) -> float:
    """Seconds until the next attempt: doubled after each, at most six hours."""
    return min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** (attempts - 1))


def signature(secret: bytes, event_id: str, timestamp_s: int, body: bytes) -> str:
    """Header that shows who sent it and that nobody changed it."""
    signed = b".".join([event_id.encode(), str(timestamp_s).encode(), body])
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


class Sender(Protocol):
    """Posts a body; anything but a status from 200 to 299 counts as not delivered."""

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Status of the answer.

        Raises:
            OSError: There was none.
        """
        ...


@dataclass(frozen=True)
class Receiver:
    """A webhook with its secret."""

    hook: Webhook
    secret: bytes


class WebhookDispatcher:
    """Delivers what waits. Several may run beside each other: an event then comes twice at worst.

    Args:
        records: Where events wait.
        receivers: By name of the webhook.
        send: Posts a body.
        clock: Microseconds UTC.
    """

    def __init__(
        self, records: Records, receivers: Sequence[Receiver], send: Sender, clock: Callable[[], int] = now_us
    ) -> None:
        self._records, self._send, self._clock = records, send, clock
        self._receivers = {receiver.hook.name: receiver for receiver in receivers}
        self._stop = threading.Event()
        self._news = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, idle_s: float = 5.0) -> None:
        """Deliver in a thread of its own until `stop`."""
        if self._receivers and self._thread is None:
            self._thread = threading.Thread(target=self._run, args=(idle_s,), name="outbox", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """There is something new."""
        self._news.set()

    def stop(self) -> None:
        """End the thread; what waits is delivered after the next start."""
        self._stop.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def deliver_due(self) -> int:
        """Try everything whose time has come, once.

        Returns:
            How many were tried.

        Raises:
            RecordsUnavailableError: The records cannot be used now.
        """
        now = self._clock()
        wanted = select(deliveries.c.event_id, deliveries.c.webhook, deliveries.c.attempts, events_out.c.payload)
        due = (
            wanted.join(events_out, events_out.c.event_id == deliveries.c.event_id)
            .where(deliveries.c.next_us <= now, deliveries.c.webhook.in_(list(self._receivers)))
            .order_by(deliveries.c.next_us, deliveries.c.event_id)
            .limit(_AT_ONCE)
        )
        with self._records.read() as connection:
            found = connection.execute(due).all()
        for row in found:
            if self._stop.is_set():
                break
            error = self._try(self._receivers[row.webhook], row.event_id, row.payload)
            self._note(row.event_id, row.webhook, row.attempts + 1, error)
        return len(found)

    def _try(self, receiver: Receiver, event_id: str, payload: str) -> str:
        """Empty where it was delivered, else why not; never what was sent or answered."""
        hook, timestamp = receiver.hook, self._clock() // 1_000_000
        body = work_alert(event_id, orjson.loads(payload)) if hook.format == "b2mml" else payload.encode()
        headers = {
            "content-type": "application/xml" if hook.format == "b2mml" else "application/json",
            "webhook-id": event_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(receiver.secret, event_id, timestamp, body),
        }
        try:
            status = self._send(hook.url, body, headers)
        except OSError as error:
            return type(error).__name__
        return "" if 200 <= status <= 299 else f"status {status}"

    def _note(self, event_id: str, webhook: str, attempts: int, error: str) -> None:
        now = self._clock()
        given_up = bool(error) and attempts >= MAX_ATTEMPTS
        values: dict[str, Any] = {
            "attempts": attempts,
            "error": error,
            "delivered_us": None if error else now,
            "next_us": None if not error or given_up else now + round(1e6 * wait_s(attempts)),
        }
        where = (deliveries.c.event_id == event_id) & (deliveries.c.webhook == webhook)
        with self._records.write() as (connection, _):
            connection.execute(update(deliveries).where(where).values(**values))
        if error:
            _log.warning(
                "not delivered", webhook=webhook, event_id=event_id, attempts=attempts, error=error, given_up=given_up
            )

    def _run(self, idle_s: float) -> None:
        while not self._stop.is_set():
            self._news.clear()
            try:
                tried = self.deliver_due()
            except BatchguardError as error:
                _log.warning("outbox waits", error=str(error))
                tried = 0
            if not tried:
                self._news.wait(idle_s)
