import json
import shutil

import dagster as dg
import pandas as pd
import pytest
from upath import UPath

from pipelines.defs.automation import every_month
from pipelines.defs.location import definitions
from pipelines.defs.replay_assets import JsonIOManager
from pipelines.defs.resources import months_since
from pipelines.main_job import prepare
from pipelines.plant import Plant
from tests.pipelines.small_plant import Place

STEPS = ("training_moments", "version_of_a_moment", "replayed_scores")


def test_values_pass_between_steps_as_json(tmp_path) -> None:
    manager = JsonIOManager(UPath(tmp_path))
    value = {"at": "2026-01-01T00:00:00+00:00", "policy": {"learner": None, "share": 0.02}, "number": 3}
    dg_out = dg.build_output_context(step_key="a", name="result", run_id="r")
    manager.handle_output(dg_out, value)
    assert manager.load_input(dg.build_input_context(upstream_output=dg_out)) == value
    (path,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert path.suffix == ".json"
    assert json.loads(path.read_text(encoding="utf-8")) == value


@pytest.fixture(scope="module")
def made(ran, tmp_path_factory) -> tuple[Place, dg.ExecuteInProcessResult]:
    """The job on the small plant, with a policy whose window leaves too little at one of its trainings."""
    root = tmp_path_factory.mktemp("assets") / "clone"
    shutil.copytree(ran.place.root, root, symlinks=True)
    place = Place(root)
    rules = root / "rules.toml"
    rules.write_text('test = "newest_quarter"\nretrain_every_outcomes = 24\n', encoding="utf-8")
    config = {"policy": "", "against": str(rules), "from_": "", "until": ""}
    steps = {name: {"config": config} for name in ("training_moments", "replayed_scores")}
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions(prepare(place.settings())).resolve_job_def("backtest")
        result = job.execute_in_process(
            instance=instance,
            tags=every_month(months_since("2025-01")),
            run_config={"ops": {"field_replay": {"ops": steps}}},
        )
    return place, result


def test_every_training_of_every_policy_is_a_step_of_its_own(made) -> None:
    place, result = made
    assert result.success
    keys = {event.step_key for event in result.all_events if event.is_step_success}
    ours = {key for key in keys if "version_of_a_moment[ours_" in key}
    theirs = {key for key in keys if "version_of_a_moment[theirs_" in key}
    found = json.loads((Plant(place.settings()).backtest_dir / "backtest.json").read_text(encoding="utf-8"))
    assert len(ours) == len(found["versions"]) == 4
    assert len(theirs) == len(found["against"]["versions"]) > 0


def test_a_training_of_which_too_little_is_known_stops_no_job(made) -> None:
    place, _ = made
    found = json.loads((Plant(place.settings()).backtest_dir / "backtest.json").read_text(encoding="utf-8"))
    status = [version["status"] for version in found["against"]["versions"]]
    assert "served" in status
    assert set(status) <= {"served", "too little known"}


def test_the_asset_tells_what_was_replayed_and_where_it_lies(made) -> None:
    place, result = made
    (event,) = [
        e for e in result.all_events if e.is_step_materialization and e.asset_key == dg.AssetKey("field_replay")
    ]
    facts = {name: value.value for name, value in event.materialization.metadata.items()}
    scores = pd.read_parquet(Plant(place.settings()).backtest_dir / "scores.parquet")
    assert facts["batches"] == scores["batch_id"].nunique()
    assert facts["failed"] == scores.groupby("batch_id")["failed"].first().sum()
    assert (facts["versions"], facts["recalibrated_versions"]) == (4, 0)
    assert str(facts["report"]) == str(Plant(place.settings()).backtest_dir / "backtest.html")
    assert str(facts["mlflow_run"]).startswith("/#/experiments/")


def test_what_was_made_before_is_found_by_the_steps(made) -> None:
    place, _ = made
    fits = Plant(place.settings()).models_dir / "fits"
    before = {path: path.stat().st_mtime_ns for path in fits.glob("*/fit.json")}
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions(prepare(place.settings())).resolve_job_def("backtest")
        job.execute_in_process(
            instance=instance,
            tags=every_month(months_since("2025-01")),
            asset_selection=[dg.AssetKey("field_replay")],
        )
    assert {path: path.stat().st_mtime_ns for path in fits.glob("*/fit.json")} == before


def test_recalibrations_take_no_step_and_no_training(made) -> None:
    place, _ = made
    fits = Plant(place.settings()).models_dir / "fits"
    before = {path: path.stat().st_mtime_ns for path in fits.glob("*/fit.json")}
    rules = place.root / "recalibrated.toml"
    rules.write_text("recalibrate_every_outcomes = 20\n", encoding="utf-8")
    config = {"policy": str(rules), "against": "", "from_": "", "until": ""}
    steps = {name: {"config": config} for name in ("training_moments", "replayed_scores")}
    with dg.DagsterInstance.ephemeral() as instance:
        job = definitions(prepare(place.settings())).resolve_job_def("backtest")
        result = job.execute_in_process(
            instance=instance,
            tags=every_month(months_since("2025-01")),
            asset_selection=[dg.AssetKey("field_replay")],
            run_config={"ops": {"field_replay": {"ops": steps}}},
        )
    assert (
        len([e for e in result.all_events if e.is_step_success and "version_of_a_moment[" in (e.step_key or "")]) == 4
    )
    found = json.loads((Plant(place.settings()).backtest_dir / "backtest.json").read_text(encoding="utf-8"))
    assert [version["n_known"] for version in found["versions"]] == [25, 45, 50, 70, 75, 95, 100]
    assert [version["kind"] for version in found["versions"]] == ["trained", "recalibrated"] * 3 + ["trained"]
    assert {path: path.stat().st_mtime_ns for path in fits.glob("*/fit.json")} == before
