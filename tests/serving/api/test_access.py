"""Every route, by every role: what is not written down here is denied."""

import pytest
from fastapi.routing import iter_route_contexts

from serving.access.principals import PERMISSIONS, ROLES, Principal
from serving.api.guard import GuardedRoute
from tests.serving.api.conftest import PRINCIPALS, Api
from tests.serving.services import BATCH

AIR = {"site_id": "north", "metric": "viable_air_cfu_m3", "observed_at": "2026-02-28T00:00:00Z", "value": 3.0}
LOT = {
    "lot_id": "L1",
    "material": "broth",
    "parameter": "purity_pct",
    "observed_at": "2026-02-01T00:00:00Z",
    "value": 97.0,
}

OPEN = {("GET", "/health/live"), ("GET", "/health/ready"), ("GET", "/v2/health/live"), ("GET", "/v2/health/ready")}
EVERYBODY = {"mes", "viewer", "reviewer", "approver", "admin"}
WHO = {
    ("PUT", "/v1/batches/{batch_id}"): {"mes"},
    ("POST", "/v1/batches/{batch_id}/observations"): {"mes"},
    ("POST", "/v1/batches/{batch_id}/scores"): {"mes"},
    ("POST", "/v1/lot-results"): {"mes"},
    ("POST", "/v1/environment"): {"mes"},
    ("POST", "/v1/scores"): {"mes"},
    ("POST", "/v2/models/{name}/infer"): {"mes"},
    ("POST", "/v2/models/{name}/versions/{version}/infer"): {"mes"},
    ("GET", "/v1/scores/{score_id}"): EVERYBODY,
    ("GET", "/v1/scores/{score_id}/history"): EVERYBODY,
    ("GET", "/v1/scores/{score_id}/copy"): EVERYBODY,
    ("GET", "/v1/scores/{score_id}/changes"): EVERYBODY,
    ("GET", "/v1/scores/{score_id}/what-if"): EVERYBODY,
    ("GET", "/v1/batches"): EVERYBODY,
    ("GET", "/v1/batches/{batch_id}/scores"): EVERYBODY,
    ("POST", "/v1/scores/{score_id}/reviews"): {"reviewer", "approver"},
    ("GET", "/v1/reviews"): EVERYBODY,
    ("GET", "/v1/model"): EVERYBODY,
    ("GET", "/v2"): EVERYBODY,
    ("GET", "/v2/models/{name}"): EVERYBODY,
    ("GET", "/v2/models/{name}/ready"): EVERYBODY,
    ("GET", "/v2/models/{name}/versions/{version}"): EVERYBODY,
    ("GET", "/v2/models/{name}/versions/{version}/ready"): EVERYBODY,
    ("GET", "/metrics"): {"viewer", "admin"},
    ("GET", "/openapi.json"): EVERYBODY,
}


@pytest.fixture
def api(shared_api) -> Api:
    return shared_api


def routes(app) -> dict:
    return {
        (method, context.path): context
        for context in iter_route_contexts(app.routes)
        for method in context.methods or ()
    }


def test_every_route_is_guarded_and_listed_here(api) -> None:
    found = routes(api.app)
    assert set(found) == set(WHO) | OPEN
    assert all(isinstance(context.original_route, GuardedRoute) for context in found.values())


def filled(path) -> str:
    return (
        path.replace("{batch_id}", "B1")
        .replace("{score_id}", "0" * 36)
        .replace("{name}", "soup")
        .replace("{version}", "3")
    )


@pytest.mark.parametrize("route", WHO)
def test_each_role_gets_in_where_it_may_and_nowhere_else(api, route) -> None:
    method, path = route
    let_in = {role for role in ROLES if api(method, filled(path), who=role, json=None).status_code != 403}
    assert let_in == WHO[route]


@pytest.mark.parametrize("route", WHO)
@pytest.mark.parametrize("header", [{}, {"authorization": "Bearer bg_wrong"}, {"authorization": "Basic bWVzOg=="},
                                    {"authorization": "Bearer"}, {"authorization": "Bearer e30.e30.x"}])  # fmt: skip
def test_nobody_unknown_gets_in_whatever_they_send(api, route, header) -> None:
    method, path = route
    answer = api.client.request(method, filled(path), headers=header, content=b"{not json" if method != "GET" else None)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_a_route_without_a_permission_lets_nobody_in(api) -> None:
    api.app.router.routes.append(GuardedRoute("/forgotten", lambda: "hello", methods=["GET"]))
    try:
        assert {api("GET", "/forgotten", who=role).status_code for role in ROLES} == {403}
    finally:
        api.app.router.routes.pop()


def test_a_service_that_was_given_a_signing_role_still_cannot_sign(monkeypatch, api) -> None:
    monkeypatch.setitem(PRINCIPALS, "robot", Principal("key:robot", "Robot", "service", "reviewer", frozenset({"*"})))
    answer = api("POST", f"/v1/scores/{'0' * 36}/reviews", who="robot", json={"decision": "agree", "reason": "beep"})
    assert answer.status_code == 403


def test_an_unknown_permission_is_allowed_to_nobody() -> None:
    assert not any(principal.may("fly") for principal in PRINCIPALS.values())
    assert "open" not in PERMISSIONS


def test_sites_do_not_see_each_other(api) -> None:
    api("PUT", "/v1/batches/B1", who="north", json=BATCH)
    score_id = api("POST", "/v1/batches/B1/scores", who="north").json()["score_id"]
    for method, path, body in (
        ("POST", "/v1/batches/B1/scores", None), ("GET", "/v1/batches/B1/scores", None),
        ("POST", "/v1/batches/B1/observations", {}), ("GET", f"/v1/scores/{score_id}", None),
        ("GET", f"/v1/scores/{score_id}/history", None), ("GET", f"/v1/scores/{score_id}/copy", None),
        ("GET", f"/v1/scores/{score_id}/changes", None), ("GET", f"/v1/scores/{score_id}/what-if", None),
    ):  # fmt: skip
        assert api(method, path, who="south", json=body).status_code == 404, path
    assert api("PUT", "/v1/batches/B1", who="south", json=BATCH).status_code == 403
    assert api("PUT", "/v1/batches/B2", who="south", json=BATCH).status_code == 403
    for path, body in (("/v1/environment", {"environment": [AIR]}), ("/v1/lot-results", {"lot_results": [LOT]})):
        assert api("POST", path, who="south", json=body).status_code == 422, path
    inline = {"batch": BATCH | {"batch_id": "X"}}
    assert api("POST", "/v1/scores", who="south", json=inline).status_code == 403
    infer = {"inputs": [{"name": "batch_id", "datatype": "BYTES", "shape": [1], "data": ["B1"]}]}
    assert api("POST", "/v2/models/soup/infer", who="south", json=infer).status_code == 404
    assert api("GET", "/v1/batches", who="south").json()["batches"] == []
