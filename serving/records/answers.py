"""Answers by idempotency key: the same request gets the stored answer, another one under the same key a refusal."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, insert, select

from features.errors import BatchguardError
from serving.access.principals import Principal
from serving.audit import Actor
from serving.records.tables import answers

_FIND = select(answers).where(answers.c.principal == bindparam("who"), answers.c.key == bindparam("name"))


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
    """

    principal: Principal
    request_id: str
    key: str | None = None
    request_sha256: str = ""

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
    if call.key is None:
        return None
    found = connection.execute(_FIND, {"who": call.principal.id, "name": call.key}).one_or_none()
    if found is None:
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
        if find(connection, call) is not None:
            raise _in_flight()
        row = {
            "principal": call.principal.id, "key": call.key, "request_sha256": call.request_sha256,
            "status": answer.status, "body": answer.body.decode(), "answered_us": at_us,
        }  # fmt: skip
        connection.execute(insert(answers), row)
    return answer


def _in_flight() -> InFlightError:
    return InFlightError("the first request of this key is not answered yet", remedy="Send it again in a second.")
