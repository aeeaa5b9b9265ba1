"""Scores: made, kept, and only then answered; and made again from what was kept."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from pydantic import JsonValue
from sqlalchemy import Connection, insert, select

from features.canonical import canonical
from features.errors import BatchguardError
from models.scoring.score import OF_VERSION, Score
from serving.access.principals import ForbiddenError
from serving.audit import chain
from serving.bundle.digests import code_digest
from serving.events import outbox
from serving.ids import iso, new_id
from serving.interfaces import Row
from serving.records import answers
from serving.records.answers import Answer, Call
from serving.records.rows import rows_between
from serving.records.scores import find_score, inline_history, said_before, score_json, superseded
from serving.records.store import Head, head_of
from serving.records.tables import inline_histories, scores
from serving.service.engine_cache import BusyError
from serving.service.errors import NotThereError, RefusedError
from serving.service.scoring_service import ScoringService, visible_batch

_INSERT = insert(scores)
History = Mapping[str, Sequence[Row]]


def score(service: ScoringService, call: Call, batch_id: str, as_of_us: int | None, *, reasons: bool = True) -> Answer:
    """Score a batch with what was available at a time, the present one where none is given.

    Args:
        service: Does the work.
        call: The caller and the idempotency key.
        batch_id: The batch.
        as_of_us: Microseconds UTC.
        reasons: Whether to compute the reasons, which take most of the time.

    Raises:
        NotThereError: There is no such batch at the principal's sites.
        RefusedError: The time lies in the future.
        UnscorableError: The batch had not started, or its snapshot cannot be read.
        RecordsUnavailableError: The score could not be kept: there is none.
    """
    return service.once(
        call, lambda: _kept(service, call, [_made(service, call, batch_id, as_of_us, reasons=reasons)]).result()
    )


def score_all(
    service: ScoringService, call: Call, asked: Callable[[], Sequence[tuple[str, int | None]]],
    rendered: Callable[[Sequence[dict[str, Any]]], bytes],
) -> Answer:  # fmt: skip
    """Score several batches: all scores are kept, in one transaction with the answer, or none is.

    Args:
        service: Does the work.
        call: The caller and the idempotency key, which is that of the whole request.
        asked: Gives batches and moments; it is called only for a request that was not answered before.
        rendered: The body of the answer, from the scores as they are kept.

    Raises:
        NotThereError, RefusedError, UnscorableError, RecordsUnavailableError: As for `score`, for any of the batches.
    """

    def work() -> Answer:
        made = [_made(service, call, *pair, reasons=True) for pair in asked()]
        return _kept(service, call, made, rendered).result()

    return service.once(call, work)


async def score_at_once(
    service: ScoringService, call: Call, batch_id: str, as_of_us: int | None, *, reasons: bool = True
) -> Answer:
    """`score` on the event loop itself: from memory alone, waiting for nothing but the commit.

    The commit finds out what `score` asks the records beforehand: whether the request was answered before, and whether rows
    of another process are there that memory has not.

    Raises:
        BusyError: That is not possible now, or the request is at fault: `score`, in a thread, does it or says why.
        KeyReusedError, InFlightError, RecordsUnavailableError: As for `score`.
    """
    with service.in_flight.claim(call):
        try:
            made = _made_at_once(service, call, batch_id, as_of_us, reasons=reasons)
        except BatchguardError as error:
            raise BusyError(error.what) from None
        return await asyncio.wrap_future(_kept(service, call, [made], at_once=True))


def score_inline(service: ScoringService, call: Call, batch_id: str, as_of_us: int | None, history: History) -> Answer:
    """Score one batch's history that comes with the request; its rows are kept with the score and nowhere else.

    Raises:
        ForbiddenError: The site is not the principal's.
        RefusedError, UnscorableError, RecordsUnavailableError: As for `score`.
    """
    return service.once(call, lambda: _score_inline(service, call, batch_id, as_of_us, history))


@dataclass(frozen=True)
class Replayed:
    """A stored score and the one made again from its rows and its model.

    Attributes:
        stored: As it is kept.
        again: As it is made now.
    """

    stored: Mapping[str, JsonValue]
    again: Mapping[str, JsonValue]

    @property
    def by_another_rule(self) -> frozenset[str]:
        """Fields that are not compared: those of a score of version 1 that another rule made, or that it did not have."""
        return frozenset() if self.stored["version"] == self.again["version"] else OF_VERSION

    @property
    def is_equal(self) -> bool:
        """Whether they are the same to the bit, but for `by_another_rule`."""
        return canonical(self._compared(self.stored)) == canonical(self._compared(self.again))

    @property
    def differing(self) -> list[str]:
        """Fields that differ."""
        names = (self.stored.keys() | self.again.keys()) - self.by_another_rule
        return sorted(name for name in names if self.stored.get(name) != self.again.get(name))

    def _compared(self, said: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        return {name: value for name, value in said.items() if name not in self.by_another_rule}


def replay(service: ScoringService, score_id: str) -> Replayed:
    """Make a score again.

    Raises:
        NotThereError: There is no such score.
        EngineError: Its model is not there.
        RecordsUnavailableError: What it rests on cannot be read.
    """
    with service.records.read() as connection:
        row = find_score(connection, score_id)
        if row is None:
            raise NotThereError(f"no score {score_id!r}")
        stored = orjson.loads(row["body"])
        engine = service.make_engine(stored["model"])
        if row["inline_sha256"] is not None:
            history = inline_history(connection, row["inline_sha256"])
            return Replayed(stored, engine.score_inline(history, row["batch_id"], row["as_of_us"]).to_json())
        engine.rebuild(rows_between(connection, 0, row["rows_seq"]))
    reasons = stored["reasons"] is not None
    return Replayed(stored, engine.score(row["batch_id"], row["as_of_us"], reasons=reasons).to_json())


@dataclass(frozen=True)
class _Made:
    """A score that is not kept yet.

    Attributes:
        score: The score.
        site_id: Site of the batch.
        as_of_us: Its moment.
        held: Number of the newest row that the engine held.
    """

    score: Score
    site_id: str
    as_of_us: int
    held: int


def _made(service: ScoringService, call: Call, batch_id: str, as_of_us: int | None, *, reasons: bool) -> _Made:
    as_of_us = _not_in_the_future(as_of_us, service.clock())
    with service.records.read() as connection:
        batch, newest = visible_batch(connection, call.principal, batch_id), head_of(connection).rows_seq
    with service.engine_cache.reading(newest) as (engine, held):
        return _Made(engine.score(batch_id, as_of_us, reasons=reasons), batch.site_id, as_of_us, held)


def _made_at_once(service: ScoringService, call: Call, batch_id: str, as_of_us: int | None, *, reasons: bool) -> _Made:
    as_of_us = _not_in_the_future(as_of_us, service.clock())
    with service.engine_cache.reading(0, waits=False) as (engine, held):
        site_id = engine.ready_site(batch_id)
        if site_id is None or not call.principal.sees(site_id):
            raise BusyError("the batch or its context has to be read first, or is not there")
        return _Made(engine.score(batch_id, as_of_us, reasons=reasons), site_id, as_of_us, held)


def _of_one(scores: Sequence[dict[str, Any]]) -> bytes:
    return canonical(scores[0])


def _kept(
    service: ScoringService, call: Call, made: Sequence[_Made],
    rendered: Callable[[Sequence[dict[str, Any]]], bytes] = _of_one, *, at_once: bool = False,
) -> Future[Answer]:  # fmt: skip
    """The answer, once it and all its scores are kept."""
    rows = [_row(service, call, one) for one in made]

    def keep(connection: Connection, now: Head) -> Answer:
        if at_once:
            found = answers.find(connection, call)
            if found is not None:
                return found
            if now.rows_seq > service.engine_cache.held:
                raise BusyError("another process has taken rows in")
        for one, row in zip(made, rows, strict=True):
            row["supersedes"] = superseded(connection, one.score.batch_id, one.as_of_us)
            _emit(service, connection, now, call, row)
            _store(connection, now, call, row)
        answer = Answer(200, rendered([score_json(row) for row in rows]))
        return answers.keep(connection, call, answer, rows[-1]["scored_us"])

    def committed(now: Head) -> None:
        service.anchor.note(now, rows[-1]["scored_us"])
        if service.hooks:
            service.on_events()

    return service.records.submit(keep, committed)


def _score_inline(service: ScoringService, call: Call, batch_id: str, as_of_us: int | None, history: History) -> Answer:
    as_of_us = _not_in_the_future(as_of_us, service.clock())
    site_id = str(history["batches"][0]["site_id"])
    if not call.principal.sees(site_id):
        raise ForbiddenError(f"site {site_id} is not one of this principal's")
    with service.engine_cache.reading() as (engine, held):
        made = _Made(engine.score_inline(history, batch_id, as_of_us), site_id, as_of_us, held)
    content, row = canonical(history), _row(service, call, made)
    row["inline_sha256"] = hashlib.sha256(content).hexdigest()
    with service.records.write() as (connection, now):
        _keep_history(connection, row["inline_sha256"], content.decode())
        _store(connection, now, call, row)
        answer = answers.keep(connection, call, Answer(200, _of_one([score_json(row)])), row["scored_us"])
    service.anchor.note(now, row["scored_us"])
    return answer


def _row(service: ScoringService, call: Call, made: _Made) -> dict[str, Any]:
    score, scored_us = made.score, service.clock()
    text = canonical(score.to_json())
    return {
        "score_id": new_id(scored_us), "batch_id": score.batch_id, "site_id": made.site_id, "as_of_us": made.as_of_us,
        "scored_us": scored_us, "rows_seq": made.held, "inline_sha256": None, "model_sha256": score.model.sha256,
        "body": text.decode(), "body_sha256": hashlib.sha256(text).hexdigest(), "supersedes": None,
        "request_id": call.request_id, "principal": call.principal.id, "model_stale_us": service.stale_since_us(),
        "code_sha256": code_digest(),
    }  # fmt: skip


def _store(connection: Connection, now: Head, call: Call, row: dict[str, Any]) -> None:
    connection.execute(_INSERT, row)
    target, new = f"score:{row['score_id']}", chain.score_digest(row)
    chain.append(connection, now, call.actor, "score", target, at_us=row["scored_us"], new=new)


def _keep_history(connection: Connection, sha256: str, content: str) -> None:
    known = select(inline_histories.c.sha256).where(inline_histories.c.sha256 == sha256)
    if connection.execute(known).one_or_none() is None:
        connection.execute(insert(inline_histories), {"sha256": sha256, "content": content})


def _emit(service: ScoringService, connection: Connection, now: Head, call: Call, row: dict[str, Any]) -> None:
    """Events of a score, before it is stored: what was said before is in the newest one stored."""
    if not service.hooks:
        return
    before = said_before(connection, row["batch_id"], row["as_of_us"])
    said = score_json(row)
    emit = partial(outbox.emit, connection, now, call.actor, service.hooks, site_id=row["site_id"], score=said,
                   at_us=row["scored_us"])  # fmt: skip
    emit("score.created")
    for name in outbox.CHANGES:
        if said.get(name) is not None and said[name] != before.get(name):
            emit(f"{name}.changed", before=before.get(name))


def _not_in_the_future(as_of_us: int | None, now_us: int) -> int:
    if as_of_us is None:
        return now_us
    if as_of_us > now_us:
        raise RefusedError(
            f"as_of {iso(as_of_us)} lies in the future",
            expected=f"a time up to {iso(now_us)}",
            remedy="Compare the clocks of the two machines.",
        )
    return as_of_us
