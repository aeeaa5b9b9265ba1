from dataclasses import replace

import orjson
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from serving.access.keys import add_key, revoke_key
from serving.audit import chain, verification
from serving.audit.anchor import Anchor
from serving.audit.chain import Actor
from serving.bundle.bundle import Bundle
from serving.bundle.manifest import Manifest
from serving.records.tables import APPEND_ONLY, metadata
from serving.release.documents import sign_document
from serving.release.site_keys import make_keys
from serving.service import intake, reviews, score_requests
from serving.settings import Webhook
from tests.serving.releases import EVIDENCE, by, service_of
from tests.serving.services import BATCH, MES, NOON, REVIEWER, call, make_service, reading, signed

ACTOR = Actor("key:1", "mes", "r1")


def write(records, n=3) -> None:
    for i in range(n):
        with records.write() as (connection, now):
            chain.append(connection, now, ACTOR, "note", f"thing:{i}", at_us=i, new={"i": i})


def bypassed(records, *statements) -> None:
    """As someone with the rights of the database's owner: the triggers are taken away first, and put back."""
    with records.engine.connect() as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET session_replication_role = replica"))
        else:
            guards = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")).all()
            for guard in guards:
                connection.execute(text(f"DROP TRIGGER {guard.name}"))
        for statement in statements:
            assert connection.exec_driver_sql(statement).rowcount
        if connection.dialect.name == "sqlite":
            for guard in guards:
                connection.exec_driver_sql(guard.sql)


def test_each_entry_holds_the_hash_of_the_one_before(records) -> None:
    write(records)
    with records.read() as connection:
        found = list(chain.entries(connection))
    assert [e.previous for e in found] == ["0" * 64, *(e.hash for e in found[:-1])]
    assert verification.verify(records, None) == verification.Verification(3, 0, ())


def test_no_record_is_changed_or_removed(records, tmp_path) -> None:
    hook = Webhook(name="mes", url="http://127.0.0.1:9/", secret_file=tmp_path / "none")
    service = make_service(records, tmp_path, hooks=[hook])
    intake.put_batch(service, call(key="k"), "B1", BATCH, "")
    intake.add_rows(service, call(), "B1", {"observations": [reading(1, 5.0), reading(2, 5.0, unit="mol")]})
    score_requests.score_inline(service, call(), "B1", NOON, {"batches": [{"batch_id": "B1", **BATCH}]})
    made = orjson.loads(score_requests.score(service, call(), "B1", NOON).body)
    reviews.review(
        service, call(REVIEWER), made["score_id"], reviews.ReviewDecision("agree", "looks right", None), signed
    )
    office = service_of(records, tmp_path / "bundles", tmp_path / "keys", "soup")
    make_keys(tmp_path / "keys")
    office.submit(
        "1",
        lambda _: Bundle("a" * 64, Manifest("soup", "1", 0, "soup", "p", "f", "m", {}), {}),
        lambda: EVIDENCE,
        by("anna"),
    )
    sign_document(records, office.signers, "acceptance", "soup", "bound = 1", by("boris"))
    assert verification.verify(records, None).problems == ()
    for table in APPEND_ONLY:
        name = metadata.tables[table].columns.keys()[0]
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET {name} = {name}"):  # noqa: S608 - our own names
            with pytest.raises(DBAPIError, match="append-only"), records.engine.connect() as connection:
                connection.exec_driver_sql(statement)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE audit SET why = 'because' WHERE seq = 2", "entry 2 was changed"),
        ("DELETE FROM audit WHERE seq = 2", "entry 2 is missing"),
    ],
)
def test_a_changed_or_missing_entry_is_found(records, statement, said) -> None:
    write(records)
    bypassed(records, statement)
    assert said in verification.verify(records, None).problems


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE rows SET site_id = 'south'", "rows without its entry"),
        ("UPDATE rows SET key = '9' WHERE table_name = 'batches'", "rows without its entry"),
        ("UPDATE scores SET site_id = 'south'", "score without its entry"),
        ("DELETE FROM inline_histories", "was made from is gone"),
        ("UPDATE head SET rows_seq = 1", "the head says 1 rows"),
    ],
)
def test_what_decides_who_sees_and_what_a_score_rests_on_is_held_against_the_trail(
    records, tmp_path, statement, said
) -> None:
    service = make_service(records, tmp_path)
    intake.put_batch(service, call(), "B1", BATCH, "")
    intake.add_rows(service, call(), "B1", {"observations": [reading(1, 5.0)]})
    score_requests.score_inline(service, call(), "B1", NOON, {"batches": [{"batch_id": "B1", **BATCH}]})
    score_requests.score(service, call(), "B1", NOON)
    assert verification.verify(records, None).problems == ()
    bypassed(records, statement)
    assert any(said in problem for problem in verification.verify(records, None).problems)


def test_the_last_entry_that_was_deleted_is_missed(records) -> None:
    write(records)
    bypassed(records, "DELETE FROM audit WHERE seq = 3")
    [said] = verification.verify(records, None).problems
    assert said.startswith("the head says that the trail ends at entry 3; it ends at 2")


def test_a_guard_that_was_taken_away_is_missed(records) -> None:
    name = "rows_no_update" if records.engine.dialect.name == "sqlite" else "rows_kept ON rows"
    with records.engine.connect() as connection, connection.begin():
        connection.exec_driver_sql(f"DROP TRIGGER {name}")
    assert verification.verify(records, None).problems == ("the guard against change is gone from rows",)


def test_a_chain_that_was_cut_is_found_by_the_anchor_alone(records, tmp_path) -> None:
    anchor = Anchor(tmp_path / "anchor")
    write(records)
    anchor.note(records.head(), NOON)
    with records.read() as connection:
        second = list(chain.entries(connection))[1]
    moved = f"UPDATE head SET audit_seq = 2, audit_hash = '{second.hash}'"  # noqa: S608
    bypassed(records, "DELETE FROM audit WHERE seq = 3", moved)
    assert verification.verify(records, None).problems == ()
    assert verification.verify(records, anchor.path).problems == ("entry 3 of the anchor is gone: the chain was cut",)


def test_a_chain_written_anew_is_found_by_the_anchor_alone(records, tmp_path) -> None:
    anchor = Anchor(tmp_path / "anchor")
    write(records)
    anchor.note(records.head(), NOON)
    with records.read() as connection:
        last = list(chain.entries(connection))[-1]
    forged = chain.entry_hash(replace(last, why="another"))
    changed = f"UPDATE audit SET why = 'another', hash = '{forged}' WHERE seq = 3"  # noqa: S608
    bypassed(records, changed, f"UPDATE head SET audit_hash = '{forged}'")  # noqa: S608
    assert verification.verify(records, None).problems == ()
    assert verification.verify(records, anchor.path).problems == (
        "entry 3 is not the one of the anchor: the chain was written anew",
    )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE scores SET body = replace(body, '\"failure_probability\":1.0', '\"failure_probability\":0.1')",
        "UPDATE scores SET as_of_us = as_of_us + 1",
        "UPDATE rows SET content = replace(content, '7.0', '5.0') WHERE table_name = 'observations'",
        "DELETE FROM rows WHERE table_name = 'observations'",
        "DELETE FROM scores",
        "UPDATE scores SET body_sha256 = 'another'",
        "UPDATE scores SET principal = 'key:another'",
        "UPDATE scores SET request_id = 'another'",
        "UPDATE api_keys SET revoked_us = NULL",
        "UPDATE api_keys SET role = 'viewer'",
        "DELETE FROM api_keys",
    ],
)
def test_a_record_that_is_not_what_the_trail_says_is_found(records, tmp_path, statement) -> None:
    service = make_service(records, tmp_path)
    intake.put_batch(service, call(request_id="r1"), "B1", BATCH, "")
    intake.add_rows(service, call(request_id="r2"), "B1", {"observations": [reading(1, 7.0)]})
    score_requests.score(service, call(MES, request_id="r3"), "B1", NOON)
    root = chain.Actor("local:root", "operator", "r4")
    key_id, _ = add_key(records, name="M", kind="service", role="mes", sites=["north"], expires_us=None, actor=root)
    revoke_key(records, key_id, why="lost", actor=root)
    assert verification.verify(records, None).problems == ()
    bypassed(records, statement)
    assert verification.verify(records, None).problems


def test_an_export_says_the_time_in_words(records) -> None:
    write(records, 1)
    with records.read() as connection:
        [entry] = chain.entries(connection)
    exported = entry.to_json()
    assert (exported["at"], exported["object"]) == ("1970-01-01T00:00:00.000000Z", "thing:0")
