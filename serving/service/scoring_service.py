"""What every request needs: the records, the memory over them, who is told, what time it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
from serving.service.engine_cache import EngineCache, EngineMaker
from serving.service.errors import NotThereError
from serving.settings import Webhook

_TIDIED = 200  # answers removed at once: a few milliseconds


@dataclass(frozen=True)
class ScoringService:
    """One endpoint.

    Attributes:
        records: Prepared.
        make_engine: Makes an empty engine over a model.
        engine_cache: The engine that scores, over the same records.
        anchor: Where the end of the audit chain is written to.
        hooks: Who is told of scores.
        max_future_us: How far ahead of the clock a row may have become known.
        clock: Microseconds UTC.
        answers_last_us: For how long an idempotency key stands for its answer.
        told: Called after events were committed.
        asking: How many may work at once on what takes longer than a score.
        stale_because: Why a newer release cannot be used, and what to do; empty: the newest one speaks.
        stale_since_us: Since when a newer release cannot be used; None: the newest one speaks.
    """

    records: Records
    make_engine: EngineMaker
    engine_cache: EngineCache
    anchor: Anchor
    hooks: Sequence[Webhook] = ()
    max_future_us: int = 300_000_000
    clock: Callable[[], int] = now_us
    answers_last_us: int = 90 * 86_400_000_000
    told: Callable[[], None] = lambda: None
    stale_since_us: Callable[[], int | None] = lambda: None
    stale_because: Callable[[], str] = lambda: ""
    asking: threading.Semaphore = field(default_factory=lambda: threading.BoundedSemaphore(2))
    in_flight: InFlight = field(default_factory=InFlight)

    def once(self, call: Call, work: Callable[[], Answer]) -> Answer:
        """The stored answer of a request that was answered before, else that of the work.

        Raises:
            KeyReusedError: The key stands for another request.
            InFlightError: The key's first request is not answered yet.
        """
        with self.in_flight.claim(call):
            found = self.answered(call)
            return work() if found is None else found

    def answered(self, call: Call) -> Answer | None:
        """The stored answer of a request that was answered before; None: it was not, or has no key.

        Raises:
            KeyReusedError: The key stands for another request.
        """
        if call.key is None:
            return None
        with self.records.read() as connection:
            return answers.find(connection, call)

    def oldest_answer_us(self) -> int:
        """Answers stored before this time do not count any more."""
        return self.clock() - self.answers_last_us

    def tidy(self) -> int:
        """Remove some of the answers whose time is over; records and the audit trail stay as they are.

        Returns:
            How many were removed.

        Raises:
            RecordsUnavailableError: They cannot be removed now.
        """
        with self.records.read() as connection:
            if not answers.any_before(connection, self.oldest_answer_us()):
                return 0  # nothing to hold the writers up for
        with self.records.write() as (connection, _):
            return answers.purge(connection, self.oldest_answer_us(), most=_TIDIED)

    def close(self) -> None:
        """Write the end of the chain to the anchor and let go of the database."""
        self.anchor.note(self.records.head(), self.clock(), at_once=True)
        self.records.close()


def visible_batch(connection: Connection, principal: Principal, batch_id: str) -> BatchRow:
    """A batch of one of the principal's sites.

    Raises:
        NotThereError: There is none; one of another site looks the same.
    """
    found = find_batch(connection, batch_id)
    if found is None or not principal.sees(found.site_id):
        raise NotThereError(f"no batch {batch_id!r}", remedy="PUT it first, or ask its site.")
    return found


def visible_score(connection: Connection, principal: Principal, score_id: str) -> Mapping[str, Any]:
    """A score of a batch of one of the principal's sites.

    Raises:
        NotThereError: There is none; one of another site looks the same.
    """
    found = find_score(connection, score_id)
    if found is None or not principal.sees(found["site_id"]):
        raise NotThereError(f"no score {score_id!r}")
    return found
