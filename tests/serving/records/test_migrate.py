"""A database of an earlier shape, with records in it, becomes one of the newest shape, and says what it said before."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import delete, insert, select, text
from sqlalchemy.exc import DBAPIError

import serving.records.migrate as migrate
from features.canonical import canonical
from serving.audit import chain, verification
from serving.records.scores import list_reviews, review_json, score_json
from serving.records.store import Records, head_of
from serving.records.tables import answers, metadata, reviews, scores

BODY = canonical({"failure_probability": 0.5, "model": {"sha256": "0" * 64}}).decode()
SCORE = {
    "score_id": "s", "batch_id": "B1", "site_id": "north", "as_of_us": 1, "scored_us": 2, "rows_seq": 0,
    "inline_sha256": None, "model_sha256": "0" * 64, "model_stale_us": None, "body": BODY,
    "body_sha256": hashlib.sha256(BODY.encode()).hexdigest(), "supersedes": None, "request_id": "r", "principal": "key:mes",
}  # fmt: skip
REVIEW = {
    "review_id": "v", "score_id": "s", "decision": "agree", "reason": "saw it", "deviation": None, "reviewer": "user:anna",
    "score_sha256": SCORE["body_sha256"], "reviewed_us": 3, "request_id": "r",
}  # fmt: skip
SAID_OF_A_SCORE = ("score_id", "batch_id", "as_of_us", "scored_us", "rows_seq", "inline_sha256", "model_sha256",
                   "model_stale_us", "body_sha256", "supersedes")  # fmt: skip


@pytest.fixture
def earlier(empty_url) -> Iterator[Records]:
    """A database as the first version made it and filled it."""
    records, config = Records(empty_url), Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    with records._begin({"batchguard_writes": True}) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(insert(scores), SCORE)
        connection.execute(insert(reviews), REVIEW)
        old = {
            "principal": "key:mes",
            "key": "k",
            "request_sha256": "0" * 64,
            "status": 200,
            "body": "{}",
            "answered_us": 2,
        }
        connection.execute(insert(answers), old)
        now, actor = head_of(connection), chain.Actor("key:mes", "mes", "r")
        said = {name: SCORE[name] for name in SAID_OF_A_SCORE}
        chain.append(connection, now, actor, "score", "score:s", at_us=2, new=said)
        of_review = {name: value for name, value in REVIEW.items() if name != "request_id"}
        anna = chain.Actor("user:anna", "reviewer", "r")
        chain.append(connection, now, anna, "review", "score:s", at_us=3, new=of_review)
        moved = {"seq": now.audit_seq, "hash": now.audit_hash}
        connection.execute(text("UPDATE head SET audit_seq = :seq, audit_hash = :hash"), moved)
    yield records
    records.close()


def test_an_earlier_database_gets_the_newest_shape_and_its_trail_still_holds(earlier) -> None:
    earlier.prepare()
    with earlier.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        score = connection.execute(select(scores)).mappings().one()
        [review] = list_reviews(connection, "s")
    assert (score_json(score)["code_sha256"], review_json(review)["signer_name"]) == (None, None)
    assert verification.verify(earlier, None).problems == ()


def test_after_it_answers_may_go_and_records_may_not(earlier) -> None:
    earlier.prepare()
    with earlier.engine.begin() as connection:
        assert connection.execute(delete(answers)).rowcount == 1
    for table in (scores, reviews):
        with pytest.raises(DBAPIError, match="append-only"), earlier.engine.begin() as connection:
            connection.execute(delete(table))
