"""A review over HTTP: signed anew, bound to the score, refused with what is missing, told in the audit trail."""

from collections.abc import Callable

import orjson
import pytest
from httpx2 import Response

from serving.audit import chain, verification
from tests.serving.api.conftest import Api
from tests.serving.services import BATCH

WANTED = {"decision": "act", "reason": "second sample ordered", "meaning": "review"}


@pytest.fixture
def reviewing(api) -> tuple[Api, dict, Callable[..., Response]]:
    api("PUT", "/v1/batches/B1", json=BATCH)
    made = api("POST", "/v1/batches/B1/scores").json()

    def send(*, signer="user:anna", shown="bg_reviewer", who="reviewer", key=None, **more) -> Response:
        headers = {name: value for name, value in (("signature-credential", shown), ("idempotency-key", key)) if value}
        body = WANTED | more | ({"signer": signer} if signer else {})
        return api("POST", f"/v1/scores/{made['score_id']}/reviews", who=who, json=body, headers=headers)

    return api, made, send


def test_a_signed_review_shows_name_meaning_time_and_what_was_signed(reviewing) -> None:
    api, made, send = reviewing
    told = send().json()
    assert {name: told[name] for name in ("signer_name", "meaning", "signed_with", "reviewed_at", "score_sha256")} == {
        "signer_name": "Anna", "meaning": "review", "signed_with": "id and login",
        "reviewed_at": "2026-03-02T12:00:00.000000Z", "score_sha256": made["body_sha256"],
    }  # fmt: skip
    assert send(signer=None).json()["signed_with"] == "login"
    assert len(api("GET", f"/v1/scores/{made['score_id']}").json()["reviews"]) == 2
    assert verification.verify(api.service.records, None).problems == ()


def test_a_signature_that_lacks_something_is_a_challenge_and_an_entry_of_the_trail(reviewing) -> None:
    api, made, send = reviewing
    for refused in (send(shown=None), send(signer=None), send(shown="bg_approver"), send(shown="bg_nobody")):
        assert (refused.status_code, refused.headers["content-type"]) == (401, "application/problem+json")
        assert refused.headers["www-authenticate"] == 'Bearer error="insufficient_user_authentication", max_age="300"'
        assert "bg_" not in refused.text
    with api.service.records.read() as connection:
        told = [e for e in chain.entries(connection) if e.action == "signature_refused"]
    assert [(e.who, e.object) for e in told] == [("user:anna", f"score:{made['score_id']}")] * 4
    assert api("GET", f"/v1/scores/{made['score_id']}").json()["reviews"] == []
    assert send(shown="bg_nobody").status_code == 401
    paused = send()
    assert (paused.status_code, paused.headers["retry-after"]) == (429, "900")


def test_a_repeated_request_gives_the_stored_answer_and_no_second_signature(reviewing) -> None:
    api, made, send = reviewing
    first, again = send(key="k"), send(key="k", shown=None)
    assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
    assert len(api("GET", f"/v1/scores/{made['score_id']}").json()["reviews"]) == 1


def test_a_reviewer_cannot_sign_an_approval(reviewing) -> None:
    _, _, send = reviewing
    assert send(meaning="approval").status_code == 403


def test_the_trail_tells_of_every_part_of_a_signature(reviewing) -> None:
    api, _, send = reviewing
    send()
    with api.service.records.read() as connection:
        [entry] = [e for e in chain.entries(connection) if e.action == "review"]
    assert {"signer_name", "meaning", "signed_with", "score_sha256", "reviewed_us"} <= orjson.loads(
        entry.new or ""
    ).keys()


def test_the_history_of_a_score_is_its_part_of_the_chain(reviewing) -> None:
    api, made, send = reviewing
    api("POST", "/v1/batches/B1/scores")
    send(shown=None)
    send()
    told = api("GET", f"/v1/scores/{made['score_id']}/history", who="viewer").json()["entries"]
    assert [(e["action"], e["who"]) for e in told] == [
        ("score", "key:mes"), ("signature_refused", "user:anna"), ("review", "user:anna"),
    ]  # fmt: skip
    assert told[0]["new"]["body_sha256"] == made["body_sha256"]
    with api.service.records.read() as connection:
        hashes = {e.seq: e.hash for e in chain.entries(connection)}
    assert all(hashes[e["seq"]] == e["hash"] for e in told)


def test_the_copy_for_people_holds_every_field_of_the_record(reviewing) -> None:
    api, made, send = reviewing
    send()
    copies = [api("GET", f"/v1/scores/{made['score_id']}/copy", who="viewer") for _ in range(2)]
    assert copies[0].headers["content-type"].startswith("text/plain")
    assert copies[0].content == copies[1].content
    text = copies[0].text
    for name in (
        "score_id",
        "batch_id",
        "as_of",
        "scored_at",
        "request_id",
        "body_sha256",
        "code_sha256",
        "data_sha256",
    ):
        assert made[name] in text, name
    assert "decision: low" in text
    assert "Anna (user:anna), review, signed with id and login: act, second sample ordered" in text
    assert "probability of failure: 0.0 %" in text
