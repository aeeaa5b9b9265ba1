"""Answers by idempotency key: the same request gets the stored answer, another one under the same key a refusal.

An answer counts for as long as the settings say; then its key is as if it had never been used, whether the row is still
there or not. Rows whose time is over go a few at a time (`purge`). What they told of stays: scores, rows, the audit trail.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, tuple_

from features.errors import BatchguardError
from serving.access.principals import Principal
from serving.audit.trail import Actor
from serving.records.tables import answers

_NAMED = (answers.c.principal == bindparam("who")) & (answers.c.key == bindparam("name"))
_FIND = select(answers).where(_NAMED)
_FORGET = delete(answers).where(_NAMED)


class KeyReusedError(BatchguardError):
    """The key stands for another request."""


class InFlightError(BatchguardError):
    """The first request of this key is not answered yet."""


@dataclass(frozen=True)
class Call:
    """One request that may change something.

    Attributes:
        principal: Who asks.
        request_id: Ours, of this request.
        key: `Idempotency-Key`; None: the request stands for itself.
        request_sha256: Digest of method, path and body.
        since_us: Answers stored before this time do not count any more.
    """

    principal: Principal
    request_id: str
    key: str | None = None
    request_sha256: str = ""
    since_us: int = 0

    def part(self, number: int) -> Call:
        """The call for one of several things that a request asks for, under a key of its own: what was done stays done."""
        if self.key is None:
            return self
        of_it = hashlib.sha256(f"{self.key}\n{number}".encode()).hexdigest()
        return replace(self, key=f"part:{of_it}")

    @property
    def actor(self) -> Actor:
        """Who the audit trail names."""
        return Actor(self.principal.id, self.principal.role, self.request_id)


@dataclass(frozen=True)
class Answer:
    """Status and JSON body of a reply; `replayed` where they were stored before."""

    status: int
    body: bytes
    replayed: bool = False


class InFlight:
    """Keys whose first request this process is working on."""

    def __init__(self) -> None:
        self._keys: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def claim(self, call: Call) -> Generator[None]:
        """Hold a call's key.

        Raises:
            InFlightError: Another thread holds it.
        """
        if call.key is None:
            yield
            return
        mine = (call.principal.id, call.key)
        with self._lock:
            if mine in self._keys:
                raise _in_flight()
            self._keys.add(mine)
        try:
            yield
        finally:
            with self._lock:
                self._keys.discard(mine)


def find(connection: Connection, call: Call) -> Answer | None:
    """The stored answer of this request.

    Raises:
        KeyReusedError: The key stands for another request.
    """
    return _counting(_stored(connection, call), call)


def _counting(found: Any, call: Call) -> Answer | None:
    """A stored answer, where it still counts."""
    if found is None or found.answered_us < call.since_us:
        return None
    if found.request_sha256 != call.request_sha256:
        raise KeyReusedError(
            "this Idempotency-Key stands for another request",
            expected="a key of its own for each request",
            remedy="Send the same body again, or a new key.",
        )
    return Answer(found.status, found.body.encode(), replayed=True)


def keep(connection: Connection, call: Call, answer: Answer, at_us: int) -> Answer:
    """Store an answer in the transaction of what it tells of.

    Raises:
        InFlightError: Another process answered this key meanwhile: this transaction has to be given up.
    """
    if call.key is not None:
        stored = _stored(connection, call)
        if _counting(stored, call) is not None:
            raise _in_flight()
        row = {
            "principal": call.principal.id, "key": call.key, "request_sha256": call.request_sha256,
            "status": answer.status, "body": answer.body.decode(), "answered_us": at_us,
        }  # fmt: skip
        if stored is not None:  # one whose time is over
            connection.execute(_FORGET, _named(call))
        connection.execute(insert(answers), row)
    return answer


def any_before(connection: Connection, before_us: int) -> bool:
    """Whether there is an answer that was stored before a time."""
    return (
        connection.execute(select(answers.c.key).where(answers.c.answered_us < before_us).limit(1)).first() is not None
    )


def purge(connection: Connection, before_us: int, *, most: int) -> int:
    """Remove answers stored before a time, the oldest first.

    Args:
        connection: A transaction that may write.
        before_us: Microseconds UTC.
        most: How many at most, so that nobody waits for long.

    Returns:
        How many were removed.
    """
    old = select(answers.c.principal, answers.c.key).where(answers.c.answered_us < before_us)
    some = connection.execute(old.order_by(answers.c.answered_us).limit(most)).all()
    if some:
        connection.execute(delete(answers).where(tuple_(answers.c.principal, answers.c.key).in_(some)))
    return len(some)


def _named(call: Call) -> dict[str, str | None]:
    return {"who": call.principal.id, "name": call.key}


def _stored(connection: Connection, call: Call) -> Any:
    return None if call.key is None else connection.execute(_FIND, _named(call)).one_or_none()


def _in_flight() -> InFlightError:
    return InFlightError("the first request of this key is not answered yet", remedy="Send it again in a second.")
