"""The endpoint's commands, and a plant's own model through the endpoint: it returns the scores of the plant's run."""

import json
from pathlib import Path

import orjson
import pandas as pd
import pytest

from pipelines.bundle_export import bundles_of
from pipelines.plant import Plant
from serving.audit.anchor import Anchor
from serving.commands import RecordsAdmin
from serving.ids import microseconds
from serving.interfaces import ROW_TABLES
from serving.model_releases import KEYS, ModelReleases
from serving.service import intake, score_requests
from serving.service.engine_cache import EngineCache
from serving.service.scoring_service import ScoringService
from tests.serving.services import MES, call


@pytest.fixture
def data(tmp_path) -> tuple[str, str]:
    return ("--data-dir", str(tmp_path / "var"))


def test_a_key_is_shown_once_listed_and_revoked(run, data) -> None:
    shown = run("keys", "add", "MES north", "--role", "mes", "--site", "north", *data)
    key_id, key = shown.output.split(":")[0], shown.output.splitlines()[1]
    assert key.startswith("bg_")
    assert key_id not in key
    assert run("keys", "list", *data).output.split() == [key_id, "service", "mes", "north", "MES", "north", "valid"]
    assert run("keys", "revoke", key_id, "--why", "lost", *data).exit_code == 0
    assert "revoked 20" in run("keys", "list", *data).output
    assert run("keys", "revoke", key_id, "--why", "lost", *data).exit_code == 1


def test_a_service_that_wants_to_sign_gets_an_error_of_one_line(run, data) -> None:
    answer = run("keys", "add", "Robot", "--role", "reviewer", "--site", "*", *data)
    assert answer.exit_code == 1
    assert "a service cannot be reviewer" in answer.stderr
    assert (
        run("keys", "add", "Anna", "--role", "reviewer", "--site", "*", "--person", "--days", "30", *data).exit_code
        == 0
    )
    assert "valid until" in run("keys", "list", *data).output


def test_the_trail_is_verified_and_exported(run, data, tmp_path) -> None:
    run("keys", "add", "MES", "--role", "mes", "--site", "*", *data)
    assert run("audit", "verify", *data).output == "1 entries, 1 records, 0 problems\n"
    [entry] = [json.loads(line) for line in run("audit", "export", *data).output.splitlines()]
    assert (entry["action"], entry["role"], entry["who"].partition(":")[0]) == ("key_added", "operator", "local")
    (tmp_path / "var" / "audit.anchor").write_text(f"1 {'0' * 64} 2026-01-01T00:00:00Z\n")
    found = run("audit", "verify", *data)
    assert (found.exit_code, "written anew" in found.stderr) == (1, True)


def test_records_without_a_review_are_an_empty_list_and_tables_without_rows(run, data, tmp_path) -> None:
    assert run("records", "reviews", "--deviation", "DEV-1", *data).output == ""
    out = tmp_path / "out"
    exported = run("records", "export", "--out", str(out), *data)
    assert exported.output.splitlines() == [f"{out / 'reviews.csv'}: 0 rows", f"{out / 'findings.csv'}: 0 rows",
                                              f"{out / 'releases.csv'}: 0 rows"]  # fmt: skip
    again = run("records", "export", "--out", str(out), "--format", "b2mml", *data)
    assert (again.exit_code, "is not empty" in again.stderr) == (1, True)


def test_a_server_for_the_whole_network_has_to_be_meant(run, clone) -> None:
    answer = run("serve", "--process", str(clone.process), "--data-dir", str(clone.data_dir), "--host", "0.0.0.0")  # noqa: S104
    assert answer.exit_code == 1
    assert "not loopback" in answer.stderr


def fed(clone, tmp_path) -> ScoringService:
    """A desk over the plant's own model, with every row of its history taken in."""
    plant = Plant(clone.settings())
    admin = RecordsAdmin(clone.data_dir)
    bundles = bundles_of(plant.settings, "small").root
    make = ModelReleases(bundles, clone.data_dir / KEYS, admin.records, "small").make
    service = ScoringService(admin.records, make, EngineCache(admin.records, make), Anchor(tmp_path / "anchor"))
    rows = {name: plain(plant.table(name)) for name in ("batches", *ROW_TABLES)}
    for batch in rows["batches"]:
        batch_id = batch["batch_id"]
        assert intake.put_batch(service, call(), batch_id, batch, "").status == 201
        mine = {name: [without(row) for row in rows[name] if row["batch_id"] == batch_id] for name in ROW_TABLES}
        answer = orjson.loads(intake.add_rows(service, call(), batch_id, {n: r for n, r in mine.items() if r}).body)
        assert answer["rejected"] == 0
    return service


def plain(frame: pd.DataFrame) -> list[dict]:
    text = {
        name: frame[name].map(lambda t: t.isoformat() if pd.notna(t) else None)
        for name in frame.select_dtypes("datetimetz")
    }
    return [
        {k: v for k, v in row.items() if pd.notna(v) and v != ""} for row in frame.assign(**text).to_dict("records")
    ]


def without(row: dict) -> dict:
    return {name: value for name, value in row.items() if name != "batch_id"}


def test_the_endpoint_returns_the_scores_of_the_plants_own_run_and_repeats_them(run, ran, clone, tmp_path) -> None:
    service = fed(clone, tmp_path)
    published = json.loads(Path(ran.place.result).read_text())["scores"]
    for expected in published:
        as_of_us = microseconds(str(expected["as_of"]))
        score = orjson.loads(score_requests.score(service, call(MES), expected["batch_id"], as_of_us).body)
        assert score["failure_probability"] == expected["failure_probability"]
        assert [r["sentence"] for r in score["reasons"]] == [r["sentence"] for r in expected["reasons"]]
    service.close()
    options = ("--process", str(clone.process), "--data-dir", str(clone.data_dir))
    replayed = run("score", "--replay", score["score_id"], *options)
    assert (replayed.exit_code, "the same to the bit" in replayed.output) == (0, True)
    assert run("score", "--replay", "nothing", *options).exit_code == 1


def test_scoring_without_a_history_is_a_wrong_call(run, clone) -> None:
    assert run("score", "--process", str(clone.process)).exit_code == 2
