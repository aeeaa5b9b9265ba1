"""Answers by idempotency key: a repeated request gets the stored answer, another request under the same key is refused.

An answer is valid for as long as the settings say; an expired key counts as never used, whether its row is still there or
not. `purge` removes expired rows a few at a time; scores, rows and the audit trail stay.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator
from dataclasses import dataclass

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, tuple_

from features.errors import BatchguardError
from serving.access.principals import Principal
from serving.audit.chain import Actor
from serving.records.tables import answers

_OWN = (answers.c.principal == bindparam("own_principal")) & (answers.c.key == bindparam("own_key"))
_FIND = select(answers).where(_OWN)
_DELETE = delete(answers).where(_OWN)


class KeyReusedError(BatchguardError):
    """The key belongs to another request."""


class InFlightError(BatchguardError):
    """The first request of this key is not answered yet."""


@dataclass(frozen=True)
class Call:
    """One request that may change the records.

    Attributes:
        principal: Sender of the request.
        request_id: Id that the endpoint gave the request.
        key: `Idempotency-Key`; None: the answer is not stored.
        request_sha256: Digest of method, path and body.
        since_us: Answers stored before this time have expired.
    """

    principal: Principal
    request_id: str
    key: str | None = None
    request_sha256: str = ""
    since_us: int = 0

    @property
    def actor(self) -> Actor:
        """The actor for the audit trail."""
        return Actor(self.principal.id, self.principal.role, self.request_id)


@dataclass(frozen=True)
class Answer:
    """Status and JSON body of a reply; `replayed` if an earlier request got the same."""

    status: int
    body: bytes
    replayed: bool = False


class InFlight:
    """Keys whose first request is still in progress in this process."""

    def __init__(self) -> None:
        self._keys: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def claim(self, call: Call) -> Generator[None]:
        """Hold the key of a call.

        Raises:
            InFlightError: Another thread holds it.
        """
        if call.key is None:
            yield
            return
        own = (call.principal.id, call.key)
        with self._lock:
            if own in self._keys:
                raise _in_flight()
            self._keys.add(own)
        try:
            yield
        finally:
            with self._lock:
                self._keys.discard(own)


def find(connection: Connection, call: Call) -> Answer | None:
    """The stored answer of a request; None if there is none, or it has expired.

    Raises:
        KeyReusedError: The key belongs to another request.
    """
    return _valid(_stored(connection, call), call)


def _valid(found: Row | None, call: Call) -> Answer | None:
    if found is None or found.answered_us < call.since_us:
        return None
    if found.request_sha256 != call.request_sha256:
        raise KeyReusedError(
            "this Idempotency-Key was used for another request",
            expected="a key of its own for each request",
            remedy="Send the same body again, or a new key.",
        )
    return Answer(found.status, found.body.encode(), replayed=True)


def keep(connection: Connection, call: Call, answer: Answer, at_us: int) -> Answer:
    """Store an answer in the transaction of the records that it reports.

    Raises:
        InFlightError: Another process answered this key meanwhile: this transaction has to be rolled back.
    """
    if call.key is not None:
        stored = _stored(connection, call)
        if _valid(stored, call) is not None:
            raise _in_flight()
        row = {
            "principal": call.principal.id, "key": call.key, "request_sha256": call.request_sha256,
            "status": answer.status, "body": answer.body.decode(), "answered_us": at_us,
        }  # fmt: skip
        if stored is not None:  # it has expired
            connection.execute(_DELETE, _own(call))
        connection.execute(insert(answers), row)
    return answer


def any_before(connection: Connection, before_us: int) -> bool:
    """Whether an answer was stored before a time."""
    expired = select(answers.c.key).where(answers.c.answered_us < before_us).limit(1)
    return connection.execute(expired).first() is not None


def purge(connection: Connection, before_us: int, *, most: int) -> int:
    """Remove answers stored before a time, the oldest first.

    Args:
        connection: A transaction that may write.
        before_us: Microseconds UTC.
        most: Maximum number, which bounds how long other writers wait.

    Returns:
        How many were removed.
    """
    old = select(answers.c.principal, answers.c.key).where(answers.c.answered_us < before_us)
    some = connection.execute(old.order_by(answers.c.answered_us).limit(most)).all()
    if some:
        connection.execute(delete(answers).where(tuple_(answers.c.principal, answers.c.key).in_(some)))
    return len(some)


def _own(call: Call) -> dict[str, str | None]:
    return {"own_principal": call.principal.id, "own_key": call.key}


def _stored(connection: Connection, call: Call) -> Row | None:
    return None if call.key is None else connection.execute(_FIND, _own(call)).one_or_none()


def _in_flight() -> InFlightError:
    return InFlightError("the first request of this key is not answered yet", remedy="Send it again in a second.")
