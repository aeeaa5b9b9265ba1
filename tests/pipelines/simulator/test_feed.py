import shutil
from pathlib import Path

import pytest
from pydantic import JsonValue

from pipelines.simulator.feed import EndpointError, Feed, sender
from pipelines.simulator.live import play


@pytest.fixture
def out(report, tmp_path) -> Path:
    return shutil.copytree(report.out, tmp_path / "live")


class Endpoint:
    """Keeps the requests."""

    def __init__(self) -> None:
        self.batches, self.rows, self.scored = [], [], []

    def __call__(self, method, path, body) -> JsonValue:
        batch_id, what = [*path.split("/")[3:], ""][:2]
        if method == "PUT":
            self.batches.append(batch_id)
        elif what == "observations":
            self.rows += [(batch_id, name, tuple(row.items())) for name, rows in body.items() for row in rows]
        else:
            self.scored.append((batch_id, body["as_of"]))
        return {"batch_id": batch_id, "failure_probability": 0.1, "reasons": []}


def test_every_row_is_sent_once_and_each_batch_in_progress_is_scored_at_the_plants_time(out) -> None:
    endpoint = Endpoint()
    feed = Feed(out / "history", endpoint)
    for tick in play(out, speed=36_000.0, tick_s=3.0, hours=60.0, sleep=lambda _: None):
        assert len(list(feed.advance(tick.now))) == tick.n_in_progress
    assert len(endpoint.batches) == len(set(endpoint.batches))
    assert len(endpoint.rows) == len(set(endpoint.rows))
    assert {batch for batch, name, _ in endpoint.rows if name == "observations"} <= {
        batch for batch, _ in endpoint.scored
    }
    assert {name for _, name, _ in endpoint.rows} >= {"observations", "events", "materials", "dispositions"}
    known = [dict(row).get("available_at", "") for _, name, row in endpoint.rows if name == "observations"]
    assert max(known) <= max(as_of for _, as_of in endpoint.scored)


def test_what_a_batch_has_beyond_the_contract_are_attributes(out) -> None:
    sent = []

    def send(method, path, body) -> JsonValue:
        sent.append(body)
        return Endpoint()(method, path, body)

    list(Feed(out / "history", send).advance(0.0))
    batch = next(body for body in sent if body.get("origin"))
    assert {"site_id", "started_at", "origin", "attributes"} <= set(batch)
    assert batch["attributes"]
    assert "batch_id" not in batch


def test_an_endpoint_that_is_away_is_an_error_of_one_line() -> None:
    with pytest.raises(EndpointError, match="cannot be reached"):
        sender("http://127.0.0.1:9", "bg_x")("PUT", "/v1/batches/B1", {})
