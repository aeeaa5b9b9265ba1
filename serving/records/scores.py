"""Scores and reviews as they were answered."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, func, select

from serving.ids import iso
from serving.records.tables import inline_histories, reviews, scores

_HELD = scores.c.inline_sha256.is_(None) & (scores.c.batch_id == bindparam("id"))
_SAME_TIME = _HELD & (scores.c.as_of_us == bindparam("at"))
_SUPERSEDED = (  # scores that are kept at once are kept in another order than they were made in: each is superseded once
    select(scores.c.score_id)
    .where(
        _SAME_TIME,
        scores.c.score_id.not_in(select(scores.c.supersedes).where(_SAME_TIME, scores.c.supersedes.is_not(None))),
    )
    .order_by(scores.c.score_id.desc())  # ids rise with the time of scoring, and stand in the index
    .limit(1)
)
_BEFORE = (
    select(scores.c.body)
    .where(_HELD, scores.c.as_of_us <= bindparam("at"))
    .order_by(scores.c.as_of_us.desc(), scores.c.score_id.desc())
    .limit(1)
)


def find_score(connection: Connection, score_id: str) -> Mapping[str, Any] | None:
    """A stored score, or None."""
    return connection.execute(select(scores).where(scores.c.score_id == score_id)).mappings().one_or_none()


def superseded(connection: Connection, batch_id: str, as_of_us: int) -> str | None:
    """The score of a batch at a time that none superseded yet, which a new one at the same time supersedes."""
    return connection.execute(_SUPERSEDED, {"id": batch_id, "at": as_of_us}).scalar_one_or_none()


def said_before(connection: Connection, batch_id: str, as_of_us: int) -> Mapping[str, Any]:
    """The body of the newest score of a batch up to a time; empty where there is none."""
    body = connection.execute(_BEFORE, {"id": batch_id, "at": as_of_us}).scalar_one_or_none()
    return {} if body is None else orjson.loads(body)


def score_before(connection: Connection, score: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The newest score made before one of the same batch, of the same time or an earlier one; None where there is none."""
    earlier = _HELD & (scores.c.as_of_us <= score["as_of_us"]) & (scores.c.score_id < score["score_id"])
    newest = select(scores).where(earlier).order_by(scores.c.score_id.desc()).limit(1)
    return connection.execute(newest, {"id": score["batch_id"]}).mappings().one_or_none()


def list_scores(
    connection: Connection, batch_id: str, site_id: str, *, before: str | None, limit: int
) -> list[Mapping[str, Any]]:
    """Scores of a batch, the newest made first, behind an id; not those of a history that another site sent by this id."""
    where = (scores.c.batch_id == batch_id) & (scores.c.site_id == site_id)
    if before is not None:
        where &= scores.c.score_id < before
    found = connection.execute(select(scores).where(where).order_by(scores.c.score_id.desc()).limit(limit))
    return list(found.mappings())


def list_reviews(connection: Connection, score_id: str) -> list[Mapping[str, Any]]:
    """Reviews of a score, the first one first."""
    found = select(reviews).where(reviews.c.score_id == score_id).order_by(reviews.c.review_id)
    return list(connection.execute(found).mappings())


def find_reviews(
    connection: Connection,
    sites: Collection[str] | None,
    *,
    deviation: str | None,
    before: str | None,
    limit: int | None,
) -> list[Mapping[str, Any]]:
    """Reviews of scores at some sites, the newest first, each with `batch_id` and `site_id` of its score.

    Args:
        connection: A transaction.
        sites: Sites of the scores; None: all.
        deviation: Only reviews that name this deviation, spelled exactly so; None: all.
        before: Only reviews with ids below this one.
        limit: Maximum number; None: all.
    """
    where = reviews.c.score_id == scores.c.score_id
    if sites is not None:
        where &= scores.c.site_id.in_(sorted(sites))
    if deviation is not None:
        where &= reviews.c.deviation == deviation
    if before is not None:
        where &= reviews.c.review_id < before
    found = select(reviews, scores.c.batch_id, scores.c.site_id).where(where).order_by(reviews.c.review_id.desc())
    return list(connection.execute(found.limit(limit)).mappings())


def inline_history(connection: Connection, sha256: str) -> dict[str, list[dict[str, Any]]]:
    """The history that came with a stateless score."""
    where = inline_histories.c.sha256 == sha256
    return orjson.loads(connection.execute(select(inline_histories.c.content).where(where)).scalar_one())


def newest_id(connection: Connection) -> str | None:
    """The greatest id of a score or a review; None where there is none."""
    found = [
        connection.execute(select(func.max(column))).scalar_one() for column in (scores.c.score_id, reviews.c.review_id)
    ]
    return max((found_id for found_id in found if found_id is not None), default=None)


def score_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """A score as it is answered: its ids and times, and its body."""
    return {
        **orjson.loads(row["body"]),
        "score_id": row["score_id"],
        "batch_id": row["batch_id"],
        "site_id": row["site_id"],
        "as_of": iso(row["as_of_us"]),
        "scored_at": iso(row["scored_us"]),
        "stale_model": None if row["model_stale_us"] is None else _stale(row["model_stale_us"], row["scored_us"]),
        "code_sha256": row["code_sha256"],
        "rows_seq": row["rows_seq"],
        "inline_sha256": row["inline_sha256"],
        "body_sha256": row["body_sha256"],
        "supersedes": row["supersedes"],
        "request_id": row["request_id"],
        "scored_for": row["principal"],
    }


def _stale(since_us: int, scored_us: int) -> dict[str, Any]:
    return {"since": iso(since_us), "age_s": max(0, scored_us - since_us) / 1e6}  # the clock may have been set back


def review_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """A review as it is answered."""
    names = ("review_id", "score_id", "decision", "reason", "deviation", "reviewer", "score_sha256", "request_id",
             "signer_name", "meaning", "signed_with")  # fmt: skip
    return {name: row[name] for name in names} | {"reviewed_at": iso(row["reviewed_us"])}


def found_review_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """A review of `find_reviews` as it is answered: with batch and site of its score."""
    return review_json(row) | {"batch_id": row["batch_id"], "site_id": row["site_id"]}
