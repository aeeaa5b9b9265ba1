"""The traps of JSON and of clocks: 4xx with a short reply, or accepted by a written rule (docs/serving.md); nothing lost."""

import gzip
import json

import pytest

from tests.serving.api.conftest import Api
from tests.serving.services import BATCH, reading

ROWS = "/v1/batches/B1/observations"
SCORES = "/v1/batches/B1/scores"
JSON = {"content-type": "application/json"}


@pytest.fixture
def api(shared_api) -> Api:
    shared_api("PUT", "/v1/batches/B1", json=BATCH)
    return shared_api


def row(value: str) -> bytes:
    return (
        b'{"observations": [{"parameter": "force_kn", "observed_at": "2026-03-01T01:00:00Z", "value": '
        + value.encode()
        + b"}]}"
    )


BODIES = {
    "NaN": (row("NaN"), 400),
    "Infinity": (row("-Infinity"), 400),
    "1e999": (row("1e999"), 400),
    "400 digits": (row("9" * 400), (400, 422)),
    "a lone surrogate": (row("1").replace(b"force_kn", b"\\ud800"), 400),
    "not UTF-8": (row("1").replace(b"force_kn", b"\xff\xfe"), 400),
    "a key twice": (b'{"observations": [], "observations": []}', 400),
    "a key twice inside": (row('1, "value": 2'), 400),
    "a flag for a number": (row("true"), 422),
    "text for a number": (row('"5.0"'), 422),
    "nested 100 000 times": (b"[" * 100_000 + b"]" * 100_000, 400),
    "nested 900 times": (b"[" * 900 + b"]" * 900, (400, 422)),
    "an unknown key": (b'{"observation": []}', 422),
    "a list": (b"[]", 422),
    "nothing": (b"", 422),
    "half": (row("1")[:-2], 400),
    "a NUL": (row("1").replace(b"force_kn", b"\\u0000"), 422),
    "a float for a revision": (row('1, "revision": 1.5'), 422),
    "a revision without end": (row('1, "revision": 99999999999999999999999'), 422),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_a_trap_is_refused_shortly(api, name) -> None:
    body, status = BODIES[name]
    answer = api("POST", ROWS, content=body, headers=JSON)
    assert answer.status_code in (status if isinstance(status, tuple) else (status,))
    assert len(answer.content) < 4_000
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_reply_is_short_however_much_is_wrong(api) -> None:
    rows = [{"x" * 100: i} for i in range(900)]
    answer = api("POST", ROWS, json={"observations": rows})
    assert (answer.status_code, len(answer.content) < 4_000) == (422, True)
    assert answer.json()["n_errors"] > 900


def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(api) -> None:
    body = b" " * 300_000
    assert api("POST", ROWS, content=body, headers=JSON).status_code == 413
    assert api("POST", ROWS, content=iter([body]), headers=JSON).status_code == 413


def test_a_gzip_bomb_is_never_opened(api) -> None:
    bomb = gzip.compress(b"0" * 10_000_000)
    assert api("POST", ROWS, content=bomb, headers=JSON | {"content-encoding": "gzip"}).status_code == 415


def test_another_content_type_is_not_read_as_json(api) -> None:
    for kind in ("text/plain", "application/xml", "text/jsonp", ""):
        answer = api("POST", ROWS, content=row("1"), headers={"content-type": kind})
        assert (answer.status_code, answer.headers["content-type"]) == (415, "application/problem+json"), kind
    assert (
        api("POST", ROWS, content=row("1"), headers={"content-type": "Application/JSON; charset=utf-8"}).status_code
        == 200
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/v1/batches/B1?reson=typo"), ("GET", "/v1/batches?limit=1&limit=2"), ("POST", f"{SCORES}?as_of=now"),
     ("GET", "/v1/model?x"), ("GET", "/v1/batches?subject-4711=1")],
)  # fmt: skip
def test_a_query_parameter_that_is_unknown_or_stands_twice_is_refused_and_not_repeated(api, method, path) -> None:
    answer = api(method, path, json=BATCH if method == "PUT" else None)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert "4711" not in answer.text


def test_a_load_balancer_may_add_what_it_likes_to_the_address_of_health(api) -> None:
    assert api.client.get("/health/live?nocache=17").status_code == 200


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"unit": "mmol/L"}, "unit_mismatch"),
        ({"unit": "fortnight"}, "unit_mismatch"),
        ({"parameter": "forse_kn"}, "unknown_parameter"),
        ({"observed_at": "2026-03-01T01:00:00"}, "naive_time"),
        ({"observed_at": "yesterday"}, "not_a_time"),
        ({"observed_at": "2026-02-30T01:00:00Z"}, "not_a_time"),
        ({"observed_at": "9999-12-31T23:59:59-14:00"}, "implausible_year"),
        ({"observed_at": "0001-01-01T00:00:00+14:00"}, "implausible_year"),
        ({"available_at": "2026-02-28T01:00:00Z"}, "available_at_before_observed_at"),
        ({"observed_at": "2026-03-03T12:00:00Z"}, "from_the_future"),
        ({"value": 51.0}, "out_of_range"),
        ({"value": None}, "absent_value"),
        ({"value": None, "quality": "good"}, "absent_value"),
        ({"quality": "godo"}, "not_allowed"),
        ({"quality": 128}, "not_allowed"),
        ({"unit": "KN"}, "unit_mismatch"),
        ({"unit": "GN"}, "unit_mismatch"),
    ],
)
def test_a_row_that_cannot_be_true_is_told_and_the_others_count(api, change, code) -> None:
    told = api("POST", ROWS, json={"observations": [reading(5, 5.0) | change, reading(6, 5.0)]})
    assert told.status_code == 200
    assert [r["code"] for r in told.json()["rejections"]] == [code]


def test_the_hour_that_comes_twice_in_autumn_is_two_hours(shared_api) -> None:
    """Times carry their offset: 02:30 of summer and of winter time are an hour apart."""
    shared_api("PUT", "/v1/batches/DST", json=BATCH | {"started_at": "2025-10-26T00:00:00+02:00"})
    rows = [reading(1, 5.0) | {"observed_at": f"2025-10-26T02:30:00{offset}"} for offset in ("+02:00", "+01:00")]
    assert shared_api("POST", "/v1/batches/DST/observations", json={"observations": rows}).json()["accepted"] == 2


@pytest.mark.parametrize(
    "as_of",
    [
        "2026-03-02T12:00:01Z",
        "2026-03-01T12:00:00",
        "now",
        "",
        "9999-12-31T23:59:59-23:59",
        "0001-01-01T00:00:00+23:00",
    ],
)
def test_a_time_to_score_at_that_cannot_be_is_refused(api, as_of) -> None:
    answer = api("POST", SCORES, json={"as_of": as_of})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


@pytest.mark.parametrize("key", ["", "a b", "x" * 201, "ä"])
def test_an_idempotency_key_that_is_none_is_refused(api, key) -> None:
    assert api("POST", SCORES, headers={"idempotency-key": key.encode("latin-1")}).status_code == 422


@pytest.mark.parametrize(
    "path", ["/v1/batches/%00/scores", "/v1/batches/%ff/scores", "/v1/batches/" + "x" * 5000 + "/scores"]
)
def test_a_path_that_is_no_name_is_refused(api, path) -> None:
    assert api("POST", path).status_code in (404, 422)


def test_nothing_that_was_sent_is_repeated(api) -> None:
    pseudonym = "subject-4711"
    for body in ({"observations": [{"parameter": pseudonym, "value": pseudonym}]}, {pseudonym: 1}, pseudonym):
        text = api("POST", ROWS, content=json.dumps(body)[:-1], headers=JSON).text
        text += api("POST", ROWS, json={"observations": [{"parameter": 5, "value": pseudonym}]}).text
        assert pseudonym not in text


@pytest.mark.parametrize("name", ["started_at", "planned_end_at"])
def test_a_batch_with_a_time_that_could_not_be_read_again_is_refused(api, name) -> None:
    sent = BATCH | {name: "9999-12-31T23:59:59-14:00"}  # in UTC the year 10000: no engine could be built over it
    assert api("PUT", "/v1/batches/B9", json=sent).status_code == 422
    assert api("POST", SCORES, json={}).status_code == 200
