import hashlib
import threading
from dataclasses import replace
from typing import Any, Never

import orjson
import pytest
from sqlalchemy import insert, select

from features.canonical import canonical
from models.scoring.score import OF_VERSION, Score
from serving.access.principals import ForbiddenError
from serving.audit import chain, verification
from serving.bundle.digests import code_digest
from serving.ids import microseconds, new_id
from serving.interfaces import UnscorableError
from serving.records.answers import InFlightError, KeyReusedError
from serving.records.scores import find_score, list_reviews, score_json
from serving.records.store import RecordsUnavailableError
from serving.records.tables import quarantine, scores
from serving.service import intake, reviews, score_requests
from serving.service.errors import ConflictError, NotThereError, RefusedError
from serving.service.scoring_service import ScoringService
from tests.serving.counting_engine import CountingEngine
from tests.serving.services import BATCH, NOON, NORTH, REVIEWER, SOUTH, call, make_service, reading, signed

EVENING = microseconds("2026-03-01T20:00:00Z")


@pytest.fixture
def service(records, tmp_path) -> ScoringService:
    found = make_service(records, tmp_path)
    intake.put_batch(found, call(), "B1", BATCH, "")
    return found


def add(service, *rows, principal=NORTH, key=None, body="") -> dict:
    return orjson.loads(intake.add_rows(service, call(principal, key, body), "B1", {"observations": rows}).body)


def score(service, as_of_us=EVENING, **more) -> dict:
    return orjson.loads(score_requests.score(service, call(**more), "B1", as_of_us).body)


def test_a_row_sent_twice_is_a_duplicate_and_another_one_of_its_key_is_rejected_with_the_reason(service) -> None:
    told = add(service, reading(1, 5.0), reading(2, 7.0), reading(1, 5.0), reading(2, 8.0))
    assert (told["accepted"], told["duplicates"], told["rejected"]) == (2, 1, 1)
    assert (told["rejections"][0]["index"], told["rejections"][0]["code"]) == (3, "duplicate_key")
    assert add(service, reading(1, 5.0))["duplicates"] == 1


def test_rejected_rows_are_kept_as_they_came(service, records) -> None:
    row = reading(1, 5.0, unit="mol")
    told = intake.add_rows(service, call(), "B1", {"observations": [row]})
    assert told.status == 422
    with records.read() as connection:
        kept = connection.execute(select(quarantine)).one()
    assert (kept.code, orjson.loads(kept.content)) == ("unit_mismatch", row)


def test_a_clock_that_runs_a_day_ahead_is_told_and_five_minutes_are_forgiven(service) -> None:
    told = add(
        service,
        reading(1, 5.0, available_at="2026-03-03T12:00:00Z"),
        reading(2, 5.0, available_at="2026-03-02T12:04:00Z"),
    )
    assert (told["accepted"], told["rejections"][0]["code"]) == (1, "from_the_future")


def test_a_score_counts_what_was_available_and_no_more(service) -> None:
    add(service, reading(1, 5.0), reading(2, 7.0), reading(3, 7.0, available_at="2026-03-01T21:00:00Z"))
    assert score(service)["failure_probability"] == 0.5
    assert score(service, microseconds("2026-03-01T21:00:00Z"))["failure_probability"] == pytest.approx(2 / 3)


def test_a_correction_makes_a_new_score_that_supersedes_and_nothing_is_deleted(service) -> None:
    add(service, reading(1, 5.0))
    first = score(service)
    add(service, reading(2, 7.0))
    second = score(service)
    assert (first["supersedes"], second["supersedes"]) == (None, first["score_id"])
    assert reviews.score_with_reviews(service, NORTH, first["score_id"]) == {**first, "reviews": []}


def test_each_score_is_superseded_once_though_they_are_kept_in_another_order_than_made(service) -> None:
    """Several at once: one that was made before the newest one kept is kept after it."""
    ends = []
    for seconds in (0, 10, 3, 7):
        made = replace(service, clock=lambda seconds=seconds: service.clock() + seconds * 1_000_000)
        ends.append(score(made))
    assert [one["supersedes"] for one in ends] == [None, *(one["score_id"] for one in ends[:-1])]


def test_the_same_key_and_body_give_the_stored_answer_and_no_new_score(service, records) -> None:
    once = score_requests.score(service, call(key="k", body="1"), "B1", EVENING)
    add(service, reading(1, 7.0))
    again = score_requests.score(service, call(key="k", body="1"), "B1", EVENING)
    assert (again.body, once.replayed, again.replayed) == (once.body, False, True)
    with records.read() as connection:
        assert len(connection.execute(select(scores)).all()) == 1


def test_the_same_key_with_another_body_is_refused(service) -> None:
    score_requests.score(service, call(key="k", body="1"), "B1", EVENING)
    with pytest.raises(KeyReusedError):
        score_requests.score(service, call(key="k", body="2"), "B1", EVENING)


def test_keys_of_two_principals_do_not_meet(service) -> None:
    first = score_requests.score(service, call(key="k", body="1"), "B1", EVENING)
    assert score_requests.score(service, call(NORTH, key="k", body="2"), "B1", EVENING).body != first.body


def test_a_key_in_flight_is_refused(records, tmp_path) -> None:
    entered, go_on = threading.Event(), threading.Event()

    class Slow(CountingEngine):
        def score(self, batch_id: str, as_of_us: int, *, reasons: bool = True) -> Score:
            entered.set()
            go_on.wait(5)
            return super().score(batch_id, as_of_us, reasons=reasons)

    service = make_service(records, tmp_path, make=lambda _: Slow())
    intake.put_batch(service, call(), "B1", BATCH, "")
    thread = threading.Thread(target=lambda: score_requests.score(service, call(key="k"), "B1", EVENING))
    thread.start()
    assert entered.wait(5)
    with pytest.raises(InFlightError):
        score_requests.score(service, call(key="k"), "B1", EVENING)
    go_on.set()
    thread.join(5)
    assert score_requests.score(service, call(key="k"), "B1", EVENING).replayed


def test_two_processes_with_one_key_keep_one_score(records, tmp_path) -> None:
    """The second one finds the answer of the first when it stores its own: its transaction leaves no trace."""
    first, second = make_service(records, tmp_path), make_service(records, tmp_path)
    intake.put_batch(first, call(), "B1", BATCH, "")
    work = second.in_flight  # between looking and storing, the other process answers
    made = []

    class Meanwhile(CountingEngine):
        def score(self, batch_id: str, as_of_us: int, *, reasons: bool = True) -> Score:
            if not made:
                made.append(score_requests.score(first, call(key="k"), "B1", EVENING))
            return super().score(batch_id, as_of_us, reasons=reasons)

    second = make_service(records, tmp_path, make=lambda _: Meanwhile(), in_flight=work)
    with pytest.raises(InFlightError):
        score_requests.score(second, call(key="k"), "B1", EVENING)
    assert score_requests.score(second, call(key="k"), "B1", EVENING).body == made[0].body
    with records.read() as connection:
        assert len(connection.execute(select(scores)).all()) == 1


def test_rows_of_another_process_count_at_once(records, tmp_path, service) -> None:
    other = make_service(records, tmp_path)
    score(other)
    add(service, reading(1, 7.0))
    assert score(other)["failure_probability"] == 1.0


def test_a_restart_scores_to_the_bit_as_before(service, records, tmp_path) -> None:
    add(service, reading(1, 5.0), reading(2, 7.0), reading(3, 6.5))
    before, after = score(service), score(make_service(records, tmp_path))
    assert after["body_sha256"] == before["body_sha256"]


def test_every_score_is_made_again_bit_for_bit_whatever_came_later(service) -> None:
    made = []
    for hour in range(1, 6):
        add(service, reading(hour, 4.0 + hour))
        made.append(score(service)["score_id"])
    intake.add_rows(service, call(), "B1", {"observations": [reading(1, 9.0, revision=1)]})
    history = {"batches": [{"batch_id": "X", **BATCH}], "observations": [reading(1, 9.0)]}
    made.append(orjson.loads(score_requests.score_inline(service, call(), "X", EVENING, history).body)["score_id"])
    assert [score_requests.replay(service, score_id).is_equal for score_id in made] == [True] * 6


def stored(records, score_id: str) -> dict[str, Any]:
    with records.read() as connection:
        found = find_score(connection, score_id)
    assert found is not None
    return dict(found)


def test_a_score_of_version_1_is_read_listed_and_made_again_but_for_its_decision(service, records) -> None:
    add(service, reading(1, 7.0))
    row = stored(records, score(service)["score_id"])
    body = {name: value for name, value in orjson.loads(row["body"]).items() if name not in OF_VERSION}
    text = canonical(body | {"version": 1, "decision": "undecided", "cause": "stale data"})
    former = {"score_id": new_id(NOON), "body": text.decode(), "body_sha256": hashlib.sha256(text).hexdigest()}
    with records.write() as (connection, _):
        connection.execute(insert(scores), row | former)
    replayed = score_requests.replay(service, former["score_id"])
    assert (replayed.is_equal, replayed.differing) == (True, [])
    assert replayed.again["call"] == "high"
    read = score_json(stored(records, former["score_id"]))
    assert (read["version"], read["decision"], read["cause"]) == (1, "undecided", "stale data")
    assert {"call", "support"} & set(read) == set()


def test_a_history_that_comes_along_is_scored_and_joins_nothing(service) -> None:
    history = {"batches": [{"batch_id": "X", **BATCH}], "observations": [reading(1, 9.0)]}
    assert (
        orjson.loads(score_requests.score_inline(service, call(), "X", EVENING, history).body)["failure_probability"]
        == 1.0
    )
    with pytest.raises(NotThereError):
        score_requests.score(service, call(), "X", EVENING)


def test_another_site_is_as_if_it_were_not_there(service) -> None:
    score_id = score(service)["score_id"]
    for attempt in (
        lambda: score_requests.score(service, call(SOUTH), "B1", EVENING),
        lambda: add(service, reading(1, 5.0), principal=SOUTH),
        lambda: reviews.score_with_reviews(service, SOUTH, score_id),
        lambda: reviews.scores_of(service, SOUTH, "B1", before=None, limit=5),
    ):
        with pytest.raises(NotThereError):
            attempt()
    assert reviews.batches_of(service, SOUTH, after="", limit=5) == []
    assert [b["batch_id"] for b in reviews.batches_of(service, NORTH, after="", limit=5)] == ["B1"]


def test_nobody_makes_a_batch_at_a_site_that_is_not_theirs_or_takes_one_over(service) -> None:
    with pytest.raises(ForbiddenError):
        intake.put_batch(service, call(SOUTH), "B2", BATCH, "")
    with pytest.raises(ForbiddenError):
        intake.put_batch(service, call(SOUTH), "B1", BATCH | {"site_id": "south"}, "")
    with pytest.raises(ConflictError):
        intake.put_batch(service, call(), "B1", BATCH | {"site_id": "south"}, "")


def test_a_batch_put_again_changes_nothing_and_a_correction_is_a_revision(service, records) -> None:
    again = intake.put_batch(service, call(), "B1", BATCH, "")
    assert orjson.loads(again.body) == {"batch_id": "B1", "revision": 0, "verdict": "duplicate"}
    corrected = intake.put_batch(service, call(), "B1", BATCH | {"line": "a"}, "typing error")
    assert orjson.loads(corrected.body) == {"batch_id": "B1", "revision": 1, "verdict": "accepted"}
    with records.read() as connection:
        entry = [e for e in chain.entries(connection) if e.action == "batch"][-1]
    assert "line" not in orjson.loads(entry.old or "")
    assert (orjson.loads(entry.new or "")["line"], entry.why) == ("a", "typing error")


def test_the_future_and_the_time_before_the_start_are_not_scored(service) -> None:
    with pytest.raises(RefusedError, match="future"):
        score_requests.score(service, call(), "B1", microseconds("2026-03-02T12:00:01Z"))
    with pytest.raises(UnscorableError):
        score_requests.score(service, call(), "B1", microseconds("2026-02-28T00:00:00Z"))


def test_a_review_is_bound_to_the_score_it_speaks_of(service) -> None:
    made = score(service)
    told = orjson.loads(
        reviews.review(
            service, call(REVIEWER), made["score_id"], reviews.ReviewDecision("agree", "looks right", "DEV-1"), signed
        ).body
    )
    assert (told["reviewer"], told["score_sha256"]) == ("user:anna", made["body_sha256"])
    assert reviews.score_with_reviews(service, NORTH, made["score_id"])["reviews"] == [told]


def test_the_end_of_an_event_is_told_later_kept_and_still_there_after_a_restart(service, records, tmp_path) -> None:
    batch_events = {"kind": "deviation", "code": "D1", "started_at": "2026-03-01T02:00:00Z"}
    ended = batch_events | {"ended_at": "2026-03-01T03:00:00Z"}
    for i, (told, verdict) in enumerate(((batch_events, "accepted"), (ended, "accepted"), (ended, "duplicates"))):
        said = intake.add_rows(service, call(request_id=f"r{i + 2}"), "B1", {"events": [told]})
        assert orjson.loads(said.body)[verdict] == 1
    again = make_service(records, tmp_path)
    assert orjson.loads(intake.add_rows(again, call(), "B1", {"events": [ended]}).body)["duplicates"] == 1
    assert verification.verify(records, None).problems == ()


def test_a_history_that_another_site_sent_by_the_same_id_is_not_listed_with_the_batch(service) -> None:
    foreign = {"batches": [{"batch_id": "B1", **BATCH, "site_id": "south"}], "observations": [reading(1, 9.0)]}
    score_requests.score_inline(service, call(SOUTH), "B1", EVENING, foreign)
    own = score(service)["score_id"]
    assert [s["score_id"] for s in reviews.scores_of(service, NORTH, "B1", before=None, limit=5)] == [own]


def test_a_score_names_the_software_that_made_it(service) -> None:
    assert score(service)["code_sha256"] == code_digest()


@pytest.mark.parametrize("step_us", [-3_600_000_000, 3_600_000_000])
def test_scores_and_reviews_are_listed_in_the_order_in_which_they_were_made_whatever_the_clock_did(
    records, tmp_path, service, step_us
) -> None:
    made, signed_in = [], []
    for clock in (NOON, NOON + step_us, NOON):
        at = make_service(records, tmp_path, now_us=clock)
        made.append(orjson.loads(score_requests.score(at, call(), "B1", EVENING).body)["score_id"])
        decision = reviews.ReviewDecision("confirmed", f"seen at {clock}")
        signed_in.append(orjson.loads(reviews.review(at, call(REVIEWER), made[0], decision, signed).body)["review_id"])
    listed = [score["score_id"] for score in reviews.scores_of(service, NORTH, "B1", before=None, limit=5)]
    assert listed == made[::-1]
    with records.read() as connection:
        assert [review["review_id"] for review in list_reviews(connection, made[0])] == signed_in


def test_pages_follow_each_other(service) -> None:
    made = []
    for _ in range(5):
        made.append(score(service)["score_id"])
    first = reviews.scores_of(service, NORTH, "B1", before=None, limit=3)
    rest = reviews.scores_of(service, NORTH, "B1", before=str(first[-1]["score_id"]), limit=3)
    assert sorted(str(s["score_id"]) for s in [*first, *rest]) == sorted(made)


def test_no_answer_without_a_commit_and_the_next_request_finds_nothing_of_it(service, records) -> None:
    """Whatever fails between the engine and the commit: rows are not counted, scores not kept."""

    def broken(*_, **__) -> Never:
        raise RecordsUnavailableError("disk full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serving.records.answers.keep", broken)
        for attempt in (lambda: add(service, reading(1, 7.0)), lambda: score(service),
                        lambda: intake.put_batch(service, call(), "B9", BATCH, "")):  # fmt: skip
            with pytest.raises(RecordsUnavailableError):
                attempt()
    assert score(service)["failure_probability"] == 0.0
    assert add(service, reading(1, 7.0))["accepted"] == 1
    assert score(service)["failure_probability"] == 1.0
    assert intake.put_batch(service, call(), "B9", BATCH, "").status == 201
    assert verification.verify(records, None).problems == ()
