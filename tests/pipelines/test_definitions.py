import dagster as dg
import pandas as pd
import pytest

from models.registry import CHALLENGER, CHAMPION, Registry
from pipelines.defs.automation import END, START, every_month
from pipelines.defs.location import definitions
from pipelines.defs.resources import PlantResource, months_since
from pipelines.history import ingest
from pipelines.main_job import prepare
from pipelines.plant import Plant
from pipelines.settings import Settings
from pipelines.sources.folder import HistoryFolder

BLOCKING = {
    ("run_history", "contract"),
    ("snapshot_features", "keys"),
    ("snapshot_features", "leakage"),
    ("training_set", "sealed_test"),
    ("training_set", "target_leakage"),
}
WARNING = {("score_monitoring", "drift"), ("score_monitoring", "freshness")}
SCHEDULES = {
    "ingest_and_score_every_15_minutes": ("score", "*/15 * * * *"),
    "retrain_weekly": ("retrain", "0 3 * * 0"),
    "monitor_daily": ("monitor", "30 4 * * *"),
}


@pytest.fixture(scope="module")
def defs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nothing")
    return definitions(Settings(folder / "p.toml", folder, folder / "var", "2025-01", timezone="Europe/Ljubljana"))


def test_the_code_location_loads_with_all_assets(defs) -> None:
    dg.Definitions.validate_loadable(defs)
    assert {key.to_user_string() for key in defs.resolve_all_asset_keys()} == {
        "run_history", "batch_summaries", "snapshot_features", "in_progress_features", "training_set", "test_set",
        "challenger", "validation_report", "risk_scores", "score_monitoring",
    }  # fmt: skip


def test_the_module_that_dagster_loads_reads_its_settings_from_the_environment(clone) -> None:
    import importlib

    prepare(clone.settings())
    module = importlib.import_module("pipelines.definitions")
    module = importlib.reload(module)
    assert module.defs.resources["plant"].data_dir == str(clone.data_dir)
    assert {schedule.name for schedule in module.defs.schedules} == set(SCHEDULES)


def test_checks_block_or_warn(defs) -> None:
    specs = {
        (spec.asset_key.to_user_string(), spec.name): spec.blocking
        for node in defs.resolve_asset_graph().assets_defs
        for spec in node.check_specs
    }
    assert {name for name, blocking in specs.items() if blocking} == BLOCKING
    assert {name for name, blocking in specs.items() if not blocking} == WARNING


def test_schedules_run_by_themselves_in_a_stated_time_zone(defs) -> None:
    found = {schedule.name: schedule for schedule in defs.schedules}
    assert {name: (s.job_name, s.cron_schedule) for name, s in found.items()} == SCHEDULES
    assert {s.execution_timezone for s in found.values()} == {"Europe/Ljubljana"}
    assert {s.default_status for s in found.values()} == {dg.DefaultScheduleStatus.RUNNING}


def test_one_run_spans_all_months_up_to_the_running_one() -> None:
    tags = every_month(months_since("2025-01"))
    assert tags[START] == "2025-01"
    assert tags[END] >= "2025-12"


def test_the_resource_opens_the_plant_it_was_made_for(tmp_path) -> None:
    settings = Settings(tmp_path / "p", tmp_path / "h", tmp_path / "v", "2024-02", 3, "history", 5, "Asia/Tokyo")
    assert PlantResource.of(settings).open() == Plant(settings)


def launched(place, schedule, **settings):
    """Tick a schedule and run what it asks for, as the daemon would, in this process."""
    with dg.DagsterInstance.ephemeral() as instance:
        defs = definitions(prepare(place.settings(**settings)))
        found = defs.resolve_schedule_def(schedule)
        tick = found.evaluate_tick(dg.build_schedule_context(instance, repository_def=defs.get_repository_def()))
        (request,) = tick.run_requests
        result = defs.resolve_job_def(found.job_name).execute_in_process(instance=instance, tags=request.tags)
    assert result.success
    return result


def metadata(result, asset):
    (event,) = result.asset_materializations_for_node(asset)[:1]
    return {name: value.value for name, value in event.metadata.items()}


def test_the_quarter_hourly_tick_ingests_and_scores(clone) -> None:
    frame = clone.read("observations")
    warm = frame[frame["batch_id"] == "B118"].tail(1)
    moved = {"observed_at": "2025-06-01T07:29:00+00:00", "available_at": "2025-06-01T07:29:00+00:00"}
    clone.replace("observations", pd.concat([frame, warm.assign(**moved)]))
    result = launched(clone, "ingest_and_score_every_15_minutes")
    facts = metadata(result, "run_history")
    assert (facts["rows_in"], facts["rows_kept"], facts["rows_quarantined"]) == (3580, 3580, 0)
    assert facts["data_version"] == Plant(clone.settings()).data_version()
    assert metadata(result, "batch_summaries")["months_changed"] == 1
    scored = metadata(result, "risk_scores")
    assert (scored["rows"], scored["model_version"]) == (3, "1")
    assert Plant(clone.settings()).scores.rows("risk_scores") == 6  # three of the first run, three of this one


def test_the_weekly_tick_makes_a_challenger_and_leaves_the_champion_alone(clone) -> None:
    decided = clone.read("dispositions")
    decided.loc[40:43, "outcome"] = ["rejected", "released", "rejected", "released"]
    clone.replace("dispositions", decided)
    plant, registry = Plant(clone.settings()), Registry(clone.data_dir)
    champion = registry.by_alias("small", CHAMPION)
    ingest(HistoryFolder(clone.history), plant.history, plant.process)
    result = launched(clone, "retrain_weekly")
    challenger = registry.by_alias("small", CHALLENGER)
    assert (challenger.version, challenger.aliases, challenger.review) == ("2", ("challenger",), "unreviewed")
    assert challenger.sha256 != champion.sha256
    still = registry.by_alias("small", CHAMPION)
    assert (still.version, still.sha256) == ("1", champion.sha256)
    made = metadata(result, "challenger_and_report")
    assert made["sha256"] == challenger.sha256
    assert made["mlflow_run"].endswith(challenger.page)
    assert made["review"] == "unreviewed"
    assert {"rows", "features", "digest"} <= set(metadata(result, "snapshot_features"))
    checks = {(c.asset_key.to_user_string(), c.check_name): c.passed for c in result.get_asset_check_evaluations()}
    assert checks == dict.fromkeys(BLOCKING - {("run_history", "contract")}, True)


def test_the_daily_tick_warns_of_old_data_and_blocks_nothing(clone) -> None:
    result = launched(clone, "monitor_daily", as_of="now")  # the plant's last reading is of 2025
    checks = {c.check_name: c for c in result.get_asset_check_evaluations()}
    assert set(checks) == {"drift", "freshness"}
    assert not checks["freshness"].passed
    assert checks["freshness"].severity == dg.AssetCheckSeverity.WARN
    assert not checks["freshness"].blocking
    assert metadata(result, "score_monitoring")["batches_in_progress"] == 3
