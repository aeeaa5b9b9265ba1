"""Reviews found by the deviation that they name, page by page, and only those of the caller's sites."""

import pytest

from serving.access.principals import Principal
from tests.serving.api.conftest import PRINCIPALS, Api
from tests.serving.services import BATCH, NOON

BOTH = Principal("user:both", "Bo", "person", "reviewer", frozenset({"*"}), NOON)


@pytest.fixture
def reviewed(api, monkeypatch) -> Api:
    """B1 in the north and B2 in the south, each reviewed twice: DEV-1, then DEV-2."""
    monkeypatch.setitem(PRINCIPALS, "both", BOTH)
    for batch, site in (("B1", "north"), ("B2", "south")):
        api("PUT", f"/v1/batches/{batch}", json=BATCH | {"site_id": site})
        score = api("POST", f"/v1/batches/{batch}/scores").json()
        for deviation in ("DEV-1", "DEV-2"):
            body = {"decision": "act", "reason": f"{batch} {deviation}", "meaning": "review", "signer": "user:both",
                    "deviation": deviation}  # fmt: skip
            told = api("POST", f"/v1/scores/{score['score_id']}/reviews", who="both", json=body,
                       headers={"signature-credential": "bg_both"})  # fmt: skip
            assert told.status_code == 201, told.text
    return api


def found(api, query: str, who: str = "mes") -> list[str]:
    return [review["reason"] for review in api("GET", f"/v1/reviews{query}", who=who).json()["reviews"]]


def test_reviews_are_found_by_the_deviation_they_name_the_newest_first(reviewed) -> None:
    assert found(reviewed, "?deviation=DEV-1") == ["B2 DEV-1", "B1 DEV-1"]
    assert found(reviewed, "?deviation=dev-1") == found(reviewed, "?deviation=DEV") == []
    assert found(reviewed, "") == ["B2 DEV-2", "B2 DEV-1", "B1 DEV-2", "B1 DEV-1"]


def test_a_found_review_is_the_one_that_stands_with_its_score_and_names_batch_and_site(reviewed) -> None:
    [one] = reviewed("GET", "/v1/reviews?deviation=DEV-2", who="north").json()["reviews"]
    with_score = reviewed("GET", f"/v1/scores/{one['score_id']}").json()["reviews"][1]
    assert one == with_score | {"batch_id": "B1", "site_id": "north"}


def test_a_caller_finds_no_review_of_another_site(reviewed) -> None:
    assert found(reviewed, "?deviation=DEV-1", "north") == ["B1 DEV-1"]
    assert found(reviewed, "?deviation=DEV-1", "south") == ["B2 DEV-1"]
    assert found(reviewed, "", "viewer") == ["B1 DEV-2", "B1 DEV-1"]


def test_pages_follow_each_other_without_a_gap_or_a_repeat(reviewed) -> None:
    seen, query = [], "?limit=1"
    while query:
        page = reviewed("GET", f"/v1/reviews{query}").json()
        seen += [review["reason"] for review in page["reviews"]]
        query = f"?limit=1&before={page['next']}" if page["next"] else ""
    assert seen == ["B2 DEV-2", "B2 DEV-1", "B1 DEV-2", "B1 DEV-1"]


@pytest.mark.parametrize("query", ["?deviation=", "?deviation=a%20b", "?before=x", "?limit=0", "?deviations=DEV-1",
                                   "?deviation=DEV-1&deviation=DEV-2"])  # fmt: skip
def test_a_search_that_does_not_fit_is_refused(api, query) -> None:
    assert api("GET", f"/v1/reviews{query}").status_code == 422
