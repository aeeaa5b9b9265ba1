import contextlib
import importlib
import os
import tomllib
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

import pipelines.model_history
from features.contracts import BATCH_SUMMARY, BATCHES, OBSERVATIONS, RUN_HISTORY, SNAPSHOT
from models.registry import CHALLENGER, RegisteredModel, Registry
from models.scoring.score import Score
from pipelines.defs.automation import END, START, every_month
from pipelines.defs.location import definitions
from pipelines.defs.resources import PlantResource, months_since
from pipelines.defs.schemas import COLUMN_SCHEMA, table_schema
from pipelines.effective import effective_version
from pipelines.feature_tables import SUMMARIES_STORED
from pipelines.history import ingest
from pipelines.main_job import prepare
from pipelines.plant import Plant
from pipelines.settings import Settings
from pipelines.sources.folder import HistoryFolder
from pipelines.storage import Store
from tests.pipelines.small_plant import Place

BLOCKING = {
    ("run_history", "contract"),
    ("snapshot_features", "keys"),
    ("snapshot_features", "leakage"),
    ("training_set", "sealed_test"),
    ("training_set", "target_leakage"),
}
WARNING = {("run_history", "findings"), ("score_monitoring", "drift"), ("score_monitoring", "freshness")}
SCHEDULES = {
    "ingest_and_score_every_15_minutes": ("score", "*/15 * * * *"),
    "retrain_weekly": ("retrain", "0 3 * * 0"),
    "monitor_daily": ("monitor", "30 4 * * *"),
}


@pytest.fixture(scope="module")
def defs(tmp_path_factory) -> dg.Definitions:
    folder = tmp_path_factory.mktemp("nothing")
    return definitions(Settings(folder / "p.toml", folder, folder / "var", "2025-01", timezone="Europe/Ljubljana"))


def test_the_code_location_loads_with_all_assets(defs) -> None:
    dg.Definitions.validate_loadable(defs)
    assert {key.to_user_string() for key in defs.resolve_all_asset_keys()} == {
        "run_history", "batch_summaries", "snapshot_features", "in_progress_features", "training_set", "test_set",
        "field_replay", "challenger", "validation_report", "serving_model", "risk_scores", "score_monitoring",
    }  # fmt: skip


def test_the_module_that_dagster_loads_reads_its_settings_from_the_environment(clone) -> None:
    prepare(clone.settings())
    module = importlib.import_module("pipelines.definitions")
    module = importlib.reload(module)
    assert module.defs.resources["plant"].data_dir == str(clone.data_dir)
    assert {schedule.name for schedule in module.defs.schedules} == set(SCHEDULES)


def test_dagster_finds_the_code_location_from_the_root_and_loads_the_demo(monkeypatch, caplog) -> None:
    tool = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["tool"]
    assert tool["dagster"]["module_name"] == tool["dg"]["project"]["code_location_target_module"]
    for name in [name for name in os.environ if name.startswith("BATCHGUARD_")]:
        monkeypatch.delenv(name)
    with caplog.at_level("WARNING", "dagster"):
        module = importlib.reload(importlib.import_module(tool["dagster"]["module_name"]))
    dg.Definitions.validate_loadable(module.defs)
    assert Path(module.defs.resources["plant"].process).name == "cart.toml"
    assert (module.settings.data_dir, module.settings.as_of) == (Path("var/demo"), "history")
    (said,) = [record.getMessage() for record in caplog.records]
    assert "BATCHGUARD_PROCESS and BATCHGUARD_HISTORY name another plant" in said


def test_checks_block_or_warn_and_say_what_they_check(defs) -> None:
    specs = {
        (spec.asset_key.to_user_string(), spec.name): spec
        for node in defs.resolve_asset_graph().assets_defs
        for spec in node.check_specs
    }
    assert {name for name, spec in specs.items() if spec.blocking} == BLOCKING
    assert {name for name, spec in specs.items() if not spec.blocking} == WARNING
    assert [name for name, spec in specs.items() if not (spec.description or "").endswith(".")] == []


def assets_by_name(defs: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


def test_every_asset_has_an_owner_kinds_and_a_description(defs) -> None:
    for name, spec in assets_by_name(defs).items():
        assert list(spec.owners) == ["team:process-monitoring"], name
        assert spec.kinds, name
        assert len((spec.description or "").split()) >= 5, name


def test_every_table_has_the_columns_of_its_contract(defs) -> None:
    specs = assets_by_name(defs)
    tables = {
        "batch_summaries": BATCH_SUMMARY, "snapshot_features": SNAPSHOT, "in_progress_features": SNAPSHOT,
        "test_set": SNAPSHOT, "training_set": SNAPSHOT,
    }  # fmt: skip
    assert {name for name, spec in specs.items() if COLUMN_SCHEMA in spec.metadata} == set(tables) | {"risk_scores"}
    assert {name for name, spec in specs.items() if "deltalake" in spec.kinds} == {
        *tables,
        "risk_scores",
        "run_history",
    }
    for name, table in tables.items():
        assert [column.name for column in specs[name].metadata[COLUMN_SCHEMA].columns] == list(table.names)
    scores = {column.name: column for column in specs["risk_scores"].metadata[COLUMN_SCHEMA].columns}
    assert list(scores) == list(Score.model_fields)
    assert scores["failure_probability"].constraints.other == [">= 0", "<= 1"]
    assert [name for name in ("cause", "elapsed_h") if scores[name].constraints.nullable] == ["cause"]
    shown = {n.removeprefix("columns of ") for n in specs["run_history"].metadata if n.startswith("columns of ")}
    assert shown == set(RUN_HISTORY)


def test_a_column_shows_type_unit_limits_and_whether_it_may_be_empty() -> None:
    columns = {column.name: column for column in table_schema(BATCHES).columns}
    scale, origin, batch_id = columns["scale_l"], columns["origin"], columns["batch_id"]
    assert (scale.type, scale.description) == ("double", "Working volume [L]")
    assert (scale.constraints.nullable, scale.constraints.other) == (True, [">= 0"])
    assert origin.constraints.other == ["one of: 'real', 'simulated'"]
    assert (batch_id.constraints.nullable, batch_id.constraints.unique) == (False, True)
    assert table_schema(OBSERVATIONS).constraints.other == ["unique: batch_id, parameter, observed_at, revision"]


def test_the_contract_of_the_summaries_has_the_stored_columns() -> None:
    stored = {field.name: field.type for field in SUMMARIES_STORED}
    assert {field.name: field.type for field in BATCH_SUMMARY.arrow()} == stored


def test_an_asset_depends_on_what_it_reads_and_on_what_has_to_pass_before(defs, clone, monkeypatch) -> None:
    reads: dict[str, set[str]] = {}
    for method in ("read", "files", "digest"):
        watch(monkeypatch, Store, method, reads)
    watch(monkeypatch, Registry, "predictor", reads)
    monkeypatch.setattr(
        pipelines.model_history, "_read", pipelines.model_history._read.__wrapped__
    )  # each step reads itself
    prepared = definitions(prepare(clone.settings()))
    with dg.DagsterInstance.ephemeral() as instance:
        tags = every_month(months_since("2025-01"))
        assert prepared.resolve_job_def("whole").execute_in_process(instance=instance, tags=tags).success
    dependencies = {
        name: {dep.asset_key.to_user_string() for dep in spec.deps} for name, spec in assets_by_name(defs).items()
    }
    beside = {  # what is no table: the seal of the test set, checks that have to pass, aliases in the registry
        "training_set": {"test_set"},
        "challenger": {"field_replay", "test_set", "training_set"},
        "serving_model": {"challenger"},
    }
    steps = ("training_moments", "version_of_a_moment", "replayed_scores")
    reads["field_replay"] = set().union(*(reads.pop(step) for step in steps))
    reads["challenger"] = reads.pop("challenger_and_report") - {"validation_report"}
    for asset in set(dependencies) - {"run_history", "validation_report"}:
        read = reads.get(asset, set()) - {asset, "feature_dictionary", "ingest"}  # they come with the asset before
        assert dependencies[asset] == read | beside.get(asset, set()), asset


def watch(monkeypatch, owner: type, method: str, reads: dict[str, set[str]]) -> None:
    """Note which asset reads which other asset's data."""
    original = getattr(owner, method)

    def noted(self: Store | Registry, what: object, *arguments: object, **options: object) -> object:
        with contextlib.suppress(dg.DagsterInvariantViolationError):  # outside of an asset
            asset = dg.OpExecutionContext.get().op.name
            known = reads.setdefault(asset, set())
            if isinstance(self, Registry):
                known.add("serving_model")
            else:
                known.add("run_history" if self.root.parent.name == "history" else str(what))
        return original(self, what, *arguments, **options)

    monkeypatch.setattr(owner, method, noted)


def test_the_quarter_hourly_job_makes_nothing_that_a_score_does_not_read(defs) -> None:
    made = {key.to_user_string() for key in defs.resolve_job_def("score").asset_layer.executable_asset_keys}
    dependencies = {name: {d.asset_key.to_user_string() for d in s.deps} for name, s in assets_by_name(defs).items()}
    needed, todo = set(), {"risk_scores"}
    while todo:
        needed |= todo
        todo = {name for asset in todo for name in dependencies[asset]} & made - needed
    assert made == needed == {"run_history", "in_progress_features", "serving_model", "risk_scores"}


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
    settings = Settings(tmp_path / "p", tmp_path / "h", tmp_path / "v", "2024-02", 3, True, "history", "Asia/Tokyo")
    assert PlantResource.of(settings).open() == Plant(settings)


def launched(place: Place, schedule: str, **settings) -> dg.ExecuteInProcessResult:
    """Tick a schedule and run what it asks for, as the daemon would, in this process."""
    with dg.DagsterInstance.ephemeral() as instance:
        defs = definitions(prepare(place.settings(**settings)))
        found = defs.resolve_schedule_def(schedule)
        tick = found.evaluate_tick(dg.build_schedule_context(instance, repository_def=defs.get_repository_def()))
        (request,) = list(tick.run_requests or [])
        result = defs.resolve_job_def(found.job_name).execute_in_process(instance=instance, tags=request.tags)
    assert result.success
    return result


def aliased(registry: Registry, alias: str) -> RegisteredModel:
    model = registry.by_alias("small", alias)
    assert model is not None
    return model


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, object]:
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
    assert metadata(result, "serving_model")["version"] == "1"
    assert result.asset_materializations_for_node("in_progress_features")
    assert not [event for event in result.all_events if event.step_key == "batch_summaries"]  # no score reads them
    scored = metadata(result, "risk_scores")
    assert (scored["rows"], scored["model_version"]) == (3, "1")
    assert Plant(clone.settings()).scores.rows("risk_scores") == 6  # three of the first run, three of this one


def test_the_weekly_tick_makes_a_challenger_and_leaves_the_effective_version_alone(clone) -> None:
    decided = clone.read("dispositions")
    decided.loc[40:43, "outcome"] = ["rejected", "released", "rejected", "released"]
    clone.replace("dispositions", decided)
    plant, registry = Plant(clone.settings()), Registry(clone.data_dir)
    champion = registry.by_version("small", "1")
    ingest(HistoryFolder(clone.history), plant.history, plant.process)
    result = launched(clone, "retrain_weekly")
    challenger = aliased(registry, CHALLENGER)
    assert (challenger.version, challenger.aliases, challenger.review) == ("2", ("challenger",), "unreviewed")
    assert challenger.sha256 != champion.sha256
    still = effective_version(clone.settings(), "small")
    assert still is not None
    assert (still.version, still.model_sha256) == ("1", champion.sha256)
    params = registry.params(challenger)
    assert (params["champion"], params["against_champion"]) == (
        "1",
        "not enough failures to say",
    )  # it has learnt from all
    assert params["dagster_run_id"] == result.run_id
    made = metadata(result, "challenger_and_report")
    assert made["sha256"] == challenger.sha256
    assert str(made["mlflow_run"]).endswith(challenger.page)
    assert str(made["mlflow_version"]).endswith("/#/models/small/versions/2")
    description = registry.store.client().get_model_version("small", "2").description
    assert "Against champion version 1: not enough failures to say." in str(description)
    assert f"- dagster_run_id: `{result.run_id[:16]}`" in str(description)
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
