"""The state that every request needs: records, engine, models, webhooks, clock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sqlalchemy import Connection

from serving.access.principals import Principal
from serving.audit.anchor import Anchor
from serving.ids import now_us
from serving.records import answers
from serving.records.answers import Answer, Call, InFlight
from serving.records.rows import BatchRow, find_batch
from serving.records.scores import find_score
from serving.records.store import Records
from serving.records.writable import WritableCheck
from serving.service.engine_cache import EngineCache, EngineMaker, Staleness
from serving.service.errors import NotThereError
from serving.settings import Webhook

PURGED_AT_ONCE = 200  # answers of one transaction, which takes a few milliseconds


@dataclass(frozen=True)
class ScoringService:
    """One endpoint.

    Attributes:
        records: Prepared.
        make_engine: Makes an empty engine over a model.
        engine_cache: The engine that scores, over the same records.
        anchor: Notes the end of the audit chain.
        hooks: Webhooks that receive events.
        max_future_us: How far ahead of the clock a row may have become known.
        clock: Microseconds UTC.
        answer_ttl_us: How long an idempotency key stands for its answer.
        on_events: Called after events were committed.
        staleness: Whether a newer release cannot be used; `serving.model_releases` updates it.
        query_slots: How many queries that take longer than a score may run at once.
        in_flight: Idempotency keys of requests in progress.
        writable: Whether something can be stored; None: the records alone are checked.
    """

    records: Records
    make_engine: EngineMaker
    engine_cache: EngineCache
    anchor: Anchor
    hooks: Sequence[Webhook] = ()
    max_future_us: int = 300_000_000
    clock: Callable[[], int] = now_us
    answer_ttl_us: int = 90 * 86_400_000_000
    on_events: Callable[[], None] = lambda: None
    staleness: Staleness = field(default_factory=Staleness)
    query_slots: threading.Semaphore = field(default_factory=lambda: threading.BoundedSemaphore(2))
    in_flight: InFlight = field(default_factory=InFlight)
    writable: WritableCheck | None = None

    @cached_property
    def disk(self) -> WritableCheck:
        """Whether something can be stored."""
        return self.writable or WritableCheck(self.records)

    def once(self, call: Call, work: Callable[[], Answer]) -> Answer:
        """The stored answer of a repeated request, else the answer of the work.

        Raises:
            KeyReusedError: The key belongs to another request.
            InFlightError: The first request of the key is in progress.
        """
        with self.in_flight.claim(call):
            if call.key is None:
                return work()
            with self.records.read() as connection:
                found = answers.find(connection, call)
            return work() if found is None else found

    def stale_since_us(self) -> int | None:
        """Since when a newer release cannot be used, microseconds UTC; None: the serving model is the newest."""
        return self.staleness.since_us

    def oldest_answer_us(self) -> int:
        """Answers stored before this time have expired."""
        return self.clock() - self.answer_ttl_us

    def purge_expired(self) -> int:
        """Remove some expired answers; all other records stay.

        Returns:
            How many were removed.

        Raises:
            RecordsUnavailableError: They cannot be removed now.
        """
        with self.records.read() as connection:
            if not answers.any_before(connection, self.oldest_answer_us()):
                return 0  # without the lock of writers
        with self.records.write() as (connection, _):
            return answers.purge(connection, self.oldest_answer_us(), most=PURGED_AT_ONCE)

    def close(self) -> None:
        """Note the end of the chain in the anchor and close the records."""
        self.anchor.note(self.records.head(), self.clock(), at_once=True)
        self.records.close()


def visible_batch(connection: Connection, principal: Principal, batch_id: str) -> BatchRow:
    """A batch of one of the principal's sites.

    Raises:
        NotThereError: There is none, or it is at another site, which looks the same.
    """
    found = find_batch(connection, batch_id)
    if found is None or not principal.sees(found.site_id):
        raise NotThereError(f"no batch {batch_id!r}", remedy="PUT it first, or use a key of its site.")
    return found


def visible_score(connection: Connection, principal: Principal, score_id: str) -> Mapping[str, Any]:
    """A score of a batch at one of the principal's sites.

    Raises:
        NotThereError: There is none, or it is of another site, which looks the same.
    """
    found = find_score(connection, score_id)
    if found is None or not principal.sees(found["site_id"]):
        raise NotThereError(f"no score {score_id!r}")
    return found
