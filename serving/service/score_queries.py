"""Queries about a stored score: what changed since the score before, and the smallest change that ends the alarm.

The answers are computed on request, from the rows that the score rests on and by the model that made it, and are not kept.
If no later row could have counted at the score's moment, the engine in memory gives the snapshot; else the snapshot is made
again from the stored rows, of the whole plant but for the readings of other batches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import orjson
from pydantic import Field
from sqlalchemy import Connection

from models.explain.changes import Changes
from models.explain.what_if import WhatIf
from serving.access.principals import Principal
from serving.ids import iso, microseconds
from serving.interfaces import Engine, EngineError, SnapshotView, StoredRow, UnscorableError
from serving.records.rows import first_seqs, rows_about
from serving.records.scores import inline_history, score_before
from serving.service.errors import ConflictError, ModelGoneError, RefusedError, TooManyError
from serving.service.row_validation import known_us
from serving.service.scoring_service import ScoringService, visible_score

Score = Mapping[str, Any]


@dataclass(frozen=True)
class ScoreNamed:
    """A score by its id, with its probability."""

    score_id: str
    batch_id: str
    as_of: str
    failure_probability: float
    model_sha256: str


@dataclass(frozen=True)
class ScoreChanges(ScoreNamed):
    """What changed since an earlier score: `points` of the rows sum to the change of the risk, in percentage points."""

    since: Annotated[ScoreNamed | None, Field(description="The earlier score; null: there is none")]
    changes: Annotated[Changes | None, Field(description="`hours`, `before`, `probability`, `rows`, `sentence`")]


@dataclass(frozen=True)
class ScoreWhatIf(ScoreNamed):
    """What could still be done: `changes`, smallest first; what was `left_out`, and why; a `sentence`."""

    what_if: WhatIf


def changes(service: ScoringService, principal: Principal, score_id: str, since: str | None) -> ScoreChanges:
    """What changed since the score before, or since a given one, parameter by parameter.

    Raises:
        NotThereError: There is no such score at the principal's sites.
        RefusedError: The two are not of one batch, or not in order of time.
        ModelGoneError: The model that made the score is not here any more.
        TooManyError: Others are asking.
    """
    with _turn(service):
        with service.records.read() as connection:
            score = visible_score(connection, principal, score_id)
            held = score["inline_sha256"] is None
            earlier = score_before(connection, score) if held and since is None else None
            if since is not None:
                earlier = _comparable(score, visible_score(connection, principal, since))
        if earlier is None:
            return ScoreChanges(**vars(_named(score)), since=None, changes=None)
        views = _Views(service, score)
        found = {row["score_id"]: views.of(row) for row in sorted((earlier, score), key=lambda row: row["rows_seq"])}
        moved = found[score["score_id"]].changes_since(found[earlier["score_id"]])
        return ScoreChanges(**vars(_named(score)), since=_named(earlier), changes=moved)


def what_if(service: ScoringService, principal: Principal, score_id: str) -> ScoreWhatIf:
    """The smallest change of what can still be changed that would end the alarm, or that there is none.

    Raises:
        NotThereError: There is no such score at the principal's sites.
        ModelGoneError: The model that made the score is not here any more.
        TooManyError: Others are asking.
    """
    with _turn(service):
        with service.records.read() as connection:
            score = visible_score(connection, principal, score_id)
        found = _Views(service, score).of(score).what_if()
        return ScoreWhatIf(**vars(_named(score)), what_if=found)


@contextlib.contextmanager
def _turn(service: ScoringService) -> Generator[None]:
    """Not all threads of the endpoint may work on such questions: scores come first."""
    if not service.query_slots.acquire(blocking=False):
        raise TooManyError("others are asking what takes longer than a score", remedy="Ask again in a second.")
    try:
        yield
    finally:
        service.query_slots.release()


def _comparable(score: Score, earlier: Score) -> Score:
    if score["batch_id"] != earlier["batch_id"] or score["site_id"] != earlier["site_id"]:
        raise RefusedError("the two scores are of different batches", expected="scores of one batch")
    if score["inline_sha256"] is not None or earlier["inline_sha256"] is not None:
        raise RefusedError("a history that came along has no score before it", expected="scores of a batch held here")
    if earlier["as_of_us"] > score["as_of_us"]:
        raise RefusedError(
            f"score {earlier['score_id']} speaks of a later time", expected=f"one up to {iso(score['as_of_us'])}"
        )
    return earlier


def _named(score: Score) -> ScoreNamed:
    probability = orjson.loads(score["body"])["failure_probability"]
    return ScoreNamed(score["score_id"], score["batch_id"], iso(score["as_of_us"]), probability, score["model_sha256"])


class _Views:
    """Snapshots that scores rest on, by the model of one of them.

    Args:
        service: Holds records, memory and models.
        score: Its model is used for all.
    """

    def __init__(self, service: ScoringService, score: Score) -> None:
        self._service, self._model = service, orjson.loads(score["body"])["model"]
        self._filled: tuple[Engine, int] | None = None  # for the next score, which rests on no fewer rows

    def of(self, score: Score) -> SnapshotView:
        """What one score rested on; of several scores of a batch, those that rest on fewer rows have to be asked for first.

        Raises:
            ModelGoneError: The model is not here.
            ConflictError: The records do not give the probability again that is kept.
        """
        said, found = orjson.loads(score["body"]), self._live(score) if score["inline_sha256"] is None else None
        if found is None or not self._fits(said, found):
            found = self._again(score)
        if not self._fits(said, found):
            raise ConflictError(
                f"score {score['score_id']} cannot be made again from what is kept", expected="the same probability",
                remedy="Run 'batchguard score --replay' and 'batchguard audit verify'.",
            )  # fmt: skip
        return found

    def _fits(self, said: Mapping[str, Any], found: SnapshotView) -> bool:
        return said["model"] != self._model or found.probability == said["failure_probability"]

    def _live(self, score: Score) -> SnapshotView | None:
        """From the memory, where it has the model and no row that came later could have counted."""
        with self._service.engine_cache.reading(score["rows_seq"]) as (engine, held):
            if asdict(engine.model()) != self._model:
                return None
            try:
                found, parameter = engine.view(score["batch_id"], score["as_of_us"]), engine.decides_outcomes()
            except UnscorableError:  # its start was corrected since
                return None
        with self._service.records.read() as connection:
            later = [*rows_about(connection, score["batch_id"], score["rows_seq"], held, parameter=parameter)]
            fresh = _fresh(connection, later, score)
        return None if any(_counts(row, score["as_of_us"], fresh) for row in later) else found

    def _again(self, score: Score) -> SnapshotView:
        """From the stored rows up to the one that was the newest."""
        engine, held = self._filled or (self._made(), 0)
        with self._service.records.read() as connection:
            if score["inline_sha256"] is not None:
                _tell(engine, score["batch_id"], inline_history(connection, score["inline_sha256"]))
            else:
                parameter, until = engine.decides_outcomes(), score["rows_seq"]
                engine.rebuild(rows_about(connection, score["batch_id"], held, until, parameter=parameter))
                self._filled = engine, until
        return engine.view(score["batch_id"], score["as_of_us"])

    def _made(self) -> Engine:
        try:
            return self._service.make_engine(self._model)
        except EngineError as error:
            raise ModelGoneError(f"the model of the score is not here: {error.what}", remedy=error.remedy) from None


def _tell(engine: Engine, batch_id: str, history: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
    for batch in history["batches"]:
        engine.put_batch(batch)
    for table, rows in history.items():
        if table != "batches":
            engine.add(batch_id, table, list(rows))


def _counts(row: StoredRow, as_of_us: int, fresh: set[str]) -> bool:
    """Whether a row could say something of a moment: unless it was certainly known later only, it could."""
    known = known_us(row.table, row.row)
    return row.batch_id not in fresh and (known is None or known <= as_of_us)


def _fresh(connection: Connection, later: Iterable[StoredRow], score: Score) -> set[str]:
    """Batches that were told of after a score, and began after the moment that it speaks of."""
    began: dict[str, int] = {}
    for row in later:
        if row.table == "batches":
            at_us = microseconds(str(row.row["started_at"]))
            began[row.batch_id] = min(at_us, began.get(row.batch_id, at_us))
    after = {batch_id for batch_id, at_us in began.items() if at_us > score["as_of_us"]}
    first = first_seqs(connection, after)
    return {batch_id for batch_id in after if first[batch_id] > score["rows_seq"]}
