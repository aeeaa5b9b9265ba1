"""How long an idempotency key stands for its answer, and what goes when its time is over."""

import orjson
import pytest
from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import DBAPIError

from serving.audit import verification
from serving.records.answers import Answer, Call, KeyReusedError
from serving.records.store import RecordsUnavailableError
from serving.records.tables import answers, rows, scores
from serving.service import intake, score_requests
from serving.service.scoring_service import PURGED_AT_ONCE, ScoringService
from tests.serving.services import BATCH, NOON, call, make_service

DAY = 86_400_000_000


@pytest.fixture
def service(records, tmp_path) -> ScoringService:
    found = make_service(records, tmp_path, answer_ttl_us=90 * DAY)
    intake.put_batch(found, call(key="put"), "B1", BATCH, "")
    return found


def at(records, tmp_path, days: float) -> ScoringService:
    return make_service(records, tmp_path, now_us=NOON + round(days * DAY), answer_ttl_us=90 * DAY)


def ask(service, key="k", body="1", as_of_us=NOON) -> Answer:
    return score_requests.score(service, aged(service, key, body), "B1", as_of_us)


def aged(service, key, body) -> Call:
    made = call(key=key, body=body)
    return type(made)(made.principal, made.request_id, made.key, made.request_sha256, service.oldest_answer_us())


def count(records, table) -> int:
    with records.read() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def test_a_key_stands_for_its_answer_until_its_time_is_over(service, records, tmp_path) -> None:
    first = ask(service)
    assert ask(at(records, tmp_path, 90)).body == first.body
    with pytest.raises(KeyReusedError):
        ask(at(records, tmp_path, 89), body="2")
    later = ask(at(records, tmp_path, 90.1), body="2")  # the row is still there, and counts no more
    assert (later.replayed, orjson.loads(later.body)["supersedes"]) == (False, orjson.loads(first.body)["score_id"])
    assert ask(at(records, tmp_path, 91), body="2").body == later.body


def test_tidying_up_removes_what_is_over_in_small_steps_and_no_record(service, records, tmp_path) -> None:
    with records.write() as (connection, _):
        old = {"principal": "key:old", "request_sha256": "0" * 64, "status": 200, "body": "{}", "answered_us": 1}
        connection.execute(answers.insert(), [{**old, "key": str(i)} for i in range(PURGED_AT_ONCE + 5)])
    ask(service)
    kept = count(records, scores), count(records, rows), records.head()
    assert [service.purge_expired() for _ in range(3)] == [PURGED_AT_ONCE, 5, 0]
    assert count(records, answers) == 2  # of `put` and of `k`
    assert at(records, tmp_path, 91).purge_expired() == 2
    assert (count(records, scores), count(records, rows), records.head()) == kept
    assert verification.verify(records, None).problems == ()


@pytest.mark.usefixtures("service")
def test_an_answer_may_be_deleted_and_never_changed(records) -> None:
    with pytest.raises(DBAPIError, match="append-only"), records.engine.begin() as connection:
        connection.execute(update(answers).values(status=500))
    with pytest.raises(DBAPIError, match="append-only"), records.engine.begin() as connection:
        connection.execute(delete(rows))


def test_tidying_up_waits_for_records_that_are_away(service, monkeypatch) -> None:
    monkeypatch.setattr(service.records, "_begin", lambda _: (_ for _ in ()).throw(RecordsUnavailableError("away")))
    with pytest.raises(RecordsUnavailableError):
        service.purge_expired()
