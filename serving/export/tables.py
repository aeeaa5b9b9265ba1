"""Reviews, findings and release actions as tables: one row a record, columns in a fixed order.

A later version may add columns at the end; none is renamed, moved or taken away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa
from sqlalchemy import ColumnElement, Connection, select, true

from serving.ids import iso
from serving.records.scores import find_reviews, score_json
from serving.records.tables import release_actions, reviews, scores

Cell: TypeAlias = str | int | float | None
Record: TypeAlias = dict[str, Cell]
_CHUNK = 500  # scores read at once: a body has some 20 kB


class Batch(NamedTuple):
    """A batch of a site; two sites may use the same id."""

    site_id: str
    batch_id: str


class Reviewed(NamedTuple):
    """A score as it is answered, and its reviews as they are stored."""

    score: dict[str, Any]
    reviews: list[Mapping[str, Any]]


@dataclass(frozen=True)
class Table:
    """A table of the export: its file name without ending, its columns with their types, its rows."""

    name: str
    schema: pa.Schema
    rows: Iterable[Record]


def _schema(names: str, **types: pa.DataType) -> pa.Schema:
    return pa.schema([(name, types.get(name, pa.string())) for name in names.split()])


REVIEWS = _schema(
    "review_id reviewed_at site_id batch_id score_id decision reason deviation meaning reviewer signer_name signed_with "
    "score_sha256 request_id"
)
RELEASES = _schema(
    "action_id at local_time zone process_id version release_id action state reason deviation meaning subject "
    "signer_name signed_with principal envelope_sha256 request_id"
)
FINDINGS = _schema(
    "score_id number site_id batch_id as_of scored_at call support kind cause check subjects found low high ratio "
    "sentence n_reviews deviations model_sha256",
    number=pa.int64(), low=pa.float64(), high=pa.float64(), ratio=pa.float64(), n_reviews=pa.int64(),
)  # fmt: skip


def tables(connection: Connection, deviation: str | None) -> list[Table]:
    """The tables of the export, their rows read as they are asked for.

    Args:
        connection: A transaction, open until the rows are read.
        deviation: Only reviews and actions that name it, and findings of the scores that such reviews are about; None: all.
    """
    return [
        Table("reviews", REVIEWS, _reviews(connection, deviation)),
        Table("findings", FINDINGS, _findings(connection, deviation)),
        Table("releases", RELEASES, release_rows(connection, deviation)),
    ]


def _reviews(connection: Connection, deviation: str | None) -> Iterator[Record]:
    """Reviews, the first one first."""
    found = find_reviews(connection, None, deviation=deviation, before=None, limit=None)
    for row in reversed(found):
        yield {**{name: row[name] for name in REVIEWS.names if name in row}, "reviewed_at": iso(row["reviewed_us"])}


def _findings(connection: Connection, deviation: str | None) -> Iterator[Record]:
    """What each score says against itself: failed checks of its support, and sensors at fault, in the order of the scores."""
    for score, of_score in scores_with_reviews(connection, deviation):
        about = {
            **{name: score.get(name) for name in ("score_id", "site_id", "batch_id", "as_of", "scored_at", "call", "support")},
            "n_reviews": len(of_score), "model_sha256": score["model"]["sha256"],
            "deviations": " ".join(sorted({row["deviation"] for row in of_score if row["deviation"]})),
        }  # fmt: skip
        for number, finding in enumerate(findings_of(score), start=1):
            yield {**about, "number": number, **finding}


def release_rows(connection: Connection, deviation: str | None) -> Iterator[Record]:
    """Actions on releases of all processes, in order."""
    wanted = select(release_actions).order_by(release_actions.c.seq)
    own = wanted if deviation is None else wanted.where(release_actions.c.deviation == deviation)
    for row in connection.execute(own).mappings():
        envelope = row["envelope"]
        yield {
            **{name: row[name] for name in RELEASES.names if name in row}, "at": iso(row["at_us"]),
            "envelope_sha256": None if envelope is None else hashlib.sha256(envelope.encode()).hexdigest(),
        }  # fmt: skip


def findings_of(score: Mapping[str, Any]) -> list[Record]:
    """Findings of one score: `domain` with its limit, then `sensor` with its usual range. A field that is absent is null."""
    return [*map(_of_domain, score.get("domain") or ()), *map(_of_sensor, score.get("sensors") or ())]


def _of_domain(found: Mapping[str, Any]) -> Record:
    at_least = found.get("check") == "support"  # the only check whose limit is a lower one
    return {
        "kind": "domain", **_named(found, "cause", "check", "ratio", "sentence"),
        "subjects": " ".join(found.get("subjects") or ()), "found": _text(found.get("value")),
        "low": found.get("limit") if at_least else None, "high": None if at_least else found.get("limit"),
    }  # fmt: skip


def _of_sensor(found: Mapping[str, Any]) -> Record:
    return {
        "kind": "sensor", "cause": found.get("kind"), "check": "sensor", "subjects": found.get("parameter"),
        "found": _text(found.get("value")), "low": found.get("usual_low"), "high": found.get("usual_high"),
        "sentence": found.get("sentence"),
    }  # fmt: skip


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def scores_with_reviews(
    connection: Connection, deviation: str | None, batch: Batch | None = None
) -> Iterator[Reviewed]:
    """Scores as they are answered with all their reviews, in the order of their ids; of one deviation or batch, or all."""
    last, own = "", _of(deviation)
    if batch is not None:
        own &= (scores.c.batch_id == batch.batch_id) & (scores.c.site_id == batch.site_id)
    while True:
        part = select(scores).where(own, scores.c.score_id > last).order_by(scores.c.score_id).limit(_CHUNK)
        found = connection.execute(part).mappings().all()
        if not found:
            return
        last = found[-1]["score_id"]
        theirs = select(reviews).where(reviews.c.score_id.in_([row["score_id"] for row in found]))
        by_score: dict[str, list[Mapping[str, Any]]] = {}
        for row in connection.execute(theirs.order_by(reviews.c.review_id)).mappings():
            by_score.setdefault(row["score_id"], []).append(row)
        yield from (Reviewed(score_json(row), by_score.get(row["score_id"], [])) for row in found)


def batches_with_scores(connection: Connection, deviation: str | None) -> list[Batch]:
    """Batches with a score, by site and id; of one deviation, or all."""
    found = select(scores.c.site_id, scores.c.batch_id).where(_of(deviation)).distinct()
    return [Batch(*row) for row in connection.execute(found.order_by(scores.c.site_id, scores.c.batch_id))]


def _of(deviation: str | None) -> ColumnElement[bool]:
    """Scores with a review that names a deviation; None: all."""
    named = select(reviews.c.score_id).where(reviews.c.deviation == deviation)
    return true() if deviation is None else scores.c.score_id.in_(named)


def _named(source: Mapping[str, Any], *names: str) -> Record:
    return {name: source.get(name) for name in names}
